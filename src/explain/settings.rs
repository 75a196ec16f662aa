//! The settings of a route as text, under the names of their keys, for `explain` and `diff`. Knows nothing of requests.

use crate::cache;
use crate::compression::{Compression, MediaRange};
use crate::snapshot::{Mirror, RetryPolicy, Route, SplitCondition};
use crate::upstream::{AffinityKey, Balance, Pool};
use crate::websocket::{LogFrames, OnChange, OnExpiry, Origins, UpstreamLost, WebSocketSettings};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_config::defaults::websocket::UPSTREAM_LOST;
use tidegate_http::origin::OriginPattern;
use tidegate_http::path::PathPolicy;
use tidegate_http::secret::{REDACTED, is_secret_field};

/// The description of a setting that is off.
pub(super) const OFF: &str = "off";

/// The settings for requests to this upstream, by the names of their keys.
pub(super) fn settings(route: &Route, pool: &Pool) -> BTreeMap<&'static str, String> {
    let or_off = |text: Option<String>| text.unwrap_or_else(|| OFF.to_owned());
    let mut settings = BTreeMap::from([
        ("balance", balance(&pool.settings().balance)),
        ("cache", or_off(route.cache.as_deref().map(cache))),
        ("compression", or_off(route.compression.as_deref().map(compression))),
        ("grpc_web", if route.grpc_web { "on" } else { OFF }.to_owned()),
        ("max_body_size", or_off(route.max_body_size.map(bytes_in_words))),
        ("mirror", or_off(route.mirror.as_deref().map(mirror))),
        ("retry", retry(&route.retry)),
        ("websocket", or_off(route.websocket.as_deref().map(websocket))),
    ]);
    if route.path != PathPolicy::NORMAL {
        settings.insert("path", route.path.to_string());
    }
    settings
}

/// The splits of a route: which requests go to another upstream.
pub(super) fn splits(route: &Route) -> Vec<String> {
    let mut below = 0;
    let split = |split: &crate::snapshot::SplitRule| {
        let name = split.pool.name();
        match &split.when {
            SplitCondition::Below(until) => {
                let share = until.saturating_sub(below);
                below = *until;
                format!("{name} for {share}%")
            }
            SplitCondition::Header(field, value) => {
                let value = match is_secret_field(field.as_str()) {
                    true => REDACTED.into(),
                    false => String::from_utf8_lossy(value.as_bytes()),
                };
                format!("{name} when header {field} is {value}")
            }
            SplitCondition::Cookie(cookie, value) => {
                let value = if is_secret_field(cookie) { REDACTED } else { value };
                format!("{name} when cookie {cookie} is {value}")
            }
        }
    };
    route.splits.iter().map(split).collect()
}

fn balance(balance: &Balance) -> String {
    let key = |key: &AffinityKey| match key {
        AffinityKey::UserId => "user id".to_owned(),
        AffinityKey::ClientAddress => "client address".to_owned(),
        AffinityKey::Header(name) => format!("header {name}"),
        AffinityKey::Cookie(name) => format!("cookie {name}"),
    };
    match balance {
        Balance::RoundRobin => "round_robin".to_owned(),
        Balance::LeastRequests => "least_requests".to_owned(),
        Balance::PeakEwma => "peak_ewma".to_owned(),
        Balance::Hash(by) => format!("hash of {}", key(by)),
        Balance::StickyCookie(name) => format!("sticky by cookie {name}"),
    }
}

fn cache(policy: &cache::RouteCachePolicy) -> String {
    let cache::RouteCachePolicy { default_ttl, max_ttl, stale_while_revalidate, .. } = policy;
    let mut text = SettingText::switched_on();
    text.time("default_ttl", Some(*default_ttl).filter(|it| !it.is_zero()));
    text.time("max_ttl", *max_ttl);
    text.time("stale_while_revalidate", Some(*stale_while_revalidate).filter(|it| !it.is_zero()));
    text.time("stale_if_error", Some(policy.stale_if_error).filter(|it| !it.is_zero()));
    if !policy.key_headers.is_empty() {
        let names: Vec<&str> = policy.key_headers.iter().map(http::HeaderName::as_str).collect();
        text.add("key_headers", &names.join(" "));
    }
    text.0
}

fn compression(compression: &Compression) -> String {
    let codings: Vec<&str> = compression.codings.iter().map(|coding| coding.name()).collect();
    let types = compression.types.iter().map(|it| match it {
        MediaRange::Exact(exact) => exact.clone(),
        MediaRange::MainType(main) => format!("{main}*"),
        MediaRange::Suffix(suffix) => format!("*/*{suffix}"),
    });
    let types = types.collect::<Vec<_>>().join(" ");
    format!(
        "{}; min_size {}, types {types}",
        codings.join(" "),
        bytes_in_words(compression.min_size)
    )
}

