//! Reads the header of the PROXY protocol. Decides nothing about who may send one.

use pingora::protocols::GetSocketDigest;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{SocketDigest, UniqueID};
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncReadExt;

/// Maximum size of a PROXY header, in bytes; version 2 may carry more than addresses.
const MAX_PROXY_HEADER_BYTES: usize = 4096;

/// Takes a header of the PROXY protocol off the connection, and takes the client's address from
/// it where it names one, and returns it. (The protocol's text: "The PROXY protocol, versions 1 & 2".)
pub(super) async fn take_header(socket: &mut Socket) -> io::Result<Option<IpAddr>> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        if bytes.len() >= MAX_PROXY_HEADER_BYTES || socket.read_buf(&mut bytes).await? == 0 {
            if bytes.is_empty() {
                // A look whether the port is open, and no more.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Err(invalid_header(
                "the PROXY protocol header of the connection is incomplete or too long",
            ));
        }
        let parsed = HeaderResult::parse(&bytes);
        if parsed.is_incomplete() {
            continue;
        }
        let (length, source) = match parsed {
            HeaderResult::V1(Ok(header)) => (header.header.len(), source_v1(&header)),
            HeaderResult::V2(Ok(header)) => (header.header.len(), source_v2(&header)),
            HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => {
                return Err(invalid_header(
                    "the connection does not begin with a PROXY protocol header",
                ));
            }
        };
        if let Some(rest) = bytes.get(length..).filter(|rest| !rest.is_empty()) {
            socket.rewind(rest);
        }
        if let Some(source) = source {
            let digest = SocketDigest::from_raw_fd(socket.id());
            // It is new: nobody has asked it yet.
            let _ = digest.peer_addr.set(Some(PeerAddress::Inet(source)));
            socket.set_socket_digest(digest);
        }
        return Ok(source.map(|source| source.ip()));
    }
}

fn source_v1(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
        v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn source_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    if header.command == v2::Command::Local {
        // The balancer's own health check.
        return None;
    }
    match header.addresses {
        v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
        v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

fn invalid_header(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
