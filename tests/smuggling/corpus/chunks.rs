//! Chunked bodies, valid and malformed.

use crate::case::{Case, SMUGGLED, and_smuggled, case, chunked, post};

/// What is said of malformed chunks that Pingora's reader takes.
const UNSEEN: &str = "Pingora's reader lets it through, and the gateway never sees it; the body \
                      goes on in chunks of Pingora's own (RFC 9112, sections 7.1.1 and 7.1.2: \
                      extensions and trailers may be dropped), and the connection is closed \
                      (section 9.6), so that nothing behind it is read as a request";

/// What the gateway can't see: Pingora has read the chunks by then. It sends chunks of its own
/// upstream, and no request behind such a body is read from the connection.
pub(super) fn cases() -> Vec<Case> {
    let trailers = |fields: &str| chunked(&format!("5\r\nhello\r\n0\r\n{fields}\r\n\r\n"));
    vec![
        case("two chunks", "9112 7.1", chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"))
            .passes()
            .body("hello"),
        case("no chunk but the last", "9112 7.1", chunked("0\r\n\r\n")).passes().body(""),
        case("size with leading zeros", "9112 7.1", chunked("0005\r\nhello\r\n000\r\n\r\n"))
            .passes()
            .body("hello"),
        case("size in capitals", "9112 7.1", chunked("A\r\nhellohello\r\n0\r\n\r\n"))
            .passes()
            .body("hellohello"),
        case(
            "smuggled within a chunk is body",
            "9112 7.1",
            chunked(&format!("23\r\n{SMUGGLED}\r\n0\r\n\r\n")),
        )
        .passes(),
        case("size with 0x", "9112 7.1", and_smuggled(chunked("0x5\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case("size with a plus", "9112 7.1", and_smuggled(chunked("+5\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case("size with a minus", "9112 7.1", and_smuggled(chunked("-5\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case(
            "size with an underscore",
            "9112 7.1",
            and_smuggled(chunked("0_5\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case("size with a point", "9112 7.1", and_smuggled(chunked("5.0\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case(
            "size with a letter beyond f",
            "9112 7.1",
            and_smuggled(chunked("5g\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case("size behind a space", "9112 7.1", and_smuggled(chunked(" 5\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case(
            "two sizes with a space",
            "9112 7.1",
            and_smuggled(chunked("5 5\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "size of 2^64 + 5",
            "9112 7.1",
            and_smuggled(chunked("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "size of 2^64 - 1",
            "9112 7.1",
            and_smuggled(chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "size of 2^64 - 2",
            "9112 7.1",
            and_smuggled(chunked("fffffffffffffffe\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off()
        .unfinished(),
        case(
            "size of 2^63 + 5",
            "9112 7.1",
            and_smuggled(chunked("8000000000000005\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off()
        .unfinished(),
        case(
            "size of 2^32 + 5",
            "9112 7.1",
            and_smuggled(chunked("100000005\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off()
        .unfinished(),
        case(
            "size of seventeen digits, leading zeros",
            "9112 7.1",
            and_smuggled(chunked("00000000000000005\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "bare line feed behind the size",
            "9112 7.1",
            and_smuggled(chunked("5\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "bare carriage return behind the size",
            "9112 7.1",
            and_smuggled(chunked("5\rhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "bare line feed behind the data",
            "9112 7.1",
            and_smuggled(chunked("5\r\nhello\n0\r\n\r\n")),
        )
        .cut_off(),
        case("nothing behind the data", "9112 7.1", and_smuggled(chunked("5\r\nhello0\r\n\r\n")))
            .cut_off(),
        case(
            "two other bytes behind the data",
            "9112 7.1",
            and_smuggled(chunked("5\r\nhelloXX0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "data longer than its size",
            "9112 7.1",
            and_smuggled(chunked("4\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "data shorter than its size",
            "9112 7.1",
            and_smuggled(chunked("6\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "bare line feed behind the last chunk",
            "9112 7.1",
            and_smuggled(chunked("5\r\nhello\r\n0\n\r\n")),
        )
        .cut_off(),
        case(
            "bare line feeds end the last chunk",
            "9112 7.1",
            and_smuggled(chunked("5\r\nhello\r\n0\r\n\n")),
        )
        .cut_off(),
        case("NUL behind the size", "9112 7.1", and_smuggled(chunked("5\0\r\nhello\r\n0\r\n\r\n")))
            .cut_off(),
        case("no chunks but the body plain", "9112 7.1", and_smuggled(chunked("hello"))).cut_off(),
        case("the smuggled one in place of a size", "9112 7.1", and_smuggled(chunked("")))
            .cut_off(),
        case("no end of the chunks", "9112 8", chunked("5\r\nhello\r\n")).cut_off().unfinished(),
        case("no empty line behind the last chunk", "9112 8", chunked("5\r\nhello\r\n0\r\n"))
            .cut_off()
            .unfinished(),
        case("broken off within a size", "9112 8", chunked("5\r\nhello\r\n1"))
            .cut_off()
            .unfinished(),
        case("empty line in place of a size", "9112 7.1", and_smuggled(chunked("\r\n\r\n")))
            .passes()
            .excuse(UNSEEN),
        case(
            "empty line in place of the last size",
            "9112 7.1",
            and_smuggled(chunked("5\r\nhello\r\n\r\n\r\n")),
        )
        .passes()
        .excuse(UNSEEN),
        case("extension without a size", "9112 7.1.1", and_smuggled(chunked(";a=b\r\n\r\n")))
            .passes()
            .excuse(UNSEEN),
        case("space behind the size", "9112 7.1", chunked("5 \r\nhello\r\n0\r\n\r\n"))
            .passes()
            .body("hello"),
        case("tab behind the size", "9112 7.1", chunked("5\t\r\nhello\r\n0\r\n\r\n"))
            .passes()
            .body("hello"),
        case("extension", "9112 7.1.1", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"))
            .passes()
            .body("hello"),
        case("extension without a value", "9112 7.1.1", chunked("5;a\r\nhello\r\n0;b\r\n\r\n"))
            .passes()
            .body("hello"),
        case(
            "extension in quotes",
            "9112 7.1.1",
            chunked("5;a=\"b;c \\\" d\"\r\nhello\r\n0\r\n\r\n"),
        )
        .passes()
        .body("hello"),
        case(
            "extension with spaces about it",
            "9112 7.1.1",
            chunked("5 ; a = b\r\nhello\r\n0\r\n\r\n"),
        )
        .passes()
        .body("hello"),
        case("several extensions", "9112 7.1.1", chunked("5;a=b;c=d;e\r\nhello\r\n0\r\n\r\n"))
            .passes()
            .body("hello"),
        case(
            "extension of 4,000 bytes",
            "9112 7.1.1",
            chunked(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(4000))),
        )
        .passes()
        .body("hello"),
        case(
            "extension of 100,000 bytes",
            "9112 7.1.1",
            chunked(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000))),
        )
        .cut_off(),
        case("extension without a name", "9112 7.1.1", chunked("5;\r\nhello\r\n0\r\n\r\n"))
            .passes(),
        case(
            "extension with a bare line feed",
            "9112 7.1.1",
            and_smuggled(chunked("5;a\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "extension that hides a chunk behind a line feed",
            "9112 7.1.1",
            chunked(&format!("2;\nxx\r\n28\r\n0\r\n\r\n{SMUGGLED}\r\n0\r\n\r\n")),
        )
        .passes(),
        case(
            "extension with a bare carriage return",
            "9112 7.1.1",
            and_smuggled(chunked("5;a\rb\r\nhello\r\n0\r\n\r\n")),
        )
        .cut_off(),
        case(
            "extension with a NUL",
            "9112 7.1.1",
            and_smuggled(chunked("5;a\0b\r\nhello\r\n0\r\n\r\n")),
        )
        .passes(),
        case(
            "extension with an open quote",
            "9112 7.1.1",
            and_smuggled(chunked("5;a=\"b\r\nhello\r\n0\r\n\r\n")),
        )
        .passes(),
        case("trailer", "9112 7.1.2", trailers("X-Sum: 1"))
            .passes()
            .body("hello")
            .without(&["x-sum"]),
        case("trailers", "9112 7.1.2", trailers("X-Sum: 1\r\nX-Other: 2")).passes().body("hello"),
        case(
            "trailer that is announced",
            "9110 6.6.2",
            post(
                "Trailer: X-Sum\r\nTransfer-Encoding: chunked",
                "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
            ),
        )
        .passes()
        .without(&["x-sum", "trailer"]),
        case(
            "Content-Length in a trailer",
            "9110 6.5.1",
            and_smuggled(trailers("Content-Length: 35")),
        )
        .passes()
        .without(&["content-length"]),
        case(
            "Transfer-Encoding in a trailer",
            "9110 6.5.1",
            and_smuggled(trailers("Transfer-Encoding: chunked")),
        )
        .passes()
        .with("transfer-encoding", "chunked"),
        case("Host in a trailer", "9110 6.5.1", trailers("Host: evil")).passes().with("host", "a"),
        case("X-Forwarded-For in a trailer", "9110 6.5.1", trailers("X-Forwarded-For: 6.6.6.6"))
            .passes()
            .with("x-forwarded-for", "127.0.0.1"),
        case("Cookie in a trailer", "9110 6.5.1", trailers("Cookie: a=b"))
            .passes()
            .without(&["cookie"]),
        case(
            "bare line feed ends a trailer",
            "9112 7.1.2",
            and_smuggled(trailers("X-Sum: 1\nX-Other: 2")),
        )
        .cut_off(),
        case(
            "bare carriage return in a trailer",
            "9112 7.1.2",
            and_smuggled(trailers("X-Sum: 1\rX-Other: 2")),
        )
        .cut_off(),
        case("folded line in a trailer", "9112 5.2", and_smuggled(trailers("X-Sum: 1\r\n 2")))
            .passes(),
        case(
            "no colon in a trailer",
            "9112 7.1.2",
            and_smuggled(trailers("GET /smuggled HTTP/1.1")),
        )
        .passes(),
        case("NUL in a trailer", "9112 7.1.2", and_smuggled(trailers("X-Sum: \0"))).passes(),
        case(
            "trailers of 100,000 bytes",
            "9112 7.1.2",
            trailers(&format!("X-Sum: {}", "x".repeat(100_000))),
        )
        .cut_off(),
    ]
}
