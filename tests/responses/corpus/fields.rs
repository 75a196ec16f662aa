//! Header lines, valid and malformed.

use crate::case::{Case, HELLO, case, ok};

pub(super) fn cases() -> Vec<Case> {
    let field = |field: &str| ok(&format!("{field}\r\nContent-Length: 5"), "hello");
    let many = "X-Many: a\r\n".repeat(1000);
    let large = format!("X-Large: {}", "a".repeat(2 << 20));
    vec![
        case("Connection: close", "9112 9.6", field("Connection: close")).closing().passes("hello"),
        case("Keep-Alive", "9110 7.6.1", field("Connection: keep-alive\r\nKeep-Alive: timeout=5"))
            .passes("hello")
            .without(&["keep-alive"]),
        case("Proxy-Connection", "9110 7.6.1", field("Proxy-Connection: keep-alive"))
            .passes("hello")
            .without(&["proxy-connection"]),
        case("Connection names a field", "9110 7.6.1", field("Connection: X-Hop\r\nX-Hop: 1"))
            .passes("hello")
            .without(&["x-hop"]),
        case("Connection names the length", "9110 7.6.1", field("Connection: Content-Length"))
            .passes("hello"),
        case(
            "Connection names the coding",
            "9110 7.6.1",
            ok("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", HELLO),
        )
        .passes("hello"),
        case("two cookies", "9110 5.3", field("Set-Cookie: a=1\r\nSet-Cookie: b=2"))
            .passes("hello"),
        case("a value beyond ASCII", "9110 5.5", field("X-Name: caf\u{e9}")).passes("hello"),
        case("an empty value", "9110 5.5", field("X-Empty:")).passes("hello").with("x-empty", ""),
        case("a folded line", "9112 5.2", field("X-Long: a\r\n b"))
            .passes("hello")
            .with("x-long", "a b"),
        case(
            "a folded line without a field",
            "9112 5.2",
            ok(" X: 1\r\nContent-Length: 5", "hello"),
        ),
        case("a NUL in a value", "9110 5.5", field("X: a\0b")),
        case("a bare carriage return in a value", "9110 5.5", field("X: a\rb")),
        case(
            "an answer split by a bare carriage return",
            "9110 5.5",
            field("X: a\rContent-Length: 0"),
        ),
        case("a bell in a value", "9110 5.5", field("X: a\u{7}b")),
        case("no name", "9112 5.1", field(": a")),
        case("no colon", "9112 5", field("X-Nothing")),
        case("a space in a name", "9112 5.1", field("X Y: a")),
        case("a bracket in a name", "9110 5.1", field("X(Y): a")),
        case("a name beyond ASCII", "9110 5.1", field("X-\u{e9}: a")),
        case("1,000 fields", "9110 5.4", field(many.trim_end())),
        case("a field of two mebibytes", "9110 5.4", field(&large)),
    ]
}
