//! What the configuration says of a URL: its route, its upstream, and the lines they stand in.

use super::connect::Trust;
use super::target::Target;
use crate::config::{
    self, AccessLogSetting, CorsPolicy, Problems, Sources, Span, WebSocketSetting,
};
use crate::generation::{Generation, HostHeader, Surroundings, compile};
use crate::http::path;
use crate::http::secret::SecretNames;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::Duration;

/// A configuration as it is run, with its lines.
pub struct Map {
    generation: Generation,
    written: config::Config,
    sources: Sources,
}

/// Where a URL leads.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The route's name.
    pub route: String,
    /// The upstream's name.
    pub upstream: String,
    /// What the upstream is asked for: path and query.
    pub path_and_query: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Whether WebSockets are let through.
    pub takes_websocket: bool,
    /// Who is trusted for them, where they are spoken to by TLS.
    pub trust: Option<Trust>,
    /// The name that their certificates must bear, unless it is the endpoint's own.
    pub server_name: Option<String>,
    /// Whether they are spoken to over HTTP/2 and nothing else.
    pub speaks_http2: bool,
    /// How long the gateway waits between two pieces of a response.
    pub read_timeout: Duration,
    /// `websocket.idle_timeout`, and its line.
    pub idle_timeout: Option<(Duration, String)>,
    /// The lines of the route itself, `websocket`, the CORS policy that holds for it,
    /// `timeouts.read` and `rewrite.prefix`, the route's own where one is not written.
    pub lines: Lines,
}

/// Lines of a route, as `file:line:column`.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Its name.
    pub route: String,
    /// `websocket`.
    pub websocket: String,
    /// `cors`: where an origin is to be added.
    pub cors: String,
    /// `websocket.origins`, or else `cors`: where the origin of a page with WebSockets is to be added.
    pub origins: String,
    /// `timeouts.read`.
    pub read: Option<String>,
    /// `rewrite.prefix`.
    pub prefix: String,
}

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`, as written.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The `Host` field that it sees.
    pub authority: String,
    /// Its line.
    pub line: String,
}

impl Map {
    /// Compiles a configuration, or says all that is wrong with it.
    pub fn new(config: crate::Config) -> Result<Self, Problems> {
        let written = config.read.config.clone();
        let sources = config.read.sources.clone();
        let surroundings =
            Surroundings { previous: None, discovery: None, filters: &[], open_sink: |_| Ok(None) };
        let generation = compile(config.read, &surroundings)?;
        Ok(Self { generation, written, sources })
    }

    fn line(&self, span: Span) -> String {
        format!("{}:{}:{}", self.sources.file(span.file).0, span.line, span.column)
    }

    /// Whether the gateway's own errors have a `Proxy-Status`.
    pub fn sends_proxy_status(&self) -> bool {
        self.written.proxy_status.is_none_or(|it| it.0)
    }

    /// Names whose values the file wants hidden in the access log.
    pub fn secret_names(&self) -> SecretNames {
        match &self.written.access_log {
            AccessLogSetting::Settings(settings) => {
                settings.redact_query.as_deref().map(SecretNames::own).unwrap_or_default()
            }
            AccessLogSetting::Switch(_) => SecretNames::default(),
        }
    }

    /// The line of the listener with this port; without one, of the first, and that there is
    /// none.
    pub fn listener(&self, port: u16) -> Option<(bool, String)> {
        let all = &self.written.listeners;
        let with_port = all.iter().find(|listener| listener.address.0.port() == Some(port));
        let listener = with_port.or(all.first())?;
        Some((with_port.is_some(), self.line(listener.address.span)))
    }

    /// Which route takes the URL, by the table that the gateway itself asks.
    pub fn find(&self, target: &Target, fields: &[(String, String)]) -> Option<Destination> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                headers.append(name, value);
            }
        }
        let authority = &target.authority;
        let path = path::normalize(&target.path).ok()?;
        let query = target.query.as_deref();
        let route = self.generation.route(&path, query, authority, &Method::GET, &headers).ok()?;
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
                name: compiled.written().to_owned(),
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
            path_and_query: route.target_of_normal(&path, query),
            endpoints: endpoints.collect(),
            takes_websocket: route.websocket.is_some(),
            trust: pool.settings().speech.tls.as_deref().map(Trust::of_upstream),
            server_name: pool.settings().speech.tls.as_ref().and_then(|it| it.server_name.clone()),
            speaks_http2: pool.settings().speech.alpn.get_min_http_version() == 2,
            read_timeout: route.read_timeout,
            idle_timeout: idle_timeout.map(|it| (it.value.0, self.line(it.span))),
            lines: self.lines(written),
        })
    }

    fn lines(&self, written: &config::Route) -> Lines {
        let route = self.line(written.name.span);
        let prefix = written.rewrite.prefix.as_ref().map(|prefix| prefix.span);
        let or_route = |span: Option<Span>| span.map_or(route.clone(), |span| self.line(span));
        Lines {
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

    /// The line of the route that comes nearest to the URL, or of the last, behind which
    /// another can be added.
    pub fn nearest(&self, target: &Target) -> Option<String> {
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

    /// Where origins are allowed for what no route takes.
    pub fn default_cors(&self) -> Option<String> {
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
