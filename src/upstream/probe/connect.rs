//! Connections of health checks, over one connector for all checks. Knows nothing of what is asked.

use super::super::descriptors::connect_with_room;
use http::header;
use http::uri::{Authority, Uri};
use pingora::connectors::TransportConnector;
use pingora::connectors::http::v2::{H2HandshakeSettings, handshake};
use pingora::http::RequestHeader;
use pingora::listeners::ALPN;
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OkOrErr, OrErr, Result};
use std::sync::LazyLock;

/// The HTTP/2 window of a health check, in bytes.
const CHECK_WINDOW_BYTES: u32 = 64 * 1024;

/// One for all checks: each connector reads the authorities of the machine when it is made. Its pool
/// stays empty: a check keeps its connection by itself.
static CHECK_CONNECTOR: LazyLock<TransportConnector> =
    LazyLock::new(|| TransportConnector::new(None));

/// Makes it where it may take its time: authorities are read from files, and no check has to wait
/// for that.
pub(super) async fn prepare() {
    let _ = tokio::task::spawn_blocking(|| LazyLock::force(&CHECK_CONNECTOR)).await;
}

/// Opens a connection, for which idle ones give way when files are short.
pub(super) async fn connect(peer: &HttpPeer) -> Result<Stream> {
    connect_with_room(|| CHECK_CONNECTOR.new_stream(peer), |stream: &Stream| stream.id()).await
}

/// Opens an HTTP connection for health checks, in the protocol that both ends speak.
pub(super) async fn open(peer: &HttpPeer) -> Result<HttpSession> {
    let stream = connect(peer).await?;
    let must_be_h2 = peer.options.alpn.get_min_http_version() == 2;
    let is_h2 = match stream.selected_alpn_proto() {
        Some(ALPN::H2) => true,
        Some(_) => false,
        // Without TLS nothing is negotiated (RFC 9113, section 3.3).
        None => must_be_h2 && !peer.is_tls(),
    };
    if !is_h2 {
        if must_be_h2 {
            let reason = match stream.selected_alpn_proto() {
                None if peer.is_tls() => {
                    "the endpoint does not speak HTTP/2 over TLS: it did not select `h2` (ALPN)"
                }
                Some(_) if peer.is_tls() => {
                    "the endpoint does not speak HTTP/2 over TLS: it selected HTTP/1.1 (ALPN)"
                }
                _ => "the endpoint does not speak HTTP/2",
            };
            return Error::e_explain(ErrorType::H2Error, reason);
        }
        return Ok(HttpSession::H1(Http1Session::new_with_options(stream, peer)));
    }
    let mut settings = H2HandshakeSettings::new();
    settings.max_streams = 1;
    settings.stream_window_size = Some(CHECK_WINDOW_BYTES);
    settings.connection_window_size = Some(CHECK_WINDOW_BYTES);
    let connection = handshake(stream, settings).await?;
    let stream = connection.spawn_stream().await?;
    Ok(HttpSession::H2(stream.or_err(ErrorType::H2Error, "the endpoint accepts no HTTP/2 stream")?))
}

/// Sends the head of a request. HTTP/2 wants the whole URI (RFC 9113, section 8.3.1).
pub(super) async fn send_head(
    session: &mut HttpSession,
    peer: &HttpPeer,
    mut request: RequestHeader,
) -> Result<()> {
    if matches!(session, HttpSession::H2(_))
        && let Some(host) = request.remove_header(&header::HOST)
    {
        let authority = Authority::try_from(host.as_bytes())
            .or_err(ErrorType::InvalidHTTPHeader, "the host of the health check is invalid")?;
        let mut parts = request.uri.clone().into_parts();
        parts.scheme =
            Some(if peer.is_tls() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
        parts.authority = Some(authority);
        let uri = Uri::from_parts(parts)
            .or_err(ErrorType::InvalidHTTPHeader, "the path of the health check is invalid")?;
        request.set_uri(uri);
    }
    session.write_request_header(Box::new(request)).await
}
