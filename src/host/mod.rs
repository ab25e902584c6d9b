//! Reads the machine: cores, memory, disk, boot and processes; signals processes whose identity it has checked.
//! Knows nothing of nodes; of runs only that their processes carry `SPB_RUN` and `SPB_NODE`.

pub mod cgroup;
mod identity;
mod limits;
mod memory;
pub mod orphans;
mod sweep;
pub mod terminal;

use std::path::Path;
use std::sync::OnceLock;

pub use identity::{HostError, is_alive, process, signal, this_process};
pub use limits::{allow_open_files, check_threads, open_file_limit};
pub use memory::{Memory, memory, out_of_memory_kills};
pub use rustix::process::Signal;
pub use sweep::{group_lives, kill_group, sweep};

/// Processor cores that we may use: affinity and control group quota count.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Bytes that we may still write on the file system of `path`.
pub fn disk_free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Identity of the machine's current boot.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| sysinfo::System::boot_time().unwrap_or(0).to_string(), |id| id.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_cores_memory_disk_a_name_and_a_boot() {
        assert!(cores() >= 1);
        let memory = memory();
        assert!(memory.available > 0 && memory.available <= memory.total, "{memory:?}");
        assert!(disk_free(Path::new("/")).is_some());
        assert_eq!(disk_free(Path::new("/nowhere/at/all")), None);
        assert!(!hostname().is_empty() && !boot_id().is_empty());
    }
}
