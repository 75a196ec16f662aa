//! Compiles a route from its parts. It knows nothing of other routes; the table orders them.

use super::chain::{ChainFilters, FilterChain};
use super::{CompileEnv, Compiler, duration_or_default, header_name, method, retry, websocket};
use crate::filter::BodyFilters;
use crate::routing::{PathRule, Rule, ValueRule};
use crate::snapshot::route_observer::RouteObserver;
use crate::snapshot::{GlobalSettings, HostHeader, Route};
use crate::telemetry::RouteRequestCounters;
use crate::upstream::Pool;
use http::HeaderValue;
use pingora::protocols::ALPN;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    self as config, HostRewrite, PathForm, PathSetting, ValueMatch, WebSocketSetting, defaults,
};
use tidegate_http::host::HostPattern;
use tidegate_http::path::{self, PathPolicy};
use tidegate_http::stable_hash::{StableHash, StableHasher};

impl Compiler<'_> {
    /// The conditions of the route.
    pub(super) fn rule(&mut self, written: &config::Route, key_path: &str) -> Rule {
        let matches = &written.matches;
        let normalized =
            |path: &str| path::normalize(path).map_or_else(|_| path.to_owned(), Into::into);
        let path = match (&matches.path, &matches.path_prefix) {
            (Some(path), None) => PathRule::Exact(normalized(path.as_str())),
            (None, Some(prefix)) => PathRule::prefix(&normalized(prefix.as_str())),
            (None, None) => PathRule::prefix("/"),
            (Some(path), Some(_)) => {
                self.problems.add(
                    path.span,
                    format!("{key_path}.match.path"),
                    "a route can have `path` or `path_prefix`, not both",
                );
                PathRule::Exact(normalized(path.as_str()))
            }
        };
        for (name, wanted) in &matches.headers {
            if let ValueMatch::Exact(value) = wanted {
                let key_path = format!("{key_path}.match.headers.{}", name.as_str());
                self.compared_value(value.as_str(), written.name.span, key_path);
            }
        }
        let value = |written: &ValueMatch| match written {
            ValueMatch::Exact(exact) => ValueRule::Exact(exact.as_str().to_owned()),
            ValueMatch::Presence(presence) => ValueRule::Present(presence.present),
        };
        Rule {
            path,
            hosts: matches.hosts.iter().map(|host| HostPattern::parse(host.as_str())).collect(),
            methods: matches.methods.iter().filter_map(method).collect(),
            headers: matches
                .headers
                .iter()
                .filter_map(|(name, written)| Some((header_name(name)?, value(written))))
                .collect(),
            query: matches
                .query
                .iter()
                .map(|(name, written)| (name.clone(), value(written)))
                .collect(),
        }
    }

    /// The route of the rule; `None` if its upstream is invalid, which is already reported.
    pub(super) fn route(
        &mut self,
        written: &config::Route,
        key_path: &str,
        rule: &Rule,
        global: &Arc<GlobalSettings>,
        pools: &BTreeMap<String, Arc<Pool>>,
        chain: &FilterChain,
    ) -> Option<Route> {
        let upstream = written.upstream.as_ref();
        let pool = upstream.and_then(|upstream| pools.get(upstream.as_str()));
        let splits = self.splits(written, key_path, pools);
        let mirror = self.mirror(written, key_path, pools).map(Arc::new);
        let ChainFilters { filters, names: filter_names, origin_check_at } =
            chain.filters(self.env);
        let rewrite_prefix = self.rewrite_prefix(written, key_path, rule);
        let host = host(written);
        let cache = self.cache(written, key_path, chain);
        if pool.is_none() && written.upstream.is_some() {
            return None;
        }
        let origins = chain.websocket_origins();
        let websocket_at = format!("{key_path}.websocket");
        let plain = config::WebSocket::default();
        let websocket = match written.websocket.as_ref().map(|setting| &setting.value) {
            None => pool.map(|_| &plain),
            Some(WebSocketSetting::Switch(switch)) => switch.0.then_some(&plain),
            Some(WebSocketSetting::Settings(settings)) => Some(&**settings),
        };
        let written_websocket = websocket;
        let websocket =
            websocket.map(|it| websocket::settings(it, origins, self.problems, &websocket_at));
        let websocket = websocket.map(Arc::new);
        if let (Some(written_websocket), Some(settings)) = (written_websocket, &websocket) {
            self.renewal(written, written_websocket, settings, rule, chain, &websocket_at);
        }
        let timeouts = &written.timeouts;
        let or = |written: Option<config::Duration>, default| written.unwrap_or(default).0;
        let mut route = Route {
            name: written.name.as_str().into(),
            global: Arc::clone(global),
            pool: pool.cloned(),
            splits,
            mirror,
            compression: chain.compression.clone(),
            requests: self.requests(&written.name),
            cache,
            rewrite_prefix,
            path: path_policy(written),
            host,
            observer: websocket
                .as_ref()
                .and_then(|_| RouteObserver::observer(global.access_log.as_ref(), &filters)),
            request_body_filters: BodyFilters::of_requests(&filters),
            response_body_filters: BodyFilters::of_responses(&filters).map(Arc::from),
            filters,
            filter_names,
            origin_check_at,
            websocket,
            connect_timeout: or(timeouts.connect, defaults::timeouts::CONNECT),
            tls_timeout: or(timeouts.tls.or(timeouts.connect), defaults::timeouts::CONNECT),
            first_byte_timeout: self.first_byte_timeout(written, key_path, pools),
            read_timeout: duration_or_default(timeouts.read.as_ref(), defaults::timeouts::READ),
            write_timeout: or(timeouts.write, defaults::timeouts::WRITE),
            request_timeout: timeouts.request.map(|whole| whole.0),
            grpc_web: self.grpc_web(written, key_path, pool),
            retry: retry::policy(written.retry.as_ref().map(|it| &it.value)),
            max_body_size: written
                .max_body_size
                .or(self.config.limits.body_size)
                .map(|size| size.0),
            fingerprint: 0,
            session_fingerprint: 0,
        };
        route.session_fingerprint = fingerprint(&route, rule, chain, false);
        route.fingerprint = fingerprint(&route, rule, chain, true);
        Some(route)
    }

    /// The counters of the route with this name so far.
    pub(super) fn requests(&self, name: &str) -> Arc<RouteRequestCounters> {
        self.previous_routes.get(name).map(|route| Arc::clone(&route.requests)).unwrap_or_default()
    }

    fn grpc_web(
        &mut self,
        written: &config::Route,
        key_path: &str,
        pool: Option<&Arc<Pool>>,
    ) -> bool {
        let Some(switch) = written.grpc_web.as_ref().filter(|switch| switch.value.0) else {
            return false;
        };
        let is_broken =
            |pool: &Arc<Pool>| self.broken.is_any_within(&format!("upstreams.{}", pool.name()));
        if pool.is_some_and(|it| it.settings().protocol.alpn == ALPN::H1 && !is_broken(it)) {
            self.problems
                .add(
                    switch.span,
                    format!("{key_path}.grpc_web"),
                    "gRPC needs HTTP/2, which the upstream of this route does not use",
                )
                .help("add `protocols: [h2c]`, or `[h2]` with TLS, to the upstream");
        }
        true
    }

    pub(super) fn rewrite_prefix(
        &mut self,
        written: &config::Route,
        key_path: &str,
        rule: &Rule,
    ) -> Option<(usize, String)> {
        let replacement = written.rewrite.prefix.as_ref()?;
        match &rule.path {
            PathRule::Prefix(prefix) => {
                let replacement = path::escape_illegal_bytes(replacement.as_str(), false);
                Some((prefix.len(), replacement.trim_end_matches('/').to_owned()))
            }
            PathRule::Exact(_) => {
                self.problems.add(
                    replacement.span,
                    format!("{key_path}.rewrite.prefix"),
                    "`rewrite.prefix` needs `match.path_prefix`, but the route matches an exact \
                     `path`",
                );
                None
            }
        }
    }

    /// The first-byte timeout of a route, if it sets one.
    fn first_byte_timeout(
        &mut self,
        written: &config::Route,
        key_path: &str,
        pools: &BTreeMap<String, Arc<Pool>>,
    ) -> Option<Duration> {
        let first_byte = written.timeouts.first_byte.as_ref()?;
        let key_path = format!("{key_path}.timeouts.first_byte");
        let read = duration_or_default(written.timeouts.read.as_ref(), defaults::timeouts::READ);
        if first_byte.0 > read
            && !self.broken.is_any_within(key_path.trim_end_matches(".first_byte"))
        {
            self.problems
                .add(
                    first_byte.span,
                    &*key_path,
                    "must not be longer than `timeouts.read`, which also limits the time to the \
                     first byte",
                )
                .help("raise `timeouts.read`");
        }
        let named = written.upstream.iter().chain(written.split.iter().map(|it| &it.upstream));
        let mut many = named.filter_map(|name| pools.get(name.as_str()));
        if let Some(pool) = many.find(|pool| pool.settings().protocol.alpn != ALPN::H1) {
            let reason = format!(
                "`timeouts.first_byte` needs HTTP/1.1, but the upstream `{}` uses HTTP/2",
                pool.name()
            );
            self.problems
                .add(first_byte.span, key_path, reason)
                .help("over HTTP/2, `timeouts.read` limits the time to the first byte");
        }
        Some(first_byte.0)
    }
}

