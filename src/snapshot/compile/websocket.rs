//! Compiles `websocket` of a route. It knows nothing of sessions that are open.

use super::chain::FilterChain;
use super::{Compiler, duration_or_default, refuse_shorter_duration};
use crate::filter::RenewalFilter;
use crate::routing::Rule;
use crate::websocket::{
    FrameLimits, LogFrames, OnChange, OnExpiry, Origins, Ping, Renewal, SessionQuota, UpstreamLost,
    Warning, WebSocketSettings,
};
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::OriginsWord;
use tidegate_config::{self as config, ProblemCollector, defaults};
use tidegate_http::origin::OriginPattern;
use tidegate_http::websocket::close_code;

impl Compiler<'_> {
    /// Adds the endpoint where clients renew the logins of this route's sessions, if there is one.
    pub(super) fn renewal(
        &mut self,
        route: &config::Route,
        written: &config::WebSocket,
        settings: &Arc<WebSocketSettings>,
        rule: &Rule,
        chain: &FilterChain,
        key_path: &str,
    ) {
        let Some(renew) = &written.renew else { return };
        let key_path = format!("{key_path}.renew");
        let Some(requirement) = chain.requirement() else {
            if !self.broken.is_any_within("authentication") && !self.broken.is_any_within("require")
            {
                let reason = "needs `require`: without it, a session has no login to renew";
                self.problems.add(renew.span, key_path, reason);
            }
            return;
        };
        let filter = RenewalFilter::new(
            &route.name,
            Arc::clone(requirement),
            self.user_id(),
            Arc::clone(settings),
            Arc::clone(&self.sessions),
        );
        let key_path = format!("{key_path}.path");
        self.add_endpoint(&renew.path, key_path, rule.hosts.clone(), chain, filter);
    }
}

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
        (written.renew.as_ref().and_then(|it| it.warn.as_ref()), "renew.warn", no_time),
    ] {
        refuse_shorter_duration(written, shortest, problems, &format!("{key_path}.{key}"));
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
        on_expiry: on_expiry(&written.on_expiry, problems, &format!("{key_path}.on_expiry")),
        renewal: written.renew.as_ref().map(|renew| renewal(&renew.value)),
    }
}

/// How sessions end whose credential has expired.
fn on_expiry(
    written: &config::OnExpiry,
    problems: &mut ProblemCollector,
    key_path: &str,
) -> OnExpiry {
    if let Some(code) = &written.code
        && !matches!(code.value, close_code::POLICY_VIOLATION | 3000..=4999)
    {
        let reason = format!(
            "must be {} (policy violation) or a code from 3000 to 4999, not `{}`",
            close_code::POLICY_VIOLATION,
            code.value
        );
        problems.add(code.span, format!("{key_path}.code"), reason);
    }
    OnExpiry {
        code: written.code.as_ref().map_or(defaults::on_expiry::CODE, |code| code.value),
        grace: duration_or_default(written.grace.as_ref(), defaults::on_expiry::GRACE),
    }
}

/// How clients renew the login of a session. They are warned only if either key of the warning is written.
fn renewal(written: &config::Renew) -> Renewal {
    let warning = (written.warn.is_some() || written.message.is_some()).then(|| Warning {
        before: duration_or_default(written.warn.as_ref(), defaults::RENEW_WARN),
        message: match &written.message {
            Some(message) => message.value.clone(),
            None => defaults::renew::MESSAGE.to_owned(),
        },
    });
    Renewal { path: written.path.as_str().to_owned(), warning }
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
