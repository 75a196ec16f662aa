//! Warnings about CORS policies that browsers ignore, or that allow more than they seem to. It knows nothing
//! of requests.

use http::header::{self, HeaderName};
use std::time::Duration;
use tidegate_config::{
    Config, Cors, CorsPolicy, OriginPattern, OriginsWord, ProblemCollector, Route, Spanned,
    WebSocket, WebSocketOrigins, WebSocketSetting,
};
use tidegate_http::header_name::SET_COOKIE2;

/// Headers that scripts cannot read even if they are exposed (Fetch, "forbidden response-header name").
static UNREADABLE_HEADERS: [HeaderName; 2] = [header::SET_COOKIE, SET_COOKIE2];

/// Methods that scripts cannot use (Fetch, "forbidden method"); `CONNECT` and `TRACE` are errors everywhere.
const FORBIDDEN_METHODS: [&str; 1] = ["TRACK"];

/// Maximum time for which browsers keep the answer to a preflight.
const MAX_PREFLIGHT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// CORS that lets more in than its author may think, or that browsers don't heed.
pub(super) fn review(config: &Config, problems: &mut ProblemCollector) {
    let routes =
        config.routes.iter().enumerate().filter_map(|(index, route)| {
            Some((format!("routes[{index}].cors"), route.cors.as_ref()?))
        });
    for (key_path, cors) in config.cors.iter().map(|cors| ("cors".to_owned(), cors)).chain(routes) {
        if let CorsPolicy::Policy(policy) = &cors.value {
            let has_credentials = policy.allow_credentials.as_ref().is_some_and(|it| it.value);
            origins(
                &policy.allow_origins,
                has_credentials,
                &format!("{key_path}.allow_origins"),
                problems,
            );
            ignored_headers(policy, &key_path, problems);
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        handshakes(config, route, &format!("routes[{index}]"), problems);
    }
}

/// The origins whose pages may open WebSockets on a route.
fn handshakes(config: &Config, route: &Route, key_path: &str, problems: &mut ProblemCollector) {
    let settings = websocket_settings(route);
    match settings.and_then(|settings| settings.origins.as_ref()) {
        Some(written) => match &written.value {
            WebSocketOrigins::Word(OriginsWord::Same) => {}
            WebSocketOrigins::Word(OriginsWord::Any) => {
                let reason = "pages of any origin may open WebSockets with the cookies of their \
                              visitors";
                problems
                    .warn(
                        "any-origin",
                        written.span,
                        format!("{key_path}.websocket.origins"),
                        reason,
                    )
                    .help("list the origins of your pages, unless the service checks `Origin`");
            }
            WebSocketOrigins::List(list) => {
                origins(list, false, &format!("{key_path}.websocket.origins"), problems);
            }
        },
        None if takes_handshakes(route) => {
            let (cors, key_path) = match (&route.cors, &config.cors) {
                (Some(cors), _) => (cors, format!("{key_path}.cors")),
                (None, Some(cors)) => (cors, "cors".to_owned()),
                (None, None) => return,
            };
            if matches!(&cors.value, CorsPolicy::Switch(switch) if !switch.0) {
                let reason = "`cors: off` does not apply to WebSockets: pages of other origins \
                              cannot open them";
                problems.warn("cors-off-websockets", cors.span, key_path, reason).help(
                    "set the allowed origins with `websocket: {origins: \
                     [\"https://app.example.com\"]}`, or `same`, or `any`",
                );
            }
        }
        None => {}
    }
}

fn websocket_settings(route: &Route) -> Option<&WebSocket> {
    match route.websocket.as_ref().map(|setting| &setting.value) {
        Some(WebSocketSetting::Settings(settings)) => Some(settings),
        Some(WebSocketSetting::Switch(_)) | None => None,
    }
}

fn takes_handshakes(route: &Route) -> bool {
    let is_off = matches!(
        route.websocket.as_ref().map(|setting| &setting.value),
        Some(WebSocketSetting::Switch(switch)) if !switch.0
    );
    route.upstream.is_some() && !is_off
}

fn origins(
    listed: &[Spanned<OriginPattern>],
    has_credentials: bool,
    key_path: &str,
    problems: &mut ProblemCollector,
) {
    for (index, origin) in listed.iter().enumerate() {
        let key_path = format!("{key_path}[{index}]");
        let written = origin.as_str();
        let scheme = written.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match (written, scheme.as_deref()) {
            ("*", _) => {
                let reason = "pages of any origin may read the responses and open WebSockets";
                problems
                    .warn("any-origin", origin.span, key_path, reason)
                    .help("list the origins of your pages, unless everybody may use this route");
            }
            _ if is_public_suffix(written) => {
                let reason = "anybody can register a domain there, and pages of this domain are \
                              then allowed";
                problems
                    .warn("public-suffix-origin", origin.span, key_path, reason)
                    .help("use your own domain: `https://*.example.com`");
            }
            ("null", _) => {
                let reason = "any page can get the origin `null` by means of a sandboxed frame";
                problems
                    .warn("null-origin", origin.span, key_path, reason)
                    .help("list the origins of your pages");
            }
            (_, Some(scheme @ ("ws" | "wss" | "ftp"))) => {
                let http = if scheme == "wss" { "https" } else { "http" };
                let rest = written.split_once("://").map_or("", |(_, rest)| rest);
                let reason = format!(
                    "no page has an origin with the scheme `{scheme}`, so this entry allows nobody"
                );
                problems.warn("no-such-origin", origin.span, key_path, reason).help(format!(
                    "write `{http}://{rest}`: the origin of a WebSocket handshake is that of the \
                     page"
                ));
            }
            (_, Some("http")) if has_credentials && !is_local(written) => {
                let reason = "anybody on the network path of a page without TLS can act in the \
                              name of its visitors here";
                problems
                    .warn("insecure-origin", origin.span, key_path, reason)
                    .help("serve the page over HTTPS, or remove `allow_credentials`");
            }
            _ => {}
        }
    }
}

/// Whether a wildcard takes the sites of strangers: everybody can register a name below the one
/// behind it (<https://publicsuffix.org>).
fn is_public_suffix(origin: &str) -> bool {
    let Some((_, host)) = origin.split_once("://*.") else { return false };
    let host = tidegate_http::host::without_port(host).to_ascii_lowercase();
    // A name that the list does not know may be a network's own.
    let is_suffix = |host: &str| {
        psl::suffix(host.as_bytes())
            .is_some_and(|it| it.is_known() && it.as_bytes() == host.as_bytes())
    };
    // The list has wildcards too (`*.kawasaki.jp`): there, what is registered is two labels down.
    is_suffix(&host) || is_suffix(&format!("any.{host}"))
}

/// Whether pages of the origin come from the machine that they are looked at on.
fn is_local(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = tidegate_http::host::without_port(authority).to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn ignored_headers(policy: &Cors, key_path: &str, problems: &mut ProblemCollector) {
    let has_credentials = policy.allow_credentials.as_ref().is_some_and(|it| it.value);
    for (index, method) in policy.allow_methods.iter().flatten().enumerate() {
        let key_path = format!("{key_path}.allow_methods[{index}]");
        if method.as_str() == "*" {
            let reason = "`*` means a method of this name here, not all methods";
            problems.warn("cors-star", method.span, key_path, reason).help("list the methods");
        } else if FORBIDDEN_METHODS.contains(&method.as_str()) {
            let reason = format!("no browser lets a script send {}", method.as_str());
            problems.warn("cors-unheeded", method.span, key_path, reason).help("remove this entry");
        }
    }
    for (index, name) in policy.expose_headers.iter().flatten().enumerate() {
        let key_path = format!("{key_path}.expose_headers[{index}]");
        if name.as_str() == "*" && has_credentials {
            let reason = "with credentials, browsers read `*` as a header of this name, not as \
                          all headers";
            problems.warn("cors-star", name.span, key_path, reason).help("list the headers");
        } else if UNREADABLE_HEADERS
            .iter()
            .any(|never| never.as_str().eq_ignore_ascii_case(name.as_str()))
        {
            let reason = "no browser lets a script read this header";
            problems.warn("cors-unheeded", name.span, key_path, reason).help("remove this entry");
        }
    }
    if let Some(age) = policy.max_age.as_ref().filter(|age| age.value.0 > MAX_PREFLIGHT_AGE) {
        let reason = "no browser caches the answer to a preflight for so long";
        problems
            .warn("cors-unheeded", age.span, format!("{key_path}.max_age"), reason)
            .help("Firefox caches the answer for at most 24h, Chromium and Safari for less");
    }
}
