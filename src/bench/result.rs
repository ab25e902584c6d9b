//! What a benchmark found, in the form that is printed as JSON and compared with an earlier one.

use serde::{Deserialize, Serialize};

use super::load::{Load, Rates};

/// Version of the JSON.
pub const FORMAT: u32 = 1;

/// A difference below this is noise whatever its percentage, milliseconds.
pub const NOISE_MS: f64 = 5.0;

/// Milliseconds over all repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Stat {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let sorted = sorted(values);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Self { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// One scenario under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub scenario: String,
    pub name: String,
    pub load: Load,
    pub nodes: usize,
    /// At the parallel run.
    pub jobs: usize,
    /// The same graph at `--jobs 1`.
    pub sequential_ms: Stat,
    pub parallel_ms: Stat,
    /// The same again with everything in the cache.
    pub warm_ms: Option<Stat>,
    /// The longest way through the graph, or all work shared evenly by the slots, whichever is more.
    pub bound_ms: f64,
    /// `declared`: from the times of the table. `sequential`: from what each node took when it ran alone.
    pub bound_from: String,
    /// Sequential by parallel.
    pub speed_up: f64,
    /// Bound by parallel; 1 is perfect.
    pub efficiency: f64,
    /// What the wall time has more than the bound, divided by the nodes.
    pub overhead_per_node_ms: f64,
    /// Most nodes that were running at once, by the order of the journal.
    pub peak_width: usize,
    pub expected_width: usize,
    /// A smaller peak than expected is an error too: the nodes last long enough to meet.
    pub is_width_certain: bool,
    /// Of all node processes of one parallel run: median.
    pub cpu_ms: f64,
    /// Largest resident size of one node process, bytes.
    pub peak_memory: u64,
}

/// One operation measured by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub what: String,
    pub samples: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

impl Part {
    /// Of at least one sample.
    pub fn of(what: &str, samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        // The smallest value that at least this share does not exceed.
        let at =
            |share: f64| sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1];
        Self { what: what.to_owned(), samples: sorted.len(), p50_ms: at(0.5), p95_ms: at(0.95) }
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub version: String,
    /// `release` or `debug`.
    pub build: String,
    pub cores: usize,
    pub scale: f64,
    pub repeat: usize,
    pub rates: Rates,
    pub rows: Vec<Row>,
    /// Operations of the git layer and the journal, called directly and one after another.
    pub parts: Vec<Part>,
    /// Expectations that did not hold.
    pub broken: Vec<String>,
}

/// A row that is slower than it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    pub scenario: String,
    pub load: Load,
    /// `sequential`, `parallel` or `warm`.
    pub what: String,
    pub before_ms: f64,
    pub now_ms: f64,
    pub percent: f64,
}

/// Two reports that say nothing about each other.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("it has format {0}, this spb reads {FORMAT}")]
    Format(u32),
    #[error("its {what} is {before}, this one's is {now}")]
    Setting { what: &'static str, before: String, now: String },
    #[error("it has none of the scenarios that were run")]
    NothingInCommon,
}

/// Rows of `now` whose median is more than `percent` (and [`NOISE_MS`]) above the one of `before`.
///
/// # Errors
/// When the two were not measured in the same way.
pub fn compare(before: &Report, now: &Report, percent: f64) -> Result<Vec<Regression>, Mismatch> {
    if before.format != FORMAT {
        return Err(Mismatch::Format(before.format));
    }
    same("scale", before.scale, now.scale)?;
    same("build", &before.build, &now.build)?;
    let mut regressions = Vec::new();
    let mut common = 0;
    for row in &now.rows {
        let is_same = |other: &&Row| other.scenario == row.scenario && other.load == row.load;
        let Some(old) = before.rows.iter().find(is_same) else { continue };
        same("number of jobs", old.jobs, row.jobs)?;
        common += 1;
        let pairs = [
            ("sequential", Some(old.sequential_ms), Some(row.sequential_ms)),
            ("parallel", Some(old.parallel_ms), Some(row.parallel_ms)),
            ("warm", old.warm_ms, row.warm_ms),
        ];
        for (what, old, new) in pairs {
            let (Some(old), Some(new)) = (old, new) else { continue };
            let (old, new) = (old.median, new.median);
            if new > old * (1.0 + percent / 100.0) && new - old > NOISE_MS {
                regressions.push(Regression {
                    scenario: row.scenario.clone(),
                    load: row.load,
                    what: what.to_owned(),
                    before_ms: old,
                    now_ms: new,
                    percent: (new / old - 1.0) * 100.0,
                });
            }
        }
    }
    if common == 0 { Err(Mismatch::NothingInCommon) } else { Ok(regressions) }
}

