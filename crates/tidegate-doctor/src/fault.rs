//! The steps of a probe, and the faults that can be observed at one. It does not know who causes a fault.

use super::head::Head;
use std::time::Duration;

/// A step of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The lookup of the host's addresses.
    Dns,
    /// A connection to one of them.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// A response that is HTTP/1.1.
    Http,
    /// The 101 of a WebSocket.
    Handshake,
    /// The response to a plain request: no error, and its body if it has one.
    Response,
    /// All of these steps directly at the upstream.
    Direct,
    /// The check of a page's origin.
    Origin,
    /// A ping and its pong.
    Ping,
    /// A time without traffic.
    Idle,
}

impl Step {
    /// The step's name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Handshake => "handshake",
            Self::Response => "answer",
            Self::Direct => "upstream",
            Self::Origin => "origin",
            Self::Ping => "ping",
            Self::Idle => "idle",
        }
    }
}

/// An observed fault, before the diagnosis attributes it.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The name has no address; with the resolver's message.
    NameUnknown(String),
    /// Every address refused the connection.
    Refused,
    /// The address is unreachable; with the system's message.
    Unreachable(String),
    /// The connection was neither accepted nor refused.
    ConnectTimeout,
    /// TLS was spoken to a plain server.
    PlainBehindTls,
    /// Plain HTTP was spoken to a TLS server.
    TlsBehindPlain,
    /// The certificate is invalid; with the kind and rustls' message.
    Certificate(Certificate, String),
    /// The TLS handshake failed in another way.
    Tls(String),
    /// The server speaks only HTTP/2.
    Http2Only,
    /// The response is not HTTP; with its first bytes.
    NotHttp(String),
    /// The connection was closed or reset before a response.
    ClosedBeforeAnswer,
    /// No response within the timeout.
    NoAnswer,
    /// The head exceeds its bound.
    HeadTooLarge,
    /// Another response than the expected one.
    UnexpectedResponse(Response),
    /// A 101 with a wrong `Sec-WebSocket-Accept`.
    WrongAccept(Option<String>),
    /// A 101 without this header.
    BadSwitch(&'static str),
    /// A 101 that chose a subprotocol that was not offered, or none.
    Subprotocol(Option<String>),
    /// A 101 with an extension that was not offered.
    Extension(String),
    /// The connection was cut before the first pong.
    ClosedAtOnce,
    /// A close frame before the first pong.
    ClosedBy(Option<u16>, String),
    /// What follows the 101 are no frames.
    BadFrames(&'static str),
    /// No pong within the timeout.
    NoPong,
    /// A response whose body did not arrive.
    NoBody,
    /// The idle connection ended after this time, with this code.
    IdleCut(Duration, Option<u16>),
    /// No pong after the idle time.
    IdleDead,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for another host.
    OtherName,
    /// Its issuer is not trusted.
    UnknownIssuer,
    /// It is invalid in another way.
    Bad,
}

/// A response: its head, and the error in its body.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The head.
    pub head: Head,
    /// `error` and `message`, if the gateway itself answered.
    pub gateway: Option<(String, String)>,
    /// The start of its body, printable.
    pub excerpt: String,
}
