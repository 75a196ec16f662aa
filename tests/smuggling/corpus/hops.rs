//! Headers that `Connection` names, and other hop-by-hop headers.

use crate::case::{Case, SMUGGLED, and_smuggled, case, get, post};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("Connection names a field", "9110 7.6.1", get("Connection: X-Hop\r\nX-Hop: 1")).passes().without(&["x-hop", "connection"]),
        case("Connection names a field in capitals", "9110 7.6.1", get("Connection: X-HOP\r\nx-hop: 1")).passes().without(&["x-hop"]),
        case("Connection names several", "9110 7.6.1", get("Connection: X-A, X-B\r\nConnection: X-C\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3")).passes().without(&["x-a", "x-b", "x-c"]),
        case("Connection names one that stands twice", "9110 7.6.1", get("Connection: X-Hop\r\nX-Hop: 1\r\nX-Hop: 2")).passes().without(&["x-hop"]),
        case("Connection names Content-Length", "9110 7.6.1", and_smuggled(post("Connection: Content-Length\r\nContent-Length: 5", "hello"))).passes_as(&["/case", "/smuggled"]).body("hello"),
        case("Connection names Content-Length, smuggled within", "9110 7.6.1", post("Connection: Content-Length\r\nContent-Length: 35", SMUGGLED)).passes(),
        case("Connection names Transfer-Encoding", "9110 7.6.1", post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")).passes().with("transfer-encoding", "chunked").body("hello"),
        case("Connection names both lengths", "9110 7.6.1", post("Connection: close, Content-Length, Transfer-Encoding\r\nContent-Length: 40\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{SMUGGLED}"))).status(400),
        case("Connection names Host", "9110 7.6.1", get("Connection: Host")).status(400),
        case("Connection names X-Forwarded-For", "9110 7.6.1", get("Connection: close, X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6")).status(400),
        case("Connection names X-Forwarded-Host", "9110 7.6.1", get("Connection: X-Forwarded-Host")).status(400),
        case("Connection names X-Forwarded-Proto", "9110 7.6.1", get("Connection: X-Forwarded-Proto")).status(400),
        case("Connection names X-Request-Id", "9110 7.6.1", get("Connection: X-Request-Id")).passes(),
        case("Connection names Forwarded", "9110 7.6.1", get("Connection: Forwarded\r\nForwarded: for=6.6.6.6")).passes().with("forwarded", "for=127.0.0.1;host=\"a\";proto=http"),
        case("Connection names Cookie", "9110 7.6.1", get("Connection: Cookie\r\nCookie: a=b")).passes().without(&["cookie"]),
        case("Connection names Connection", "9110 7.6.1", get("Connection: Connection")).passes().without(&["connection"]),
        case("Connection names a pseudo-header", "9110 7.6.1", get("Connection: :authority")).status(400),
        case("Connection names one in quotes", "9110 7.6.1", get("Connection: \"X-Forwarded-For\"")).status(400),
        case("Connection names one with a space in it", "9110 7.6.1", get("Connection: X A")).status(400),
        case("Connection names nothing", "9110 7.6.1", get("Connection: ,, ,")).passes().without(&["connection"]),
        case("Connection names a hundred", "9110 7.6.1", get(&format!("Connection: {}", (0..100).map(|n| format!("X-{n}")).collect::<Vec<_>>().join(",")))),
        case("Connection names what is not there", "9110 7.6.1", get("Connection: X-Absent")).passes(),
        case("Connection: close, another behind", "9112 9.6", and_smuggled(get("Connection: close"))).passes(),
        case("Connection: close among others, another behind", "9112 9.6", and_smuggled(get("Connection: X-A, Close"))).passes(),
        case("Connection: close in a second field, another behind", "9112 9.6", and_smuggled(get("Connection: X-A\r\nConnection: close"))).passes(),
        case("Connection: keep-alive and close, another behind", "9112 9.3", and_smuggled(get("Connection: keep-alive\r\nConnection: close"))).passes(),
        case("Keep-Alive", "9110 7.6.1", get("Keep-Alive: timeout=99")).passes().without(&["keep-alive"]),
        case("Proxy-Connection", "9110 7.6.1", get("Proxy-Connection: keep-alive")).passes().without(&["proxy-connection"]),
        case("TE", "9110 10.1.4", get("TE: trailers\r\nConnection: TE")).passes().without(&["te"]),
        case("TE is no Transfer-Encoding", "9110 10.1.4", and_smuggled(post("TE: chunked\r\nContent-Length: 5", "hello"))).passes_as(&["/case", "/smuggled"]).without(&["te"]).body("hello"),
        case("Trailer", "9110 6.6.2", get("Trailer: X-Sum")).passes().without(&["trailer"]),
        case("Proxy-Authorization", "9110 11.7.2", get("Proxy-Authorization: Basic YTpi")).passes().without(&["proxy-authorization"]),
        case("Max-Forwards of 0 on a GET", "9110 7.6.2", get("Max-Forwards: 0")).passes(),
    ]
}
