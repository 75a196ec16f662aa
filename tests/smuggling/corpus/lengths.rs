//! `Content-Length`: malformed, repeated, and different from the body.

use crate::case::{Case, SMUGGLED, and_smuggled, case, get, post};

pub(super) fn cases() -> Vec<Case> {
    let length = |value: &str| and_smuggled(post(&format!("Content-Length: {value}"), "hello"));
    vec![
        case("one length", "9112 6.2", post("Content-Length: 5", "hello"))
            .passes()
            .with("content-length", "5")
            .without(&["transfer-encoding"])
            .body("hello"),
        case("length with leading zeros", "9110 8.6", post("Content-Length: 005", "hello"))
            .passes()
            .body("hello"),
        case(
            "length with spaces and tabs about it",
            "9110 5.5",
            post("Content-Length: \t 5 \t", "hello"),
        )
        .passes()
        .with("content-length", "5")
        .body("hello"),
        case(
            "length without a space behind the colon",
            "9110 5.5",
            post("Content-Length:5", "hello"),
        )
        .passes()
        .body("hello"),
        case("length in capitals", "9110 5.1", post("CONTENT-LENGTH: 5", "hello"))
            .passes()
            .body("hello"),
        case("length of 0", "9112 6.2", post("Content-Length: 0", "")).passes().body(""),
        case("length of 0 on a GET", "9110 9.3.1", get("Content-Length: 0")).passes().body(""),
        case("length on a GET", "9110 9.3.1", get("Content-Length: 5") + "hello")
            .passes()
            .body("hello"),
        case("neither length nor coding: no body", "9112 6.3", post("X-A: b", ""))
            .passes()
            .body(""),
        case(
            "smuggled within the length is body",
            "9112 6.2",
            post("Content-Length: 35", SMUGGLED),
        )
        .passes(),
        case("length with a plus", "9110 8.6", length("+5")),
        case("length with a minus", "9110 8.6", length("-5")),
        case("length of minus 0", "9110 8.6", length("-0")),
        case("length in hexadecimal", "9110 8.6", length("0x5")),
        case("length in octal of other languages", "9110 8.6", length("0o5")),
        case("length with a decimal point", "9110 8.6", length("5.0")),
        case("length with an exponent", "9110 8.6", length("5e0")),
        case("length with an underscore", "9110 8.6", length("0_5")),
        case("length with a letter behind", "9110 8.6", length("5a")),
        case("length with a letter before", "9110 8.6", length("a5")),
        case("length in quotes", "9110 8.6", length("\"5\"")),
        case("length with a semicolon", "9110 8.6", length("5;")),
        case("length with a parameter", "9110 8.6", length("5; a=b")),
        case("length empty", "9110 8.6", length("")),
        case("length of spaces", "9110 8.6", length("   ")),
        case("two numbers with a space", "9110 8.6", length("5 5")),
        case("two numbers with a tab", "9110 8.6", length("5\t0")),
        case("list of equal lengths", "9110 8.6", length("5,5")),
        case("list of equal lengths, spaced", "9110 8.6", length("5, 5")),
        case("list of different lengths", "9110 8.6", length("5, 44")),
        case("list with an empty element at its end", "9110 8.6", length("5,")),
        case("list with an empty element at its start", "9110 8.6", length(",5")),
        case("length in Arabic digits", "9110 8.6", length("\u{665}")),
        case("length in fullwidth digits", "9110 8.6", length("\u{ff15}")),
        case("length with a no-break space", "9110 8.6", length("5\u{a0}")),
        case("length with a vertical tab", "9110 8.6", length("\u{b}5")),
        case("length with a form feed", "9110 8.6", length("5\u{c}")),
        case("length beyond 2^64", "9110 8.6", length("18446744073709551621")),
        case("length beyond 2^128", "9110 8.6", length("340282366920938463463374607431768211461")),
        case("length of 2^64 - 1", "9110 8.6", length("18446744073709551615"))
            .cut_off()
            .unfinished(),
        case("length of 2^63", "9110 8.6", length("9223372036854775808")).cut_off().unfinished(),
        case("length of 2^32 + 5, of which little comes", "9110 8.6", length("4294967301"))
            .cut_off()
            .unfinished(),
        case("length of many zeros and a 5", "9110 8.6", length(&format!("{}5", "0".repeat(400)))),
        case(
            "two equal lengths",
            "9112 6.3",
            and_smuggled(post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        ),
        case(
            "two lengths, short one first",
            "9112 6.3",
            post("Content-Length: 0\r\nContent-Length: 35", SMUGGLED),
        ),
        case(
            "two lengths, long one first",
            "9112 6.3",
            post("Content-Length: 35\r\nContent-Length: 0", SMUGGLED),
        ),
        case(
            "two lengths equal in value, not in writing",
            "9112 6.3",
            and_smuggled(post("Content-Length: 5\r\nContent-Length: 05", "hello")),
        ),
        case(
            "two lengths, one in capitals",
            "9112 6.3",
            post("Content-Length: 0\r\nCONTENT-LENGTH: 35", SMUGGLED),
        ),
        case(
            "two lengths, fields between them",
            "9112 6.3",
            post("Content-Length: 0\r\nX-A: b\r\nContent-Length: 35", SMUGGLED),
        ),
        case(
            "two lengths, the second empty",
            "9112 6.3",
            and_smuggled(post("Content-Length: 5\r\nContent-Length:", "hello")),
        ),
        case(
            "two lengths, the first malformed",
            "9112 6.3",
            and_smuggled(post("Content-Length: x\r\nContent-Length: 5", "hello")),
        ),
        case(
            "three lengths",
            "9112 6.3",
            post("Content-Length: 0\r\nContent-Length: 35\r\nContent-Length: 0", SMUGGLED),
        ),
        case(
            "underscore for the hyphen is another field",
            "9110 5.1",
            post("Content_Length: 35\r\nContent-Length: 5", "hello"),
        )
        .passes()
        .body("hello"),
        case("less body than the length says", "9112 8", post("Content-Length: 50", "hello"))
            .cut_off()
            .unfinished(),
        case(
            "length in HTTP/1.0",
            "9112 6.2",
            format!("POST /case HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{SMUGGLED}"),
        )
        .passes()
        .body("hello"),
        case(
            "an early answer leaves no body behind",
            "9112 9.3",
            post("Content-Length: 80", "hello").replace("/case", "/early"),
        )
        .cut_off()
        .unfinished(),
    ]
}
