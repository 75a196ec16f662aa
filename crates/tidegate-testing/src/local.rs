//! A gateway in the test's own process, for filters that share state with the test. It uses the library as any program
//! does.

use super::site::Site;
use super::websocket::{Handshake, Socket};
use super::wire::{Response, Wire, get};
use super::{Config, within};
use std::net::SocketAddr;
use tidegate::RunError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A gateway in the process and the runtime of the test. It ends when this is dropped.
pub struct LocalGateway {
    site: Site,
    shutdown: oneshot::Sender<()>,
    task: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<Result<(), RunError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The configuration's text. The access log would go between the lines of the test's output.
fn yaml(config: &Config, port: u16) -> String {
    let text = config.yaml(port);
    let is_set = text.lines().any(|line| line.starts_with("access_log:"));
    if is_set { text } else { text + "access_log: off\n" }
}

impl LocalGateway {
    /// Starts a gateway and waits until it accepts connections. `set_up` adds filters, as in `tidegate::cli::main_with`.
    /// Unless the configuration has one, there is no access log.
    pub async fn start(
        config: &Config,
        set_up: impl FnOnce(tidegate::Gateway) -> tidegate::Gateway,
    ) -> Self {
        let site = Site::new(|port| yaml(config, port));
        let (shutdown, stopped) = oneshot::channel::<()>();
        let gateway =
            set_up(tidegate::Gateway::from_config(tidegate::Config::from_file(site.file())))
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                });
        let mut task = AbortOnDrop(tokio::spawn(gateway.serve()));
        if !site.is_listening(|| task.0.is_finished()).await {
            panic!("the gateway ended at once: {:?}", (&mut task.0).await);
        }
        Self { site, shutdown, task }
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.site.address()
    }

    /// Replaces the configuration file, by a rename. The edit takes effect within a second.
    pub fn rewrite(&self, config: &Config) {
        self.site.rewrite(&yaml(config, self.address().port()));
    }

    /// Opens a TCP connection to its first listener.
    pub async fn connect(&self) -> Wire {
        self.site.connect().await
    }

    /// Sends bytes on a new connection and reads one response.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        self.site.send(request).await
    }

    /// Sends a `GET` with additional headers, each as `Name: value`.
    pub async fn get(&self, target: &str, fields: &[&str]) -> Response {
        self.send(get(target, fields)).await
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self, target: &str) -> Socket {
        Handshake::to(target).open_over(self.connect().await).await.1
    }

    /// Stops it gracefully, and waits until it has ended.
    pub async fn stop(self) {
        let Self { shutdown, mut task, .. } = self;
        let _ = shutdown.send(());
        let ended = within("the gateway's end", &mut task.0).await.expect("no panic");
        ended.expect("the gateway ends without an error");
    }
}
