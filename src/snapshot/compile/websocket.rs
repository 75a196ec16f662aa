//! Compiles `websocket` of a route. It knows nothing of sessions that are open.

use super::{at_least, duration_or_default};
use crate::websocket::{
    FrameLimits, LogFrames, OnChange, Origins, Ping, SessionQuota, UpstreamLost, WebSocketSettings,
};
use std::time::Duration;
use tidegate_config::OriginsWord;
use tidegate_config::{self as config, ProblemCollector, defaults};
use tidegate_http::origin::OriginPattern;

/// The settings of a route's sessions; `default_origins` hold where none are written.
pub(super) fn settings(
    written: &config::WebSocket,
    default_origins: Origins,
    problems: &mut ProblemCollector,
    key_path: &str,
) -> WebSocketSettings {
    let (frame_size, message_size) = (&written.max_frame_size, &written.max_message_size);
    if let (Some(frame), Some(message)) = (frame_size, message_size)
        && frame.value.0 > message.value.0
    {
        problems.add(
            frame.span,
            format!("{key_path}.max_frame_size"),
            "must not be larger than `max_message_size`",
        );
    }
    let (no_time, least_ping) = (Duration::from_nanos(1), Duration::from_secs(1));
    for (written, key, shortest) in [
        (written.idle_timeout.as_ref(), "idle_timeout", no_time),
        (written.max_lifetime.as_ref(), "max_lifetime", no_time),
        (written.ping.as_ref().map(|ping| &ping.interval), "ping.interval", least_ping),
        (written.ping.as_ref().and_then(|it| it.timeout.as_ref()), "ping.timeout", least_ping),
    ] {
        at_least(written, shortest, problems, &format!("{key_path}.{key}"));
    }
    WebSocketSettings {
        origins: written
            .origins
            .as_ref()
            .map_or(default_origins, |written| origins(&written.value)),
        idle_timeout: written.idle_timeout.as_ref().map(|timeout| timeout.value.0),
        max_lifetime: written.max_lifetime.as_ref().map(|lifetime| lifetime.value.0),
        quota: SessionQuota {
            sessions: written.max_sessions,
            per_user: written.max_sessions_per_user,
            per_address: written.max_sessions_per_address,
            evicts_oldest: written.evict == config::Evict::Oldest,
        },
        frame_limits: FrameLimits {
            frame_size: frame_size.as_ref().map(|size| size.value.0),
            message_size: message_size.as_ref().map(|size| size.value.0),
            messages_per_second: written.max_messages_per_second,
            strict: written.strict,
        },
        ping: written.ping.as_ref().map(|ping| Ping {
            interval: ping.interval.value.0,
            timeout: duration_or_default(ping.timeout.as_ref(), defaults::ping::TIMEOUT),
            client: ping.to != config::PingTo::Upstream,
            upstream: ping.to != config::PingTo::Client,
        }),
        on_change: match written.on_change {
            config::OnChange::Keep => OnChange::Keep,
            config::OnChange::Drain => OnChange::Drain,
            config::OnChange::Close => OnChange::Close,
        },
        log_frames: match written.log_frames {
            config::LogFrames::Off => LogFrames::Off,
            config::LogFrames::Headers => LogFrames::Headers,
            config::LogFrames::Text => LogFrames::Text,
        },
        upstream_lost: match written.upstream_lost.unwrap_or(defaults::websocket::UPSTREAM_LOST) {
            config::LostCode(None) => UpstreamLost::BareEnd,
            config::LostCode(Some(code)) => UpstreamLost::Code(code),
        },
    }
}

/// Which origins are written; that they are ones was checked when the file was read.
fn origins(written: &config::WebSocketOrigins) -> Origins {
    match written {
        config::WebSocketOrigins::Word(OriginsWord::Same) => Origins::Same,
        config::WebSocketOrigins::Word(OriginsWord::Any) => Origins::Any,
        config::WebSocketOrigins::List(list) => Origins::Listed(
            list.iter().filter_map(|origin| OriginPattern::parse(origin.as_str())).collect(),
        ),
    }
}