fn mirror(mirror: &Mirror) -> String {
    let Mirror { pool, percent, timeout, .. } = mirror;
    format!("{percent}% to {}; timeout {}", pool.name(), duration_in_words(*timeout))
}

fn retry(policy: &RetryPolicy) -> String {
    if policy.attempts <= 1 {
        return OFF.to_owned();
    }
    let cases = [
        (policy.on_connect_failure, "connect_failure".to_owned()),
        (policy.on_reset, "reset".to_owned()),
        (policy.on_timeout, "timeout".to_owned()),
    ];
    let cases = cases.into_iter().filter_map(|(is_on, case)| is_on.then_some(case));
    let statuses = policy.on_status.iter().map(ToString::to_string);
    let cases: Vec<String> = cases.chain(statuses).collect();
    let (attempts, backoff) = (policy.attempts, duration_in_words(policy.backoff));
    format!("{attempts} attempts on {}; backoff {backoff}", cases.join(" "))
}

fn websocket(settings: &WebSocketSettings) -> String {
    let WebSocketSettings {
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
    } = settings;
    let number = |number: Option<usize>| number.map(|it| it.to_string());
    let mut text = SettingText::switched_on();
    match origins {
        // Nothing is said of the default; the CORS policy is a filter.
        Origins::Same | Origins::OfCors(_) => {}
        Origins::Any => text.add("origins", "any"),
        Origins::Listed(patterns) => {
            let shown: Vec<String> = patterns.iter().map(OriginPattern::display).collect();
            text.add("origins", &shown.join(" "));
        }
    }
    text.time("idle_timeout", *idle_timeout);
    text.time("max_lifetime", *max_lifetime);
    for (name, value) in [
        ("max_sessions", number(quota.sessions)),
        ("max_sessions_per_user", number(quota.per_user)),
        ("max_sessions_per_address", number(quota.per_address)),
        ("evict", quota.evicts_oldest.then(|| "oldest".to_owned())),
        ("max_frame_size", frame_limits.frame_size.map(bytes_in_words)),
        ("max_message_size", frame_limits.message_size.map(bytes_in_words)),
        ("max_messages_per_second", frame_limits.messages_per_second.map(|it| it.to_string())),
        ("strict", frame_limits.strict.then(|| "on".to_owned())),
    ] {
        if let Some(value) = value {
            text.add(name, &value);
        }
    }
    if let Some(ping) = ping {
        let whom = match (ping.client, ping.upstream) {
            (true, true) => "both",
            (true, false) => "client",
            (false, _) => "upstream",
        };
        let (interval, timeout) =
            (duration_in_words(ping.interval), duration_in_words(ping.timeout));
        text.add("ping", &format!("{whom} every {interval} within {timeout}"));
    }
    match on_change {
        OnChange::Keep => {}
        OnChange::Drain => text.add("on_change", "drain"),
        OnChange::Close => text.add("on_change", "close"),
    }
    match upstream_lost {
        lost if lost.code() == UPSTREAM_LOST.0 => {}
        UpstreamLost::Code(code) => text.add("upstream_lost", &code.to_string()),
        UpstreamLost::BareEnd => text.add("upstream_lost", "none"),
    }
    if *on_expiry != OnExpiry::default() {
        let grace = duration_in_words(on_expiry.grace);
        text.add("on_expiry", &format!("{} after {grace}", on_expiry.code));
    }
    if let Some(renewal) = renewal {
        let warning = renewal.warning.as_ref();
        let warning = warning.map_or("without a warning".to_owned(), |warning| {
            format!("warned {} before", duration_in_words(warning.before))
        });
        text.add("renew", &format!("at {} {warning}", renewal.path));
    }
    match log_frames {
        LogFrames::Off => {}
        LogFrames::Headers => text.add("log_frames", "headers"),
        LogFrames::Text => text.add("log_frames", "text"),
    }
    text.0
}

/// The text of a setting with its parts: `on; this 1, that 2`.
struct SettingText(String);

impl SettingText {
    fn switched_on() -> Self {
        Self("on".to_owned())
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0 += if self.0.contains(';') { ", " } else { "; " };
        self.0 += &format!("{name} {value}");
    }

    fn time(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.add(name, &duration_in_words(value));
        }
    }
}

fn duration_in_words(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn bytes_in_words(size: u64) -> String {
    bytesize::ByteSize(size).to_string()
}
