use crate::config::{self, Config, CorsPolicy, Problems, Sources, Spanned, UpstreamTlsSetting};
use crate::generation::{Generation, Route};
use crate::routing::{Rule, ValueRule};
use std::sync::Arc;

/// What is no error, and not wise: each with its name, which docs/warnings.md explains.
pub fn review(generation: &Generation, config: &Config, sources: Sources) -> Problems {
    let mut found = Problems::of(sources);
    unused_upstreams(config, &mut found);
    unverified_upstreams(config, &mut found);
    any_origin(config, &mut found);
    shadowed_routes(generation, config, &mut found);
    trusted_everybody(config, &mut found);
    found
}

fn unused_upstreams(config: &Config, found: &mut Problems) {
    for (name, upstream) in &config.upstreams {
        let leads = |route: &Spanned<config::Route>| {
            let splits = route.split.iter().map(|split| &*split.upstream.value);
            let mirror = route.mirror.iter().map(|mirror| &*mirror.upstream.value);
            let own = route.upstream.iter().map(|upstream| &*upstream.value);
            own.chain(splits).chain(mirror).any(|upstream| upstream == name)
        };
        if !config.routes.iter().any(leads) {
            let at = format!("upstreams.{name}");
            found.warn("unused-upstream", upstream.span, at, "no route leads to it");
        }
    }
}

fn unverified_upstreams(config: &Config, found: &mut Problems) {
    for (name, upstream) in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        if matches!(&tls.value, UpstreamTlsSetting::Settings(it) if it.insecure_skip_verify) {
            let at = format!("upstreams.{name}.tls.insecure_skip_verify");
            let reason = "anybody between the gateway and the upstream can read and change all";
            found
                .warn("unverified-upstream", tls.span, at, reason)
                .help("name its authority with `ca`, or its name with `server_name`");
        }
    }
}

fn any_origin(config: &Config, found: &mut Problems) {
    let routes =
        config.routes.iter().enumerate().filter_map(|(index, route)| {
            Some((format!("routes[{index}].cors"), route.cors.as_ref()?))
        });
    let all = config.cors.iter().map(|cors| ("cors".to_owned(), cors)).chain(routes);
    for (at, cors) in all {
        let CorsPolicy::Policy(policy) = &cors.value else { continue };
        for (index, origin) in policy.allow_origins.iter().enumerate() {
            if origin.as_str() == "*" {
                let reason = "any page may read the responses, and open WebSockets";
                let at = format!("{at}.allow_origins[{index}]");
                found
                    .warn("any-origin", origin.span, at, reason)
                    .help("name the origins of your pages, unless this is for everybody");
            }
        }
    }
}

fn trusted_everybody(config: &Config, found: &mut Problems) {
    let is_everybody = |trusted: &config::TrustedProxy| match trusted {
        config::TrustedProxy::Network(network) => network.0.prefix_len() == 0,
        config::TrustedProxy::Unix => false,
    };
    if config.trusted_proxies.iter().any(is_everybody) {
        let reason = "anybody may say who the client is: logs, limits and bans go by it";
        found
            .warn("trusts-everybody", config::Span::default(), "trusted_proxies", reason)
            .help("name the networks of your balancers");
    }
}

fn shadowed_routes(generation: &Generation, config: &Config, found: &mut Problems) {
    let all: Vec<(&Rule, &Arc<Route>)> = generation.table.iter().collect();
    for (index, (rule, route)) in all.iter().enumerate() {
        let before = all.get(..index).unwrap_or_default();
        let Some((_, other)) = before.iter().find(|(other, _)| takes_all_of(other, rule)) else {
            continue;
        };
        let written = config.routes.iter().find(|written| **written.name == *route.name);
        let span = written.map(|written| written.name.span).unwrap_or_default();
        let reason = format!(
            "the route `{}` stands before it and takes every request that `{}` would take",
            other.name, route.name
        );
        found.warn("shadowed-route", span, format!("routes[{index}]"), reason);
    }
}

/// Whether a rule that stands before another, and makes as many conditions, leaves it nothing.
fn takes_all_of(first: &Rule, second: &Rule) -> bool {
    let methods = first.methods.is_empty()
        || (!second.methods.is_empty()
            && second.methods.iter().all(|method| first.methods.contains(method)));
    let implies = |wanted: &ValueRule, given: &ValueRule| {
        wanted == given
            || matches!((wanted, given), (ValueRule::Present(true), ValueRule::Exact(_)))
    };
    let headers = first.headers.iter().all(|(name, wanted)| {
        second.headers.iter().any(|(other, given)| other == name && implies(wanted, given))
    });
    let query = first.query.iter().all(|(name, wanted)| {
        second.query.iter().any(|(other, given)| other == name && implies(wanted, given))
    });
    let hosts = first.hosts.is_empty() && second.hosts.is_empty()
        || (!second.hosts.is_empty() && second.hosts.iter().all(|it| first.hosts.contains(it)));
    first.path == second.path
        && first.conditions() == second.conditions()
        && methods
        && headers
        && query
        && hosts
}
