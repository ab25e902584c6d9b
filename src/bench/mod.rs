//! `spb bench`: the eleven scenarios through the real engine, in a throw-away repository. Both sides of every ratio do
//! the same work with the same dependencies. Knows nothing of arguments; prints nothing.

mod field;
pub mod load;
mod parts;
pub mod result;
pub mod scenario;
pub mod show;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::host;
use field::{Field, Ran};
use load::{Load, Rates};
use result::{FORMAT, Report, Row, Stat};
use scenario::Scenario;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Read(#[from] crate::workflow::ReadError),
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    #[error("a workflow of the benchmark is not valid")]
    Workflow,
    #[error("two changes of the benchmark do not merge: {0}")]
    Conflict(String),
    #[error("the benchmark could not be recorded: {0}")]
    Unrecorded(String),
    #[error("node `{0}` of the benchmark did not succeed: {1}")]
    Node(String, String),
    #[error("cannot calibrate the load: `sh -c {0:?}` failed")]
    Calibration(String),
    #[error("interrupted")]
    Interrupted,
}

/// What to measure.
#[derive(Debug)]
pub struct Options {
    pub scenarios: Vec<&'static Scenario>,
    pub loads: Vec<Load>,
    /// Multiplies every duration.
    pub scale: f64,
    /// At least 1.
    pub repeat: usize,
    /// Slots of the parallel run; as many as the scenario is wide when absent.
    pub jobs: Option<usize>,
    /// Those of an earlier measurement, so that both do the same work; what it lacks is measured.
    pub rates: Rates,
    /// The small environment that every node gets.
    pub base_env: Vec<(OsString, OsString)>,
}

/// Runs everything. `tell` is called before each scenario with what comes next.
///
/// # Errors
/// When the repository cannot be made, a node does not succeed, or the user interrupts. What does not meet an
/// expectation is part of the report.
pub fn run(options: &Options, tell: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
    let field = Field::new(options.base_env.clone())?;
    tell("calibrating, and measuring single operations");
    let rates = options.rates.completed(&options.loads, field.root())?;
    let widest = options.scenarios.iter().map(|scenario| slots(options, scenario)).max().unwrap_or(1);
    let mut parts = vec![parts::first_leases(&field, widest)?];
    parts.extend(parts::measure(&field)?);
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for &load in &options.loads {
        for &scenario in &options.scenarios {
            tell(&format!("{} {} ({})", scenario.number, scenario.name, load.word()));
            let bench = Bench { field: &field, options, rates: &rates, scenario, load };
            if rows.is_empty() {
                // Not measured: the first run of a process and of a repository pays for much that no other does.
                field.run(&bench.files("first")?, slots(options, scenario))?;
            }
            rows.push(bench.row(&mut broken)?);
        }
    }
    Ok(Report {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        cores: host::cores(),
        scale: options.scale,
        repeat: options.repeat,
        rates,
        rows,
        parts,
        broken,
    })
}

fn slots(options: &Options, scenario: &Scenario) -> usize {
    options.jobs.unwrap_or(scenario.width)
}

/// One scenario under one load.
struct Bench<'a> {
    field: &'a Field,
    options: &'a Options,
    rates: &'a Rates,
    scenario: &'a Scenario,
    load: Load,
}

/// One repetition, milliseconds.
struct Round {
    bound: f64,
    sequential: f64,
    parallel: f64,
    warm: Option<f64>,
    cpu: f64,
    memory: u64,
    peak: usize,
}

/// How long a node must last, for each one that begins with it, so that it surely lasts until all have begun: two cores
/// take a while to make fifteen worktrees ready. Milliseconds.
const TO_BEGIN_MS: f64 = 4.0;

