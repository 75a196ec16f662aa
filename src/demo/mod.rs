//! The demo of the README on one machine: a notification service, a web page on another origin that uses it, and with
//! `--auth` an issuer of tokens. None of them knows the gateway, so the demo shows nothing that a user's own services could not have.

mod issuer;
mod notifications;
mod page;

pub(crate) use issuer::{Issuer, KEY_SET_PATH, USERS};
pub(crate) use notifications::serve as serve_notifications;
pub(crate) use page::serve as serve_page;

use std::{future::Future, io, time::Duration};

use axum::{
    Router,
    serve::{Listener, ListenerExt},
};
use tokio::{net::TcpListener, sync::watch, time};

/// Maximum time for a server of the demo to stop; then its open connections are dropped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves `router` until `shutdown` completes, then ends within twice [`SHUTDOWN_TIMEOUT`].
///
/// `closing` turns true at the shutdown. Whoever holds a receiver of it is waited for: an upgraded
/// connection has left the HTTP server, which therefore does not wait for it.
async fn serve_until(
    listener: TcpListener,
    router: Router,
    closing: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|socket| {
        // A push is one small segment: Nagle's algorithm would hold it back. A socket that
        // refuses the option is only slower.
        let _ = socket.set_nodelay(true);
    });
    let address = listener.local_addr()?;

    let mut closed = closing.subscribe();
    let out_of_time = async move {
        // It fails only without a sender, and `closing` outlives this future.
        let _ = closed.wait_for(|closing| *closing).await;
        drop(closed);
        time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let announce = closing.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        announce.send_replace(true);
    });

    tokio::select! {
        result = serving => result?,
        () = out_of_time => log::warn!("{address}: requests were still open after {SHUTDOWN_TIMEOUT:?}"),
    }
    if time::timeout(SHUTDOWN_TIMEOUT, closing.closed()).await.is_err() {
        log::warn!("{address}: WebSockets were still open after {SHUTDOWN_TIMEOUT:?}");
    }
    Ok(())
}
