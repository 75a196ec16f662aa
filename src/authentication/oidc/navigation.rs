//! What a request of a browser says of where it comes from and what it wants: a page, from its own origin, by a safe
//! path back. Knows nothing of logins.

use crate::authentication::Credentials;
use crate::exchange::Exchange;
use crate::http_client::is_safe_url;
use http::header::{ACCEPT, HOST, ORIGIN};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Uri};
use pingora::http::RequestHeader;
use tidegate_http::header_name::{SEC_FETCH_MODE, SEC_FETCH_SITE};
use tidegate_http::host::is_authority;
use tidegate_http::origin::Origin;
use tidegate_http::url::normalized_authority;

/// Maximum length of the path that a browser returns to; it returns to `/` otherwise.
const MAX_RETURN_PATH_BYTES: usize = 1_500;

/// Whether a browser shows the response as a page, and so can follow a redirect to a login.
pub(super) fn is_navigation(request: &Credentials<'_>) -> bool {
    let headers = &request.head.headers;
    if request.head.method != Method::GET || request.exchange.is_websocket() {
        return false;
    }
    match text(headers, &SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => text(headers, &ACCEPT).is_some_and(accepts_html),
    }
}

/// Whether `text/html` is listed, and not refused by a weight of zero.
fn accepts_html(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|it| it.eq_ignore_ascii_case("text/html"));
        is_html && !parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The origin that the browser sees: scheme and host as the gateway knows them. `None` if the request names no valid
/// host.
pub(super) fn own_origin(request: &Credentials<'_>) -> Option<String> {
    let authority = own_authority(request.head, request.exchange)?;
    let scheme = request.exchange.scheme();
    Some(format!("{scheme}://{}", normalized_authority(scheme, authority)))
}

fn own_authority<'r>(head: &'r RequestHeader, exchange: &'r Exchange) -> Option<&'r str> {
    let host = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = exchange.forwarded_host.as_deref();
    let authority =
        authority.or_else(|| head.uri.authority().map(|it| it.as_str())).or_else(host)?;
    is_authority(authority).then_some(authority)
}

/// Whether nobody on the network can read or change what goes between a browser and this origin.
pub(super) fn is_safe_origin(origin: &str) -> bool {
    origin.parse::<Uri>().is_ok_and(|url| is_safe_url(&url))
}

/// Whether the request comes from a page of its own origin, or from the user directly.
pub(super) fn is_from_own_origin(request: &Credentials<'_>) -> bool {
    let headers = &request.head.headers;
    match text(headers, &SEC_FETCH_SITE) {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => {
            let authority = own_authority(request.head, request.exchange);
            let origin = text(headers, &ORIGIN).and_then(Origin::parse);
            origin.zip(authority).is_some_and(|(origin, authority)| {
                origin.is_own(authority, request.exchange.scheme())
            })
        }
    }
}

/// The path and query of a target, if a browser that follows them stays within the origin; `/` otherwise.
pub(super) fn return_path(uri: &Uri) -> &str {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match is_return_path(target) {
        true => target,
        false => "/",
    }
}

/// Whether it is a path that no browser reads as a host: `//host` and `/\host` begin one.
fn is_return_path(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= MAX_RETURN_PATH_BYTES
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// The only value of a header, as text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).expect("a head");
        for (name, value) in headers {
            head.insert_header(*name, *value).expect("a header");
        }
        head
    }

    fn exchange(scheme: &'static str) -> Exchange {
        let mut exchange = Exchange::new("all".into(), http::HeaderValue::from_static("1"));
        exchange.scheme = scheme;
        exchange
    }

    #[test]
    fn only_navigation_is_redirected() {
        let exchange = exchange("https");
        for (method, headers, expected) in [
            ("GET", &[("accept", "text/html,*/*;q=0.8")][..], true),
            ("GET", &[("accept", "application/json, TEXT/HTML;q=0.5")], true),
            ("GET", &[("sec-fetch-mode", "navigate")], true),
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")], false),
            ("GET", &[("sec-fetch-mode", "websocket"), ("accept", "text/html")], false),
            ("GET", &[("accept", "*/*")], false),
            ("GET", &[("accept", "text/html;q=0, */*")], false),
            ("GET", &[], false),
            ("POST", &[("accept", "text/html"), ("sec-fetch-mode", "navigate")], false),
            ("HEAD", &[("accept", "text/html")], false),
        ] {
            let head = head(method, "/", headers);
            let request = Credentials { head: &head, exchange: &exchange };
            assert_eq!(is_navigation(&request), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn browser_returns_to_its_own_origin_only() {
        for (target, expected) in [
            ("/a?b=c", "/a?b=c"),
            ("/", "/"),
            ("//evil.example", "/"),
            ("///evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\\b", "/"),
            ("http://evil.example/a", "/a"),
            ("http://evil.example//b", "/"),
        ] {
            let Ok(uri) = target.parse::<Uri>() else { continue };
            assert_eq!(return_path(&uri), expected, "{target}");
        }
        for target in ["/\t/evil", "/\u{a0}", "/ü", "", "https://evil.example", "evil", "/\\e"] {
            assert!(!is_return_path(target), "{target}");
        }
        assert!(!is_return_path(&format!("/{}", "x".repeat(MAX_RETURN_PATH_BYTES))));
    }

    #[test]
    fn origin_is_the_one_that_the_browser_sees() {
        let mut exchange = exchange("https");
        let head = head("GET", "/", &[("host", "App.example.com:443")]);
        let origin = |exchange: &Exchange| own_origin(&Credentials { head: &head, exchange });
        assert_eq!(origin(&exchange).as_deref(), Some("https://app.example.com"));
        exchange.forwarded_host = Some("public.example.com".into());
        assert_eq!(origin(&exchange).as_deref(), Some("https://public.example.com"));
        exchange.forwarded_host = Some("evil/@x".into());
        assert_eq!(origin(&exchange), None);
        for (origin, expected) in [
            ("https://app.example.com", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://app.example.com", false),
        ] {
            assert_eq!(is_safe_origin(origin), expected, "{origin}");
        }
    }

    #[test]
    fn request_of_another_site_is_not_of_the_own_origin() {
        let exchange = exchange("https");
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://a.test")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "https://a.test")], true),
            (&[("origin", "https://b.test")], false),
            (&[("origin", "http://a.test")], false),
            (&[("origin", "null")], false),
            (&[], false),
        ] {
            let mut all = vec![("host", "a.test")];
            all.extend(headers);
            let head = head("POST", "/", &all);
            let request = Credentials { head: &head, exchange: &exchange };
            assert_eq!(is_from_own_origin(&request), expected, "{headers:?}");
        }
    }
}