impl Bench<'_> {
    fn row(&self, broken: &mut Vec<String>) -> Result<Row, BenchError> {
        let rounds =
            (0..self.options.repeat).map(|round| self.round(round, broken)).collect::<Result<Vec<_>, _>>()?;
        let stat = |value: fn(&Round) -> f64| Stat::of(&rounds.iter().map(value).collect::<Vec<_>>());
        let (sequential_ms, parallel_ms) = (stat(|round| round.sequential), stat(|round| round.parallel));
        let bound_ms = stat(|round| round.bound).median;
        let (peak_width, expected_width) =
            (rounds.iter().map(|round| round.peak).max().unwrap_or(0), self.expected_width());
        let must_meet = self.must_meet();
        if peak_width > expected_width || must_meet && peak_width < expected_width {
            broken.push(format!(
                "{}: {peak_width} nodes at once, not {expected_width}",
                self.title("parallel")
            ));
        }
        let warm: Vec<f64> = rounds.iter().filter_map(|round| round.warm).collect();
        Ok(Row {
            scenario: self.scenario.number.to_owned(),
            name: self.scenario.name.to_owned(),
            load: self.load,
            nodes: self.scenario.nodes(),
            jobs: slots(self.options, self.scenario),
            sequential_ms,
            parallel_ms,
            warm_ms: (!warm.is_empty()).then(|| Stat::of(&warm)),
            bound_ms,
            bound_from: if self.load == Load::Wait { "declared" } else { "sequential" }.to_owned(),
            speed_up: sequential_ms.median / parallel_ms.median,
            efficiency: bound_ms / parallel_ms.median,
            overhead_per_node_ms: (parallel_ms.median - bound_ms) / self.scenario.nodes() as f64,
            peak_width,
            expected_width,
            is_width_certain: must_meet,
            cpu_ms: stat(|round| round.cpu).median,
            peak_memory: rounds.iter().map(|round| round.memory).max().unwrap_or(0),
        })
    }

    fn round(&self, round: usize, broken: &mut Vec<String>) -> Result<Round, BenchError> {
        let scenario = self.scenario;
        let one = self.files(&format!("{}-{round}-one", self.load.word()))?;
        let all = self.files(&format!("{}-{round}-all", self.load.word()))?;
        // Whichever comes second finds a warmer machine: they take turns.
        let (sequential, parallel) = if round.is_multiple_of(2) {
            let sequential = self.field.run(&one, 1)?;
            (sequential, self.field.run(&all, slots(self.options, scenario))?)
        } else {
            let parallel = self.field.run(&all, slots(self.options, scenario))?;
            (self.field.run(&one, 1)?, parallel)
        };
        for (part, ran) in [("one at a time", &sequential), ("parallel", &parallel)] {
            if ran.started != scenario.nodes() || ran.ended.len() != scenario.nodes() {
                broken.push(format!(
                    "{}: {} nodes ran, not {}",
                    self.title(part),
                    ran.started,
                    scenario.nodes()
                ));
            }
        }
        if sequential.peak != 1 {
            broken.push(format!("{}: {} nodes at once, not 1", self.title("one at a time"), sequential.peak));
        }
        let mut warm = None;
        if scenario.has_warm {
            let again = self.field.run(&all, slots(self.options, scenario))?;
            if again.started > 0 || again.ended.len() != scenario.nodes() {
                broken.push(format!("{}: {} nodes ran, not 0", self.title("warm"), again.started));
            }
            warm = Some(again.wall_ms);
        }
        let usage = || parallel.ended.iter().map(|(_, node)| node.usage);
        Ok(Round {
            bound: self.bound(&sequential),
            sequential: sequential.wall_ms,
            parallel: parallel.wall_ms,
            warm,
            cpu: usage().map(|usage| usage.cpu_ms as f64).sum(),
            memory: usage().map(|usage| usage.peak_memory).max().unwrap_or(0),
            peak: parallel.peak,
        })
    }

    /// Writes the workflow files of one run, with keys of its own.
    fn files(&self, round: &str) -> Result<Vec<PathBuf>, BenchError> {
        let scale = self.options.scale;
        let script =
            |step: &scenario::Step| self.load.script(step.name, f64::from(step.ms) * scale, self.rates);
        (0..self.scenario.copies)
            .map(|copy| {
                let text = self.scenario.workflow(copy, round, script);
                self.field.write(&format!("{}-{copy}-{round}.yaml", self.scenario.number), &text)
            })
            .collect()
    }

    fn title(&self, part: &str) -> String {
        format!("{} ({}), {part}", self.scenario.number, self.load.word())
    }

    fn expected_width(&self) -> usize {
        self.scenario.width.min(slots(self.options, self.scenario))
    }

    /// Whether the nodes last long enough to meet whatever else the machine does. Only waiting ones take their time.
    fn must_meet(&self) -> bool {
        let shortest = self.scenario.steps.iter().map(|step| f64::from(step.ms)).fold(f64::MAX, f64::min);
        self.load == Load::Wait && shortest * self.options.scale >= TO_BEGIN_MS * self.expected_width() as f64
    }

    /// No engine can be faster: the longest way through the graph, or all the work on all slots. Computing has no more
    /// slots than the machine has cores.
    fn bound(&self, sequential: &Ran) -> f64 {
        let jobs = slots(self.options, self.scenario);
        let declared = |step: &scenario::Step| f64::from(step.ms) * self.options.scale;
        if self.load == Load::Wait {
            let total: f64 = self.scenario.steps.iter().map(declared).sum();
            let critical = self.scenario.critical(declared);
            return critical.max(total * self.scenario.copies as f64 / jobs as f64);
        }
        let slots = if self.load == Load::Cpu { jobs.min(host::cores()) } else { jobs };
        let mut alone: HashMap<_, HashMap<&str, f64>> = HashMap::new();
        for (run, node) in &sequential.ended {
            alone.entry(run).or_default().insert(&node.node, node.duration_ms as f64);
        }
        let total: f64 = alone.values().flat_map(HashMap::values).sum();
        let critical = alone
            .values()
            .map(|nodes| self.scenario.critical(|step| nodes.get(step.name).copied().unwrap_or(0.0)))
            .fold(0.0, f64::max);
        critical.max(total / slots as f64)
    }
}