/// The `Host` for the upstream; a name was validated when the file was read.
fn host(written: &config::Route) -> HostHeader {
    match &written.rewrite.host {
        None | Some(HostRewrite::Preserve) => HostHeader::Preserve,
        Some(HostRewrite::Upstream) => HostHeader::Upstream,
        Some(HostRewrite::Name(name)) => {
            HeaderValue::from_str(name).map_or(HostHeader::Preserve, HostHeader::Name)
        }
    }
}

/// Which parts of a path's spelling are forwarded.
fn path_policy(written: &config::Route) -> PathPolicy {
    match written.path.as_ref().map(|it| &it.value) {
        None | Some(PathSetting::Form(PathForm::Normal)) => PathPolicy::NORMAL,
        Some(PathSetting::Form(PathForm::Raw)) => PathPolicy::RAW,
        Some(PathSetting::Settings(settings)) => PathPolicy {
            encoded_slash: match settings.encoded_slash.unwrap_or(defaults::path::ENCODED_SLASH) {
                config::EncodedSlash::Reject => path::EncodedSlash::Reject,
                config::EncodedSlash::Keep => path::EncodedSlash::Keep,
                config::EncodedSlash::Decode => path::EncodedSlash::Decode,
            },
            keeps_duplicate_slashes: settings
                .duplicate_slashes
                .unwrap_or(defaults::path::DUPLICATE_SLASHES)
                == config::DuplicateSlashes::Keep,
            keeps_dot_segments: settings.dot_segments.unwrap_or(defaults::path::DOT_SEGMENTS)
                == config::DotSegments::Keep,
        },
    }
}

