//! The memory budget: one number, the machine's or what a control group (of either version) leaves of it unless
//! somebody sets another, and the one table that splits it. Every share is counted where it is used; nothing is enforced
//! here.

use std::fs;
use std::path::{Component, Path, PathBuf};

use mailrail_broker::limits::{CONNECTION_FREE_BYTES, DELIVERY_STEP_BYTES_MIN, IN_FLIGHT_BYTES_MAX};
use mailrail_rest::limits as rest;

use crate::buffers::{FREE_BYTES, TURN_BYTES_MAX};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// With less, one largest request and its answer have no room beside everything else.
pub const MEMORY_MIB_MIN: u64 = 224;
pub const MEMORY_MIB_MAX: u64 = 1 << 20;
/// The budget where the system does not say what there is.
const MEMORY_BYTES_UNKNOWN: u64 = 1024 * MIB;
/// Of what the system says, this part is left to what it holds for the process, which a control group is charged for:
/// buffers of sockets, page tables, pages of the log on their way to the disk.
const SYSTEM_PART: u64 = 8;
/// The part that nobody counts: code, stacks, the index of queues, leases, what the allocator does not give back.
const RESERVE_PART: u64 = 4;
/// A cache's part. More than its largest brings little.
const CACHE_PART: u64 = 16;
const CACHE_BYTES_MIN: u64 = MIB;
const CACHE_BYTES_MAX: u64 = 16 * MIB;
/// What a connection takes: its state, and what of its input and output is not counted.
const CONNECTION_BYTES: u64 = 8 * KIB + wide(FREE_BYTES) + wide(CONNECTION_FREE_BYTES);
const CONNECTIONS_MAX: u64 = 10_000;
/// A publish that waits for its answer is there twice, as it came and as it is stored.
const IN_FLIGHT_COPIES: u64 = 2;
/// Less would keep one long request waiting for itself.
const IN_FLIGHT_BYTES_MIN: u64 = 4 * MIB;
/// One message whose text JSON writes as six times as much, with the steps in which its document grows.
const ANSWER_BYTES_MIN: u64 = 28 * MIB;
const EVENT_TURN_BYTES: u64 = wide(rest::EVENT_TURN_UNCOUNTED_BYTES_MAX);
/// Deliveries are counted when they are there: one message may be more than there was room for.
const DELIVERY_OVER_BYTES: u64 = wide(mailrail_broker::limits::RECORD_MESSAGE_BYTES_MAX);
const UPLOAD_BYTES_MIN: u64 = wide(rest::REQUEST_BYTES_MAX) + MIB;
const BUFFER_BYTES_MIN: u64 = 256 * KIB;

const fn wide(bytes: usize) -> u64 {
    bytes as u64
}

/// What each part of the program may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// All of it.
    pub bytes: u64,
    pub connections_max: u64,
    pub log_cache_bytes: u64,
    pub store_cache_bytes: u64,
    /// Publishes that wait for their answers.
    pub in_flight_bytes_max: u64,
    /// Messages on their way to clients, but for HTTP.
    pub delivery_bytes_max: u64,
    /// Answers with messages over HTTP.
    pub answer_bytes_max: u64,
    pub event_streams_max: u64,
    /// Requests that have come in part, but for HTTP.
    pub buffer_bytes_max: u64,
    /// Request bodies over HTTP.
    pub upload_bytes_max: u64,
    /// Requests that wait, held pulls above all.
    pub wait_bytes_max: u64,
}

/// What somebody has set, which is not for the table to decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub log_cache_bytes: Option<u64>,
    pub connections_max: Option<u64>,
}

/// The shares do not fit beside what somebody has set.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLittle {
    /// What all of it would take at least.
    pub needed_bytes: u64,
}

impl MemoryBudget {
    /// The budget where nobody has set one.
    pub fn default_bytes(limit_bytes: Option<u64>) -> u64 {
        let bytes = limit_bytes.map_or(MEMORY_BYTES_UNKNOWN, |bytes| bytes - bytes / SYSTEM_PART);
        bytes.clamp(MEMORY_MIB_MIN * MIB, MEMORY_MIB_MAX * MIB)
    }

