//! Status lines, valid and malformed.

use crate::case::{Case, HELLO, case, chunked, head};

pub(super) fn cases() -> Vec<Case> {
    let line = |line: &str| head(line, "Content-Length: 5", "hello");
    vec![
        case("HTTP/1.1", "9112 4", line("HTTP/1.1 200 OK")).passes("hello"),
        case("HTTP/1.0 with a length", "9110 2.5", line("HTTP/1.0 200 OK")).passes("hello"),
        case(
            "HTTP/1.0 that keeps the connection",
            "9110 2.5",
            head("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive", "hello"),
        )
        .passes("hello"),
        case(
            "HTTP/1.0 to the end of the connection",
            "9112 6.3",
            head("HTTP/1.0 200 OK", "", "hello"),
        )
        .closing()
        .passes("hello"),
        case(
            "HTTP/1.1 to the end of the connection",
            "9112 6.3",
            head("HTTP/1.1 200 OK", "", "hello"),
        )
        .closing()
        .passes("hello"),
        case(
            "to the end, for a client of HTTP/1.0",
            "9112 6.3",
            head("HTTP/1.1 200 OK", "X: 1", "hello"),
        )
        .closing()
        .for_http10()
        .passes("hello"),
        case("chunks, for a client of HTTP/1.0", "9112 6.1", chunked(HELLO))
            .for_http10()
            .without(&["transfer-encoding"])
            .passes("hello"),
        case("HTTP/1.0 for a client of HTTP/1.0", "9110 2.5", line("HTTP/1.0 200 Fine"))
            .for_http10()
            .passes("hello"),
        case("no reason", "9112 4", line("HTTP/1.1 200 ")).passes("hello"),
        case("no reason and no space", "9112 4", line("HTTP/1.1 200")).passes("hello"),
        case("reason with a tab", "9112 4", line("HTTP/1.1 200 O\tK")).passes("hello"),
        case("reason of other words", "9112 4", line("HTTP/1.1 200 Not Found")).passes("hello"),
        case("a status of 599", "9110 15", line("HTTP/1.1 599 X")).passes_as(599, "hello"),
        case("a status of 999", "9110 15", line("HTTP/1.1 999 X")).passes_as(999, "hello"),
        case("a status of 099", "9110 15", line("HTTP/1.1 099 X")),
        case("a status of 000", "9110 15", line("HTTP/1.1 000 X")),
        case("a status of two digits", "9112 4", line("HTTP/1.1 20 OK")),
        case("a status of four digits", "9112 4", line("HTTP/1.1 2000 OK")),
        case("a status of letters", "9112 4", line("HTTP/1.1 OK 200")),
        case("a negative status", "9112 4", line("HTTP/1.1 -200 OK")),
        case("two spaces before the status", "9112 4", line("HTTP/1.1  200 OK")),
        case("a tab before the status", "9112 4", line("HTTP/1.1\t200 OK")),
        case("no version", "9112 2.3", line("200 OK")),
        case("a version in small letters", "9112 2.3", line("http/1.1 200 OK")),
        case("HTTP/2.0", "9112 2.3", line("HTTP/2.0 200 OK")),
        case("HTTP/1.10", "9112 2.3", line("HTTP/1.10 200 OK")),
        case("HTTP/0.9, written", "9112 2.3", line("HTTP/0.9 200 OK")),
        case("ICY", "9112 2.3", line("ICY 200 OK")),
        case("HTTP/0.9, nothing but a body", "9112 2.3", "hello").closing(),
        case("nothing at all", "9112 2.1", "").closing(),
        case("half a status line", "9112 2.1", "HTTP/1.1 20").closing(),
        case("half a head", "9112 2.1", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n").closing(),
        case("an empty line before it", "9112 2.2", line("\r\nHTTP/1.1 200 OK")).passes("hello"),
        case("a NUL in the reason", "9112 4", line("HTTP/1.1 200 O\0K")),
        case("bare line feeds", "9112 2.2", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
            .passes("hello"),
        case("a request in its place", "9112 2.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
}
