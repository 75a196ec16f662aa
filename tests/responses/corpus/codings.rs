//! Transfer codings: `chunked` in all positions, unknown and repeated ones.

use crate::case::{Case, HELLO, case, chunked, head, ok};

pub(super) fn cases() -> Vec<Case> {
    let coding = |value: &str| ok(&format!("Transfer-Encoding: {value}"), HELLO);
    let both = |fields: &str| ok(fields, HELLO);
    vec![
        case("chunked", "9112 7.1", chunked(HELLO)).passes("hello"),
        case("chunked in capitals", "9112 7.1", coding("CHUNKED")).passes("hello"),
        case("spaces and tabs about it", "9110 5.5", coding(" \tchunked\t ")).passes("hello"),
        case(
            "chunked twice",
            "9112 6.1",
            both("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        case("a list of chunked twice", "9112 6.1", coding("chunked, chunked")),
        case("identity", "9112 7", ok("Transfer-Encoding: identity", "hello")).closing(),
        case(
            "identity and a length",
            "9112 7",
            ok("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"),
        )
        .closing(),
        case("identity, chunked", "9112 7", coding("identity, chunked")),
        case("chunked, identity", "9112 6.1", coding("chunked, identity")).closing(),
        case("gzip", "9112 7.2", ok("Transfer-Encoding: gzip", "hello")).closing(),
        case("gzip, chunked", "9112 7.2", coding("gzip, chunked")),
        case(
            "gzip and chunked in two fields",
            "9112 7.2",
            both("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        ),
        case("chunked, gzip", "9112 6.1", coding("chunked, gzip")).closing(),
        case(
            "chunked and gzip in two fields",
            "9112 6.1",
            both("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"),
        )
        .closing(),
        case("deflate, chunked", "9112 7.2", coding("deflate, chunked")),
        case("an unknown coding", "9112 7", coding("x")).closing(),
        case("xchunked", "9112 7", coding("xchunked")).closing(),
        case("chunked with a parameter", "9112 7", coding("chunked;a=b")).closing(),
        case("chunked in quotes", "9112 7", coding("\"chunked\"")).closing(),
        case("a comma behind chunked", "9112 6.1", coding("chunked,")).closing(),
        case("a comma before chunked", "9112 6.1", coding(", chunked")),
        case("empty", "9112 6.1", coding("")).closing(),
        case(
            "empty, and chunked",
            "9112 6.1",
            both("Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
        ),
        case("a vertical tab before chunked", "9110 5.5", coding("\u{b}chunked")).closing(),
        case("a NUL before chunked", "9110 5.5", coding("\0chunked")).closing(),
        case("a folded line", "9112 5.2", coding("\r\n chunked")).passes("hello"),
        case("a space before the colon", "9112 5.1", both("Transfer-Encoding : chunked"))
            .passes("hello"),
        case(
            "an underscore in the name",
            "9112 6.1",
            ok("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
        )
        .passes("hello"),
        case(
            "chunked and a length",
            "9112 6.3",
            both("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        )
        .passes("hello")
        .without(&["content-length"]),
        case(
            "a length and chunked",
            "9112 6.3",
            both("Content-Length: 3\r\nTransfer-Encoding: chunked"),
        )
        .passes("hello")
        .without(&["content-length"]),
        case(
            "chunked in HTTP/1.0",
            "9112 6.1",
            head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", HELLO),
        ),
        case(
            "chunked and a length in HTTP/1.0",
            "9112 6.1",
            head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\nContent-Length: 5", HELLO),
        ),
        case(
            "gzip in HTTP/1.0",
            "9112 6.1",
            head("HTTP/1.0 200 OK", "Transfer-Encoding: gzip", "hello"),
        )
        .closing(),
        case(
            "chunked, and chunks within",
            "9112 6.1",
            chunked("f\r\n5\r\nhello\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        )
        .passes(HELLO),
    ]
}
