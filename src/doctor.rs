//! Answers the questions of `tidegate-doctor` about a configuration: route, upstream and lines for a URL. The compiled
//! routes answer, so that the doctor and the gateway never disagree; nothing is sent.

use crate::snapshot::{CompileEnv, HostHeader, Snapshot, compile};
use crate::tls::{ClientOptions, UpstreamTls};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::sync::Arc;
use tidegate_config::{
    self as config, AccessLogSetting, CorsPolicy, Problems, Sources, Span, WebSocketSetting,
};
use tidegate_doctor::{ClientTls, Configuration, Destination, Endpoint, RouteLines, Target};
use tidegate_http::path;
use tidegate_http::secret::SecretNames;

/// A compiled configuration, with the line of every key.
pub(crate) struct ConfigMap {
    snapshot: Snapshot,
    written: config::Config,
    sources: Sources,
}

impl ConfigMap {
    /// Compiles a configuration, or says all that is wrong with it.
    pub(crate) fn new(gateway: crate::Gateway) -> Result<Self, Problems> {
        let (config, filters) = gateway.read();
        let written = config.read.config.clone();
        let sources = config.read.sources.clone();
        let snapshot = compile(config.read, &CompileEnv::for_dry_run(&filters))?;
        Ok(Self { snapshot, written, sources })
    }

    fn line(&self, span: Span) -> String {
        format!("{}:{}:{}", self.sources.file(span.file).0, span.line, span.column)
    }

    fn lines(&self, written: &config::Route) -> RouteLines {
        let route = self.line(written.name.span);
        let prefix = written.rewrite.prefix.as_ref().map(|prefix| prefix.span);
        let or_route = |span: Option<Span>| span.map_or(route.clone(), |span| self.line(span));
        RouteLines {
            websocket: or_route(written.websocket.as_ref().map(|setting| setting.span)),
            cors: or_route(cors(written.cors.as_ref().or(self.written.cors.as_ref()))),
            origins: or_route(
                origins(written)
                    .or_else(|| cors(written.cors.as_ref().or(self.written.cors.as_ref()))),
            ),
            read: written.timeouts.read.as_ref().map(|read| self.line(read.span)),
            prefix: or_route(prefix),
            route,
        }
    }
}

impl Configuration for ConfigMap {
    fn sends_proxy_status(&self) -> bool {
        self.written.proxy_status.is_none_or(|it| it.0)
    }

    fn secret_names(&self) -> SecretNames {
        match &self.written.access_log {
            AccessLogSetting::Settings(settings) => {
                settings.redact_query.as_deref().map(SecretNames::with_names).unwrap_or_default()
            }
            AccessLogSetting::Switch(_) => SecretNames::default(),
        }
    }

    fn listener_line(&self, port: u16) -> Option<(bool, String)> {
        let all = &self.written.listeners;
        let with_port = all.iter().find(|listener| listener.address.0.port() == Some(port));
        let listener = with_port.or(all.first())?;
        Some((with_port.is_some(), self.line(listener.address.span)))
    }

