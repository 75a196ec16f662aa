use super::head::Head;
use std::time::Duration;

/// Where on the way something was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The host's addresses.
    Dns,
    /// A connection to one of them.
    Tcp,
    /// TLS over it.
    Tls,
    /// An answer that is HTTP/1.1.
    Http,
    /// The 101 of a WebSocket.
    Handshake,
    /// The answer to a plain request: no error, and a body if there is one.
    Answer,
    /// The same, straight to the upstream.
    Straight,
    /// A page's origin.
    Origin,
    /// A ping and its pong.
    Ping,
    /// A while without traffic.
    Idle,
}

impl Step {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Handshake => "handshake",
            Self::Answer => "answer",
            Self::Straight => "upstream",
            Self::Origin => "origin",
            Self::Ping => "ping",
            Self::Idle => "idle",
        }
    }
}

/// What was seen to go wrong, before anybody asks whose fault it is.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The name has no address; what the resolver said.
    NameUnknown(String),
    /// Every address refused the connection.
    Refused,
    /// There is no way to the address; what the system said.
    Unreachable(String),
    /// Neither accepted nor refused.
    ConnectTimeout,
    /// TLS to a plain server.
    PlainBehindTls,
    /// Plain HTTP to a TLS server.
    TlsBehindPlain,
    /// The certificate is not good; which way, and rustls' words.
    Certificate(Certificate, String),
    /// TLS failed in another way.
    Tls(String),
    /// HTTP/2 and no HTTP/1.1.
    Http2Only,
    /// No HTTP; how it begins.
    NotHttp(String),
    /// Closed, or broken, before an answer.
    ClosedBeforeAnswer,
    /// No answer in time.
    NoAnswer,
    /// An endless head.
    HeadTooLarge,
    /// An answer that is not the one that was wanted.
    Answered(Answer),
    /// A 101 with this `Sec-WebSocket-Accept`, which is wrong.
    WrongAccept(Option<String>),
    /// A 101 without this field.
    BadSwitch(&'static str),
    /// The subprotocol that was chosen, which was not offered.
    Subprotocol(Option<String>),
    /// An extension that was not asked for.
    Extension(String),
    /// Cut before the first pong.
    ClosedAtOnce,
    /// A close frame before the first pong.
    ClosedBy(Option<u16>, String),
    /// No frames.
    BadFrames(&'static str),
    /// No pong in time.
    NoPong,
    /// An answer whose body did not come.
    NoBody,
    /// Ended after so long, with this code.
    IdleCut(Duration, Option<u16>),
    /// No pong after the idle while.
    IdleDead,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Its time is over.
    Expired,
    /// Its time is to come.
    NotYetValid,
    /// It is another host's.
    OtherName,
    /// Its issuer is not trusted.
    UnknownIssuer,
    /// Something else.
    Bad,
}

/// An answer: its head, and what an error's body says.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The head.
    pub head: Head,
    /// `error` and `message`, when it is the gateway's own.
    pub gateway: Option<(String, String)>,
    /// How its body begins, for people.
    pub excerpt: String,
}
