//! Several requests on one connection.

use crate::case::{Case, SMUGGLED, case, chunked, get, post};

pub(super) fn cases() -> Vec<Case> {
    let other = get("X-B: c").replace("/case", "/other");
    vec![
        case("one", "9112 2.1", get("X-A: b")).passes(),
        case("two", "9112 9.3.2", get("X-A: b") + &other).passes_as(&["/case", "/other"]),
        case("three", "9112 9.3.2", format!("{}{other}{SMUGGLED}", get("X-A: b"))).passes_as(&[
            "/case",
            "/other",
            "/smuggled",
        ]),
        case("an empty line between two", "9112 2.2", format!("{}\r\n{other}", get("X-A: b")))
            .passes_as(&["/case", "/other"]),
        case("behind a length", "9112 9.3.2", post("Content-Length: 5", "hello") + &other)
            .passes_as(&["/case", "/other"])
            .body("hello"),
        case(
            "behind a body with an extra line end",
            "9112 2.2",
            format!("{}\r\n{other}", post("Content-Length: 5", "hello")),
        )
        .passes_as(&["/case", "/other"])
        .body("hello"),
        case(
            "behind a GET that has a length",
            "9112 9.3.2",
            get("Content-Length: 5") + "hello" + &other,
        )
        .passes_as(&["/case", "/other"])
        .body("hello"),
        case("behind chunks", "9112 9.3.2", chunked("5\r\nhello\r\n0\r\n\r\n") + &other)
            .passes_as(&["/case"])
            .body("hello"),
        case("nonsense behind a request", "9112 9.3.2", get("X-A: b") + "nonsense\r\n\r\n")
            .passes(),
        case(
            "a byte behind a body",
            "9112 9.3.2",
            format!("{}x{other}", post("Content-Length: 5", "hello")),
        )
        .passes_as(&["/case", "/other"]),
        case(
            "one that is refused between two",
            "9112 9.3.2",
            format!("{}GET /bad HTTP/1.1\r\nHost : a\r\n\r\n{other}", get("X-A: b")),
        )
        .passes(),
        case(
            "a length that fails behind one",
            "9112 9.3.2",
            get("X-A: b") + &post("Content-Length: +35", SMUGGLED),
        )
        .passes(),
        case(
            "a coding that fails behind one",
            "9112 9.3.2",
            get("X-A: b") + &post("Transfer-Encoding: gzip, chunked", SMUGGLED),
        )
        .passes(),
        case(
            "both lengths behind one",
            "9112 6.3",
            get("X-A: b")
                + &post(
                    "Content-Length: 40\r\nTransfer-Encoding: chunked",
                    &format!("0\r\n\r\n{SMUGGLED}"),
                )
                .replace("/case", "/other"),
        )
        .passes(),
        case(
            "a head that never ends behind one",
            "9112 9.3.2",
            get("X-A: b") + "GET /smuggled HTTP/1.1\r\nHost: a\r\n",
        )
        .passes(),
    ]
}
