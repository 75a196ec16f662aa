//! The demo's front end: one page with a notification bell, on an origin of its own. It talks only to the gateway,
//! which its Content-Security-Policy enforces, and knows no other service.

use std::{future::Future, io};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware,
    response::Response,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use super::issuer::{Issuer, USERS};

const INDEX: &str = include_str!("assets/index.html");
const SCRIPT: &str = include_str!("assets/app.js");
const LOGIN_SCRIPT: &str = include_str!("assets/login.js");
const STYLE: &str = include_str!("assets/style.css");
/// Stands in [`INDEX`] for the gateway's address.
const PLACEHOLDER: &str = "{{gateway}}";
/// Stands in [`INDEX`] for the users that may log in.
const USERS_PLACEHOLDER: &str = "{{users}}";

/// Serves the demo page on `listener` until `shutdown` completes.
///
/// `gateway_url` is the gateway's address as the *browser* reaches it, such as
/// `http://localhost:3000`: scheme, host and port, nothing behind them. With an `issuer` the page has a login, and serves
/// the issuer at its own origin.
///
/// # Errors
///
/// `InvalidInput` when `gateway_url` is no such address; otherwise when the listener has no local
/// address.
pub(crate) async fn serve(
    listener: TcpListener,
    gateway_url: String,
    issuer: Option<Issuer>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(&Gateway::parse(&gateway_url)?, issuer)?;
    super::serve_until(listener, router, watch::Sender::new(false), shutdown).await
}

/// The gateway's two origins. Safe to put into HTML and into a header: parsed, then written anew.
struct Gateway {
    http: String,
    websocket: String,
}

impl Gateway {
    fn parse(url: &str) -> io::Result<Self> {
        let wrong = |why: &str| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the gateway's address `{url}` {why}; it looks like http://localhost:3000"),
            )
        };
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let websocket = match uri.scheme_str() {
            Some("http") => "ws",
            Some("https") => "wss",
            _ => return Err(wrong("does not start with http:// or https://")),
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("has a path"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // A host, a port, an IPv6 literal. `Uri` lets more pass, such as `;` and `'`, which mean
        // something in a Content-Security-Policy.
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if authority.is_empty() || !authority.chars().all(plain) {
            return Err(wrong("has no plain host and port"));
        }
        Ok(Self {
            http: format!("{}://{authority}", if websocket == "ws" { "http" } else { "https" }),
            websocket: format!("{websocket}://{authority}"),
        })
    }

    fn content_security_policy(&self, has_login: bool) -> String {
        let issuer = if has_login { " 'self'" } else { "" };
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
             connect-src {} {}{issuer}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            self.http, self.websocket,
        )
    }
}

fn router(gateway: &Gateway, issuer: Option<Issuer>) -> io::Result<Router> {
    let users = if issuer.is_some() { USERS.join(" ") } else { String::new() };
    let index = INDEX.replace(PLACEHOLDER, &gateway.http).replace(USERS_PLACEHOLDER, &users);
    let policy = HeaderValue::try_from(gateway.content_security_policy(issuer.is_some()))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // The address of the gateway may be another at the next start.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok(Router::new()
        .route("/", get(asset("text/html; charset=utf-8", index)))
        .route("/app.js", get(asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/login.js", get(asset("text/javascript; charset=utf-8", LOGIN_SCRIPT)))
        .route("/style.css", get(asset("text/css; charset=utf-8", STYLE)))
        .route("/health", get(asset("application/json", r#"{"status":"ok"}"#)))
        .merge(issuer.map(Issuer::router).unwrap_or_default())
        .fallback(async || (StatusCode::NOT_FOUND, "There is one page here: /\n"))
        .layer(middleware::map_response(move |response: Response| {
            let headers = headers.clone();
            async move { with_headers(response, headers) }
        })))
}

/// The response of a handler that serves fixed content.
fn asset(
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(header::CONTENT_TYPE, content_type)], text.into())
}

fn with_headers<const N: usize>(
    mut response: Response,
    headers: [(HeaderName, HeaderValue); N],
) -> Response {
    response.headers_mut().extend(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_security_policy_names_the_gateway_for_http_and_websocket() {
        let gateway = Gateway::parse("https://edge.example.com:8443/").expect("a plain address");
        let expected = "connect-src https://edge.example.com:8443 wss://edge.example.com:8443";
        let policy = gateway.content_security_policy(false);
        assert!(policy.contains(&format!("{expected};")), "{policy}");
        let policy = gateway.content_security_policy(true);
        assert!(policy.contains(&format!("{expected} 'self';")), "{policy}");
    }

    #[test]
    fn page_has_one_placeholder_for_the_gateway_address_and_one_for_the_users() {
        assert_eq!(INDEX.matches(PLACEHOLDER).count(), 1);
        assert_eq!(INDEX.matches(USERS_PLACEHOLDER).count(), 1);
    }

    #[test]
    fn gateway_address_that_is_not_an_origin_is_refused() {
        for bad in [
            "",
            "localhost:3000",
            "ftp://localhost",
            "http://localhost/api",
            "http://localhost/?a",
            "http://user@localhost",
            "http://a;script-src",
            "http://a'b",
            "http://a\"><script>",
        ] {
            assert!(Gateway::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["http://localhost:3000", "http://[::1]:3000", "https://a-b.example"] {
            assert!(Gateway::parse(good).is_ok(), "{good:?}");
        }
    }
}
