//! Mutated workflow files against the promises of `load`: see `oracle`. `cargo test` gives it a moment; `tests/fuzz/run`
//! gives it minutes, keeps what it found, and can guide it by coverage. The environment says how long and where:
//! `FUZZ_SECONDS`, `FUZZ_SEED`, `FUZZ_KEEP` (a directory).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests may fail, make what they look at, and say how far they are"
)]

mod coverage;
mod mutate;
mod oracle;
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Mutator;
use random::Random;

#[global_allocator]
static MEMORY: oracle::Counting = oracle::Counting;

/// Executions when nobody says how long: a moment.
const MOMENT: u64 = 400;

/// Texts larger than this are neither seeds nor made, in bytes.
const LARGEST: usize = 12 * 1024;

struct Fuzz {
    random: Random,
    mutator: Mutator,
    corpus: Vec<String>,
    coverage: coverage::Coverage,
    /// By what is wrong, so that each shows up once.
    findings: BTreeMap<String, String>,
    keep: Option<PathBuf>,
    executions: u64,
}

impl Fuzz {
    fn new(seed: u64, keep: Option<PathBuf>) -> Self {
        let mut corpus = Vec::new();
        for directory in ["tests/cases/good", "tests/cases/bad", "examples", "examples/failing", "workflows"]
        {
            corpus.extend(texts(Path::new(directory)));
        }
        assert!(corpus.len() > 50, "the seeds were not found");
        if let Some(keep) = &keep {
            std::fs::create_dir_all(keep.join("corpus")).unwrap();
            std::fs::create_dir_all(keep.join("findings")).unwrap();
            corpus.extend(texts(&keep.join("corpus")));
        }
        Self {
            random: Random(seed),
            mutator: Mutator::new(),
            corpus,
            coverage: coverage::Coverage::new(),
            findings: BTreeMap::new(),
            keep,
            executions: 0,
        }
    }

    /// Runs one text; whether it reached code that none before it did.
    fn execute(&mut self, text: &str) -> bool {
        if let Some(keep) = &self.keep {
            // A stack overflow leaves nothing but this.
            std::fs::write(keep.join("current"), text).unwrap();
        }
        self.executions += 1;
        self.coverage.reset();
        let found = oracle::examine(text);
        let is_new = self.coverage.is_new();
        if let Err(what) = found {
            self.found(&what, text);
        }
        is_new
    }

    fn found(&mut self, what: &str, text: &str) {
        let kind = oracle::kind(what);
        if self.findings.contains_key(&kind) {
            return;
        }
        let small = smaller(text, &kind);
        if let Some(keep) = &self.keep {
            let name = format!("{:016x}", random::hash(&kind));
            std::fs::write(keep.join("findings").join(format!("{name}.yaml")), &small).unwrap();
            std::fs::write(keep.join("findings").join(format!("{name}.txt")), what).unwrap();
            eprintln!("found: {what}");
        }
        self.findings.insert(kind, format!("{what}\n--- in\n{small}\n---"));
    }

    fn run(&mut self, is_over: &dyn Fn(u64) -> bool) {
        for seed in std::mem::take(&mut self.corpus) {
            if is_over(self.executions) {
                break;
            }
            self.execute(&seed);
            self.corpus.push(seed);
        }
        let mut shown = Instant::now();
        while !is_over(self.executions) {
            // What came late reached further: every second time it is one of the last.
            let recent = (self.corpus.len() / 8).max(1);
            let from = match self.random.below(2) {
                0 => self.corpus.len() - 1 - self.random.below(recent),
                _ => self.random.below(self.corpus.len()),
            };
            let text = self.mutator.mutate(&self.corpus[from], &self.corpus, &mut self.random);
            if text.len() > LARGEST {
                continue;
            }
            if self.execute(&text) {
                if let Some(keep) = &self.keep {
                    let name = format!("{:016x}.yaml", random::hash(&text));
                    std::fs::write(keep.join("corpus").join(name), &text).unwrap();
                }
                self.corpus.push(text);
            }
            if self.keep.is_some() && shown.elapsed() > Duration::from_secs(30) {
                shown = Instant::now();
                self.report();
            }
        }
    }

    fn report(&self) {
        eprintln!(
            "{} executions, {} texts, {} places reached, {} findings, most memory {} MiB",
            self.executions,
            self.corpus.len(),
            self.coverage.reached(),
            self.findings.len(),
            oracle::most_memory() >> 20
        );
    }
}

/// Leaves out runs of lines, then of characters, as long as the same is wrong.
fn smaller(text: &str, kind: &str) -> String {
    let same = |text: &str| oracle::examine(text).is_err_and(|what| oracle::kind(&what) == kind);
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let lines = reduced(lines, &|parts| same(&parts.concat()));
    let chars: Vec<String> = lines.concat().chars().map(String::from).collect();
    reduced(chars, &|parts| same(&parts.concat())).concat()
}

fn reduced(mut parts: Vec<String>, holds: &dyn Fn(&[String]) -> bool) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut size = (parts.len() / 2).max(1);
    loop {
        let mut at = 0;
        while at < parts.len() && Instant::now() < deadline {
            let mut fewer = parts.clone();
            fewer.drain(at..(at + size).min(parts.len()));
            if holds(&fewer) { parts = fewer } else { at += size }
        }
        if size == 1 || Instant::now() >= deadline {
            return parts;
        }
        size /= 2;
    }
}

fn texts(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter(|text| text.len() <= LARGEST).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_mutated_file_breaks_a_promise() {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let seconds = number("FUZZ_SECONDS");
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut fuzz = Fuzz::new(seed, std::env::var_os("FUZZ_KEEP").map(PathBuf::from));
    let _watch = fuzz.keep.clone().map(oracle::watch);
    let seeds = fuzz.corpus.len() as u64;
    oracle::quietly(|| {
        fuzz.run(&|executions| match deadline {
            Some(deadline) => Instant::now() >= deadline,
            None => executions >= seeds + MOMENT,
        });
    });
    fuzz.report();
    let findings: Vec<&str> = fuzz.findings.values().map(String::as_str).collect();
    assert!(findings.is_empty(), "{} findings (seed {seed})\n{}", findings.len(), findings.join("\n"));
}
