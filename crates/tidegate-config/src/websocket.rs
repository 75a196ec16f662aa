//! The section `websocket`, as written. It knows nothing of sessions.

use super::union::{short_or_long, word_or_list};
use super::{ByteSize, Duration, LostCode, OriginPattern, Path, Spanned, Switch};
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
    /// Origins whose pages may open WebSockets here: `same` (the gateway's own host), `any`, or a
    /// list as in `cors.allow_origins`, in addition to `same`. Handshakes of other pages are
    /// answered 403; handshakes without an `Origin` do not come from browsers and pass.
    pub origins: Option<Spanned<WebSocketOrigins>>,
    /// Closes a session (1001) if neither side sends anything for this time. A handshake that the
    /// upstream does not answer within this time is answered 504.
    pub idle_timeout: Option<Spanned<Duration>>,
    /// Closes a session (1001) after this time, up to a tenth sooner or later so that sessions that
    /// began together don't reconnect together. A handshake that the upstream does not answer
    /// within this time is answered 504.
    pub max_lifetime: Option<Spanned<Duration>>,
    /// Maximum number of concurrent sessions of this route; further handshakes are answered 429.
    pub max_sessions: Option<usize>,
    /// Maximum number of concurrent sessions of one user id; with `shared_counters`, at all
    /// gateways together.
    pub max_sessions_per_user: Option<usize>,
    /// Maximum number of concurrent sessions of one client address; the addresses of an IPv6 /64
    /// network count as one.
    pub max_sessions_per_address: Option<usize>,
    /// How a session ends whose credential has expired, on a route with `require`.
    pub on_expiry: OnExpiry,
    /// Lets clients renew the login of a living session, on a route with `require`.
    pub renew: Option<Spanned<Renew>>,
    /// What happens at such a limit: `none` refuses the new session with 429, `oldest` closes the
    /// oldest session (1008) that counts towards the limit.
    pub evict: Evict,
    /// Maximum size of a frame's payload; a larger frame closes the session (1009).
    pub max_frame_size: Option<Spanned<ByteSize>>,
    /// Maximum size of a message's payload, all fragments together; a larger message closes the
    /// session (1009).
    pub max_message_size: Option<Spanned<ByteSize>>,
    /// Maximum number of messages per second from a client; more closes the session (1008).
    #[schemars(range(min = 1))]
    pub max_messages_per_second: Option<u32>,
    /// Pings from the gateway. They detect dead connections, and keep idle ones open through
    /// firewalls and balancers.
    pub ping: Option<Ping>,
    /// What happens to sessions when a reload changes or removes their route or endpoint: `keep`,
    /// `drain` (closed with `drain.code`, spread over `drain.spread`), `close` (the same, at once).
    pub on_change: OnChange,
    /// `true` closes a session (1002) on a violation of RFC 6455's framing: masks, opcodes,
    /// reserved bits, lengths, fragments, and the codes and reasons of close frames. The peers
    /// check whether text messages are UTF-8. Otherwise the gateway counts violations and leaves
    /// them to the peers.
    pub strict: bool,
    /// Logs frames: `off`, `headers` (direction, opcode, length), `text` (text messages as well, up
    /// to 1 KiB each, values of secret keys redacted).
    pub log_frames: LogFrames,
    /// What a client gets if its upstream disappears without a close frame: a close code, or `none`
    /// for the end of its connection (browsers show 1006). Clients reconnect on 1014 (bad gateway);
    /// some never do on 1011.
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

/// Origins whose pages may open WebSockets, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginsWord {
    /// Those of the gateway's own host.
    Same,
    /// All.
    Any,
}

/// How a session ends whose credential has expired.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnExpiry {
    /// The close code: `1008` (policy violation), or one of `3000` to `4999`.
    pub code: Option<Spanned<u16>>,
    /// Time for which the session stays open after its credential has expired.
    pub grace: Option<Spanned<Duration>>,
}

/// The renewal of a living session: its client sends a fresh credential by POST, and the session goes on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Path of the renewal, on the hosts of the route. The request must have the session's cookie
    /// (`tidegate_session`) or the id from the warning (`X-Tidegate-Session`, or `session` in a JSON body), and
    /// a fresh credential of the same scheme for the same user.
    pub path: Spanned<Path>,
    /// Time before the expiry at which the gateway sends `message`.
    #[serde(default)]
    pub warn: Option<Spanned<Duration>>,
    /// Text message that warns the client, between two messages of the upstream. `{session}` is the id of
    /// the session for its renewal, `{seconds}` the time that is left.
    #[serde(default)]
    pub message: Option<Spanned<String>>,
}

/// What happens at a limit of sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evict {
    /// Refuses the new session.
    #[default]
    None,
    /// Closes the oldest session.
    Oldest,
}

/// Pings from the gateway (RFC 6455, section 5.5.2). It does not pass their pongs on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Time of silence after which the gateway pings a peer, at least `1s`.
    pub interval: Spanned<Duration>,
    /// Time of further silence after which the gateway ends the session, at least `1s`.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// Peers that the gateway pings: `client`, `upstream`, or `both`.
    #[serde(default)]
    pub to: PingTo,
}

/// Peers that the gateway pings.
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

/// What happens to sessions when their route or endpoint changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// Keeps them open.
    #[default]
    Keep,
    /// Closes them one after the other.
    Drain,
    /// Closes them at once.
    Close,
}

/// What of the frames is logged.
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
    /// The close code: `1012` (service restart, clients reconnect) or `1001` (going away).
    pub code: Option<Spanned<u16>>,
    /// Time over which the sessions are closed, one after the other, so that clients don't all
    /// reconnect at once. At most `shutdown.grace` when the gateway stops.
    pub spread: Option<Spanned<Duration>>,
}

word_or_list!(WebSocketOrigins: Word(OriginsWord) | List(Vec<Spanned<OriginPattern>>));
short_or_long!(WebSocketSetting: Switch(Switch) | Settings(Box<WebSocket>));
