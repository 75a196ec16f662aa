//! Responses that have no body: to HEAD, and with 1xx, 204 and 304.

use crate::case::{Case, HELLO, case, head, ok};

const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

pub(super) fn cases() -> Vec<Case> {
    let no_content = |fields: &str, body: &str| head("HTTP/1.1 204 No Content", fields, body);
    let not_modified = |fields: &str, body: &str| head("HTTP/1.1 304 Not Modified", fields, body);
    vec![
        case("204", "9110 15.3.5", no_content("", "")).passes_as(204, "").without(&FRAMING),
        case("204 with a length of nothing", "9110 8.6", no_content("Content-Length: 0", ""))
            .passes_as(204, "")
            .without(&FRAMING),
        case("204 with a length", "9110 8.6", no_content("Content-Length: 5", ""))
            .passes_as(204, "")
            .without(&FRAMING),
        case("204 with a body", "9110 8.6", no_content("Content-Length: 5", "hello"))
            .closing()
            .passes_as(204, "")
            .without(&FRAMING),
        case("204 with a body to the end", "9112 6.3", no_content("", "hello"))
            .closing()
            .passes_as(204, "")
            .without(&FRAMING),
        case("204 with chunks", "9112 6.1", no_content("Transfer-Encoding: chunked", HELLO))
            .closing()
            .passes_as(204, "")
            .without(&FRAMING),
        case(
            "204 with no chunk but the last",
            "9112 6.1",
            no_content("Transfer-Encoding: chunked", "0\r\n\r\n"),
        )
        .passes_as(204, "")
        .without(&FRAMING),
        case(
            "204 with two lengths",
            "9112 6.3",
            no_content("Content-Length: 0\r\nContent-Length: 5", ""),
        ),
        case("204 in HTTP/1.0", "9110 2.5", head("HTTP/1.0 204 No Content", "", ""))
            .closing()
            .passes_as(204, "")
            .without(&FRAMING),
        case("304", "9110 15.4.5", not_modified("ETag: \"a\"", ""))
            .passes_as(304, "")
            .with("etag", "\"a\"")
            .without(&FRAMING),
        case("304 with a length", "9110 8.6", not_modified("Content-Length: 5", ""))
            .passes_as(304, "")
            .without(&FRAMING),
        case("304 with chunked", "9112 6.1", not_modified("Transfer-Encoding: chunked", ""))
            .passes_as(304, "")
            .without(&FRAMING),
        case("304 with a body", "9112 6.3", not_modified("Content-Length: 5", "hello"))
            .closing()
            .passes_as(304, "")
            .without(&FRAMING),
        case(
            "205 with a length of nothing",
            "9110 15.3.6",
            head("HTTP/1.1 205 Reset Content", "Content-Length: 0", ""),
        )
        .passes_as(205, ""),
        case("HEAD with a length", "9110 9.3.2", ok("Content-Length: 5", ""))
            .for_head()
            .passes("")
            .with("content-length", "5"),
        case(
            "HEAD with two equal lengths",
            "9110 8.6",
            ok("Content-Length: 5\r\nContent-Length: 5", ""),
        )
        .for_head()
        .passes("")
        .with("content-length", "5"),
        case("HEAD with two lengths", "9112 6.3", ok("Content-Length: 5\r\nContent-Length: 6", ""))
            .for_head(),
        case("HEAD with chunked", "9112 6.1", ok("Transfer-Encoding: chunked", ""))
            .for_head()
            .passes(""),
        case("HEAD with gzip", "9112 6.1", ok("Transfer-Encoding: gzip", "")).for_head(),
        case("HEAD with neither", "9110 9.3.2", ok("X: 1", "")).for_head().passes(""),
        case("HEAD with a body", "9110 9.3.2", ok("Content-Length: 5", "hello"))
            .closing()
            .for_head()
            .passes(""),
    ]
}
