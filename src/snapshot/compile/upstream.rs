//! Compiles the upstreams: endpoints, health checks, TLS. It connects to nothing and asks no DNS server.

use super::{Compiler, duration_or_default, refuse_shorter_duration};
use crate::tls::{self, Certificate, CertificateError, ClientIdentity, ClientOptions, UpstreamTls};
use crate::upstream::{
    self, AffinityKey, ConcurrencyLimits, DiscoveredEndpoint, DnsQuery, Endpoint, EndpointSources,
    HTTP2_WINDOW, MAX_HTTP2_WINDOW_BYTES, MIN_HTTP2_WINDOW_BYTES, Pool, PoolSettings, Probe,
    RecordKind, UpstreamProtocol,
};
use http::HeaderName;
use pingora::protocols::ALPN;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    self as config, Discover, EjectionSetting, EndpointAddress, HashKey, Protocol, Spanned, Switch,
    UpstreamTlsSetting, defaults,
};
use tidegate_http::address::Address;

/// Maximum size of an `endpoints_file`, in bytes.
const MAX_ENDPOINTS_FILE_BYTES: u64 = 4 * 1024 * 1024;

impl Compiler<'_> {
    /// The pool of an upstream. An unchanged pool keeps its state, and so does each endpoint that
    /// remains.
    pub(super) fn pool(
        &mut self,
        name: &str,
        written: &Spanned<config::Upstream>,
        previous: Option<&Arc<Pool>>,
    ) -> Arc<Pool> {
        let listed = written.endpoints.iter().map(|written| match &**written {
            config::Endpoint::Address(it) => endpoint_at(it, defaults::endpoint::WEIGHT, false),
            config::Endpoint::Weighted(it) => {
                endpoint_at(&it.address, it.weight.unwrap_or(defaults::endpoint::WEIGHT), it.backup)
            }
        });
        let mut listed: Vec<Endpoint> = listed.collect();
        let mut sources = EndpointSources::default();
        if let Some(file) = &written.endpoints_file {
            let is_needed = listed.is_empty() && written.discover.is_none();
            let endpoints = self.load_endpoints_file(file, name, is_needed);
            sources.is_file_empty = endpoints.is_empty();
            sources.file = Some(self.sources.folder(file.span).join(&file.value));
            listed.extend(endpoints);
        } else if listed.is_empty() && written.discover.is_none() {
            self.problems
                .add(written.span, format!("upstreams.{name}"), "the upstream has no endpoints")
                .help("add `endpoints: [\"127.0.0.1:8080\"]`, an `endpoints_file`, or `discover`");
        }
        if let Some(discover) = &written.discover {
            if cfg!(not(feature = "discovery")) {
                let key_path = format!("upstreams.{name}.discover");
                let reason = "this binary was built without DNS discovery; build it with \
                              `--features discovery`";
                self.problems.add(discover.span, key_path, reason);
            }
            let query = self.query(discover, name);
            let found = self.env.discovery.map(|it| it.endpoints(&query));
            listed.extend(found.iter().flatten().map(DiscoveredEndpoint::endpoint));
            sources.discovered = Some(query.to_string());
            self.dns_queries.insert(query);
        }
        let has_primary = listed.is_empty()
            || written.discover.is_some()
            || listed.iter().any(|it| !it.is_backup());
        let known = |endpoint: Endpoint| {
            let known = previous.into_iter().flat_map(|pool| pool.endpoints());
            let known = known.into_iter().find(|known| known.is_equivalent_to(&endpoint));
            known.cloned().unwrap_or_else(|| Arc::new(endpoint))
        };
        let endpoints: Vec<Arc<Endpoint>> = listed.into_iter().map(known).collect();
        // The error may be in another endpoint or in `discover`.
        if !has_primary && !self.broken.is_any_within(&format!("upstreams.{name}")) {
            let reason = "all endpoints are backups; at least one must be a primary endpoint";
            let span = written.endpoints.first().map_or(written.span, |first| first.span);
            self.problems.add(span, format!("upstreams.{name}.endpoints"), reason);
        }
        if let Some(health) = &written.health {
            let shortest = Duration::from_millis(10);
            let key_path = |key: &str| format!("upstreams.{name}.health.{key}");
            refuse_shorter_duration(
                health.interval.as_ref(),
                shortest,
                self.problems,
                &key_path("interval"),
            );
            refuse_shorter_duration(
                health.timeout.as_ref(),
                shortest,
                self.problems,
                &key_path("timeout"),
            );
        }
        let settings = PoolSettings {
            protocol: self.protocol(written, name),
            balance: balance(&written.balance),
            ejection: ejection(written.ejection.as_ref()),
            slow_start: written.slow_start.unwrap_or(defaults::upstream::SLOW_START).0,
            panic_below: written.panic_below.unwrap_or(defaults::upstream::PANIC_BELOW),
            bounds: ConcurrencyLimits {
                connections: written.limits.connections,
                pending: written.limits.pending,
                requests: written.limits.requests,
            },
            retry_percent: written.retry_percent.unwrap_or(defaults::upstream::RETRY_PERCENT),
            idle_timeout: written.idle_timeout.map(|it| it.0),
            sources,
        };
        let kept = previous.filter(|previous| {
            let both = previous.endpoints().iter().zip(&endpoints);
            previous.endpoints().len() == endpoints.len()
                && both.into_iter().all(|(old, new)| Arc::ptr_eq(old, new))
                && previous.settings().fingerprint() == settings.fingerprint()
        });
        match kept {
            Some(kept) => Arc::clone(kept),
            None => {
                let counts = previous.map(|previous| Arc::clone(previous.counts()));
                Arc::new(Pool::new(name, endpoints, settings, counts.unwrap_or_default()))
            }
        }
    }

    fn query(&mut self, written: &Spanned<Discover>, upstream: &str) -> DnsQuery {
        let records = match &written.value {
            Discover::Host(EndpointAddress::Host(host, port)) => {
                RecordKind::Addresses(host.clone(), *port)
            }
            Discover::Host(EndpointAddress::Unix(_)) => RecordKind::Services(String::new()),
            Discover::Srv(name) => RecordKind::Services(name.clone()),
        };
        let is_address =
            matches!(&records, RecordKind::Addresses(host, _) if host.parse::<IpAddr>().is_ok());
        let is_nothing = matches!(&records, RecordKind::Services(name) if name.trim().is_empty());
        if is_address || is_nothing {
            let key_path = format!("upstreams.{upstream}.discover");
            self.problems
                .add(written.span, key_path, "`discover` needs a DNS name")
                .help("list addresses in `endpoints`");
        }
        let server = self.config.resolver.as_ref().map(|it| it.address.0.clone());
        let server = match server {
            None => None,
            Some(Address::Inet(address)) => Some(address),
            Some(Address::Unix(_)) => {
                let key_path = format!("upstreams.{upstream}.discover");
                let reason = "`resolver.address` must be an IP address and port";
                self.problems.add(written.span, key_path, reason);
                None
            }
        };
        DnsQuery { server, records }
    }

    /// The endpoints of a file, one per line. If there are no others, at least one `is_needed`: a writer on a full disk
    /// leaves an empty file, which must not stop the service.
    fn load_endpoints_file(
        &mut self,
        file: &Spanned<String>,
        name: &str,
        is_needed: bool,
    ) -> Vec<Endpoint> {
        let path = self.path(file);
        let key_path = format!("upstreams.{name}.endpoints_file");
        let text = match tidegate_disk::read_text(&path, MAX_ENDPOINTS_FILE_BYTES) {
            Ok(text) => text,
            Err(reason) => {
                let reason =
                    format!("cannot read the list of endpoints {}: {reason}", path.display());
                self.problems.add(file.span, key_path, reason);
                return Vec::new();
            }
        };
        let mut endpoints = Vec::new();
        let mut is_sound = true;
        for (number, line) in text.lines().enumerate() {
            match endpoint(line) {
                Ok(endpoint) => endpoints.extend(endpoint),
                Err(reason) => {
                    is_sound = false;
                    let reason = format!("{}:{}: {reason}", path.display(), number + 1);
                    self.problems.add(file.span, &*key_path, reason);
                }
            }
        }
        if is_needed && is_sound && endpoints.is_empty() {
            let reason = format!(
                "the list of endpoints {} is empty, and the upstream has no others",
                path.display()
            );
            self.problems.add(file.span, key_path, reason);
        }
        endpoints
    }

    /// The protocol for the upstream.
    fn protocol(&mut self, written: &config::Upstream, name: &str) -> UpstreamProtocol {
        let key_path = format!("upstreams.{name}");
        let tls = written.tls.as_ref().and_then(|setting| match &setting.value {
            UpstreamTlsSetting::Switch(Switch(false)) => None,
            UpstreamTlsSetting::Switch(Switch(true)) => {
                self.upstream_tls(&config::UpstreamTls::default(), setting, name)
            }
            UpstreamTlsSetting::Settings(settings) => self.upstream_tls(settings, setting, name),
        });
        let has_tls = written.tls.as_ref().is_some_and(|setting| {
            !matches!(setting.value, UpstreamTlsSetting::Switch(Switch(false)))
        });
        let key_path = format!("{key_path}.protocols");
        for protocol in &written.protocols {
            match (protocol.value, has_tls) {
                (Protocol::H2c, true) => {
                    self.problems
                        .add(protocol.span, &*key_path, "`h2c` is HTTP/2 without TLS")
                        .help("this upstream has TLS: write `h2`");
                }
                (Protocol::H2, false)
                    if self.broken.is_any_within(&format!("upstreams.{name}.tls")) => {}
                (Protocol::H2, false) => {
                    self.problems
                        .add(
                            protocol.span,
                            &*key_path,
                            "`h2` is HTTP/2 over TLS, which is not set up",
                        )
                        .help("add `tls: on`, or write `h2c` for HTTP/2 without TLS");
                }
                _ => {}
            }
        }
        let speaks = |expected: Protocol| {
            written.protocols.iter().any(|protocol| protocol.value == expected)
        };
        if speaks(Protocol::H2c) && speaks(Protocol::H1) {
            let reason = "without TLS the gateway cannot negotiate between `h1` and `h2c`: \
                          choose one";
            self.problems.add(
                written.protocols.first().map_or_else(Default::default, |it| it.span),
                &*key_path,
                reason,
            );
        }
        let alpn = match (speaks(Protocol::H2) || speaks(Protocol::H2c), speaks(Protocol::H1)) {
            (true, true) => ALPN::H2H1,
            (true, false) => ALPN::H2,
            (false, _) => ALPN::H1,
        };
        UpstreamProtocol { tls, alpn, http2_window: self.http2_window(written, name) }
    }

    fn http2_window(&mut self, written: &config::Upstream, name: &str) -> u32 {
        let Some(window) = &written.http2.window else { return HTTP2_WINDOW };
        match u32::try_from(window.value.0) {
            Ok(bytes) if (MIN_HTTP2_WINDOW_BYTES..=MAX_HTTP2_WINDOW_BYTES).contains(&bytes) => {
                bytes
            }
            _ => {
                let key_path = format!("upstreams.{name}.http2.window");
                self.problems.add(window.span, key_path, "must be from 16KiB to 16MiB");
                HTTP2_WINDOW
            }
        }
    }

    fn upstream_tls<T>(
        &mut self,
        written: &config::UpstreamTls,
        whole: &Spanned<T>,
        name: &str,
    ) -> Option<Arc<UpstreamTls>> {
        let key_path = format!("upstreams.{name}.tls");
        let mut options = ClientOptions {
            server_name: written.server_name.as_ref().map(|name| name.as_str().to_owned()),
            insecure: written.insecure_skip_verify,
            ..ClientOptions::default()
        };
        if let Some(ca) = &written.ca {
            let path = self.path(ca);
            match tls::roots(&path).and_then(|roots| Ok((roots, tls::certificates(&path)?))) {
                Ok((roots, certificates)) => {
                    options.ca = Some(roots);
                    options.ca_certificates = certificates;
                }
                Err(reason) => {
                    self.problems.add(ca.span, format!("{key_path}.ca"), reason);
                    return None;
                }
            }
        }
        if let Some(pair) = &written.client_certificate {
            let (cert, key) = (self.path(&pair.cert), self.path(&pair.key));
            let key_path = format!("{key_path}.client_certificate");
            let loaded = Certificate::load(&cert, &key).and_then(|_| {
                ClientIdentity::load(&cert, &key).map_err(CertificateError::Certificate)
            });
            match loaded {
                Ok(identity) => options.identity = Some(identity),
                Err(CertificateError::Certificate(reason)) => {
                    self.problems.add(pair.cert.span, format!("{key_path}.cert"), reason);
                    return None;
                }
                Err(CertificateError::Key(reason)) => {
                    self.problems.add(pair.key.span, format!("{key_path}.key"), reason);
                    return None;
                }
            }
        }
        match UpstreamTls::new(options) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(reason) => {
                self.problems.add(whole.span, key_path, reason);
                None
            }
        }
    }
}

