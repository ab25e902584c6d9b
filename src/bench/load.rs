//! What a node of a benchmark does for its time: it waits, computes, or writes and reads files. Computing and writing
//! are calibrated once, so that a step takes about its time when nothing else runs.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::BenchError;
use crate::process::Tool;

/// The kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// `sleep`: takes no processor, so that only the engine's own cost lies between the wall time and the bound.
    Wait,
    /// A loop in `awk`.
    Cpu,
    /// Rounds of writing 256 KiB, fsync and reading it back, in the leased worktree.
    Io,
}

/// What this machine does in a millisecond, alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Turns of the loop; absent when no computing load was asked for.
    pub cpu_turns_per_ms: Option<f64>,
    /// Milliseconds of one round; absent when no writing load was asked for.
    pub io_ms_per_round: Option<f64>,
}

impl Load {
    pub const ALL: [Self; 3] = [Self::Wait, Self::Cpu, Self::Io];

    pub fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Cpu => "cpu",
            Self::Io => "io",
        }
    }

    /// The command of one node. Each leaves a small file of its own, so that there is something to capture and merge.
    pub fn script(self, name: &str, ms: f64, rates: &Rates) -> String {
        let work = match self {
            Self::Wait => format!("sleep {:.4}", ms / 1000.0),
            Self::Cpu => turns((ms * rates.cpu_turns_per_ms.unwrap_or(1.0)).ceil() as u64),
            Self::Io => rounds((ms / rates.io_ms_per_round.unwrap_or(1.0)).round().max(1.0) as u64),
        };
        format!("{work} && echo {name} > {name}.done")
    }
}

fn turns(count: u64) -> String {
    format!("awk 'BEGIN {{ for (i = 0; i < {count}; i++) x += i }}'")
}

fn rounds(count: u64) -> String {
    format!(
        "i=0; while [ $i -lt {count} ]; do \
         dd if=/dev/zero of=load.bin bs=65536 count=4 conv=fsync 2>/dev/null && cat load.bin >/dev/null || exit 1; \
         i=$((i + 1)); done; rm load.bin"
    )
}

impl Rates {
    /// Measures what the loads need and is not known yet, in `directory`.
    ///
    /// # Errors
    /// When `awk` or `dd` is missing or fails.
    pub fn completed(self, loads: &[Load], directory: &Path) -> Result<Self, BenchError> {
        // A rate of nothing would make a loop without end.
        let known = |rate: Option<f64>| rate.filter(|rate| *rate > 0.001);
        let mut rates = Self {
            cpu_turns_per_ms: known(self.cpu_turns_per_ms),
            io_ms_per_round: known(self.io_ms_per_round),
        };
        if loads.contains(&Load::Cpu) && rates.cpu_turns_per_ms.is_none() {
            const FEW: u64 = 200_000;
            const MANY: u64 = 3_200_000;
            let ms = slope(directory, &turns(FEW), &turns(MANY))?;
            rates.cpu_turns_per_ms = Some((MANY - FEW) as f64 / ms);
        }
        if loads.contains(&Load::Io) && rates.io_ms_per_round.is_none() {
            const FEW: u64 = 1;
            const MANY: u64 = 13;
            let ms = slope(directory, &rounds(FEW), &rounds(MANY))?;
            rates.io_ms_per_round = Some(ms / (MANY - FEW) as f64);
        }
        Ok(rates)
    }
}

/// What the longer command takes more than the shorter one, milliseconds: starting a process is in neither. The best of
/// three, because noise only adds.
fn slope(directory: &Path, short: &str, long: &str) -> Result<f64, BenchError> {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..3 {
        for (best, script) in best.iter_mut().zip([short, long]) {
            let began = Instant::now();
            let done = Tool::new("sh").args(["-c", script]).directory(directory).run();
            let ended = began.elapsed().as_secs_f64() * 1000.0;
            if !done.is_ok_and(|output| output.code == 0) {
                return Err(BenchError::Calibration(script.to_owned()));
            }
            *best = best.min(ended);
        }
    }
    Ok((best[1] - best[0]).max(0.001))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_do_the_work_that_the_rates_say() {
        let rates = Rates { cpu_turns_per_ms: Some(1000.0), io_ms_per_round: Some(10.0) };
        assert_eq!(Load::Wait.script("a", 60.0, &rates), "sleep 0.0600 && echo a > a.done");
        assert!(Load::Cpu.script("a", 60.0, &rates).contains("i < 60000;"));
        assert!(Load::Io.script("a", 60.0, &rates).contains("-lt 6 ]"));
        assert!(Load::Io.script("a", 1.0, &rates).contains("-lt 1 ]"));
    }
}