    /// Splits so many bytes. `limit_bytes` is what the system says: caches are small where it is less than the least
    /// budget.
    pub fn split(bytes: u64, limit_bytes: Option<u64>, wanted: Wanted) -> Result<MemoryBudget, TooLittle> {
        let cache_bytes = bytes.min(limit_bytes.unwrap_or(bytes)) / CACHE_PART;
        let cache_bytes = cache_bytes.clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX);
        let log_cache_bytes = wanted.log_cache_bytes.unwrap_or(cache_bytes);
        let connections_fit = (bytes / 16 * 3 / CONNECTION_BYTES).min(CONNECTIONS_MAX);
        let connections_max = wanted.connections_max.unwrap_or(connections_fit);
        let fixed = bytes / RESERVE_PART + connections_max * CONNECTION_BYTES + log_cache_bytes + cache_bytes;
        // What is left: a quarter for publishes, the rest in halves for what comes and for what goes.
        let rest_bytes_min = [
            IN_FLIGHT_BYTES_MIN * IN_FLIGHT_COPIES * 4,
            (ANSWER_BYTES_MIN + DELIVERY_OVER_BYTES + wide(DELIVERY_STEP_BYTES_MIN)) * 16 / 15 * 8 / 3,
            (UPLOAD_BYTES_MIN + TURN_BYTES_MAX + BUFFER_BYTES_MIN) * 16 / 15 * 8 / 3,
        ];
        let rest_bytes_min = rest_bytes_min.into_iter().max().unwrap_or(0);
        let left = bytes.checked_sub(fixed).filter(|left| *left >= rest_bytes_min);
        let left = left.ok_or(TooLittle { needed_bytes: fixed + rest_bytes_min })?;
        let (going, coming) = (left / 8 * 3, left / 8 * 3);
        let in_flight_bytes_max = (left / 4 / IN_FLIGHT_COPIES).min(IN_FLIGHT_BYTES_MAX);
        let answer_bytes_max = (going / 2).clamp(ANSWER_BYTES_MIN, wide(rest::ANSWER_BYTES_MAX));
        let event_streams_max = (going / 16 / EVENT_TURN_BYTES).min(wide(rest::EVENT_STREAMS_MAX));
        let upload_bytes_max = (coming / 8 * 3).clamp(UPLOAD_BYTES_MIN, wide(rest::UPLOAD_BYTES_MAX));
        let wait_bytes_max = coming / 16;
        let http_bytes = answer_bytes_max + event_streams_max * EVENT_TURN_BYTES;
        Ok(MemoryBudget {
            bytes,
            connections_max,
            log_cache_bytes,
            store_cache_bytes: cache_bytes,
            in_flight_bytes_max,
            delivery_bytes_max: going - http_bytes - DELIVERY_OVER_BYTES,
            answer_bytes_max,
            event_streams_max,
            buffer_bytes_max: coming - upload_bytes_max - wait_bytes_max - TURN_BYTES_MAX,
            upload_bytes_max,
            wait_bytes_max,
        })
    }

    /// What all shares add up to, with what they may be over.
    #[cfg(test)]
    fn shared_bytes(&self) -> u64 {
        self.connections_max * CONNECTION_BYTES
            + self.log_cache_bytes
            + self.store_cache_bytes
            + self.in_flight_bytes_max * IN_FLIGHT_COPIES
            + (self.delivery_bytes_max + DELIVERY_OVER_BYTES)
            + self.answer_bytes_max
            + self.event_streams_max * EVENT_TURN_BYTES
            + (self.buffer_bytes_max + TURN_BYTES_MAX)
            + self.upload_bytes_max
            + self.wait_bytes_max
    }
}

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
    fn the_shares_are_no_more_than_the_budget_without_its_reserve() {
        let wanted = [
            Wanted::default(),
            Wanted { log_cache_bytes: Some(3 * MIB), connections_max: Some(10) },
            Wanted { log_cache_bytes: None, connections_max: Some(1) },
        ];
        for mib in (MEMORY_MIB_MIN..600).chain([1_024, 8_192, 65_536, MEMORY_MIB_MAX]) {
            for wanted in wanted {
                let budget = MemoryBudget::split(mib * MIB, None, wanted).unwrap();
                let free = budget.bytes - budget.bytes / RESERVE_PART;
                assert!(budget.shared_bytes() <= free, "{mib}: {budget:?}");
                assert!(budget.in_flight_bytes_max >= IN_FLIGHT_BYTES_MIN, "{mib}: {budget:?}");
                assert!(budget.answer_bytes_max >= ANSWER_BYTES_MIN, "{mib}: {budget:?}");
                assert!(budget.upload_bytes_max >= UPLOAD_BYTES_MIN, "{mib}: {budget:?}");
                assert!(budget.delivery_bytes_max >= wide(DELIVERY_STEP_BYTES_MIN), "{mib}: {budget:?}");
                assert!(budget.buffer_bytes_max >= BUFFER_BYTES_MIN, "{mib}: {budget:?}");
                assert!(budget.event_streams_max > 0 && budget.wait_bytes_max > 0, "{mib}: {budget:?}");
            }
        }
        let too_little = MemoryBudget::split((MEMORY_MIB_MIN - 4) * MIB, None, Wanted::default());
        assert!(too_little.is_err(), "{too_little:?}");
    }

    #[test]
    fn shares_grow_with_the_budget_up_to_what_they_are_good_for() {
        let split = |mib: u64| MemoryBudget::split(mib * MIB, None, Wanted::default()).unwrap();
        let (small, large) = (split(256), split(8_192));
        assert_eq!((small.log_cache_bytes, small.in_flight_bytes_max), (16 * MIB, 14 * MIB));
        assert!((1_100..2_000).contains(&small.connections_max), "{small:?}");
        assert_eq!((large.log_cache_bytes, large.store_cache_bytes), (16 * MIB, 16 * MIB));
        assert_eq!((large.in_flight_bytes_max, large.connections_max), (64 * MIB, CONNECTIONS_MAX));
        assert!(large.delivery_bytes_max > 1_024 * MIB && large.buffer_bytes_max > 1_024 * MIB);
    }

    #[test]
    fn a_cache_is_its_part_between_its_least_and_its_most() {
        let cache_bytes = |limit_bytes| {
            let budget = MemoryBudget::split(1_024 * MIB, Some(limit_bytes), Wanted::default()).unwrap();
            assert_eq!(budget.log_cache_bytes, budget.store_cache_bytes);
            budget.store_cache_bytes
        };
        for (part, expected) in [
            (CACHE_BYTES_MIN - 1, CACHE_BYTES_MIN),
            (CACHE_BYTES_MIN, CACHE_BYTES_MIN),
            (CACHE_BYTES_MIN + 1, CACHE_BYTES_MIN + 1),
            (CACHE_BYTES_MAX - 1, CACHE_BYTES_MAX - 1),
            (CACHE_BYTES_MAX, CACHE_BYTES_MAX),
            (CACHE_BYTES_MAX + 1, CACHE_BYTES_MAX),
        ] {
            assert_eq!(cache_bytes(part * CACHE_PART), expected);
        }
    }

    #[test]
    fn what_somebody_sets_is_kept_or_refused() {
        let split = |cache_mib: u64, connections| {
            let log_cache_bytes = Some(cache_mib * MIB);
            MemoryBudget::split(
                256 * MIB,
                None,
                Wanted { log_cache_bytes, connections_max: Some(connections) },
            )
        };
        let budget = split(2, 1_000).unwrap();
        assert_eq!((budget.log_cache_bytes, budget.connections_max), (2 * MIB, 1_000));
        assert!(split(64, 1_000).unwrap_err().needed_bytes > 256 * MIB);
        assert!(split(2, 10_000).unwrap_err().needed_bytes > 256 * MIB);
    }

    #[test]
    fn without_a_setting_it_follows_the_system() {
        for (limit_mib, expected_mib) in
            [(None, 1_024), (Some(1_024), 896), (Some(256), 224), (Some(64), 224)]
        {
            let bytes = MemoryBudget::default_bytes(limit_mib.map(|mib: u64| mib * MIB));
            assert_eq!(bytes, expected_mib * MIB, "{limit_mib:?}");
        }
        let small = MemoryBudget::split(MEMORY_MIB_MIN * MIB, Some(64 * MIB), Wanted::default()).unwrap();
        assert_eq!((small.log_cache_bytes, small.store_cache_bytes), (4 * MIB, 4 * MIB));
    }
}
