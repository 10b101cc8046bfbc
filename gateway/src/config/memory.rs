//! How much memory this process may use: the machine's, or less where a control group (of either version) limits it, as
//! containers and services do. Decides the size of caches that nobody has set, and how much may be under way; enforces
//! nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

use mailrail_broker::limits::IN_FLIGHT_BYTES_MAX;

/// The part of the memory that one cache takes, so that it leaves most of a small machine to messages under way.
const CACHE_PART_OF_MEMORY: u64 = 16;
const CACHE_BYTES_MIN: u64 = 1 << 20;
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// The part of the memory for publishes under way: each is there twice, as it came and as it is stored.
const IN_FLIGHT_PART_OF_MEMORY: u64 = 8;
/// Less would keep one long request waiting for itself.
const IN_FLIGHT_BYTES_MIN: u64 = 4 << 20;

/// Where one version of control groups keeps the limits of memory.
struct Version {
    /// What `/proc/self/cgroup` lists beside our group's path.
    controller: &'static str,
    mounted: &'static str,
    files: &'static [&'static str],
}

const VERSIONS: [Version; 2] = [
    Version { controller: "", mounted: "sys/fs/cgroup", files: &["memory.max", "memory.high"] },
    Version { controller: "memory", mounted: "sys/fs/cgroup/memory", files: &["memory.limit_in_bytes"] },
];

/// The default size of a cache.
pub fn cache_bytes(memory_bytes: Option<u64>) -> u64 {
    let part = memory_bytes.map_or(CACHE_BYTES_MAX, |bytes| bytes / CACHE_PART_OF_MEMORY);
    part.clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX)
}

/// What publishes that wait for their answers may take.
pub fn in_flight_bytes_max(memory_bytes: Option<u64>) -> u64 {
    let part = memory_bytes.map_or(IN_FLIGHT_BYTES_MAX, |bytes| bytes / IN_FLIGHT_PART_OF_MEMORY);
    part.clamp(IN_FLIGHT_BYTES_MIN, IN_FLIGHT_BYTES_MAX)
}

/// The least of all limits that are told below `root`, which is `/` but in tests.
pub fn limit_bytes(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(group).flat_map(|(version, path)| limits(root, version, &path));
    limits.chain(machine_bytes(root)).min()
}

/// A line like `4:cpu,memory:/a/b` or `0::/a/b`.
fn group(line: &str) -> Option<(&'static Version, PathBuf)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let version =
        VERSIONS.iter().find(|version| controllers.split(',').any(|one| one == version.controller))?;
    // One that leads out of our view of the groups says nothing; only what is mounted counts then.
    let names = Path::new(path).components().map(|part| match part {
        Component::ParentDir => None,
        Component::Normal(name) => Some(Path::new(name)),
        _ => Some(Path::new("")),
    });
    Some((version, names.collect::<Option<PathBuf>>().unwrap_or_default()))
}

/// The limits of a group and of all above it. In a container the path may be the host's, which is not there, and what is
/// mounted is the container's own group.
fn limits(root: &Path, version: &Version, path: &Path) -> Vec<u64> {
    let mounted = root.join(version.mounted);
    let folders = path.ancestors().map(|folder| mounted.join(folder));
    let files = folders.flat_map(|folder| version.files.iter().map(move |file| folder.join(file)));
    // No limit is the word `max`, or in version 1 a number that no machine has.
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        2097152 kB\nMemFree: 1 kB\n");

    /// The limit that a system with these files has, in MiB.
    fn limit_mib(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        limit_bytes(root.path()).map(|bytes| bytes / MIB)
    }

    #[test]
    fn without_a_limit_it_is_the_machine() {
        assert_eq!(limit_mib(&[]), None);
        assert_eq!(limit_mib(&[MEMINFO]), Some(2048));
        assert_eq!(limit_mib(&[("proc/meminfo", "MemTotal: much\n")]), None);
        let unlimited = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(limit_mib(&unlimited), Some(2048));
        let unlimited = [
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit_mib(&unlimited), Some(2048));
    }

    #[test]
    fn the_second_version_counts_every_group_above() {
        let own = ("sys/fs/cgroup/a/b/memory.max", "268435456\n");
        let groups = ("proc/self/cgroup", "0::/a/b\n");
        assert_eq!(limit_mib(&[MEMINFO, groups, own]), Some(256));
        assert_eq!(limit_mib(&[groups, own]), Some(256));
        assert_eq!(
            limit_mib(&[MEMINFO, groups, own, ("sys/fs/cgroup/a/memory.max", "134217728\n")]),
            Some(128)
        );
        assert_eq!(
            limit_mib(&[MEMINFO, groups, own, ("sys/fs/cgroup/a/b/memory.high", "67108864")]),
            Some(64)
        );
        let higher = ("sys/fs/cgroup/a/b/memory.max", "8589934592\n");
        assert_eq!(limit_mib(&[MEMINFO, groups, higher]), Some(2048));
    }

    #[test]
    fn the_first_version_has_a_folder_for_each_controller() {
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:hugetlb,memory:/a:b\n0::/\n");
        let own = ("sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "268435456\n");
        assert_eq!(limit_mib(&[MEMINFO, groups, own]), Some(256));
        let other = ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1048576\n");
        assert_eq!(limit_mib(&[MEMINFO, groups, other]), Some(2048));
    }

    #[test]
    fn a_container_sees_its_group_where_it_is_mounted() {
        for groups in ["0::/\n", "0::/host/path/that/is/not/here\n", "0::/../../outside\n"] {
            let files = [MEMINFO, ("proc/self/cgroup", groups), ("sys/fs/cgroup/memory.max", "268435456\n")];
            assert_eq!(limit_mib(&files), Some(256), "{groups}");
        }
        // Nor does a path lead to files that are no group's.
        let files = [MEMINFO, ("proc/self/cgroup", "0::/../x\n"), ("sys/fs/x/memory.max", "1048576\n")];
        assert_eq!(limit_mib(&files), Some(2048));
    }

    #[test]
    fn caches_and_what_is_under_way_are_small_where_memory_is() {
        for (memory_mib, cache_mib) in
            [(None, 16), (Some(8192), 16), (Some(256), 16), (Some(128), 8), (Some(4), 1)]
        {
            assert_eq!(cache_bytes(memory_mib.map(|mib: u64| mib * MIB)), cache_mib * MIB, "{memory_mib:?}");
        }
        for (memory_mib, in_flight_mib) in [(None, 64), (Some(8192), 64), (Some(256), 32), (Some(4), 4)] {
            let found = in_flight_bytes_max(memory_mib.map(|mib: u64| mib * MIB));
            assert_eq!(found, in_flight_mib * MIB, "{memory_mib:?}");
        }
    }
}
