//! Warnings about settings that trust what a client merely says about its user, and about credentials that strangers can
//! read. Verifies nobody.

use tidegate_config::{
    AuthenticationScheme, Balance, Config, HashKey, ProblemCollector, RequireSetting, Route,
    UserIdSource, WebSocketSetting,
};

/// Settings about users that are valid and risky.
pub(super) fn review(config: &Config, problems: &mut ProblemCollector) {
    unverified_users(config, problems);
    claims_without_authentication(config, problems);
    unused_schemes(config, problems);
    readable_credentials(config, problems);
}

/// What a route requires, the top level's where it says nothing.
fn required<'c>(config: &'c Config, route: &'c Route) -> Option<&'c RequireSetting> {
    route.require.as_ref().or(config.require.as_ref()).map(|it| &it.value)
}

fn schemes(setting: &RequireSetting) -> Vec<&str> {
    match setting {
        RequireSetting::Scheme(scheme) if scheme.as_str() == "off" => Vec::new(),
        RequireSetting::Scheme(scheme) => vec![scheme.as_str()],
        RequireSetting::Settings(settings) => {
            settings.any.iter().map(|name| name.as_str()).collect()
        }
    }
}

/// The schemes that a route requires.
fn required_schemes<'c>(config: &'c Config, route: &'c Route) -> Vec<&'c str> {
    required(config, route).map(schemes).unwrap_or_default()
}

/// Whether a client of this route may choose its user id.
fn may_choose_user(config: &Config, route: &Route) -> bool {
    let sources = &config.identity.user_id;
    let is_claim = |source: &UserIdSource| matches!(source, UserIdSource::Claim(_));
    let is_verified = sources.iter().any(is_claim) && !required_schemes(config, route).is_empty();
    !is_verified && !sources.iter().all(is_claim)
}

fn unverified_users(config: &Config, problems: &mut ProblemCollector) {
    const HELP: &str =
        "verify the user: `require` on the route, and `identity: {user_id: [{claim: sub}]}`";
    for (index, route) in config.routes.iter().enumerate() {
        if !may_choose_user(config, route) {
            continue;
        }
        if let Some(websocket) = &route.websocket
            && let WebSocketSetting::Settings(settings) = &websocket.value
            && settings.max_sessions_per_user.is_some()
        {
            let key_path = format!("routes[{index}].websocket.max_sessions_per_user");
            let reason = "clients choose their user id here, so anybody can use up the sessions of \
                          another user, or evade the limit";
            problems.warn("unverified-users", websocket.span, key_path, reason).help(HELP);
        }
        let upstream = route.upstream.as_ref().and_then(|name| config.upstreams.get(name.as_str()));
        if let Some(upstream) = upstream
            && matches!(upstream.balance, Balance::Hash(HashKey::UserId))
        {
            let reason = "clients choose their user id here, so anybody can send all load to one \
                          endpoint";
            let key_path = format!("routes[{index}].upstream");
            problems.warn("unverified-users", route.name.span, key_path, reason).help(HELP);
        }
    }
}

fn claims_without_authentication(config: &Config, problems: &mut ProblemCollector) {
    let needs_claims = |source: &UserIdSource| matches!(source, UserIdSource::Claim(_));
    if !config.identity.user_id.iter().any(needs_claims)
        || config.routes.iter().any(|route| !required_schemes(config, route).is_empty())
    {
        return;
    }
    let Some(route) = config.routes.first() else { return };
    let reason = "no request has claims, because no route has `require`";
    problems
        .warn("nameless-users", route.span, "identity.user_id", reason)
        .help("add `require: NAME` with the name of a scheme of `authentication`");
}

fn unused_schemes(config: &Config, problems: &mut ProblemCollector) {
    let used: Vec<&str> =
        config.routes.iter().flat_map(|route| required_schemes(config, route)).collect();
    for (name, scheme) in &config.authentication {
        if !used.contains(&name.as_str()) {
            let reason = "no route requires this scheme";
            problems.warn("unused-scheme", scheme.span, format!("authentication.{name}"), reason);
        }
    }
}

/// Passwords over plain HTTP, where the listener is not of this machine alone.
fn readable_credentials(config: &Config, problems: &mut ProblemCollector) {
    let has_basic =
        config.authentication.values().any(|it| matches!(it.value, AuthenticationScheme::Basic(_)));
    if !has_basic || !config.trusted_proxies.is_empty() {
        // A proxy in front may speak TLS.
        return;
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let is_local = listener.address.value.0.ip().is_none_or(|ip| ip.is_loopback());
        if listener.tls.is_none() && listener.redirect_to_https.is_none() && !is_local {
            let reason = "passwords pass this listener unencrypted";
            let key_path = format!("listeners[{index}].address");
            problems
                .warn("readable-password", listener.address.span, key_path, reason)
                .help("add `tls` to the listener");
        }
    }
}
