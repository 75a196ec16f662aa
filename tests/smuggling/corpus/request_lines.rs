//! Request lines, valid and malformed.

use crate::case::{Case, SMUGGLED, and_smuggled, case};

pub(super) fn cases() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    vec![
        case("two spaces behind the method", "9112 3", line("GET  /case HTTP/1.1")),
        case("tab behind the method", "9112 3", line("GET\t/case HTTP/1.1")).status(400),
        case("two spaces before the version", "9112 3", line("GET /case  HTTP/1.1")).status(400),
        case("tab before the version", "9112 3", line("GET /case\tHTTP/1.1")).status(400),
        case("space behind the version", "9112 3", line("GET /case HTTP/1.1 ")).status(400),
        case("tab behind the version", "9112 3", line("GET /case HTTP/1.1\t")).status(400),
        case("space in the path", "9112 3.2", line("GET /ca se HTTP/1.1")).status(400),
        case("version in the path", "9112 3.2", line("GET /case HTTP/1.1 HTTP/1.1")),
        case("request in the path", "9112 3.2", line("GET /case HTTP/1.1 GET /smuggled HTTP/1.1")),
        case("tab in the path", "9112 3.2", line("GET /ca\tse HTTP/1.1")).status(400),
        case("tab in the query", "9112 3.2", line("GET /case?a\tb HTTP/1.1")).status(400),
        case("NUL in the query", "9112 3.2", line("GET /case?a\0b HTTP/1.1")).status(400),
        case("carriage return in the path", "9112 3.2", line("GET /ca\rse HTTP/1.1")).status(400),
        case("carriage return in the query", "9112 3.2", line("GET /case?\rb HTTP/1.1"))
            .status(400),
        case("line feed in the path", "9112 3.2", line("GET /ca\nse HTTP/1.1")),
        case("delete in the path", "9112 3.2", line("GET /ca\u{7f}se HTTP/1.1")).status(400),
        case("angle brackets in the path", "9112 3.2", line("GET /<case> HTTP/1.1"))
            .passes_as(&["/%3Ccase%3E"]),
        case("bytes beyond ASCII in the path", "9112 3.2", line("GET /c\u{e4}se HTTP/1.1"))
            .passes_as(&["/c%C3%A4se"]),
        case("no version", "9112 2.3", line("GET /case")),
        case("HTTP/0.9", "9112 2.3", "GET /case\r\n"),
        case("HTTP/0.9, written", "9112 2.3", line("GET /case HTTP/0.9")),
        case("HTTP/1.0", "9112 2.5", line("GET /case HTTP/1.0")).passes(),
        case("HTTP/1.0 without Host", "9112 3.2", "GET /case HTTP/1.0\r\n\r\n").passes(),
        case(
            "HTTP/1.0, kept alive, another behind",
            "9112 9.3",
            format!("GET /case HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n{SMUGGLED}"),
        )
        .passes(),
        case("HTTP/1.2", "9112 2.3", line("GET /case HTTP/1.2")),
        case("HTTP/1.10", "9112 2.3", line("GET /case HTTP/1.10")),
        case("HTTP/1", "9112 2.3", line("GET /case HTTP/1")),
        case("HTTP/2.0", "9112 2.3", line("GET /case HTTP/2.0")),
        case("HTTP/3", "9112 2.3", line("GET /case HTTP/3")),
        case("HTTP/01.1", "9112 2.3", line("GET /case HTTP/01.1")),
        case("HTTP/1,1", "9112 2.3", line("GET /case HTTP/1,1")),
        case("http/1.1 in small letters", "9112 2.3", line("GET /case http/1.1")),
        case("HTTPS/1.1", "9112 2.3", line("GET /case HTTPS/1.1")),
        case("ICE/1.0", "9112 2.3", line("GET /case ICE/1.0")),
        case("no target", "9112 3", line("GET HTTP/1.1")),
        case("empty target", "9112 3", line("GET  HTTP/1.1")),
        case("nothing but a method", "9112 3", line("GET")),
        case("colon behind the method", "9112 3.1", line("GET: /case HTTP/1.1")).status(400),
        case("method in brackets", "9112 3.1", line("(GET) /case HTTP/1.1")).status(400),
        case("method beyond ASCII", "9112 3.1", line("G\u{c4}T /case HTTP/1.1")).status(400),
        case(
            "target of 70,000 bytes",
            "9112 3",
            line(&format!("GET /case?{} HTTP/1.1", "x".repeat(70_000))),
        ),
        case(
            "TLS on a plain port",
            "9112 3",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ),
        case("HTTP/2 without being asked", "9112 2.3", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        case(
            "HTTP/2 and a request behind",
            "9112 2.3",
            and_smuggled("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ),
        case(
            "a line of PROXY before the request",
            "9112 3",
            "PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\nGET /case HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        case(
            "a response for a request",
            "9112 2.1",
            and_smuggled("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ),
    ]
}
