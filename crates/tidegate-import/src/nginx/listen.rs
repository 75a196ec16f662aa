//! `listen`, `server_name` and certificates as a listener. It does not know routes.

use super::scope::BlockScope;
use super::tree::Directive;
use crate::draft::Tls;
use crate::note::{Notes, SourcePosition};

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListenDirective {
    pub position: SourcePosition,
    /// With its port.
    pub address: String,
    pub port: u16,
    pub tls: bool,
    pub http2: bool,
    pub is_default: bool,
}

/// All addresses of a server.
pub(super) fn listen_addresses(
    server: &Directive,
    scope: &BlockScope<'_>,
    notes: &mut Notes,
) -> Vec<ListenDirective> {
    let written: Vec<_> = server.children("listen").collect();
    if written.is_empty() {
        let (address, port) = ("0.0.0.0:80".to_owned(), 80);
        let position = server.position.clone();
        return vec![ListenDirective {
            position,
            address,
            port,
            tls: false,
            http2: false,
            is_default: false,
        }];
    }
    written.into_iter().filter_map(|listen| parse_listen(listen, scope, notes)).collect()
}

fn parse_listen(
    directive: &Directive,
    scope: &BlockScope<'_>,
    notes: &mut Notes,
) -> Option<ListenDirective> {
    let written = directive.argument(0)?;
    if written.starts_with("unix:") {
        notes.left_out(&directive.position, "a Unix socket: use `listeners[].address` instead");
        return None;
    }
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => match written.parse::<u16>() {
            Ok(port) => ("*", Some(port)),
            Err(_) => (written, Some(80)),
        },
    };
    let host = match host {
        "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = port.map(|port| format!("{host}:{port}"));
    let address = address.filter(|address| address.parse::<std::net::SocketAddr>().is_ok());
    let (Some(address), Some(port)) = (address, port) else {
        let text = format!("`listen {written}`: a listener needs an IP address and a port");
        notes.left_out(&directive.position, text);
        return None;
    };
    let mut listen = ListenDirective {
        position: directive.position.clone(),
        address,
        port,
        tls: scope.is_on("ssl"),
        http2: scope.is_on("http2"),
        is_default: false,
    };
    for parameter in directive.arguments.iter().skip(1) {
        match parameter.split('=').next().unwrap_or_default() {
            "ssl" => listen.tls = true,
            "http2" => listen.http2 = true,
            "default_server" | "default" => listen.is_default = true,
            "reuseport" | "backlog" | "deferred" | "fastopen" | "so_keepalive" | "rcvbuf"
            | "sndbuf" | "bind" | "ipv6only" => {}
            "quic" | "http3" => {
                notes.left_out(&directive.position, "HTTP/3 is not supported");
                return None;
            }
            "proxy_protocol" => {
                let text = "`proxy_protocol` needs the networks of the load balancers: set \
                    `listeners[].proxy_protocol.from`";
                notes.left_out(&directive.position, text);
            }
            other => notes
                .left_out(&directive.position, format!("the import does not support `{other}`")),
        }
    }
    Some(listen)
}

/// The certificates of a server, for its listeners with TLS.
pub(super) fn tls(scope: &BlockScope<'_>, http2: bool, notes: &mut Notes) -> Tls {
    let certificates = scope.all("ssl_certificate");
    let keys = scope.all("ssl_certificate_key");
    let pair = |(cert, key): (&&Directive, &&Directive)| {
        Some((cert.argument(0)?.to_owned(), key.argument(0)?.to_owned()))
    };
    let versions = scope.last("ssl_protocols");
    let has = |version: &str| {
        versions.is_some_and(|it| it.arguments.iter().any(|written| written == version))
    };
    if let Some(written) = versions.filter(|_| has("TLSv1") || has("TLSv1.1")) {
        notes.changed(&written.position, "the oldest supported version is TLS 1.2");
    }
    for certificate in certificates.iter().chain(&keys) {
        let is_relative = certificate.argument(0).is_some_and(|path| !path.starts_with('/'));
        if is_relative {
            let text = "Tidegate resolves a relative path from the folder of its configuration file, \
                not from nginx's prefix";
            notes.changed(&certificate.position, text);
        }
    }
    Tls {
        certificates: certificates.iter().zip(&keys).filter_map(pair).collect(),
        min_version: (has("TLSv1.3") && !has("TLSv1.2") && !has("TLSv1.1")).then_some("1.3"),
        h1_only: !http2,
    }
}

/// The hosts of a server in the configuration's notation; none for names that match no request.
pub(super) fn hosts(server: &Directive, notes: &mut Notes) -> Vec<String> {
    let mut hosts = Vec::new();
    for directive in server.children("server_name") {
        for name in &directive.arguments {
            let name = name.to_ascii_lowercase();
            if name.starts_with('~') || name.ends_with(".*") || name.contains('$') {
                let text = format!(
                    "the server name `{name}`: Tidegate supports only exact names and `*.example.com`; \
                     requests for it are handled like those for unknown hosts"
                );
                notes.left_out(&directive.position, text);
            } else if let Some(below) = name.strip_prefix('.') {
                hosts.extend([below.to_owned(), format!("*{name}")]);
            } else if !matches!(name.as_str(), "_" | "" | "--" | "!@#") {
                hosts.push(name);
            }
        }
    }
    hosts
}
