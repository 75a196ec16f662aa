//! Chunked bodies, valid and malformed.

use crate::case::{Case, case, chunked};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("two chunks", "9112 7.1", chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")).passes("hello"),
        case("no chunk but the last", "9112 7.1", chunked("0\r\n\r\n")).passes(""),
        case("size with leading zeros", "9112 7.1", chunked("0005\r\nhello\r\n000\r\n\r\n"))
            .passes("hello"),
        case("an extension", "9112 7.1.1", chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"))
            .passes("hello"),
        case("trailers", "9112 7.1.2", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"))
            .passes("hello"),
        case(
            "a length in a trailer",
            "9110 6.5.1",
            chunked("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
        )
        .passes("hello"),
        case("no last chunk", "9112 8", chunked("5\r\nhello\r\n")).closing().cut_off(),
        case("a chunk that breaks off", "9112 8", chunked("5\r\nhe")).closing().cut_off(),
        case("no line behind the last chunk", "9112 8", chunked("5\r\nhello\r\n0\r\n"))
            .closing()
            .cut_off(),
        case("a size with 0x", "9112 7.1", chunked("0x5\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("a size with a plus", "9112 7.1", chunked("+5\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("a size with a minus", "9112 7.1", chunked("-5\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("a size with a letter beyond f", "9112 7.1", chunked("5g\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("a size of 2^64 + 5", "9112 7.1", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("two sizes with a space", "9112 7.1", chunked("5 5\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("data longer than its size", "9112 7.1", chunked("3\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("data shorter than its size", "9112 7.1", chunked("6\r\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
        case("a bare line feed behind the size", "9112 7.1", chunked("5\nhello\r\n0\r\n\r\n"))
            .closing()
            .cut_off(),
    ]
}
