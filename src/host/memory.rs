//! Memory that may be used: the machine's, within the limits of our control group and of those around it.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes, within the limits of our control group where it has any. Zero where the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    /// What can be taken without swapping.
    pub available: u64,
}

pub fn memory() -> Memory {
    let whole = of_machine(&read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or_else(of_sysinfo);
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    within_groups(whole, &groups, Path::new("/sys/fs/cgroup"))
}

/// From `/proc/meminfo`: several times as fast as sysinfo, for who asks before each start.
fn of_machine(text: &str) -> Option<Memory> {
    let bytes = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    Some(Memory { total: bytes("MemTotal:")?, available: bytes("MemAvailable:")? })
}

fn of_sysinfo() -> Memory {
    let Ok(mut system) = sysinfo::System::new() else { return Memory { total: 0, available: 0 } };
    system.refresh_memory();
    Memory { total: system.total_memory(), available: system.available_memory() }
}

/// `groups` is `/proc/self/cgroup`. sysinfo's own limits count the page cache as used: a group that read much would
/// look full.
fn within_groups(whole: Memory, groups: &str, mount: &Path) -> Memory {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        match (fields.next(), fields.next()) {
            (Some(""), Some(path)) => limits_along(mount, path, &VERSION_2, whole.total),
            (Some(controllers), Some(path)) if controllers.split(',').any(|name| name == "memory") => {
                limits_along(&mount.join("memory"), path, &VERSION_1, whole.total)
            }
            _ => Vec::new(),
        }
    });
    limits.fold(whole, |least, limit| Memory {
        total: least.total.min(limit.total),
        available: least.available.min(limit.available),
    })
}

struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Line of `memory.stat`: page cache that is given up first.
    cache: &'static str,
}

const VERSION_2: Files = Files { limit: "memory.max", usage: "memory.current", cache: "inactive_file " };
const VERSION_1: Files =
    Files { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", cache: "total_inactive_file " };

/// The limits below `most` of a group and of every group above it. One that cannot be read, or is not mounted here,
/// has none.
fn limits_along(mount: &Path, path: &str, files: &Files, most: u64) -> Vec<Memory> {
    let group = mount.join(path.trim_start_matches('/'));
    let above = group.ancestors().take_while(|folder| folder.starts_with(mount));
    above.filter_map(|folder| limit(folder, files, most)).collect()
}

fn limit(group: &Path, files: &Files, most: u64) -> Option<Memory> {
    let number = |name| read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // The statistics are slow to read: not where there is no limit.
    let total = number(files.limit).filter(|total| *total < most)?;
    let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cache = stat.lines().find_map(|line| line.strip_prefix(files.cache)?.parse().ok());
    let used = number(files.usage)?.saturating_sub(cache.unwrap_or(0));
    Some(Memory { total, available: total.saturating_sub(used) })
}

/// How many processes the kernel has killed for want of memory since boot; `None` where it does not tell.
pub fn out_of_memory_kills() -> Option<u64> {
    let counters = read_to_string("/proc/vmstat").ok()?;
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_in_kibibytes() {
        let text = "MemTotal:       16 kB\nMemFree:        1 kB\nMemAvailable:        9 kB\n";
        assert_eq!(of_machine(text), Some(Memory { total: 16 << 10, available: 9 << 10 }));
        assert_eq!(of_machine("MemTotal: 16 kB\n"), None);
        assert!(of_sysinfo().total > 0);
    }

    const WHOLE: Memory = Memory { total: 1000, available: 800 };

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides_and_page_cache_is_free() {
        let mount = tempfile::tempdir().unwrap();
        write(
            mount.path(),
            &[
                ("a/memory.max", "300\n"),
                ("a/memory.current", "250\n"),
                ("a/memory.stat", "anon 1\ninactive_file 50\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.current", "10\n"),
            ],
        );
        let memory = within_groups(WHOLE, "0::/a/b\n", mount.path());
        assert_eq!(memory, Memory { total: 300, available: 100 });
        assert_eq!(within_groups(WHOLE, "0::/elsewhere\n", mount.path()), WHOLE);
    }

    #[test]
    fn a_group_of_the_first_version_counts_and_no_limit_is_none() {
        let mount = tempfile::tempdir().unwrap();
        write(
            mount.path(),
            &[("memory/j/memory.limit_in_bytes", "400\n"), ("memory/j/memory.usage_in_bytes", "100\n")],
        );
        let memory = within_groups(WHOLE, "5:cpu,memory:/j\n4:pids:/j\n", mount.path());
        assert_eq!(memory, Memory { total: 400, available: 300 });
        write(mount.path(), &[("memory/j/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(within_groups(WHOLE, "5:cpu,memory:/j\n", mount.path()), WHOLE);
    }
}
