//! `GET /metrics`: collects the metrics of all parts, one file for each. Only `exposition.rs` knows the text formats.

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

/// The media type and the text of the response.
pub(super) fn render_metrics(admin: &Admin, accept: &str) -> (&'static str, String) {
    let mut to = Exposition::for_accept_header(accept);
    let media_type = to.media_type();
    let current = admin.state.current.load();
    requests::write(&mut to, &current);
    sessions::write(&mut to, &admin.state.sessions);
    upstreams::write(&mut to, &admin.state.current);
    cache::write(&mut to, &admin.state.cache, &current);
    load::write(&mut to, admin);
    rate_limits::write(&mut to, &current);
    logs::write(&mut to, &current);
    reloads::write(&mut to, &admin.state.history, &admin.state.current);
    process::write(&mut to);
    (media_type, to.finish())
}
