//! Raises the limit on open files at the start. Knows nothing of the configuration.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets the process open as many files as it may, and returns how many: connections are files,
/// and the usual 1,024 are there for programs that know no better than `select`. `None` is
/// without limit.
pub(super) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(_) => before,
    }
}
