//! All that is counted and measured, for Prometheus and whoever reads what it reads.

mod cache;
mod exposition;
mod load;
mod logs;
mod process;
mod rate_limits;
mod reloads;
mod requests;
mod sessions;
mod upstreams;

use super::Admin;
use exposition::Exposition;

/// The text, and its media type.
pub(super) fn answer(admin: &Admin, accept: &str) -> (&'static str, String) {
    let mut to = Exposition::accepted(accept);
    let media_type = to.media_type();
    let live = admin.live.load();
    requests::write(&mut to, &live);
    sessions::write(&mut to, &admin.sessions);
    upstreams::write(&mut to, &admin.live);
    cache::write(&mut to, &admin.cache, &live);
    load::write(&mut to, admin);
    rate_limits::write(&mut to, &live);
    logs::write(&mut to, &live);
    reloads::write(&mut to, &admin.history, &admin.live);
    process::write(&mut to);
    (media_type, to.finish())
}
