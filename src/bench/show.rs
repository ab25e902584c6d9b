//! A report as text of at most 80 columns.

use super::result::{Regression, Report, Row, Stat};
use crate::report::table::Table;
use crate::report::text;

/// The whole report.
pub fn report(report: &Report) -> String {
    let mut shown = format!(
        "spb {} ({} build), {}, scale {}, {}\n",
        report.version,
        report.build,
        text::count(report.cores, "core"),
        report.scale,
        if report.repeat == 1 { "once".to_owned() } else { format!("medians of {}", report.repeat) },
    );
    let mut loads: Vec<_> = report.rows.iter().map(|row| row.load).collect();
    loads.dedup();
    for load in loads {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.load == load).collect();
        let from = rows.first().map_or("", |row| row.bound_from.as_str());
        shown.push_str(&format!("\nload: {}; milliseconds; bound from {} times\n", load.word(), from));
        shown.push_str(&times(&rows));
        shown.push('\n');
        shown.push_str(&resources(&rows));
    }
    shown.push_str("\nsingle operations, called directly; milliseconds\n");
    let mut table = Table::new(["operation", "samples", "p50", "p95"]).right([1, 2, 3]);
    for part in &report.parts {
        table.row([
            part.what.clone(),
            part.samples.to_string(),
            format!("{:.2}", part.p50_ms),
            format!("{:.2}", part.p95_ms),
        ]);
    }
    shown.push_str(&table.render(None));
    for sentence in &report.broken {
        shown.push_str(&format!("\nnot as expected: {sentence}"));
    }
    if !report.broken.is_empty() {
        shown.push('\n');
    }
    shown
}

fn times(rows: &[&Row]) -> String {
    let heading = ["scenario", "1 job", "parallel", "min-max", "bound", "speed-up", "eff.", "per node"];
    let mut table = Table::new(heading).right(1..8);
    for row in rows {
        table.row([
            format!("{} {}", row.scenario, row.name),
            whole(row.sequential_ms.median),
            whole(row.parallel_ms.median),
            range(row.parallel_ms),
            whole(row.bound_ms),
            format!("{:.2}", row.speed_up),
            format!("{:.0}%", row.efficiency * 100.0),
            format!("{:+.1}", row.overhead_per_node_ms),
        ]);
    }
    table.render(None)
}

fn resources(rows: &[&Row]) -> String {
    let heading = ["scenario", "nodes", "jobs", "peak", "cpu ms", "memory", "cached again"];
    let mut table = Table::new(heading).right(1..7);
    for row in rows {
        table.row([
            row.scenario.clone(),
            row.nodes.to_string(),
            row.jobs.to_string(),
            format!("{} of {}", row.peak_width, row.expected_width),
            whole(row.cpu_ms),
            text::bytes(row.peak_memory),
            row.warm_ms.map_or_else(String::new, |warm| format!("{:.1}", warm.median)),
        ]);
    }
    table.render(None)
}

/// What became slower, or that nothing did.
pub fn regressions(regressions: &[Regression], percent: f64) -> String {
    if regressions.is_empty() {
        return format!("\nno row is more than {percent}% slower than before\n");
    }
    let mut table = Table::new(["slower", "load", "run", "before", "now", "change"]).right([3, 4, 5]);
    for row in regressions {
        table.row([
            row.scenario.clone(),
            row.load.word().to_owned(),
            row.what.clone(),
            whole(row.before_ms),
            whole(row.now_ms),
            format!("{:+.0}%", row.percent),
        ]);
    }
    format!("\n{}", table.render(None))
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn range(stat: Stat) -> String {
    format!("{:.0}-{:.0}", stat.min, stat.max)
}
