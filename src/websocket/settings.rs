use super::{HandshakeLimit, HandshakeTimeout, Origins};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// How a route treats WebSocket sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Pages of which origins may open sessions.
    pub origins: Origins,
    /// Ends a session in which neither side sent anything for so long.
    pub idle_timeout: Option<Duration>,
    /// Ends a session after so long, give or take a tenth.
    pub max_lifetime: Option<Duration>,
    /// How many sessions there may be.
    pub quota: Quota,
    /// What may be sent.
    pub bounds: Bounds,
    /// Whether the gateway pings, and whom.
    pub ping: Option<Ping>,
    /// What becomes of sessions when their route or their endpoint changes.
    pub on_change: OnChange,
    /// Whether frames are logged.
    pub log_frames: LogFrames,
    /// What a client gets whose upstream is gone without a close frame.
    pub upstream_lost: UpstreamLost,
}

stable_hash!(Settings {
    origins,
    idle_timeout,
    max_lifetime,
    quota,
    bounds,
    ping,
    on_change,
    log_frames,
    upstream_lost,
});

impl Settings {
    /// How long the attempts of a handshake may take together: no longer than the session that it asks
    /// for could be silent, or last.
    pub fn handshake_bound(&self) -> Option<HandshakeTimeout> {
        let idle = self.idle_timeout.map(|time| (HandshakeLimit::Idle, time));
        let age = self.max_lifetime.map(|time| (HandshakeLimit::Lifetime, time));
        let (limit, time) = idle.into_iter().chain(age).min_by_key(|(_, time)| *time)?;
        Some(HandshakeTimeout { limit, time })
    }
}

/// What a client gets whose upstream is gone without a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamLost {
    /// A close frame with this code.
    Code(u16),
    /// The end of its connection, as from the upstream itself.
    BareEnd,
}

impl StableHash for UpstreamLost {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Code(code) => (0_u8, *code).feed(hasher),
            Self::BareEnd => hasher.number(1),
        }
    }
}

impl UpstreamLost {
    /// The code, if there is one.
    pub fn code(self) -> Option<u16> {
        match self {
            Self::Code(code) => Some(code),
            Self::BareEnd => None,
        }
    }
}

/// How many sessions a route may have at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Together.
    pub sessions: Option<usize>,
    /// Of one user id.
    pub per_user: Option<usize>,
    /// Of one client address.
    pub per_address: Option<usize>,
    /// Whether the oldest makes room for a new one, instead of the new one being refused.
    pub evicts_oldest: bool,
}

stable_hash!(Quota { sessions, per_user, per_address, evicts_oldest });

/// What a session may carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Bytes of one frame's payload.
    pub frame_size: Option<u64>,
    /// Bytes of one message's payload, its fragments together.
    pub message_size: Option<u64>,
    /// Messages a second from the client; as many may come at once.
    pub messages_per_second: Option<u32>,
    /// Whether a protocol error ends the session.
    pub strict: bool,
}

stable_hash!(Bounds { frame_size, message_size, messages_per_second, strict });

impl Bounds {
    /// Whether a frame must be judged before any of it is passed on.
    pub fn judge(&self) -> bool {
        *self != Self::default()
    }
}

/// Keepalive from the edge (RFC 6455, section 5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ping {
    /// How long a peer may be silent before it is pinged.
    pub interval: Duration,
    /// How long it may take to show that it is there.
    pub timeout: Duration,
    /// Whether the client is pinged.
    pub client: bool,
    /// Whether the upstream is pinged.
    pub upstream: bool,
}

stable_hash!(Ping { interval, timeout, client, upstream });

/// What becomes of sessions on a route or an endpoint that a reload changes or takes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// They go on as they began.
    #[default]
    Keep,
    /// They are closed one after the other.
    Drain,
    /// They are closed at once.
    Close,
}

impl StableHash for OnChange {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Keep => hasher.number(0),
            Self::Drain => hasher.number(1),
            Self::Close => hasher.number(2),
        }
    }
}

/// How much of the frames is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LogFrames {
    /// Nothing.
    #[default]
    Off,
    /// Direction, opcode, length.
    Headers,
    /// The beginning of text messages as well.
    Text,
}

impl StableHash for LogFrames {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Off => hasher.number(0),
            Self::Headers => hasher.number(1),
            Self::Text => hasher.number(2),
        }
    }
}