    fn route_of(&self, target: &Target, headers: &[(String, String)]) -> Option<Destination> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                map.append(name, value);
            }
        }
        let authority = &target.authority;
        let path = path::normalize(&target.path).ok()?;
        let query = target.query.as_deref();
        let route = self.snapshot.route(&path, query, authority, &Method::GET, &map).ok()?;
        let written = self.written.routes.iter().find(|written| **written.name == *route.name)?;
        let pool = route.pool.as_ref()?;
        let upstream = self.written.upstreams.get(&**pool.name())?;
        let both = upstream.endpoints.iter().zip(pool.endpoints());
        let endpoints = both.filter_map(|(endpoint, compiled)| {
            let address = match &**endpoint {
                config::Endpoint::Address(address) => address,
                config::Endpoint::Weighted(weighted) => &weighted.address,
            };
            let host = match &route.host {
                HostHeader::Preserve => authority.clone(),
                HostHeader::Upstream => compiled.authority().to_owned(),
                HostHeader::Name(name) => name.to_str().unwrap_or_default().to_owned(),
            };
            // The doctor knocks at ports.
            let config::EndpointAddress::Host(name, port) = address else { return None };
            Some(Endpoint {
                name: compiled.address_text().to_owned(),
                host: name.clone(),
                port: *port,
                authority: host,
                line: self.line(endpoint.span),
            })
        });
        let idle_timeout = match written.websocket.as_ref().map(|setting| &setting.value) {
            Some(WebSocketSetting::Settings(settings)) => settings.idle_timeout.as_ref(),
            _ => None,
        };
        Some(Destination {
            route: route.name.to_string(),
            upstream: pool.name().to_string(),
            path_and_query: route.forwarded_target(&path, query),
            endpoints: endpoints.collect(),
            allows_websocket: route.websocket.is_some(),
            trust: pool.settings().protocol.tls.as_deref().map(trust_of_upstream),
            server_name: pool
                .settings()
                .protocol
                .tls
                .as_ref()
                .and_then(|it| it.server_name.clone()),
            speaks_http2: pool.settings().protocol.alpn.get_min_http_version() == 2,
            read_timeout: route.read_timeout,
            idle_timeout: idle_timeout.map(|it| (it.value.0, self.line(it.span))),
            lines: self.lines(written),
        })
    }

    fn nearest_route(&self, target: &Target) -> Option<String> {
        let path_of = |route: &config::Route| {
            let path = route.matches.path.as_ref().or(route.matches.path_prefix.as_ref());
            path.map(|path| (path.as_str().to_owned(), path.span))
        };
        let takes = |prefix: &str| {
            let rest = target.path.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // The path suits, so it is the host (or another condition) that does not.
        let of_host = self.written.routes.iter().find(|route| {
            !route.matches.hosts.is_empty() && path_of(route).is_none_or(|(path, _)| takes(&path))
        });
        if let Some(host) = of_host.and_then(|route| route.matches.hosts.first()) {
            return Some(self.line(host.span));
        }
        let paths: Vec<_> = self.written.routes.iter().filter_map(|route| path_of(route)).collect();
        let names = paths.iter().map(|(path, _)| path.as_str());
        let near = config::did_you_mean(&target.path, names)
            .and_then(|near| paths.iter().find(|(path, _)| path == near))
            .map(|(_, span)| *span);
        let last = self.written.routes.last().map(|route| route.name.span);
        near.or(last).map(|span| self.line(span))
    }

    fn global_cors(&self) -> Option<String> {
        cors(self.written.cors.as_ref()).map(|span| self.line(span))
    }
}

/// Where `websocket.origins` is written.
fn origins(route: &config::Route) -> Option<Span> {
    match &route.websocket.as_ref()?.value {
        WebSocketSetting::Settings(settings) => settings.origins.as_ref().map(|it| it.span),
        WebSocketSetting::Switch(_) => None,
    }
}

/// Where an origin is to be added: the list, or else the policy.
fn cors(policy: Option<&config::Spanned<CorsPolicy>>) -> Option<Span> {
    let policy = policy?;
    match &policy.value {
        CorsPolicy::Policy(written) => {
            Some(written.allow_origins.first().map_or(policy.span, |origin| origin.span))
        }
        CorsPolicy::Switch(_) => Some(policy.span),
    }
}

/// What the gateway itself trusts and shows when it connects to this upstream.
fn trust_of_upstream(tls: &UpstreamTls) -> ClientTls {
    ClientTls::new(Arc::clone(&tls.tunnel), tls.verify)
}

/// Accepts any certificate (`--insecure`).
///
/// # Errors
/// When the TLS library refuses its settings.
pub(crate) fn trust_any_certificate() -> Result<ClientTls, String> {
    let options = ClientOptions { insecure: true, ..ClientOptions::default() };
    UpstreamTls::new(options).map(|tls| ClientTls::new(tls.tunnel, false))
}