/// The route of requests that no other route matches.
pub(super) fn fallback(
    global: &Arc<GlobalSettings>,
    defaults: &FilterChain,
    env: &CompileEnv<'_>,
) -> Route {
    let requests = env.previous.map(|it| Arc::clone(&it.fallback.requests)).unwrap_or_default();
    without_upstream("", global, defaults, env, requests)
}

/// A route whose requests the gateway itself answers, by the last filter of the chain.
pub(super) fn without_upstream(
    name: &str,
    global: &Arc<GlobalSettings>,
    chain: &FilterChain,
    env: &CompileEnv<'_>,
    requests: Arc<RouteRequestCounters>,
) -> Route {
    let ChainFilters { filters, names: filter_names, origin_check_at } = chain.filters(env);
    Route {
        name: name.into(),
        global: Arc::clone(global),
        pool: None,
        // The fallback answers all requests by their heads.
        request_body_filters: chain
            .has_answer()
            .then(|| BodyFilters::of_requests(&filters))
            .flatten(),
        response_body_filters: None,
        filters,
        filter_names,
        compression: chain.compression.clone(),
        requests,
        cache: None,
        rewrite_prefix: None,
        path: PathPolicy::NORMAL,
        host: HostHeader::Preserve,
        observer: None,
        origin_check_at,
        websocket: None,
        connect_timeout: defaults::timeouts::CONNECT.0,
        tls_timeout: defaults::timeouts::CONNECT.0,
        first_byte_timeout: None,
        read_timeout: defaults::timeouts::READ.0,
        write_timeout: defaults::timeouts::WRITE.0,
        request_timeout: None,
        splits: Vec::new(),
        mirror: None,
        grpc_web: false,
        retry: retry::policy(None),
        max_body_size: None,
        fingerprint: 0,
        session_fingerprint: 0,
    }
}

/// A number that changes when anything that the route does changes, and is the same in every process: the
/// endpoints of an upstream count as they are written.
fn fingerprint(route: &Route, rule: &Rule, chain: &FilterChain, with_endpoints: bool) -> u64 {
    let Route {
        pool,
        splits,
        mirror,
        cache,
        rewrite_prefix,
        path,
        host,
        websocket,
        connect_timeout,
        tls_timeout,
        first_byte_timeout,
        read_timeout,
        write_timeout,
        request_timeout,
        grpc_web,
        retry,
        max_body_size,
        // They follow from the chain, or hold for all routes, or are no part of what the route does.
        filters: _,
        filter_names: _,
        request_body_filters: _,
        response_body_filters: _,
        origin_check_at: _,
        compression: _,
        observer: _,
        name: _,
        global: _,
        requests: _,
        fingerprint: _,
        session_fingerprint: _,
    } = route;
    let mut hasher = StableHasher::new();
    (rule, chain).feed(&mut hasher);
    pool.as_ref().map(|pool| pool.name()).feed(&mut hasher);
    hasher.list(splits.iter().map(|split| (split.pool.name(), &split.when)));
    match with_endpoints {
        false => pool.as_ref().map(|pool| &pool.settings().protocol).feed(&mut hasher),
        true => {
            pool.as_deref().feed(&mut hasher);
            hasher.list(splits.iter().map(|split| &*split.pool));
            mirror.as_ref().map(|it| (it.pool.name(), it.percent, it.timeout)).feed(&mut hasher);
            (request_timeout, grpc_web, retry, cache).feed(&mut hasher);
        }
    }
    (rewrite_prefix, path, host, websocket).feed(&mut hasher);
    (connect_timeout, tls_timeout, first_byte_timeout).feed(&mut hasher);
    (read_timeout, write_timeout, max_body_size).feed(&mut hasher);
    hasher.finish()
}
