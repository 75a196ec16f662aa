//! Watches the memory of the process and calls the evictor when it is short. Knows nothing of requests.

use super::{Evictor, OverloadControl};
use crate::snapshot::CurrentSnapshot;
use bytesize::ByteSize;
use log::Level;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The default limit, in tenths of the control group's limit.
const DEFAULT_LIMIT_TENTHS: u64 = 9;

/// While requests are refused, the limit is this many tenths: with one threshold, refusing would start and stop
/// with each reading.
const RELEASE_TENTHS: u64 = 9;

/// How many times memory is read until what an evicted client held has been returned to the system:
/// the allocator keeps pages for ten seconds.
const RELEASE_READINGS: u32 = 24;

/// If memory grows by one part in this many within that time, the next client is evicted at once.
const GROWTH_FRACTION: u64 = 20;

/// Watches the memory of the process. When it runs short, the client that holds most is evicted; where
/// none holds much, requests are refused.
pub(crate) async fn watch(
    current: Arc<CurrentSnapshot>,
    overload: Arc<OverloadControl>,
    mut evictor: Evictor,
) {
    let of_group = read_group_limit(Path::new("/")).map(|limit| limit / 10 * DEFAULT_LIMIT_TENTHS);
    let page = rustix::param::page_size() as u64;
    let mut watermark = ShortageThreshold::default();
    let mut pace = EvictionPace::default();
    let mut refuses = false;
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let limit = current.load().global.limits.memory.or(of_group).unwrap_or(u64::MAX);
        let Some(used) = read_resident_pages().map(|pages| pages * page) else { return };
        let changed = watermark.crossing(used, limit);
        let is_due = pace.is_due(used);
        let refused = refuses;
        if !watermark.is_short {
            refuses = false;
            evictor.readmit_after_release();
        } else if used > limit && is_due {
            let evicted = evictor.evict_largest();
            refuses = evicted.is_none() && !evictor.is_releasing();
            if let Some(evicted) = evicted {
                pace.restart_wait(used);
                let level =
                    if overload.evictions.should_log() { Level::Warn } else { Level::Debug };
                log::log!(
                    level,
                    "{} of memory in use, the limit is {} (limits.memory): the gateway evicts \
                     the client {}, which holds the most: {} connections, {} requests in flight, \
                     {} WebSocket sessions",
                    ByteSize(used),
                    ByteSize(limit),
                    evicted.address,
                    evicted.connections,
                    evicted.requests,
                    evicted.sessions
                );
            }
        }
        overload.set_short_of_memory(refuses);
        if refuses && !refused {
            log::warn!(
                "{} of memory in use, the limit is {} (limits.memory): the gateway answers \
                 requests with 503 until memory is free",
                ByteSize(used),
                ByteSize(limit)
            );
        }
        if changed == Some(false) {
            log::info!("{} of memory in use: the gateway serves requests again", ByteSize(used));
        }
    }
}

/// How soon one client is evicted after another.
#[derive(Debug, Default)]
struct EvictionPace {
    readings_left: u32,
    /// What was used at the last eviction, in bytes.
    used: u64,
}

impl EvictionPace {
    /// Whether the next client may be evicted: what the last one held has had its time to be
    /// released, or memory grows all the same.
    fn is_due(&mut self, used: u64) -> bool {
        self.readings_left = self.readings_left.saturating_sub(1);
        self.readings_left == 0 || used > self.used.saturating_add(self.used / GROWTH_FRACTION)
    }

    /// A client has been evicted.
    fn restart_wait(&mut self, used: u64) {
        *self = Self { readings_left: RELEASE_READINGS, used };
    }
}

/// Whether memory is short, between two marks.
#[derive(Debug, Default)]
struct ShortageThreshold {
    is_short: bool,
}

impl ShortageThreshold {
    /// Whether it is short from here on, or no more; `None` when nothing has changed.
    fn crossing(&mut self, used: u64, limit: u64) -> Option<bool> {
        let mark = if self.is_short { limit / 10 * RELEASE_TENTHS } else { limit };
        let is_short = used > mark;
        let has_changed = is_short != self.is_short;
        self.is_short = is_short;
        has_changed.then_some(is_short)
    }
}

/// The second field of `/proc/self/statm`.
fn read_resident_pages() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// From this value on, a limit of a version 1 control group means no limit.
const CGROUP_V1_UNLIMITED: u64 = 1 << 62;

/// The least limit of the process's control group and those above it, in the file system that
/// begins there.
fn read_group_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        // Its number, its controllers, its path: `0::/system.slice`, `4:cpu,memory:/docker/1f`.
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (mounted, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let mounted = root.join(mounted);
        let own = mounted.join(path.trim_start_matches('/'));
        own.ancestors()
            .take_while(|group| group.starts_with(&mounted))
            .filter_map(|group| std::fs::read_to_string(group.join(file)).ok())
            .filter_map(|limit| limit.trim().parse().ok())
            .filter(|limit| *limit < CGROUP_V1_UNLIMITED)
            .min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn memory_is_short_until_a_tenth_is_free_and_is_reported_once() {
        let mut watermark = ShortageThreshold::default();
        let crossings: Vec<_> = [990, 1000, 1001, 1200, 1000, 950, 901, 900, 950, 1000, 1001, 0]
            .map(|used| watermark.crossing(used, 1000))
            .to_vec();
        let expected = [
            None,
            None,
            Some(true),
            None,
            None,
            None,
            None,
            Some(false),
            None,
            None,
            Some(true),
            Some(false),
        ];
        assert_eq!(crossings, expected);
    }

    #[test]
    fn next_eviction_waits_until_memory_grows_or_time_passes() {
        let mut pace = EvictionPace::default();
        assert!(pace.is_due(1000), "the first");
        pace.restart_wait(1000);
        assert!(!pace.is_due(1050));
        assert!(pace.is_due(1051), "it grows");
        assert_eq!((2..RELEASE_READINGS).filter(|_| pace.is_due(1000)).count(), 1);
        assert!(pace.is_due(1000));
    }

    #[test]
    fn smallest_cgroup_limit_applies_in_v1_and_v2() {
        let of = |groups: &str, limits: &[(&str, &str)]| {
            let root = tempfile::TempDir::new().unwrap();
            fs::create_dir_all(root.path().join("proc/self")).unwrap();
            fs::write(root.path().join("proc/self/cgroup"), groups).unwrap();
            for (file, limit) in limits {
                let file = root.path().join("sys/fs/cgroup").join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, limit).unwrap();
            }
            read_group_limit(root.path())
        };
        let two = [("memory.max", "max\n"), ("a/memory.max", "500\n"), ("a/b/memory.max", "700\n")];
        assert_eq!(of("0::/a/b\n", &two), Some(500));
        assert_eq!(of("0::/\n", &two), None);
        let one = "11:cpuset:/\n4:cpu,memory:/docker/1f\n0::/x\n";
        let unlimited = "9223372036854771712\n";
        let file = "memory/docker/1f/memory.limit_in_bytes";
        let above = ("memory/memory.limit_in_bytes", unlimited);
        assert_eq!(of(one, &[(file, "1048576\n"), above]), Some(1_048_576));
        assert_eq!(of(one, &[(file, unlimited), above]), None);
        // In a container the group's own path is often not there.
        assert_eq!(of(one, &[("memory/memory.limit_in_bytes", "4096\n")]), Some(4096));
        assert_eq!(of("", &[]), None);
    }
}
