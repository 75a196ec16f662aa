//! `upstream` blocks, and addresses in `proxy_pass` itself, as upstreams. It does not know routes.

use super::tree::Directive;
use super::values;
use crate::draft::{Balance, Ejection, Endpoint, Upstream};
use crate::note::Notes;

/// The upstream of a block. `port` is for servers without one.
pub(super) fn upstream_from_block(block: &Directive, port: u16, notes: &mut Notes) -> Upstream {
    let mut upstream =
        Upstream { name: block.argument(0).unwrap_or_default().to_owned(), ..Upstream::default() };
    let mut ejections = Vec::new();
    for server in block.children("server") {
        ejections.extend(endpoint(server, port, &mut upstream, notes));
    }
    upstream.ejection = ejection(block, &ejections, notes);
    for directive in block.block.iter().flatten() {
        match directive.name.as_str() {
            "keepalive_timeout" => {
                upstream.idle_timeout = directive.argument(0).and_then(values::translate_duration);
            }
            "least_conn" => upstream.balance = Some(Balance::LeastRequests),
            "ip_hash" => {
                upstream.balance = Some(Balance::HashClientAddress);
                let text = "`ip_hash` hashes the first three numbers of an IPv4 address, Tidegate the \
                    whole address; each client may move to another server once";
                notes.changed(&directive.position, text);
            }
            "hash" => upstream.balance = hash(directive, notes),
            "random" => {
                let text = "`random` becomes round-robin balancing";
                notes.changed(&directive.position, text);
            }
            _ => {}
        }
    }
    upstream
}

/// The upstream of a `host:port` in a URL.
pub(super) fn upstream_for(authority: &str, port: u16) -> Upstream {
    Upstream {
        name: authority.to_owned(),
        endpoints: vec![Endpoint {
            address: with_port(authority, port).into(),
            weight: 1,
            backup: false,
        }],
        ..Upstream::default()
    }
}

/// Maximum number of failures of an endpoint, and how long it is then avoided.
type FailLimit = (u32, String);

fn endpoint(
    server: &Directive,
    port: u16,
    upstream: &mut Upstream,
    notes: &mut Notes,
) -> Option<FailLimit> {
    let address = server.argument(0)?;
    let mut endpoint =
        Endpoint { address: with_port(address, port).into(), weight: 1, backup: false };
    // nginx's defaults.
    let mut patience: FailLimit = (1, "10s".to_owned());
    for parameter in server.arguments.iter().skip(1) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("weight", value) => endpoint.weight = value.parse().unwrap_or(1),
            ("backup", _) => endpoint.backup = true,
            ("max_fails", value) => patience.0 = value.parse().unwrap_or(1),
            ("fail_timeout", value) => {
                patience.1 = values::translate_duration(value).unwrap_or(patience.1);
            }
            ("down", _) => {
                let text = format!(
                    "the server `{address}` is marked `down`, so it does not become an \
                     endpoint"
                );
                notes.left_out(&server.position, text);
                return None;
            }
            ("resolve", _) => {}
            ("max_conns", _) => {
                let text = "`max_conns` limits one server; use `upstreams.NAME.limits` instead, which limits all of them together";
                notes.left_out(&server.position, text);
            }
            (other, _) => {
                notes.left_out(&server.position, format!("the import does not support `{other}`"));
            }
        }
    }
    upstream.endpoints.push(endpoint);
    Some(patience)
}

/// The ejection of all endpoints: in Tidegate it is a setting of the upstream.
fn ejection(block: &Directive, patiences: &[FailLimit], notes: &mut Notes) -> Option<Ejection> {
    let first = patiences.first()?;
    if patiences.iter().any(|other| other != first) {
        let text = "the servers of this upstream differ in `max_fails` or `fail_timeout`; Tidegate uses \
            the values of the first server for all";
        notes.changed(&block.position, text);
    }
    // Neither nginx nor Tidegate ejects a single server.
    if patiences.len() < 2 {
        return None;
    }
    Some(match first {
        (0, _) => Ejection::Off,
        (failures, duration) => Ejection::After { failures: *failures, duration: duration.clone() },
    })
}

fn hash(directive: &Directive, notes: &mut Notes) -> Option<Balance> {
    let key = directive.argument(0).unwrap_or_default();
    if directive.argument(1) != Some("consistent") {
        let text = "`hash` without `consistent`: Tidegate always uses a consistent hash (Ketama); each \
            client may move to another server once";
        notes.changed(&directive.position, text);
    }
    if matches!(key, "$remote_addr" | "$binary_remote_addr") {
        return Some(Balance::HashClientAddress);
    }
    if let Some(name) = key.strip_prefix("$cookie_") {
        return Some(Balance::HashCookie(name.to_owned()));
    }
    if let Some(name) = key.strip_prefix("$http_") {
        return Some(Balance::HashHeader(name.replace('_', "-")));
    }
    let text =
        format!("`hash {key}`: the hash key must be the client's address, a header or a cookie");
    notes.left_out(&directive.position, text);
    None
}

/// `host:port`, where the port may be missing, or a Unix socket.
fn with_port(address: &str, port: u16) -> String {
    if address.starts_with("unix:") {
        return address.to_owned();
    }
    let behind = address.rsplit_once(']').map_or(address, |(_, behind)| behind);
    match behind.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{port}"),
    }
}
