//! `Content-Length`: valid, malformed, repeated, and different from the body.

use crate::case::{Case, case, ok};

pub(super) fn cases() -> Vec<Case> {
    let length = |value: &str| ok(&format!("Content-Length: {value}"), "hello");
    vec![
        case("one length", "9110 8.6", ok("content-length: 5", "hello"))
            .passes("hello")
            .with("content-length", "5"),
        case("a length of nothing", "9110 8.6", ok("Content-Length: 0", "")).passes(""),
        case("zeros in front", "9110 8.6", length("005")).passes("hello"),
        case("spaces and tabs about it", "9110 5.5", length(" \t5\t "))
            .passes("hello")
            .with("content-length", "5"),
        case(
            "two equal lengths",
            "9110 8.6",
            ok("Content-Length: 5\r\nContent-Length: 5", "hello"),
        )
        .passes("hello")
        .with("content-length", "5"),
        case(
            "three equal lengths",
            "9110 8.6",
            ok("Content-Length: 5\r\nX: 1\r\nContent-Length: 5\r\nContent-Length: 5", "hello"),
        )
        .passes("hello")
        .with("content-length", "5"),
        case("a list of equal lengths", "9110 8.6", length("5,5"))
            .passes("hello")
            .with("content-length", "5"),
        case("a list of equal lengths, spaced", "9110 8.6", length("5 , 5"))
            .passes("hello")
            .with("content-length", "5"),
        case(
            "equal in value, not in writing",
            "9110 8.6",
            ok("Content-Length: 5\r\nContent-Length: 05", "hello"),
        )
        .passes("hello")
        .with("content-length", "5"),
        case("two lengths", "9112 6.3", ok("Content-Length: 5\r\nContent-Length: 2", "hello")),
        case(
            "two lengths, the shorter first",
            "9112 6.3",
            ok("Content-Length: 2\r\nContent-Length: 5", "hello"),
        ),
        case("a list of two lengths", "9112 6.3", length("5, 2")),
        case(
            "a length and an empty one",
            "9112 6.3",
            ok("Content-Length: 5\r\nContent-Length:", "hello"),
        ),
        case("a list with an empty element", "9112 6.3", length("5,")),
        case("a plus", "9110 8.6", length("+5")),
        case("a minus", "9110 8.6", length("-5")),
        case("two numbers with a space", "9110 8.6", length("5 5")),
        case("hexadecimal", "9110 8.6", length("0x5")),
        case("a point", "9110 8.6", length("5.0")),
        case("an exponent", "9110 8.6", length("5e0")),
        case("a parameter", "9110 8.6", length("5;q=1")),
        case("quotes", "9110 8.6", length("\"5\"")),
        case("letters", "9110 8.6", length("five")),
        case("empty", "9110 8.6", length("")),
        case("2^64 + 5", "9110 8.6", length("18446744073709551621")),
        case("a NUL behind it", "9110 5.5", length("5\0")),
        case("a folded line", "9112 5.2", length("\r\n 5"))
            .passes("hello")
            .with("content-length", "5"),
        case("a space before the colon", "9112 5.1", ok("Content-Length : 5", "hello"))
            .passes("hello"),
        case("an underscore in the name", "9110 8.6", ok("Content_Length: 2", "hello"))
            .closing()
            .passes("hello"),
        case("longer than the body", "9112 8", length("6")).closing().cut_off(),
        case("much longer than the body", "9112 8", length("18446744073709551615"))
            .closing()
            .cut_off(),
        case("shorter than the body", "9112 6.3", length("2"))
            .passes("he")
            .with("content-length", "2"),
        case("a length of nothing, and a body", "9112 6.3", length("0")).passes(""),
    ]
}
