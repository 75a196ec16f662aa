//! Line ends other than CRLF, and white space around lines.

use crate::case::{Case, SMUGGLED, and_smuggled, case, get};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("empty line before the request", "9112 2.2", format!("\r\n{}", get("X-A: b")))
            .passes(),
        case(
            "two empty lines before the request",
            "9112 2.2",
            format!("\r\n\r\n{}", get("X-A: b")),
        )
        .passes(),
        case("bare line feed before the request", "9112 2.2", format!("\n{}", get("X-A: b"))),
        case("bare carriage return before the request", "9112 2.2", format!("\r{}", get("X-A: b")))
            .status(400),
        case("space before the request", "9112 2.2", format!(" {}", get("X-A: b"))).status(400),
        case("line of spaces before the request", "9112 2.2", format!("  \r\n{}", get("X-A: b")))
            .status(400),
        case("space before the first field", "9112 2.2", "GET /case HTTP/1.1\r\n Host: a\r\n\r\n")
            .status(400),
        case("tab before the first field", "9112 2.2", "GET /case HTTP/1.1\r\n\tHost: a\r\n\r\n")
            .status(400),
        case(
            "line of a space before the fields",
            "9112 2.2",
            format!("GET /case HTTP/1.1\r\n \r\nHost: a\r\n\r\n{SMUGGLED}"),
        )
        .status(400),
        case("nothing but line feeds", "9112 2.2", "GET /case HTTP/1.1\nHost: a\n\n"),
        case(
            "line feed behind the request line",
            "9112 2.2",
            "GET /case HTTP/1.1\nHost: a\r\n\r\n",
        ),
        case(
            "line feed behind a field",
            "9112 2.2",
            "GET /case HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
        ),
        case(
            "line feed for the last empty line",
            "9112 2.2",
            "GET /case HTTP/1.1\r\nHost: a\r\n\n",
        ),
        case(
            "two line feeds end the head",
            "9112 2.2",
            format!("GET /case HTTP/1.1\r\nHost: a\r\nX-A: b\n\n{SMUGGLED}"),
        ),
        case(
            "line feed, then carriage return and line feed",
            "9112 2.2",
            format!("GET /case HTTP/1.1\r\nHost: a\n\r\n{SMUGGLED}"),
        ),
        case(
            "length behind a bare line feed",
            "9112 2.2",
            format!(
                "POST /case HTTP/1.1\r\nHost: a\r\nX-A: b\nContent-Length: 35\r\n\r\n{SMUGGLED}"
            ),
        ),
        case("carriage returns alone", "9112 2.2", "GET /case HTTP/1.1\rHost: a\r\r").unfinished(),
        case(
            "carriage return behind the request line",
            "9112 2.2",
            "GET /case HTTP/1.1\rHost: a\r\n\r\n",
        )
        .status(400),
        case(
            "carriage return behind a field",
            "9112 2.2",
            "GET /case HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n",
        )
        .status(400),
        case(
            "two carriage returns and a line feed",
            "9112 2.2",
            "GET /case HTTP/1.1\r\nHost: a\r\r\n\r\n",
        )
        .status(400),
        case("carriage return in a value", "9110 5.5", get("X-A: b\rc")).status(400),
        case("carriage return in a name", "9110 5.1", get("X-\rA: b")).status(400),
        case("line feed in a name", "9110 5.1", get("X-\nA: b")).status(400),
        case("NUL in a value", "9110 5.5", get("X-A: b\0c")).status(400),
        case("NUL at the end of a value", "9110 5.5", get("X-A: b\0")).status(400),
        case("NUL in a name", "9110 5.1", get("X-\0A: b")).status(400),
        case("NUL in the method", "9112 3.1", "GE\0T /case HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(400),
        case("NUL in the path", "9112 3.2", "GET /ca\0se HTTP/1.1\r\nHost: a\r\n\r\n").status(400),
        case("NUL in the version", "9112 2.3", "GET /case HTTP/1.1\0\r\nHost: a\r\n\r\n")
            .status(400),
        case("NUL before the request", "9112 2.2", format!("\0{}", get("X-A: b"))).status(400),
        case(
            "NUL in the empty line",
            "9112 2.2",
            format!("GET /case HTTP/1.1\r\nHost: a\r\n\0\r\n{SMUGGLED}"),
        )
        .status(400),
        case("bell in a value", "9110 5.5", get("X-A: b\u{7}c")).status(400),
        case("escape in a value", "9110 5.5", get("X-A: b\u{1b}[2Jc")).status(400),
        case("delete in a value", "9110 5.5", get("X-A: b\u{7f}c")).status(400),
        case("vertical tab in a name", "9110 5.1", get("X-\u{b}A: b")).status(400),
        case("tab in a value", "9110 5.5", get("X-A: b\tc")).passes().with("x-a", "b\tc"),
        case(
            "bytes beyond ASCII in a value",
            "9110 5.5",
            b"GET /case HTTP/1.1\r\nHost: a\r\nX-A: \xe4\xff\r\n\r\n",
        )
        .passes()
        .with("x-a", "\u{e4}\u{ff}"),
        case(
            "letters whose low byte is a line end stay what they are",
            "9110 5.5",
            get("X-A: b\u{10d}\u{10a}GET /smuggled HTTP/1.1"),
        )
        .passes(),
        case("escaped line end in a value is text", "9110 5.5", get("X-A: b%0d%0aGET /smuggled"))
            .passes(),
        case(
            "escaped line end in the path",
            "9112 3.2",
            "GET /case%0d%0aX-A:%20b HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        case("head without an end", "9112 8", "GET /case HTTP/1.1\r\nHost: a\r\n").unfinished(),
        case("request line without an end", "9112 8", "GET /case HT").unfinished(),
        case("line end is cut in two", "9112 8", "GET /case HTTP/1.1\r\nHost: a\r\n\r")
            .unfinished(),
        case("carriage return before the colon", "9112 5.1", and_smuggled(get("X-A\r: b")))
            .status(400),
    ]
}