fn same<T: PartialEq + ToString>(what: &'static str, before: T, now: T) -> Result<(), Mismatch> {
    match before == now {
        true => Ok(()),
        false => Err(Mismatch::Setting { what, before: before.to_string(), now: now.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(median: f64) -> Stat {
        Stat { median, min: median, max: median }
    }

    fn report(rows: &[(&str, f64, Option<f64>)]) -> Report {
        let row = |&(scenario, parallel, warm): &(&str, f64, Option<f64>)| Row {
            scenario: scenario.to_owned(),
            name: "n".to_owned(),
            load: Load::Wait,
            nodes: 5,
            jobs: 3,
            sequential_ms: stat(500.0),
            parallel_ms: stat(parallel),
            warm_ms: warm.map(stat),
            bound_ms: 100.0,
            bound_from: "declared".to_owned(),
            speed_up: 1.0,
            efficiency: 1.0,
            overhead_per_node_ms: 1.0,
            peak_width: 3,
            expected_width: 3,
            is_width_certain: true,
            cpu_ms: 0.0,
            peak_memory: 0,
        };
        Report {
            format: FORMAT,
            version: "1".to_owned(),
            build: "release".to_owned(),
            cores: 2,
            scale: 0.2,
            repeat: 3,
            rates: Rates::default(),
            rows: rows.iter().map(row).collect(),
            parts: Vec::new(),
            broken: Vec::new(),
        }
    }

    #[test]
    fn medians_and_percentiles_are_values_that_were_seen() {
        assert_eq!(Stat::of(&[3.0, 1.0, 2.0]), Stat { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Stat::of(&[4.0, 1.0]), Stat { median: 2.5, min: 1.0, max: 4.0 });
        let samples: Vec<f64> = (1..=20).map(f64::from).collect();
        let part = Part::of("x", &samples);
        assert_eq!((part.p50_ms, part.p95_ms, part.samples), (10.0, 19.0, 20));
        assert_eq!(Part::of("x", &[7.0]).p95_ms, 7.0);
    }

    #[test]
    fn a_row_regresses_when_it_is_slower_by_more_than_the_limit_and_than_noise() {
        let before = report(&[("01", 100.0, Some(10.0)), ("02", 100.0, None), ("03", 100.0, None)]);
        // 03 is new enough to be 10% slower exactly; the warm run doubled, but by no more than noise.
        let now = report(&[("01", 90.0, Some(15.0)), ("02", 112.0, None), ("03", 110.0, None)]);
        let found = compare(&before, &now, 10.0).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].scenario.as_str(), found[0].what.as_str()), ("02", "parallel"));
        assert!((found[0].percent - 12.0).abs() < 1e-9);
        let slower_warm = report(&[("01", 100.0, Some(30.0))]);
        assert_eq!(compare(&before, &slower_warm, 10.0).unwrap()[0].what, "warm");
        assert_eq!(compare(&before, &before, 0.0), Ok(Vec::new()));
    }

    #[test]
    fn reports_that_were_measured_otherwise_are_not_compared() {
        let before = report(&[("01", 100.0, None)]);
        let mut now = before.clone();
        now.scale = 1.0;
        assert_eq!(
            compare(&before, &now, 10.0).unwrap_err().to_string(),
            "its scale is 0.2, this one's is 1"
        );
        let mut now = before.clone();
        now.rows[0].jobs = 1;
        assert!(matches!(compare(&before, &now, 10.0), Err(Mismatch::Setting { .. })));
        assert_eq!(compare(&before, &report(&[("02", 1.0, None)]), 10.0), Err(Mismatch::NothingInCommon));
        let mut old = before.clone();
        old.format = 9;
        assert_eq!(compare(&old, &before, 10.0), Err(Mismatch::Format(9)));
    }

    #[test]
    fn a_report_survives_its_json() {
        let report = report(&[("05", 100.5, Some(10.25))]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
