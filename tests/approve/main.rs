//! What gates promise, tested from outside: a question, a person's answer, and runs that wait for it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod crash;
mod graph;
mod terminal;

use common::{Run, Running, World, until};
use serde_json::Value;

/// `build`, then `gate`, then `ship`, which writes who said what.
const SHIP: &str = r#"
nodes:
  build: { run: 'echo build >> "$HOME/ran"; echo b > b.txt' }
  gate: { needs: [build], approve: "Ship it?" }
  ship:
    needs: [gate]
    env: { BY: "${{ needs.gate.outputs.by }}", WORDS: "${{ needs.gate.outputs.message }}" }
    run: 'echo ship >> "$HOME/ran"; printf "%s\n%s" "$BY" "$WORDS" > said.txt; cat b.txt'
"#;

impl World {
    /// `spb` with these words, run to its end.
    #[track_caller]
    fn say(&self, words: &[&str]) -> Run {
        self.spb(words).run()
    }

    /// A run that stays while it waits, once it has asked.
    #[track_caller]
    fn waiting(&self, workflow: &str, node: &str) -> Running {
        let running = self.applying(workflow, &["--wait"]).begin();
        self.asked(node, 1);
        running
    }

    /// Waits until a node has put its question so many times, in all runs.
    fn asked(&self, node: &str, times: usize) {
        until(|| self.questions(node) >= times);
    }

    /// How often a node has put a question, in all runs.
    fn questions(&self, node: &str) -> usize {
        let asks = format!("\"event\":\"approval_asked\",\"node\":\"{node}\"");
        self.journals().iter().map(|journal| journal.matches(&asks).count()).sum()
    }

    /// The newest run as JSON.
    #[track_caller]
    fn status(&self) -> Value {
        serde_json::from_str(&self.say(&["status", "--json"]).success().stdout).unwrap()
    }

    /// A node of the newest run as JSON.
    #[track_caller]
    fn node(&self, node: &str) -> Value {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|one| one["node"] == *node).unwrap().clone()
    }
}
