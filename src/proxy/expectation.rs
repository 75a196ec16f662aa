//! Answers `Expect: 100-continue` (RFC 9110, section 10.1.1) for HTTP/2 upstreams. Knows nothing of the body.

use super::Context;
use http::{Version, header};
use pingora::http::RequestHeader;
use pingora::{Error, Result};
use pingora_proxy::Session;

/// Tells the client to go on where the upstream speaks HTTP/2, and does not ask the upstream: Pingora drops the
/// interim responses of such an upstream, so that its 100 would never come.
pub(super) async fn answer_expect(
    session: &mut Session,
    upstream: &mut RequestHeader,
    ctx: &Context,
) -> Result<()> {
    if upstream.version != Version::HTTP_2
        || !ctx.body.is_present
        || !upstream.headers.contains_key(header::EXPECT)
    {
        return Ok(());
    }
    upstream.remove_header(&header::EXPECT);
    // HTTP/1.0 knows no expectations.
    if session.req_header().version == Version::HTTP_10 || session.response_written().is_some() {
        return Ok(());
    }
    record_interim(session);
    session.as_downstream_mut().write_continue_response().await.map_err(Error::into_down)
}

/// Keeps the client's connection open behind an interim response: Pingora would close it behind each response that
/// comes before the end of the request's body.
pub(super) fn record_interim(session: &mut Session) {
    session.as_downstream_mut().set_close_on_response_before_downstream_finish(false);
}
