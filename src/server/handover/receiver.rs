//! The new process's side of a handover: asks for the listening sockets and receives them. Knows nothing of
//! configurations.

use super::HANDOVER_TIMEOUT;
use super::{ASK_REVOCATIONS, HandoverSocket, MAX_ADDRESSES_BYTES, MAX_SOCKETS, READY, RECEIVED};
use crate::authentication::Revocation;
use crate::server::socket::Socket;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use tidegate_disk::is_trusted;
use tidegate_http::address::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Maximum size of the list of revoked logins, in bytes: more than the most that are remembered take.
const MAX_REVOCATIONS_BYTES: u64 = 16 * 1024 * 1024;

/// The listening sockets of the gateway that ran before.
pub(crate) struct InheritedListeners {
    sockets: HashMap<Address, Socket>,
    control: UnixStream,
    revoked: Vec<Revocation>,
}

impl InheritedListeners {
    /// Asks the gateway that runs for its sockets.
    ///
    /// The receiving half is not Pingora's `Fds::get_from_sock`: that one lets everybody write
    /// to its socket, panics when it can't be bound, and looks for the sender once a second.
    pub(crate) async fn from(socket: &HandoverSocket) -> io::Result<Self> {
        socket.prepare_folder()?;
        let control = socket.control();
        let control_socket = UnixStream::connect(&control).await.map_err(|error| {
            let what = format!(
                "no gateway answers at the upgrade socket {} ({error}); start without \
                 --upgrade",
                control.display()
            );
            io::Error::new(error.kind(), what)
        })?;
        let old = control_socket.peer_cred()?;
        if !is_trusted(old.uid()) {
            return Err(other_error("the running gateway belongs to another user"));
        }
        let listener = UnixListener::from_std(socket.bind_transfer()?)?;
        let _transfer = SocketTransfer(socket);
        let process = old.pid().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| {
            other_error(
                "the process id of the running gateway is not visible here; it may be in another \
                 PID namespace",
            )
        })?;
        kill_process(process, Signal::QUIT)?;
        let sockets = timeout(HANDOVER_TIMEOUT, receive(&listener)).await;
        let sockets = sockets.map_err(|_| {
            other_error(&format!(
                "the running gateway (process {process}) sent no listening sockets within \
                 {HANDOVER_TIMEOUT:?}"
            ))
        })??;
        let revoked = match timeout(HANDOVER_TIMEOUT, query_revocations(&control)).await {
            Ok(Ok(revoked)) => revoked,
            Ok(Err(_)) | Err(_) => {
                log::warn!("the running gateway did not say which logins were revoked");
                Vec::new()
            }
        };
        let mut control = UnixStream::connect(&control).await?;
        control.write_u8(RECEIVED).await?;
        Ok(Self { sockets, control, revoked })
    }

    /// The socket of this address, if there was one.
    pub(crate) fn socket(&mut self, address: &Address) -> Option<Socket> {
        self.sockets.remove(address)
    }

    /// The logins that were revoked at the old gateway.
    pub(crate) fn revoked(&self) -> &[Revocation] {
        &self.revoked
    }

    /// Tells the old gateway that this one serves, and closes the sockets that no listener uses.
    pub(crate) async fn notify_ready(mut self) {
        for address in self.sockets.keys() {
            log::info!(
                "closing the inherited listening socket {address}: the configuration has no \
                 listener there any more"
            );
        }
        if let Err(error) = self.control.write_u8(READY).await {
            log::warn!(
                "cannot tell the previous process that this one serves; it may have ended \
                 already: {error}"
            );
        }
    }
}

/// Asks the gateway at this control socket for the logins that were revoked. An older one has none to tell.
async fn query_revocations(control: &Path) -> io::Result<Vec<Revocation>> {
    let mut connection = UnixStream::connect(control).await?;
    connection.write_u8(ASK_REVOCATIONS).await?;
    let mut answer = String::new();
    connection.take(MAX_REVOCATIONS_BYTES).read_to_string(&mut answer).await?;
    Ok(answer.lines().filter_map(Revocation::parse).collect())
}

/// The socket that receives the listening sockets; its file is removed at drop.
struct SocketTransfer<'p>(&'p HandoverSocket);

impl Drop for SocketTransfer<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.transfer());
    }
}

async fn receive(listener: &UnixListener) -> io::Result<HashMap<Address, Socket>> {
    let connection = loop {
        let (connection, _) = listener.accept().await?;
        if is_trusted(connection.peer_cred()?.uid()) {
            break connection;
        }
    };
    loop {
        connection.readable().await?;
        match connection.try_io(Interest::READABLE, || receive_now(&connection)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// One message: the addresses, with spaces between, and the sockets in the same order.
fn receive_now(connection: &UnixStream) -> io::Result<HashMap<Address, Socket>> {
    let mut names = [0; MAX_ADDRESSES_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut names)];
    let received = recvmsg(connection, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let sockets: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    let names = names.get(..received.bytes).unwrap_or_default();
    let names = std::str::from_utf8(names).map_err(io::Error::other)?;
    let names: Result<Vec<Address>, _> = names.split_ascii_whitespace().map(str::parse).collect();
    let names = names.map_err(io::Error::other)?;
    if names.is_empty() || names.len() != sockets.len() {
        return Err(other_error("the running gateway sent a malformed list of listening sockets"));
    }
    let both = names.into_iter().zip(sockets);
    Ok(both
        .map(|(name, socket)| {
            let socket = Socket::from_inherited(&name, socket);
            (name, socket)
        })
        .collect())
}

fn other_error(reason: &str) -> io::Error {
    io::Error::other(reason.to_owned())
}
