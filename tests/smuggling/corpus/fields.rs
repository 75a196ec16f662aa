//! Malformed header lines that servers read differently: folded, without a colon, with other characters.

use crate::case::{Case, SMUGGLED, and_smuggled, case, get, post};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("folded line", "9112 5.2", get("X-A: b\r\n c")).status(400),
        case("line folded by a tab", "9112 5.2", get("X-A: b\r\n\tc")).status(400),
        case("folded Host", "9112 5.2", "GET /case HTTP/1.1\r\nHost:\r\n a\r\n\r\n").status(400),
        case(
            "folded length",
            "9112 5.2",
            format!("POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n 9\r\n\r\n{SMUGGLED}"),
        )
        .status(400),
        case(
            "length in a folded line",
            "9112 5.2",
            format!(
                "POST /case HTTP/1.1\r\nHost: a\r\nX-A: b\r\n Content-Length: 35\r\n\r\n{SMUGGLED}"
            ),
        )
        .status(400),
        case("folded line of spaces", "9112 5.2", get("X-A: b\r\n   ")).status(400),
        case("space before the colon", "9112 5.1", get("X-A : b")).status(400),
        case(
            "space before the colon of a length",
            "9112 5.1",
            post("Content-Length : 35", SMUGGLED),
        )
        .status(400),
        case(
            "tab before the colon of a length",
            "9112 5.1",
            post("Content-Length\t: 35", SMUGGLED),
        )
        .status(400),
        case(
            "space before the colon of Host",
            "9112 5.1",
            "GET /case HTTP/1.1\r\nHost : a\r\n\r\n",
        )
        .status(400),
        case("no colon", "9112 5", get("X-A")).status(400),
        case("no colon and two words", "9112 5", get("X-A b")).status(400),
        case("empty name", "9112 5", get(": b")).status(400),
        case("nothing but a colon", "9112 5", get(":")).status(400),
        case("empty value", "9110 5.5", get("X-A:")).passes().with("x-a", ""),
        case("several colons", "9110 5.5", get("X-A: b: c")).passes().with("x-a", "b: c"),
        case("colon doubled", "9110 5.5", get("X-A:: b")).passes().with("x-a", ": b"),
        case("space within a name", "9110 5.1", get("X A: b")).status(400),
        case("slash in a name", "9110 5.1", get("X/A: b")).status(400),
        case("at sign in a name", "9110 5.1", get("X@A: b")).status(400),
        case("parenthesis in a name", "9110 5.1", get("X(A): b")).status(400),
        case("quote in a name", "9110 5.1", get("\"X-A\": b")).status(400),
        case("bracket in a name", "9110 5.1", get("[X-A]: b")).status(400),
        case("equals sign in a name", "9110 5.1", get("X=A: b")).status(400),
        case("umlaut in a name", "9110 5.1", get("X-\u{c4}: b")).status(400),
        case("every other sign of a token in a name", "9110 5.6.2", get("X!#$%&'*+-.^_`|~9: b"))
            .passes()
            .with("x!#$%&'*+-.^_`|~9", "b"),
        case("request line among the fields", "9112 5", get("GET /smuggled HTTP/1.1")).status(400),
        case("request line as a field", "9112 5", get("GET /smuggled HTTP/1.1:")).status(400),
        case("pseudo-header of HTTP/2", "9110 5.1", get(":path: /smuggled")).status(400),
        case("300 fields", "9110 5.4", get(&vec!["X-A: b"; 300].join("\r\n"))),
        case("field of 200,000 bytes", "9110 5.4", get(&format!("X-A: {}", "x".repeat(200_000)))),
        case("name of 70,000 bytes", "9110 5.4", get(&format!("X-{}: b", "a".repeat(70_000)))),
        case(
            "space at the end of the head",
            "9112 5",
            and_smuggled("GET /case HTTP/1.1\r\nHost: a\r\n \r\n"),
        )
        .status(400),
        case("smuggled behind a head that fails", "9112 2.2", and_smuggled(get("X A: b")))
            .status(400),
        case("forged X-Forwarded-For", "9110 7.6", get("X-Forwarded-For: 6.6.6.6"))
            .passes()
            .with("x-forwarded-for", "127.0.0.1"),
        case(
            "forged X-Forwarded-For, twice",
            "9110 7.6",
            get("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7"),
        )
        .passes()
        .with("x-forwarded-for", "127.0.0.1"),
        case("forged X-Request-Id", "9110 7.6", get("X-Request-Id: forged\r\nX-Request-Id: twice"))
            .passes(),
    ]
}
