//! A listening socket, TCP or Unix, and its file. Accepts nothing.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use tidegate_disk::can_create;
use tidegate_http::address::Address;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// Of TCP.
    Tcp(TcpListener),
    /// A Unix domain socket.
    Unix(UnixListener),
}

impl Socket {
    /// Binds it. The file of a Unix domain socket that nobody listens at is replaced; it is what
    /// a process leaves that was killed.
    pub(super) fn bind(address: &Address, mode: u32) -> io::Result<Self> {
        match address {
            Address::Inet(address) => {
                let socket = TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Tcp(socket))
            }
            Address::Unix(path) => {
                let file = fs::symlink_metadata(&**path);
                if let Ok(file) = file {
                    if !file.file_type().is_socket() {
                        return Err(no_socket());
                    }
                    match UnixStream::connect(&**path) {
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                            fs::remove_file(&**path)?;
                        }
                        _ => return Err(io::ErrorKind::AddrInUse.into()),
                    }
                }
                let socket = UnixListener::bind(&**path)?;
                fs::set_permissions(&**path, Permissions::from_mode(mode))?;
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    /// One that another process has handed over.
    pub(super) fn from_inherited(address: &Address, socket: OwnedFd) -> Self {
        match address {
            Address::Inet(_) => Self::Tcp(socket.into()),
            Address::Unix(_) => Self::Unix(socket.into()),
        }
    }

    /// Where it listens: with the port that the system chose, where the written one is 0.
    pub(super) fn address(&self, written: &Address) -> Address {
        match self {
            Self::Tcp(socket) if written.port() == Some(0) => {
                socket.local_addr().map_or_else(|_| written.clone(), Address::Inet)
            }
            Self::Tcp(_) | Self::Unix(_) => written.clone(),
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

impl IntoRawFd for Socket {
    fn into_raw_fd(self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.into_raw_fd(),
            Self::Unix(socket) => socket.into_raw_fd(),
        }
    }
}

/// Whether [`Socket::bind`] could make a socket there, as far as it can be told without binding. One
/// that another process listens at is left to the start: it may be the gateway that is to be replaced.
pub(super) fn can_bind(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(no_socket()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => can_create(path),
    }
}

fn no_socket() -> io::Error {
    let reason = "the path exists and is not a socket";
    io::Error::new(io::ErrorKind::AlreadyExists, reason)
}

/// The files of Unix domain sockets, as they were made.
#[derive(Debug, Default)]
pub(super) struct UnixSocketFiles(Vec<(String, u64)>);

impl UnixSocketFiles {
    pub(super) fn from_addresses<'a>(addresses: impl Iterator<Item = &'a Address>) -> Self {
        let file = |address: &Address| match address {
            Address::Inet(_) => None,
            Address::Unix(path) => {
                let inode = fs::symlink_metadata(&**path).ok()?.ino();
                Some((path.to_string(), inode))
            }
        };
        Self(addresses.filter_map(file).collect())
    }

    /// Removes them, but for those that are another process's by now.
    pub(super) fn remove(self) {
        for (path, inode) in self.0 {
            if fs::symlink_metadata(&path).is_ok_and(|file| file.ino() == inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}
