//! The eleven scenarios as data: who needs whom, for how long, how wide it gets. Knows nothing of how they are run.

use std::collections::HashMap;

/// One node of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub name: &'static str,
    /// How long it works at scale 1, milliseconds.
    pub ms: u32,
    /// Earlier steps.
    pub needs: &'static [&'static str],
}

/// A graph that is run one node at a time and then as wide as it is.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// `01` to `11`.
    pub number: &'static str,
    pub name: &'static str,
    /// Needs before dependents.
    pub steps: &'static [Step],
    /// Workflows of this graph that one process runs at once.
    pub copies: usize,
    /// Most nodes that work at the same time when nothing limits them.
    pub width: usize,
    /// It is run a second time, when the cache has everything.
    pub has_warm: bool,
}

const fn step(name: &'static str, ms: u32, needs: &'static [&'static str]) -> Step {
    Step { name, ms, needs }
}

const CHAIN: &[Step] = &[
    step("plan", 300, &[]),
    step("build", 700, &["plan"]),
    step("test", 400, &["build"]),
    step("review", 300, &["test"]),
    step("document", 200, &["review"]),
];

const AGENTS: &[Step] = &[
    step("plan", 300, &[]),
    step("build", 700, &["plan"]),
    step("test", 400, &["build"]),
    step("review", 300, &["build"]),
    step("document", 200, &["build"]),
];

const SKILLS: &[Step] = &[
    step("plan", 300, &[]),
    step("deps", 150, &["plan"]),
    step("patterns", 150, &["plan"]),
    step("generate", 200, &["deps", "patterns"]),
    step("validate", 100, &["generate"]),
    step("unit", 120, &["validate"]),
    step("integration", 150, &["validate"]),
    step("e2e", 130, &["validate"]),
    step("review", 300, &["unit", "integration", "e2e"]),
    step("document", 200, &["review"]),
];

const BOTH: &[Step] = &[
    step("plan", 300, &[]),
    step("deps", 150, &["plan"]),
    step("patterns", 150, &["plan"]),
    step("generate", 200, &["deps", "patterns"]),
    step("validate", 100, &["generate"]),
    step("unit", 120, &["validate"]),
    step("integration", 150, &["validate"]),
    step("e2e", 130, &["validate"]),
    step("review", 300, &["validate"]),
    step("document", 200, &["validate"]),
];

const EIGHT: &[Step] = &[
    step("agent1", 500, &[]),
    step("agent2", 500, &[]),
    step("agent3", 500, &[]),
    step("agent4", 500, &[]),
    step("agent5", 500, &[]),
    step("agent6", 500, &[]),
    step("agent7", 500, &[]),
    step("agent8", 500, &[]),
];

const fn one(number: &'static str, name: &'static str, steps: &'static [Step], width: usize) -> Scenario {
    Scenario { number, name, steps, copies: 1, width, has_warm: false }
}

const fn scaling(number: &'static str, name: &'static str, agents: usize) -> Scenario {
    one(number, name, EIGHT.split_at(agents).0, agents)
}

/// All of them, in order.
pub const SCENARIOS: &[Scenario] = &[
    one("01", "baseline sequential", CHAIN, 1),
    one("02", "parallel agents", AGENTS, 3),
    one("03", "skills", SKILLS, 3),
    one("04", "agents and skills", BOTH, 5),
    Scenario { has_warm: true, ..one("05", "cache", CHAIN, 1) },
    Scenario { has_warm: true, ..one("06", "full stack", BOTH, 5) },
    Scenario { copies: 5, width: 15, ..one("07", "five workflows", AGENTS, 3) },
    scaling("08", "2 agents", 2),
    scaling("09", "4 agents", 4),
    scaling("10", "6 agents", 6),
    scaling("11", "8 agents", 8),
];

impl Scenario {
    pub fn nodes(&self) -> usize {
        self.steps.len() * self.copies
    }

    /// Longest way through the graph, when each step takes what `ms` says.
    pub fn critical(&self, ms: impl Fn(&Step) -> f64) -> f64 {
        let mut ends: HashMap<&str, f64> = HashMap::new();
        for step in self.steps {
            let start = step.needs.iter().map(|need| ends[need]).fold(0.0, f64::max);
            ends.insert(step.name, start + ms(step));
        }
        ends.into_values().fold(0.0, f64::max)
    }

    /// The workflow file of copy `copy`. `round` makes its keys those of no other run; `script` gives each step its
    /// command.
    pub fn workflow(&self, copy: usize, round: &str, script: impl Fn(&Step) -> String) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "version: 1\nname: bench-{}-{}\nenv: {{ BENCH_ROUND: {} }}\nnodes:\n",
            self.number,
            copy + 1,
            quoted(&format!("{}-{copy}-{round}", self.number))
        );
        for step in self.steps {
            text.push_str(&format!(
                "  {}: {{ needs: [{}], run: {} }}\n",
                step.name,
                step.needs.join(", "),
                quoted(&script(step))
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graphs_are_the_documented_ones() {
        let five = 300 + 700 + 400 + 300 + 200;
        let build = 150 + 200 + 100;
        // Number, nodes, sum of all work, longest way, width: worked out by hand.
        let by_hand = [
            ("01", 5, five, five, 1),
            ("02", 5, five, 300 + 700 + 400, 3),
            ("03", 10, 300 + 150 + build + 400 + 500, 300 + build + 150 + 300 + 200, 3),
            ("04", 10, 300 + 150 + build + 400 + 500, 300 + build + 300, 5),
            ("05", 5, five, five, 1),
            ("06", 10, 300 + 150 + build + 400 + 500, 300 + build + 300, 5),
            ("07", 25, 5 * five, 300 + 700 + 400, 15),
            ("08", 2, 1000, 500, 2),
            ("09", 4, 2000, 500, 4),
            ("10", 6, 3000, 500, 6),
            ("11", 8, 4000, 500, 8),
        ];
        let found: Vec<_> = SCENARIOS
            .iter()
            .map(|scenario| {
                let total: u32 = scenario.steps.iter().map(|step| step.ms).sum();
                let total = total as usize * scenario.copies;
                let critical = scenario.critical(|step| f64::from(step.ms)) as usize;
                (scenario.number, scenario.nodes(), total, critical, scenario.width)
            })
            .collect();
        assert_eq!(found, by_hand);
    }

    #[test]
    fn the_expected_width_is_that_of_the_earliest_schedule() {
        for scenario in SCENARIOS {
            let mut spans: HashMap<&str, (u32, u32)> = HashMap::new();
            for step in scenario.steps {
                let start = step.needs.iter().map(|need| spans[need].1).max().unwrap_or(0);
                spans.insert(step.name, (start, start + step.ms));
            }
            let at = |time: u32| spans.values().filter(|(from, to)| (*from..*to).contains(&time)).count();
            let widest = spans.values().map(|(from, _)| at(*from)).max().unwrap();
            assert_eq!(widest * scenario.copies, scenario.width, "{}", scenario.number);
        }
    }

    #[test]
    fn every_workflow_file_is_valid() {
        for scenario in SCENARIOS {
            let text = scenario.workflow(0, "r1", |step| format!("echo \"{}\" > 'a b'", step.name));
            let loaded = crate::workflow::load("bench.yaml".as_ref(), text.into_bytes());
            assert!(loaded.problems.list.is_empty(), "{:?}", loaded.problems.list);
            assert_eq!(loaded.workflow.unwrap().nodes.len(), scenario.steps.len());
        }
    }
}
