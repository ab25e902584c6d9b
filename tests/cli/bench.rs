//! `spb bench` through the built binary: what it prints and leaves, never how fast it was.

use serde_json::Value;

use crate::fixture::*;

/// Runs it with a temporary directory of its own, which must be empty again afterwards.
fn bench(fixture: &Fixture, arguments: &[&str]) -> Ran {
    let temporary = fixture.home().join("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut all = vec!["bench", "--scale", "0.01", "--repeat", "1"];
    all.extend(arguments);
    let ran = ran(fixture.spb_command(&all).env("TMPDIR", &temporary).output().unwrap());
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    ran
}

#[test]
fn a_measurement_has_every_scenario_under_every_load_and_leaves_nothing() {
    let fixture = Fixture::new();
    let before = fixture.git(&["for-each-ref"]);
    let ran = bench(&fixture, &["--load", "all", "--scenario", "02,5,8", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let found: Vec<(&str, &str, u64, u64)> = rows
        .iter()
        .map(|row| {
            let number = |key: &str| row[key].as_u64().unwrap();
            let text = |key: &str| row[key].as_str().unwrap();
            (text("scenario"), text("load"), number("nodes"), number("expected_width"))
        })
        .collect();
    let of = |load| [("02", load, 5, 3), ("05", load, 5, 1), ("08", load, 2, 2)];
    assert_eq!(found, [of("wait"), of("cpu"), of("io")].concat());
    for row in rows {
        assert_eq!(row["warm_ms"].is_null(), row["scenario"] != "05", "{row}");
        assert!(row["parallel_ms"]["median"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["peak_width"].as_u64() <= row["expected_width"].as_u64(), "{row}");
        assert!(row["peak_memory"].as_u64().unwrap() > 0, "{row}");
    }
    assert_eq!(report["broken"], serde_json::json!([]));
    assert!(report["parts"].as_array().unwrap().len() == 5, "{}", report["parts"]);
    assert!(report["rates"]["cpu_turns_per_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(fixture.git(&["for-each-ref"]), before);
    assert!(!fixture.store().root().exists(), "it wrote to the user's repository");
}

#[test]
fn the_table_fits_80_columns_and_several_workflows_share_the_slots() {
    let ran = bench(&Fixture::new(), &["--scenario", "7", "--jobs", "4"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    for expected in ["07 five workflows", "load: wait", "speed-up", "merge of two", "of 4"] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in:\n{}", ran.stdout);
    }
}

#[test]
fn a_comparison_names_what_is_slower_and_fails() {
    let fixture = Fixture::new();
    let file = fixture.home().join("before.json");
    let scenario = ["--scenario", "8"];
    let ran = bench(&fixture, &[&scenario[..], &["--json"]].concat());
    let mut report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let compare = [&scenario[..], &["--compare", file.to_str().unwrap()]].concat();
    let write = |report: &Value| std::fs::write(&file, report.to_string()).unwrap();

    report["rows"][0]["parallel_ms"]["median"] = 0.001.into();
    report["rows"][0]["sequential_ms"]["median"] = 1e9.into();
    write(&report);
    let ran = bench(&fixture, &[&compare[..], &["--max-regression", "5%"]].concat());
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let slower: Vec<&str> = ran.stdout.lines().skip_while(|line| !line.starts_with("slower")).collect();
    assert_eq!(slower.len(), 2, "{}", ran.stdout);
    assert!(slower[1].contains("parallel"), "{}", ran.stdout);

    report["rows"][0]["parallel_ms"]["median"] = 1e9.into();
    write(&report);
    let ran = bench(&fixture, &compare);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("no row is more than 10% slower"), "{}", ran.stdout);

    // The earlier calibration is kept: both do the same work.
    report["rates"]["cpu_turns_per_ms"] = 1234.5.into();
    report["rows"][0]["load"] = "cpu".into();
    write(&report);
    let ran = bench(&fixture, &[&compare[..], &["--load", "cpu", "--json"]].concat());
    let now: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(now["rates"]["cpu_turns_per_ms"], 1234.5);
    assert_eq!(now["regressions"], serde_json::json!([]));

    report["scale"] = 1.0.into();
    write(&report);
    let ran = bench(&fixture, &compare);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("its scale is 1, this one's is 0.01"), "{}", ran.stderr);

    std::fs::write(&file, "{}").unwrap();
    let ran = bench(&fixture, &compare);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("is no measurement"), "{}", ran.stderr);
}