/// The endpoint in a line of a file; `None` for an empty line.
///
/// # Errors
/// The error without the text of the line: the file may be a link to one with secrets, which readers of messages may
/// not be allowed to see.
fn endpoint(line: &str) -> Result<Option<Endpoint>, &'static str> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(address) = words.next() else { return Ok(None) };
    let address: config::EndpointAddress =
        address.parse().map_err(|_| "not an endpoint; write `host:port` or `unix:/path`")?;
    let (mut weight, mut is_backup) = (defaults::endpoint::WEIGHT, false);
    for word in words {
        match word.split_once('=') {
            None if word == "backup" => is_backup = true,
            Some(("weight", number)) => {
                weight = number
                    .parse()
                    .ok()
                    .filter(|it| (1..=1000).contains(it))
                    .ok_or(INVALID_WEIGHT)?;
            }
            _ => return Err("only `weight=N` and `backup` may follow an endpoint"),
        }
    }
    Ok(Some(endpoint_at(&address, weight, is_backup)))
}

const INVALID_WEIGHT: &str = "a weight must be a number from 1 to 1000";

fn endpoint_at(address: &EndpointAddress, weight: u32, is_backup: bool) -> Endpoint {
    match address {
        EndpointAddress::Host(host, port) => Endpoint::new(host, *port, weight, is_backup),
        EndpointAddress::Unix(path) => Endpoint::unix(path, weight, is_backup),
    }
}

