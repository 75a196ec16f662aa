//! The notification service: a push to every open WebSocket of a user, and the same over HTTP. Knows nothing of the
//! gateway.
//!
//! | request | answer |
//! |---|---|
//! | WebSocket at `/`, `/ws`, `/api/notifications/ws` with `?userId=` | `connected`, then a `notification` each |
//! | `GET /api/notification?userId=` | the newest 100, newest first |
//! | `POST /api/notification` `{userId, title, body}` | 201, and a push |
//! | `POST /api/notification/read?userId=` | all of them marked as read |
//! | `GET /health` | `{"status":"ok"}` |
//!
//! It does not handle CORS, which is the gateway's work: its own headers would hide that the gateway's are missing. For the
//! same reason it sends no WebSocket pings, which would hide a gateway that closes idle tunnels.

mod hub;
mod problem;
mod requests;
mod socket;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware,
    response::Response,
    routing::{get, post},
};
use hub::NotificationHub;
use problem::Problem;
use requests::{create, health, list, mark_read};
use socket::open_socket;
use std::{future::Future, io, sync::Arc};
use tokio::net::TcpListener;

/// Bytes of a request's body, and of a WebSocket message.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Serves the notification service on `listener` until `shutdown` completes.
///
/// The end is orderly: every open WebSocket is closed with code 1001 ("going away"), requests in
/// flight are answered, and both are bounded in time.
///
/// # Errors
///
/// Fails when the listener has no local address.
pub(crate) async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Arc::new(NotificationHub::default());
    let closing = hub.closing.clone();
    crate::demo::serve_until(listener, router(hub), closing, shutdown).await
}

fn router(hub: Arc<NotificationHub>) -> Router {
    Router::new()
        // The gateway rewrites the public path to `/`; the other two serve a client that comes
        // directly, or through a gateway that rewrites nothing.
        .route("/", get(open_socket))
        .route("/ws", get(open_socket))
        .route("/api/notifications/ws", get(open_socket))
        .route("/api/notification", get(list).post(create))
        .route("/api/notification/read", post(mark_read))
        .route("/health", get(health))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .layer(middleware::map_response(forbid_caching))
        .with_state(hub)
}

/// A poll must never be answered from a cache.
async fn forbid_caching(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
