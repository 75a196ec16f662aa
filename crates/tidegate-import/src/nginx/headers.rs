//! `proxy_set_header`, `proxy_hide_header` and `add_header` as header changes. It does not know how routes are matched.

use super::auth_request_set::taken_header;
use super::known;
use super::scope::BlockScope;
use super::tree::Directive;
use super::values;
use crate::draft::{Action, Files, Route};
use crate::note::Notes;

/// The request headers for the upstream. `proxy_host` is nginx's `$proxy_host`; `port` is the server's port, if it has
/// only one.
pub(super) fn to_upstream(
    route: &mut Route,
    scope: &BlockScope<'_>,
    proxy_host: &str,
    port: Option<u16>,
    notes: &mut Notes,
) {
    // Without any directive, nginx sends the host of `proxy_pass`.
    route.host = Some(proxy_host.to_owned());
    let (mut upgrade, mut connection) = (None, false);
    for directive in scope.all("proxy_set_header") {
        let (Some(name), Some(value)) = (directive.argument(0), directive.argument(1)) else {
            continue;
        };
        // `take` of the scheme has it.
        if taken_header(scope, value).is_some() {
            continue;
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => route.host = host(directive, value, proxy_host, notes),
            "upgrade" => upgrade = (value == "$http_upgrade").then_some(directive),
            "connection" => connection = known::is_upgrade(value),
            "x-request-id" if matches!(value, "$request_id" | "$http_x_request_id") => {}
            "keep-alive" | "te" | "trailer" | "proxy-connection" | "content-length"
            | "transfer-encoding" | "x-request-id" => {
                notes.left_out(
                    &directive.position,
                    format!("the gateway itself sets the header `{name}`"),
                );
            }
            lower => set(route, directive, lower, value, port, notes),
        }
    }
    let is_http11 = scope.value("proxy_http_version") == Some("1.1");
    route.websocket = upgrade.is_some() && connection && is_http11;
    if let Some(directive) = upgrade.filter(|_| route.websocket) {
        let text = "nginx closes a WebSocket if the upstream sends nothing for `proxy_read_timeout`; \
            Tidegate keeps it open unless `websocket.idle_timeout` is set";
        notes.changed(&directive.position, text);
    }
}

/// `rewrite.host`; `None` keeps the client's.
fn host(directive: &Directive, value: &str, proxy_host: &str, notes: &mut Notes) -> Option<String> {
    match value {
        "$http_host" | "$host:$server_port" => None,
        "$host" => {
            let text = "`$host` has no port; Tidegate passes the client's `Host` on with its port";
            notes.changed(&directive.position, text);
            None
        }
        "$proxy_host" => Some(proxy_host.to_owned()),
        name if !name.contains('$') && !name.is_empty() => Some(name.to_owned()),
        other => {
            notes.left_out(
                &directive.position,
                format!(
                    "the header `Host` cannot be set to `{other}`; Tidegate passes the client's \
                     `Host` on instead"
                ),
            );
            None
        }
    }
}

fn set(
    route: &mut Route,
    directive: &Directive,
    lower: &str,
    value: &str,
    port: Option<u16>,
    notes: &mut Notes,
) {
    let name = directive.argument(0).unwrap_or_default();
    let own = format!("$http_{}", lower.replace('-', "_"));
    match (lower, value) {
        (_, "") => route.request.remove.push(name.to_owned()),
        ("x-forwarded-for", "$proxy_add_x_forwarded_for") => {
            let text = "nginx extends the `X-Forwarded-For` of every client; Tidegate replaces it, \
                except for clients in `trusted_proxies`";
            notes.changed(&directive.position, text);
        }
        // The gateway sets these headers itself.
        ("x-forwarded-for", "$remote_addr")
        | ("x-forwarded-proto", "$scheme")
        | ("x-forwarded-host", "$http_host") => {}
        ("x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port" | "x-real-ip", value)
            if value == own =>
        {
            let text = format!(
                "Tidegate accepts the header `{name}` only from clients in `trusted_proxies`"
            );
            notes.changed(&directive.position, text);
        }
        (_, value) if value == own => {}
        (_, "$server_port") => match port {
            Some(port) => route.request.set.push((name.to_owned(), port.to_string())),
            None => notes.left_out(
                &directive.position,
                "`$server_port`: the server listens on several ports",
            ),
        },
        (_, value) => match values::translate_template(value) {
            Ok(template) => route.request.set.push((name.to_owned(), template)),
            Err(variable) => {
                let text = format!(
                    "the header `{name}`: Tidegate has no equivalent of the variable \
                     `{variable}`"
                );
                notes.left_out(&directive.position, text);
            }
        },
    }
}

/// Response headers for the client.
pub(super) fn to_client(route: &mut Route, scope: &BlockScope<'_>, notes: &mut Notes) {
    for directive in scope.all("proxy_hide_header") {
        route.response.remove.extend(directive.argument(0).map(str::to_owned));
    }
    for directive in scope.all("add_header") {
        let (Some(name), Some(value)) = (directive.argument(0), directive.argument(1)) else {
            continue;
        };
        let template = match values::translate_template(value) {
            Ok(template) => template,
            Err(variable) => {
                notes.left_out(
                    &directive.position,
                    format!("the header `{name}`: Tidegate has no equivalent of the variable `{variable}`"),
                );
                continue;
            }
        };
        if let Action::Files(Files { cache_control, .. }) = &mut route.action
            && name.eq_ignore_ascii_case("cache-control")
        {
            *cache_control = Some(template);
            continue;
        }
        if route.response.add.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            notes.left_out(
                &directive.position,
                format!(
                    "a second header `{name}`: only one of each \
                     name can be added"
                ),
            );
            continue;
        }
        if directive.argument(2) != Some("always") {
            let text = format!("the header `{name}` is also added to errors, as with `always`");
            notes.changed(&directive.position, text);
        }
        route.response.add.push((name.to_owned(), template));
    }
}
