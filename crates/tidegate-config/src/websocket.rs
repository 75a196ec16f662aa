use super::union::{short_or_long, word_or_list};
use super::{ByteSize, Duration, LostCode, OriginPattern, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `on`, `off`, or the settings of WebSocket sessions.
#[derive(Debug, Clone)]
pub enum WebSocketSetting {
    /// Whether upgrades are let through.
    Switch(Switch),
    /// Upgrades are let through, with these settings.
    Settings(Box<WebSocket>),
}

/// The settings of WebSocket sessions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// Pages of which origins may open WebSockets here: `same` (those of the gateway's own host),
    /// `any`, or a list as in `cors.allow_origins`, beside `same`. Handshakes of other pages are
    /// answered 403; those without an `Origin` are no browser's, and pass.
    pub origins: Option<Spanned<WebSocketOrigins>>,
    /// Closes a session (1001) in which neither side sent anything for so long. A handshake that
    /// the upstream has not answered within this time is answered 504.
    pub idle_timeout: Option<Spanned<Duration>>,
    /// Closes a session (1001) after so long, up to a tenth sooner or later so that sessions that
    /// began together don't come back together. A handshake that the upstream has not answered
    /// within this time is answered 504.
    pub max_lifetime: Option<Spanned<Duration>>,
    /// Sessions of this route at a time; a handshake beyond is answered 429.
    pub max_sessions: Option<usize>,
    /// Sessions of one user id at a time; with `shared_counters`, at all gateways together.
    pub max_sessions_per_user: Option<usize>,
    /// Sessions of one client address at a time; the addresses of an IPv6 /64 network count as one.
    pub max_sessions_per_address: Option<usize>,
    /// What happens at such a limit: `none` refuses the new session with 429, `oldest` closes the
    /// oldest one (1008) that counts for the limit.
    pub evict: Evict,
    /// Bytes of a frame's payload; more closes the session (1009).
    pub max_frame_size: Option<Spanned<ByteSize>>,
    /// Bytes of a message's payload, its fragments together; more closes the session (1009).
    pub max_message_size: Option<Spanned<ByteSize>>,
    /// Messages that a client may send a second; more closes the session (1008).
    #[schemars(range(min = 1))]
    pub max_messages_per_second: Option<u32>,
    /// Pings from the gateway, so that dead connections are found and idle ones are kept open by
    /// what stands between.
    pub ping: Option<Ping>,
    /// What becomes of sessions when a reload changes or removes their route or endpoint: `keep`,
    /// `drain` (closed with `drain.code`, spread over `drain.spread`), `close` (the same, at once).
    pub on_change: OnChange,
    /// `true` closes a session (1002) on a violation of RFC 6455's framing: masks, opcodes, reserved
    /// bits, lengths, fragments, and the codes and reasons of close frames. Whether text messages are
    /// UTF-8 is left to the peers. Otherwise violations are counted, and left to the peers.
    pub strict: bool,
    /// Logs frames: `off`, `headers` (direction, opcode, length), `text` (text messages as well, up
    /// to 1 KiB each, values of secret keys redacted).
    pub log_frames: LogFrames,
    /// What a client gets whose upstream is gone without a close frame: a close code, or `none` for
    /// the end of its connection (browsers show 1006). Clients come back on 1014 (bad gateway); 1011
    /// is fatal to some.
    #[schemars(extend("type" = ["integer", "string"]))]
    pub upstream_lost: Option<LostCode>,
}

/// Pages of which origins may open WebSockets.
#[derive(Debug, Clone)]
pub enum WebSocketOrigins {
    /// `same` or `any`.
    Word(OriginsWord),
    /// Those listed, and those of the gateway's own host.
    List(Vec<Spanned<OriginPattern>>),
}

/// Pages of which origins may open WebSockets, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginsWord {
    /// Those of the gateway's own host.
    Same,
    /// All.
    Any,
}

/// What happens at a limit of sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evict {
    /// The new session is refused.
    #[default]
    None,
    /// The oldest one is closed.
    Oldest,
}

/// Pings from the gateway (RFC 6455, section 5.5.2). Their pongs are for the gateway alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// How long a peer may be silent before it is pinged, at least `1s`.
    pub interval: Spanned<Duration>,
    /// How long it then may be silent, at least `1s`; the session is ended after that.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// Who is pinged: `client`, `upstream`, or `both`.
    #[serde(default)]
    pub to: PingTo,
}

/// Who is pinged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PingTo {
    /// The client.
    #[default]
    Client,
    /// The upstream.
    Upstream,
    /// The client and the upstream.
    Both,
}

/// What becomes of sessions when their route or endpoint changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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

/// How much of the frames is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFrames {
    /// Nothing.
    #[default]
    Off,
    /// Direction, opcode, length.
    Headers,
    /// Text messages as well.
    Text,
}

/// How WebSocket sessions are closed when the gateway stops, drains or reloads.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// The close code: `1012` (service restart: come back) or `1001` (going away).
    pub code: Option<Spanned<u16>>,
    /// Over how long the sessions are closed, one after the other, so that they don't all come back
    /// at once. At most `shutdown.grace` when the gateway stops.
    pub spread: Option<Spanned<Duration>>,
}

word_or_list!(WebSocketOrigins: Word(OriginsWord) | List(Vec<Spanned<OriginPattern>>));
short_or_long!(WebSocketSetting: Switch(Switch) | Settings(Box<WebSocket>));