fn balance(written: &config::Balance) -> upstream::Balance {
    use upstream::Balance;
    match written {
        config::Balance::RoundRobin => Balance::RoundRobin,
        config::Balance::LeastRequests => Balance::LeastRequests,
        config::Balance::PeakEwma => Balance::PeakEwma,
        config::Balance::StickyCookie(name) => Balance::StickyCookie(name.clone()),
        config::Balance::Hash(key) => Balance::Hash(match key {
            HashKey::UserId => AffinityKey::UserId,
            HashKey::ClientAddress => AffinityKey::ClientAddress,
            HashKey::Cookie(name) => AffinityKey::Cookie(name.clone()),
            // The header name was validated when the file was read.
            HashKey::Header(name) => match HeaderName::from_bytes(name.as_str().as_bytes()) {
                Ok(name) => AffinityKey::Header(name),
                Err(_) => AffinityKey::ClientAddress,
            },
        }),
    }
}

fn ejection(written: Option<&EjectionSetting>) -> Option<upstream::Ejection> {
    let defaults = config::Ejection::default();
    let settings = match written {
        Some(EjectionSetting::Switch(Switch(false))) => return None,
        Some(EjectionSetting::Switch(Switch(true))) | None => &defaults,
        Some(EjectionSetting::Settings(settings)) => settings,
    };
    Some(upstream::Ejection {
        connect_failures: Some(
            settings.connect_failures.unwrap_or(defaults::ejection::CONNECT_FAILURES),
        ),
        server_errors: settings.server_errors,
        duration: settings.duration.unwrap_or(defaults::ejection::DURATION).0,
        max_percent: settings.max_percent.unwrap_or(defaults::ejection::MAX_PERCENT),
    })
}

pub(super) fn probe(written: &config::HealthCheck) -> Probe {
    Probe {
        check: match &written.check {
            config::Check::Tcp => upstream::ProbeCheck::Tcp,
            config::Check::Http(path) => upstream::ProbeCheck::Http(path.as_str().to_owned()),
            config::Check::Websocket(path) => {
                upstream::ProbeCheck::WebSocket(path.as_str().to_owned())
            }
            config::Check::Grpc(service) => upstream::ProbeCheck::Grpc(service.clone()),
        },
        interval: duration_or_default(written.interval.as_ref(), defaults::health::INTERVAL),
        timeout: duration_or_default(written.timeout.as_ref(), defaults::health::TIMEOUT),
        healthy_after: written.healthy_after.unwrap_or(defaults::health::HEALTHY_AFTER),
        unhealthy_after: written.unhealthy_after.unwrap_or(defaults::health::UNHEALTHY_AFTER),
        host: written.host.clone(),
    }
}
