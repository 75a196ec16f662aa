//! How a route treats WebSocket sessions, as the request path reads it. Knows nothing of YAML.

use super::{HandshakeLimit, HandshakeTimeout, Origins};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::websocket::close_code;

/// How a route treats WebSocket sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WebSocketSettings {
    /// The origins whose pages may open sessions.
    pub origins: Origins,
    /// Maximum time without bytes in either direction.
    pub idle_timeout: Option<Duration>,
    /// Maximum duration of a session, give or take a tenth.
    pub max_lifetime: Option<Duration>,
    /// Limits on the number of sessions.
    pub quota: SessionQuota,
    /// Limits on frames and messages.
    pub frame_limits: FrameLimits,
    /// Which peers the gateway pings, and how often.
    pub ping: Option<Ping>,
    /// What a reload does to sessions whose route or endpoint changes.
    pub on_change: OnChange,
    /// Whether frames are logged.
    pub log_frames: LogFrames,
    /// What a client gets if its upstream is gone without a close frame.
    pub upstream_lost: UpstreamLost,
    /// How a session ends whose credential has expired.
    pub(crate) on_expiry: OnExpiry,
    /// How clients renew the login of a session, if they can.
    pub(crate) renewal: Option<Renewal>,
}

/// How a session ends whose credential has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OnExpiry {
    /// The close code.
    pub code: u16,
    /// For how long it stays open after that.
    pub grace: Duration,
}

stable_hash!(OnExpiry { code, grace });

impl Default for OnExpiry {
    fn default() -> Self {
        Self { code: close_code::UNAUTHORIZED, grace: Duration::ZERO }
    }
}

/// How clients renew the login of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Renewal {
    /// Where they send the fresh credential.
    pub path: String,
    /// When and how they are warned, if they are.
    pub warning: Option<Warning>,
}

stable_hash!(Renewal { path, warning });

/// The message that warns a client of the expiry of its login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Warning {
    /// How long before the expiry it is sent.
    pub before: Duration,
    /// The text, with [`Warning::SESSION`] and [`Warning::SECONDS`] for what differs.
    pub message: String,
}

stable_hash!(Warning { before, message });

impl Warning {
    /// In a message: the id of the session for its renewal.
    pub(crate) const SESSION: &str = "{session}";

    /// In a message: seconds until the expiry.
    pub(crate) const SECONDS: &str = "{seconds}";

    /// The text for a session.
    pub(super) fn render(&self, session: &str, left: Duration) -> String {
        let seconds = left.as_secs() + u64::from(left.subsec_millis() >= 500);
        self.message.replace(Self::SECONDS, &seconds.to_string()).replace(Self::SESSION, session)
    }
}

/// What a login needs adds nothing where nothing is written of it, so that the fingerprints of other routes stay.
impl StableHash for WebSocketSettings {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self {
            origins,
            idle_timeout,
            max_lifetime,
            quota,
            frame_limits,
            ping,
            on_change,
            log_frames,
            upstream_lost,
            on_expiry,
            renewal,
        } = self;
        (origins, idle_timeout, max_lifetime).feed(hasher);
        (quota, frame_limits, ping).feed(hasher);
        (on_change, log_frames, upstream_lost).feed(hasher);
        if *on_expiry != OnExpiry::default() || renewal.is_some() {
            (on_expiry, renewal).feed(hasher);
        }
    }
}

impl WebSocketSettings {
    /// Maximum time for all attempts of a handshake together: the session could not be silent, or last,
    /// for longer either.
    pub(crate) fn handshake_timeout(&self) -> Option<HandshakeTimeout> {
        let idle = self.idle_timeout.map(|time| (HandshakeLimit::Idle, time));
        let age = self.max_lifetime.map(|time| (HandshakeLimit::Lifetime, time));
        let (limit, time) = idle.into_iter().chain(age).min_by_key(|(_, time)| *time)?;
        Some(HandshakeTimeout { limit, time })
    }
}

/// What a client gets if its upstream is gone without a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamLost {
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
    pub(crate) fn code(self) -> Option<u16> {
        match self {
            Self::Code(code) => Some(code),
            Self::BareEnd => None,
        }
    }
}

/// Limits on concurrent sessions of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct SessionQuota {
    /// Of all clients together.
    pub sessions: Option<usize>,
    /// Of one user id.
    pub per_user: Option<usize>,
    /// Of one client address.
    pub per_address: Option<usize>,
    /// Whether the oldest session is closed to make room, instead of refusing the new one.
    pub evicts_oldest: bool,
}

stable_hash!(SessionQuota { sessions, per_user, per_address, evicts_oldest });

/// Limits on the frames and messages of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct FrameLimits {
    /// Bytes of one frame's payload.
    pub frame_size: Option<u64>,
    /// Bytes of one message's payload, its fragments together.
    pub message_size: Option<u64>,
    /// Messages per second from the client; bursts may have as many.
    pub messages_per_second: Option<u32>,
    /// Whether a protocol error ends the session.
    pub strict: bool,
}

stable_hash!(FrameLimits { frame_size, message_size, messages_per_second, strict });

impl FrameLimits {
    /// Whether a frame must be checked before any of it is forwarded.
    pub(crate) fn is_enabled(&self) -> bool {
        *self != Self::default()
    }
}

/// Keepalive by the gateway (RFC 6455, section 5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ping {
    /// Time without bytes from a peer after which it gets a ping.
    pub interval: Duration,
    /// Maximum time until it sends anything.
    pub timeout: Duration,
    /// Whether the client is pinged.
    pub client: bool,
    /// Whether the upstream is pinged.
    pub upstream: bool,
}

stable_hash!(Ping { interval, timeout, client, upstream });

/// What happens to the sessions of a route or endpoint that a reload changes or removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnChange {
    /// They continue with their old settings.
    #[default]
    Keep,
    /// They are closed one after the other, spread over time.
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
#[non_exhaustive]
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
