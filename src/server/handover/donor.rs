//! The old process's side of a handover: sends the listening sockets and waits until the new one serves. Knows nothing
//! of configurations.

use super::HANDOVER_TIMEOUT;
use super::{
    ASK_ADMIN, ASK_REVOCATIONS, HandoverSocket, MAX_ADDRESSES_BYTES, MAX_SOCKETS, READY, RECEIVED,
    RunningAdmin,
};
use crate::background;
use crate::server::socket::Socket;
use pingora::server::Fds;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;
use tidegate_disk::is_trusted;
use tidegate_http::address::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Keeps the sockets ready for the gateway that comes after this one.
pub(crate) struct ListenerDonor {
    socket: HandoverSocket,
    sockets: Arc<[(Address, Socket)]>,
    /// What the control socket's file is known by.
    inode: Option<u64>,
    successors: Mutex<mpsc::Receiver<SuccessorProcess>>,
    accept_task: AbortHandle,
}

/// A new gateway that says it has the sockets.
struct SuccessorProcess {
    connection: UnixStream,
    process: u32,
}

impl ListenerDonor {
    /// Opens the control socket. The sockets are the keeper's own handles: one that Pingora
    /// has closed must not be sent by its number, which may be another file's by then.
    pub(crate) fn open(
        socket: HandoverSocket,
        sockets: Vec<(Address, Socket)>,
        admin: RunningAdmin,
    ) -> io::Result<Self> {
        let names: usize = sockets.iter().map(|(name, _)| name.to_string().len() + 1).sum();
        if sockets.len() > MAX_SOCKETS || names > MAX_ADDRESSES_BYTES {
            let reason = format!(
                "the listeners are too many: at most {MAX_SOCKETS}, with addresses of at most \
                 {MAX_ADDRESSES_BYTES} bytes together, can be handed over"
            );
            return Err(io::Error::other(reason));
        }
        let control = UnixListener::from_std(socket.bind_control()?)?;
        let inode = fs::metadata(socket.control()).map(|file| file.ino()).ok();
        let (sender, successors) = mpsc::channel(1);
        let listening =
            background::spawn("upgrade socket", listen(control, sender, admin)).abort_handle();
        let successors = Mutex::new(successors);
        Ok(Self { socket, sockets: sockets.into(), inode, successors, accept_task: listening })
    }

    /// Sends the sockets and waits until the receiver serves; returns its process id.
    pub(crate) async fn donate(&self) -> Result<u32, String> {
        let mut successors = self.successors.lock().await;
        // Of one that came too late the last time.
        while successors.try_recv().is_ok() {}
        let path = self.socket.transfer().to_string_lossy().into_owned();
        let (sockets, to) = (Arc::clone(&self.sockets), path.clone());
        let sent = tokio::task::spawn_blocking(move || {
            let mut table = Fds::new();
            for (address, socket) in sockets.iter() {
                table.add(address.to_string(), socket.as_raw_fd());
            }
            table.send_to_sock(to.as_str()).map_err(|error| error.to_string())
        });
        if let Err(error) = sent.await.map_err(|error| error.to_string()).flatten() {
            return Err(format!(
                "no new process (`tidegate run --upgrade`) receives the listening sockets at \
                 {path}: {error}"
            ));
        }
        let Ok(Some(mut successor)) = timeout(HANDOVER_TIMEOUT, successors.recv()).await else {
            return Err(
                "the new process did not confirm that it received the listening sockets".to_owned()
            );
        };
        let process = successor.process;
        match successor.connection.read_u8().await {
            Ok(READY) => Ok(process),
            _ => Err(format!("the new process {process} ended before it was ready")),
        }
    }
}

impl Drop for ListenerDonor {
    fn drop(&mut self) {
        self.accept_task.abort();
        let control = self.socket.control();
        // A new gateway's own stays.
        if self.inode.is_some() && fs::metadata(&control).map(|file| file.ino()).ok() == self.inode
        {
            let _ = fs::remove_file(control);
        }
    }
}

/// Hears who connects. Most only want to know which process this is, and go.
async fn listen(
    control: UnixListener,
    successors: mpsc::Sender<SuccessorProcess>,
    admin: RunningAdmin,
) {
    loop {
        let Ok((mut connection, _)) = control.accept().await else {
            // Too many open files, most likely; they pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(peer) = connection.peer_cred() else { continue };
        if !is_trusted(peer.uid()) {
            continue;
        }
        let process = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        let (successors, admin) = (successors.clone(), admin.clone());
        tokio::spawn(async move {
            match timeout(HANDOVER_TIMEOUT, connection.read_u8()).await {
                Ok(Ok(RECEIVED)) => {
                    let _ = successors.try_send(SuccessorProcess { connection, process });
                }
                Ok(Ok(ASK_ADMIN)) => {
                    // Whoever asked may be gone.
                    let _ = timeout(HANDOVER_TIMEOUT, connection.write_all(&admin.answer())).await;
                }
                Ok(Ok(ASK_REVOCATIONS)) => {
                    let revoked = admin.revocations();
                    let _ = timeout(HANDOVER_TIMEOUT, connection.write_all(&revoked)).await;
                }
                _ => {}
            }
        });
    }
}
