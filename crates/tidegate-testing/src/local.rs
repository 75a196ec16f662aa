//! A gateway in the test's own process, for filters that share state with the test. It uses the library as any program
//! does.

use super::websocket::{Handshake, Socket};
use super::wire::{Response, Wire, get};
use super::{Config, WAIT_TIMEOUT, free_port, replace_file, within};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;
use tempfile::TempDir;
use tidegate::RunError;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A gateway in the process and the runtime of the test. It ends when this is dropped.
pub struct LocalGateway {
    address: SocketAddr,
    file: PathBuf,
    _folder: TempDir,
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
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, yaml(config, port)).expect("a configuration file");
        let (shutdown, stopped) = oneshot::channel::<()>();
        let gateway = set_up(tidegate::Gateway::from_config(tidegate::Config::from_file(&file)))
            .with_graceful_shutdown(async {
                let _ = stopped.await;
            });
        let mut task = AbortOnDrop(tokio::spawn(gateway.serve()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            if task.0.is_finished() {
                panic!("the gateway ended at once: {:?}", (&mut task.0).await);
            }
            assert!(Instant::now() < deadline, "the gateway does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Self { address, file, _folder: folder, shutdown, task }
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the configuration file, by a rename. The edit takes effect within a second.
    pub fn rewrite(&self, config: &Config) {
        replace_file(&self.file, &yaml(config, self.address.port()));
    }

    /// Opens a TCP connection to its first listener.
    pub async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends bytes on a new connection and reads one response.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.response().await
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
