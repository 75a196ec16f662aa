//! What each gateway under test has, in whichever process it runs: a folder with its configuration, and an address. It
//! starts no gateway.

use super::WAIT_TIMEOUT;
use super::files::replace_file;
use super::ports::free_port;
use super::wire::{Response, Wire};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// The folder and the configuration file of a gateway, and the address of its first listener.
pub(crate) struct Site {
    folder: TempDir,
    file: PathBuf,
    address: SocketAddr,
}

impl Site {
    /// A new folder with a configuration file: the text that `yaml` returns for a free port.
    pub(crate) fn new(yaml: impl FnOnce(u16) -> String) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, yaml(port)).expect("a configuration file");
        Self::with_existing_file(folder, file, port)
    }

    /// A folder whose configuration file exists already.
    pub(crate) fn with_existing_file(folder: TempDir, file: PathBuf, port: u16) -> Self {
        Self { folder, file, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the gateway accepts connections. Returns false if it has ended.
    pub(crate) async fn is_listening(&self, mut has_ended: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while TcpStream::connect(self.address).await.is_err() {
            if has_ended() {
                return false;
            }
            assert!(Instant::now() < deadline, "the gateway does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Replaces the configuration file, by a rename.
    pub(crate) fn rewrite(&self, yaml: &str) {
        replace_file(&self.file, yaml);
    }

    /// Opens a TCP connection.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends bytes on a new connection and reads one response.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.response().await
    }
}
