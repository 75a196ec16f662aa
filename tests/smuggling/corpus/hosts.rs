//! `Host`: missing, repeated, malformed, and different from the target.

use crate::case::{Case, SMUGGLED, case};

pub(super) fn cases() -> Vec<Case> {
    let host = |value: &str| format!("GET /case HTTP/1.1\r\nHost: {value}\r\n\r\n");
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    vec![
        case("no Host", "9112 3.2", "GET /case HTTP/1.1\r\nX-A: b\r\n\r\n").status(400),
        case("two Hosts, different", "9112 3.2", host("a\r\nHost: b")).status(400),
        case("two Hosts, the same", "9112 3.2", host("a\r\nHost: a")).status(400),
        case("two Hosts, one in capitals", "9112 3.2", host("a\r\nHOST: b")).status(400),
        case(
            "two Hosts in HTTP/1.0",
            "9112 3.2",
            "GET /case HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        )
        .status(400),
        case("Host with a space", "9112 3.2", host("a b")).status(400),
        case("Host with a tab", "9112 3.2", host("a\tb")).status(400),
        case("Host with a user", "9112 3.2", host("u@a")).status(400),
        case("Host with a path", "9112 3.2", host("a/b")).status(400),
        case("Host with a backslash", "9112 3.2", host("a\\b")).status(400),
        case("Host with a query", "9112 3.2", host("a?b")).status(400),
        case("Host with a fragment", "9112 3.2", host("a#b")).status(400),
        case("Host with a comma", "9112 3.2", host("a, b")).status(400),
        case("Host with a port that is none", "9112 3.2", host("a:b")).status(400),
        case("Host with two ports", "9112 3.2", host("a:80:80")).status(400),
        case("Host beyond ASCII", "9112 3.2", host("\u{e4}")).status(400),
        case("Host with an open bracket", "9112 3.2", host("[::1")).status(400),
        case("Host with a NUL", "9112 3.2", host("a\0b")).status(400),
        case("Host with a URL", "9112 3.2", host("http://a/")).status(400),
        case("Host with a percent-encoded letter", "9110 7.2", host("%61")).status(400),
        case("Host with an empty label", "9110 7.2", host("a..b")).status(400),
        case("Host with a dot at its end", "9110 7.2", host("a.:8080"))
            .passes()
            .with("host", "a:8080"),
        case("Host of IPv6 in another spelling", "9110 7.2", host("[0:0::1]"))
            .passes()
            .with("host", "[::1]"),
        case("Host with a port", "9110 7.2", host("a:8080")).passes().with("host", "a:8080"),
        case("Host of IPv6", "9110 7.2", host("[::1]:80")).passes().with("host", "[::1]:80"),
        case("absolute form", "9112 3.2.2", target("http://a/case")).passes().with("host", "a"),
        case("absolute form, another Host", "9112 3.2.2", target("http://b/case")).status(400),
        case("absolute form, no Host", "9112 3.2.2", "GET http://a/case HTTP/1.1\r\n\r\n"),
        case("absolute form with a user", "9110 4.2.4", target("http://u@a/case")).status(400),
        case("absolute form with Host as the user", "9110 4.2.4", target("http://a@b/case"))
            .status(400),
        case("absolute form with a backslash", "9112 3.2.2", target("http://a\\@b/case"))
            .status(400),
        case("absolute form of ftp", "9112 3.2.2", target("ftp://a/case")),
        case("absolute form without an authority", "9112 3.2.2", target("http:///case"))
            .status(400),
        case("absolute form with one slash", "9112 3.2.2", target("http:/a/case")).status(400),
        case("two slashes before the path", "9112 3.2.1", target("//b/case"))
            .passes_as(&["/b/case"])
            .with("host", "a"),
        case("no slash before the path", "9112 3.2.1", target("case")).status(400),
        case("at sign before the path", "9112 3.2.1", target("@b/case")).status(400),
        case("dot before the path", "9112 3.2.1", target(".b/case")).status(400),
        case("fragment in the target", "9112 3.2", target("/case#b")).status(400),
        case("asterisk with GET", "9112 3.2.4", target("*")).status(400),
        // The gateway answers it itself (RFC 9110, section 9.3.7).
        case("asterisk with OPTIONS", "9112 3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(204),
        case("authority form with GET", "9112 3.2.3", target("a:80")).status(400),
        case("dot segments", "9110 4.2.3", target("/x/../case")).passes(),
        case("encoded dot segments", "9110 4.2.3", target("/x/%2e%2e/case")).passes(),
        case("encoded slash", "9110 4.2.3", target("/x%2fcase")).status(400),
        case(
            "line end in an absolute form",
            "9112 3.2",
            format!("GET http://a/case\r\nX: HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}"),
        )
        .status(400),
    ]
}
