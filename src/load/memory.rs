use super::Overload;
use crate::generation::Live;
use bytesize::ByteSize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Of what a control group may have, the tenths that are used when nothing is written.
const TENTHS: u64 = 9;

/// Once requests have been refused, they are until so many tenths of the limit are left free:
/// else each look would say something else.
const TENTHS_AFTER: u64 = 9;

/// Watches the memory of the process, and tells who takes requests when it runs short.
pub async fn watch(live: Arc<Live>, overload: Arc<Overload>) {
    let of_group = group_limit().map(|limit| limit / 10 * TENTHS);
    let page = rustix::param::page_size() as u64;
    loop {
        tokio::time::sleep(EVERY).await;
        let limit = live.load().edge.limits.memory.or(of_group).unwrap_or(u64::MAX);
        let Some(used) = resident_pages().map(|pages| pages * page) else { return };
        let was_short = overload.set_short_of_memory(used > limit);
        if used > limit && !was_short {
            log::warn!(
                "{} of memory are used, {} may be (limits.memory): requests are answered 503",
                ByteSize(used),
                ByteSize(limit)
            );
        } else if was_short && used > limit / 10 * TENTHS_AFTER {
            overload.set_short_of_memory(true);
        } else if was_short {
            log::info!("{} of memory are used: requests are served again", ByteSize(used));
        }
    }
}

/// The second field of `/proc/self/statm`.
fn resident_pages() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The least limit of the process's control group (version 2) and those above it.
fn group_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounted = Path::new("/sys/fs/cgroup");
    let own = mounted.join(path);
    own.ancestors()
        .take_while(|group| group.starts_with(mounted))
        .filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}
