//! Warnings about settings that are valid and risky. It knows nothing of files on disk.

use std::time::Duration;
use tidegate_config::{
    Balance, Cidr, Config, HashKey, HstsSetting, LogFrames, ProblemCollector, RateLimitBy,
    SampleParent, Span, Switch, TracingSetting, TrustedProxy, UpstreamTlsSetting, WebSocketSetting,
};

/// The minimum HSTS `max_age` that browsers' preload lists require (<https://hstspreload.org>).
const PRELOAD_MIN_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long requests in flight may take after SIGTERM, when nothing is written.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Settings that open a door, or that don't do what they seem to.
pub(super) fn review(config: &Config, problems: &mut ProblemCollector) {
    unverified_upstreams(config, problems);
    review_trusted_proxies(config, problems);
    review_trace_parents(config, problems);
    drain_beyond_grace(config, problems);
    review_hsts_preload(config, problems);
    logged_messages(config, problems);
    review_user_ids(config, problems);
}

fn unverified_upstreams(config: &Config, problems: &mut ProblemCollector) {
    for (name, upstream) in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        if matches!(&tls.value, UpstreamTlsSetting::Settings(it) if it.insecure_skip_verify) {
            let key_path = format!("upstreams.{name}.tls.insecure_skip_verify");
            let reason = "anybody between the gateway and the upstream can read and change the \
                          traffic";
            problems.warn("unverified-upstream", tls.span, key_path, reason).help(
                "set the certificate authority with `ca`, or the name in the certificate with \
                 `server_name`",
            );
        }
    }
}

fn review_trusted_proxies(config: &Config, problems: &mut ProblemCollector) {
    let is_everybody = |network: &Cidr| network.0.prefix_len() == 0;
    for (index, trusted) in config.trusted_proxies.iter().enumerate() {
        if matches!(&trusted.value, TrustedProxy::Network(network) if is_everybody(network)) {
            let reason = "any peer can claim another client address, which the log and the \
                          limits then use";
            problems
                .warn("trusts-everybody", trusted.span, format!("trusted_proxies[{index}]"), reason)
                .help("list the networks of your load balancers");
        }
    }
    for (number, listener) in config.listeners.iter().enumerate() {
        let from = listener.proxy_protocol.iter().flat_map(|proxy| &proxy.from).enumerate();
        for (index, network) in from.filter(|(_, network)| is_everybody(network)) {
            let key_path = format!("listeners[{number}].proxy_protocol.from[{index}]");
            let reason = "any peer can claim another client address in a PROXY header, which the \
                          log and the limits then use";
            problems
                .warn("trusts-everybody", network.span, key_path, reason)
                .help("list the networks of your load balancers");
        }
    }
}

fn review_trace_parents(config: &Config, problems: &mut ProblemCollector) {
    let TracingSetting::Settings(tracing) = &config.tracing.value else { return };
    let sample = &tracing.sample;
    let is_part = |ratio: f64| ratio < 1.0;
    let (span, key_path) = match (&sample.parent, &sample.ratio) {
        (Some(parent), _) if parent.value == SampleParent::Switch(Switch(true)) => {
            (parent.span, "tracing.sample.parent")
        }
        (None, Some(ratio)) if is_part(ratio.value) => (ratio.span, "tracing.sample.ratio"),
        _ => return,
    };
    let reason = "any client that sends a `traceparent` header decides whether its request is \
                  recorded";
    problems.warn("strangers-sample", span, key_path, reason).help(
        "write `parent: trusted`: then only `traceparent` headers from `trusted_proxies` decide",
    );
}

fn drain_beyond_grace(config: &Config, problems: &mut ProblemCollector) {
    let grace = config.shutdown.grace.map_or(DEFAULT_GRACE, |grace| grace.0);
    if let Some(spread) = config.drain.spread.as_ref().filter(|spread| spread.value.0 > grace) {
        let reason = format!(
            "the gateway stops within `shutdown.grace` ({}), so it closes sessions faster than \
             this",
            humantime::format_duration(grace)
        );
        problems
            .warn("drain-beyond-grace", spread.span, "drain.spread", reason)
            .help("make `shutdown.grace` longer than `drain.spread`");
    }
}

fn review_hsts_preload(config: &Config, problems: &mut ProblemCollector) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let Some(HstsSetting::Settings(hsts)) = &tls.hsts else { continue };
        let is_short = hsts.max_age.is_some_and(|age| age.0 < PRELOAD_MIN_AGE);
        if hsts.preload && (is_short || !hsts.include_subdomains) {
            let reason = "the preload lists of browsers require `include_subdomains` and a \
                          `max_age` of at least a year";
            problems
                .warn("not-preloadable", tls.span, format!("listeners[{index}].tls.hsts"), reason)
                .help("add `include_subdomains: true` and `max_age: 365d`, or remove `preload`");
        }
    }
}

fn logged_messages(config: &Config, problems: &mut ProblemCollector) {
    for (index, route) in config.routes.iter().enumerate() {
        let Some(websocket) = &route.websocket else { continue };
        let WebSocketSetting::Settings(settings) = &websocket.value else { continue };
        if settings.log_frames == LogFrames::Text {
            let key_path = format!("routes[{index}].websocket.log_frames");
            let reason = "the access log stores the text messages of all users of this route";
            let help = "write `headers`, and log the text of one session with `tidegate sessions \
                        --session ID --log-frames text`";
            problems.warn("logs-messages", websocket.span, key_path, reason).help(help);
        }
    }
}

/// Settings by user id in a configuration without a source of user ids.
fn review_user_ids(config: &Config, problems: &mut ProblemCollector) {
    if !config.identity.user_id.is_empty() {
        return;
    }
    let mut warn = |span: Span, key_path: String, reason: &str| {
        let help = "define where the user id is: `identity: {user_id: [{query: userId}]}`";
        problems.warn("nameless-users", span, key_path, reason).help(help);
    };
    let by_route = config.routes.iter().enumerate().flat_map(|(number, route)| {
        let limits = route.rate_limits.iter().flatten().enumerate();
        limits.map(move |(index, limit)| (format!("routes[{number}].rate_limits[{index}]"), limit))
    });
    let by_all = config.rate_limits.iter().enumerate();
    let by_all = by_all.map(|(index, limit)| (format!("rate_limits[{index}]"), limit));
    for (key_path, limit) in by_all.chain(by_route) {
        if matches!(limit.by, RateLimitBy::UserId) {
            let reason = "no request has a user id, because `identity.user_id` is not set; \
                          requests are counted by client address";
            warn(limit.span, format!("{key_path}.by"), reason);
        }
    }
    for (name, upstream) in &config.upstreams {
        if matches!(upstream.balance, Balance::Hash(HashKey::UserId)) {
            let reason = "no request has a user id, because `identity.user_id` is not set; \
                          endpoints are selected round robin";
            warn(upstream.span, format!("upstreams.{name}.balance"), reason);
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        let Some(websocket) = &route.websocket else { continue };
        let WebSocketSetting::Settings(settings) = &websocket.value else { continue };
        if settings.max_sessions_per_user.is_some() {
            let key_path = format!("routes[{index}].websocket.max_sessions_per_user");
            warn(
                websocket.span,
                key_path,
                "no session has a user id, because `identity.user_id` is not set; the limit \
                 never applies",
            );
        }
    }
}
