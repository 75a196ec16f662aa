//! Several responses on one connection, and bytes after the end of one.

use crate::case::{Case, HELLO, case, chunked, head, ok};

/// What must never reach anybody.
const SPOILED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nspoiled";

pub(super) fn cases() -> Vec<Case> {
    let behind = |answer: String| format!("{answer}{SPOILED}");
    vec![
        case("an answer behind a length", "9112 9.3", behind(ok("Content-Length: 5", "hello")))
            .passes("hello"),
        case("an answer behind chunks", "9112 9.3", behind(chunked(HELLO))).passes("hello"),
        case("an answer behind a 204", "9112 9.3", behind(head("HTTP/1.1 204 No Content", "", "")))
            .passes_as(204, ""),
        case(
            "an answer behind a 304",
            "9112 9.3",
            behind(head("HTTP/1.1 304 Not Modified", "", "")),
        )
        .passes_as(304, ""),
        case("an answer behind one to HEAD", "9112 9.3", behind(ok("Content-Length: 5", "")))
            .for_head()
            .passes(""),
        case("the body of one to HEAD, kept", "9110 9.3.2", ok("Content-Length: 78", SPOILED))
            .for_head()
            .passes(""),
        case(
            "an answer in a 204's body, kept",
            "9112 6.3",
            head("HTTP/1.1 204 No Content", "Content-Length: 46", SPOILED),
        )
        .passes_as(204, ""),
        case(
            "an answer in a 304's body, kept",
            "9112 6.3",
            head("HTTP/1.1 304 Not Modified", "Content-Length: 46", SPOILED),
        )
        .passes_as(304, ""),
        case(
            "an answer behind equal lengths",
            "9110 8.6",
            behind(ok("Content-Length: 5, 5", "hello")),
        )
        .passes("hello"),
        case(
            "an answer behind both framings",
            "9112 6.3",
            behind(ok("Transfer-Encoding: chunked\r\nContent-Length: 5", HELLO)),
        )
        .passes("hello"),
        case(
            "bytes behind a length",
            "9112 9.3",
            ok("Content-Length: 5", "hello\r\n\r\n0\r\n\r\n"),
        )
        .passes("hello"),
        case("the same answer twice", "9112 9.3", ok("Content-Length: 5", "hello").repeat(2))
            .passes("hello"),
    ]
}
