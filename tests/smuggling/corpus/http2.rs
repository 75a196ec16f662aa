//! Requests over HTTP/2, frame by frame, for an upstream over HTTP/1.1.

use crate::case::{Case, SMUGGLED, case};
use tidegate_testing::http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, field, frame};

const PADDED: u8 = 8;

/// A type of frame that no RFC defines.
const UNKNOWN: u8 = 0x77;

type Fields<'f> = &'f [(&'f str, &'f str)];

/// The pseudo-header fields of a good request.
const GOOD: Fields<'static> =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/case")];

fn block(fields: Fields<'_>) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// The pseudo-header fields of a good request, those that are given in the place of theirs, and
/// the rest behind them.
fn with(fields: Fields<'_>) -> Vec<u8> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for (name, value) in GOOD {
        let own = fields.iter().filter(|(other, _)| other == name);
        let before = all.len();
        all.extend(own);
        if all.len() == before {
            all.push((name, value));
        }
    }
    let known = |name: &str| GOOD.iter().any(|(good, _)| *good == name);
    all.extend(fields.iter().filter(|(name, _)| !known(name)));
    block(&all)
}

fn head(flags: u8, fields: Fields<'_>) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, &with(fields))
}

/// A request without a body.
fn whole(fields: Fields<'_>) -> Vec<u8> {
    head(END_STREAM, fields)
}

/// A request whose body ends with the last of these frames.
fn body(fields: Fields<'_>, pieces: &[&str]) -> Vec<u8> {
    let mut bytes = open(fields, pieces);
    // The flags of the last frame, whose payload is the last piece.
    let last = pieces.last().map_or(0, |piece| piece.len());
    let at = bytes.len() - last - 5;
    bytes[at] |= END_STREAM;
    bytes
}

/// A request whose body has not ended.
fn open(fields: Fields<'_>, pieces: &[&str]) -> Vec<u8> {
    let mut bytes = head(0, fields);
    for piece in pieces {
        bytes.extend(frame(DATA, 0, 1, piece.as_bytes()));
    }
    bytes
}

/// A request with a body, and behind it trailers.
fn trailed(fields: Fields<'_>, pieces: &[&str], trailers: Fields<'_>) -> Vec<u8> {
    let mut bytes = open(fields, pieces);
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
    bytes
}

const CHUNK: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(lengths());
    cases.extend(heads());
    cases.extend(frames());
    cases
}

fn bodies() -> Vec<Case> {
    let sum: Fields<'_> = &[("x-sum", "1")];
    vec![
        case("a body in one frame", "9113 8.1", body(&[], &["hello"])).passes().body("hello"),
        case("its end in an empty frame", "9113 8.1", body(&[], &["hello", ""]))
            .passes()
            .body("hello"),
        case("nothing but an empty frame", "9113 8.1", body(&[], &[""])).passes().body(""),
        case("nothing but two empty frames", "9113 8.1", body(&[], &["", ""])).passes().body(""),
        case("empty frames everywhere", "9113 8.1", body(&[], &["", "he", "", "", "llo", "", ""]))
            .passes()
            .body("hello"),
        case("an empty frame at first", "9113 8.1", body(&[], &["", "hello"]))
            .passes()
            .body("hello"),
        case("trailers behind data", "9113 8.1", trailed(&[], &["hello"], sum))
            .passes()
            .body("hello"),
        case("trailers behind an empty frame", "9113 8.1", trailed(&[], &["hello", ""], sum))
            .passes()
            .body("hello"),
        case("trailers behind nothing but an empty frame", "9113 8.1", trailed(&[], &[""], sum))
            .passes()
            .body(""),
        case("trailers behind nothing", "9113 8.1", trailed(&[], &[], sum)).passes().body(""),
        case(
            "trailers that frame",
            "9113 8.1",
            trailed(&[], &["hello"], &[("content-length", "0"), ("host", "b")]),
        )
        .passes()
        .body("hello")
        .excuse("Trailers do not go on to an upstream over HTTP/1.1, so they frame nothing there"),
        case(
            "a pseudo-header in trailers",
            "9113 8.1",
            trailed(&[], &["hello"], &[(":path", "/smuggled")]),
        )
        .passes()
        .body("hello")
        .excuse("The h2 crate drops it before the gateway sees it"),
        case("a request in the body", "9113 8.1", body(&[], &[SMUGGLED])).passes().body(SMUGGLED),
        case(
            "a request in the body, an empty frame behind",
            "9113 8.1",
            body(&[], &[SMUGGLED, ""]),
        )
        .passes()
        .body(SMUGGLED),
        case("a last chunk and a request in the body", "9113 8.1", body(&[], &[CHUNK]))
            .passes()
            .body(CHUNK),
        case(
            "a last chunk in a frame of its own",
            "9113 8.1",
            body(&[], &["0\r\n\r\n", "", SMUGGLED, ""]),
        )
        .passes()
        .body(CHUNK),
        case("a padded frame", "9113 6.1", {
            let mut bytes = head(0, &[]);
            bytes.extend(frame(DATA, PADDED | END_STREAM, 1, b"\x04hello\0\0\0\0"));
            bytes
        })
        .passes()
        .body("hello"),
        case("an end of nothing but padding", "9113 6.1", {
            let mut bytes = open(&[], &["hello"]);
            bytes.extend(frame(DATA, PADDED | END_STREAM, 1, b"\x03\0\0\0"));
            bytes
        })
        .passes()
        .body("hello"),
        case(
            "GET with an empty frame for its body",
            "9113 8.1",
            body(&[(":method", "GET")], &[""]),
        )
        .passes()
        .body(""),
        case("HEAD with an empty frame", "9113 8.1", body(&[(":method", "HEAD")], &[""])).passes(),
        case("no body", "9113 8.1", whole(&[])).passes().body(""),
        case("two requests", "9113 5", {
            let mut bytes = body(&[], &["hello", ""]);
            let other = with(&[(":path", "/other")]);
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 3, &other));
            bytes
        })
        .passes_as(&["/case", "/other"])
        .body("hello"),
    ]
}

fn lengths() -> Vec<Case> {
    let length = |value: &'static str| [("content-length", value)];
    vec![
        case("a length that is right", "9113 8.1.1", body(&length("5"), &["he", "llo"]))
            .passes()
            .body("hello"),
        case("the same, an empty frame behind", "9113 8.1.1", body(&length("5"), &["hello", ""]))
            .passes()
            .body("hello"),
        case(
            "the same, trailers behind",
            "9113 8.1.1",
            trailed(&length("5"), &["hello"], &[("x-sum", "1")]),
        )
        .passes()
        .body("hello"),
        case("a length of 0", "9113 8.1.1", whole(&length("0"))).passes().body(""),
        case("a length of 0 and an empty frame", "9113 8.1.1", body(&length("0"), &[""]))
            .passes()
            .body(""),
        case(
            "a length that is too small",
            "9113 8.1.1",
            body(&length("5"), &["helloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]),
        )
        .cut_off(),
        case("a length that is too large", "9113 8.1.1", body(&length("50"), &["hello"])).cut_off(),
        case("a length without a body", "9113 8.1.1", whole(&length("5"))).cut_off(),
        case(
            "two lengths",
            "9113 8.1.1",
            body(&[("content-length", "5"), ("content-length", "6")], &["hello"]),
        ),
        case(
            "the same length twice",
            "9113 8.1.1",
            body(&[("content-length", "5"), ("content-length", "5")], &["hello"]),
        ),
        case("a list of lengths", "9113 8.1.1", body(&length("5, 5"), &["hello"])),
        case("a length with a sign", "9113 8.1.1", body(&length("+5"), &["hello"])),
        case("a length in hexadecimal", "9113 8.1.1", body(&length("0x5"), &["hello"])),
        case(
            "a length beyond 64 bits",
            "9113 8.1.1",
            body(&length("99999999999999999999"), &["hello"]),
        ),
    ]
}

fn heads() -> Vec<Case> {
    let refused = |name, rfc, fields: Fields<'_>| case(name, rfc, whole(fields));
    vec![
        case("chunked", "9113 8.2.2", body(&[("transfer-encoding", "chunked")], &[CHUNK])),
        case("identity", "9113 8.2.2", body(&[("transfer-encoding", "identity")], &[CHUNK])),
        refused("Connection", "9113 8.2.2", &[("connection", "close")]),
        refused("Proxy-Connection", "9113 8.2.2", &[("proxy-connection", "keep-alive")]),
        refused("Keep-Alive", "9113 8.2.2", &[("keep-alive", "timeout=5")]),
        refused("Upgrade", "9113 8.2.2", &[("upgrade", "websocket")]),
        refused("TE of something else", "9113 8.2.2", &[("te", "gzip")]),
        case("TE: trailers", "9113 8.2.2", whole(&[("te", "trailers")])).passes(),
        refused("capitals in a name", "9113 8.2.1", &[("X-A", "b")]),
        refused("a colon in a name", "9113 8.2.1", &[("x-a:b", "c")]),
        refused("a space in a name", "9113 8.2.1", &[("x a", "b")]),
        refused("a line end in a name", "9113 8.2.1", &[("x\r\nsmuggled", "1")]),
        refused("an empty name", "9113 8.2.1", &[("", "b")]),
        refused("a line end in a value", "9113 8.2.1", &[("x-a", "b\r\nsmuggled: 1")]),
        refused("a line feed in a value", "9113 8.2.1", &[("x-a", "b\nsmuggled: 1")]),
        refused("a carriage return in a value", "9113 8.2.1", &[("x-a", "b\rsmuggled: 1")]),
        refused("NUL in a value", "9113 8.2.1", &[("x-a", "b\0c")]),
        refused(
            "a request in a value",
            "9113 8.2.1",
            &[("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")],
        ),
        refused("an unknown pseudo-header field", "9113 8.3", &[(":smuggled", "1")]),
        refused("the pseudo-header field of a response", "9113 8.3", &[(":status", "200")]),
        refused("two methods", "9113 8.3", &[(":method", "POST"), (":method", "GET")]),
        refused("two paths", "9113 8.3", &[(":path", "/case"), (":path", "/smuggled")]),
        case("a pseudo-header field behind others", "9113 8.3", {
            let mut fields = block(&[("x-a", "b")]);
            fields.splice(0..0, block(&GOOD[..3]));
            fields.extend(block(&GOOD[3..]));
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)
        }),
        case(
            "no method",
            "9113 8.3.1",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GOOD[1..])),
        ),
        case(
            "no path",
            "9113 8.3.1",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GOOD[..3])),
        ),
        case("no scheme", "9113 8.3.1", {
            let fields = [GOOD[0], GOOD[2], GOOD[3]];
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
        }),
        case("no authority and no Host", "9113 8.3.1", {
            let fields = [GOOD[0], GOOD[1], GOOD[3]];
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
        }),
        case("Host in the place of the authority", "9113 8.3.1", {
            let fields = [GOOD[0], GOOD[1], GOOD[3], ("host", "a")];
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))
        })
        .passes()
        .with("host", "a"),
        case("Host and the same authority", "9113 8.3.1", whole(&[("host", "a")]))
            .passes()
            .with("host", "a"),
        case("Host and the authority in another case", "9113 8.3.1", whole(&[("host", "A")]))
            .passes()
            .with("host", "a"),
        case("Host with the scheme's own port", "9113 8.3.1", whole(&[("host", "a:80")]))
            .passes()
            .with("host", "a"),
        refused("Host with another port", "9113 8.3.1", &[("host", "a:81")]),
        refused("Host and another authority", "9113 8.3.1", &[("host", "smuggled")]),
        refused("two Hosts", "9113 8.3.1", &[("host", "a"), ("host", "smuggled")]),
        refused("user information in the authority", "9113 8.3.1", &[(":authority", "smuggled@a")]),
        refused("a space in the authority", "9113 8.3.1", &[(":authority", "a smuggled")]),
        refused("a line end in the authority", "9113 8.3.1", &[(":authority", "a\r\nsmuggled: 1")]),
        refused("another scheme", "9113 8.3.1", &[(":scheme", "ftp")]),
        refused("a line end in the scheme", "9113 8.3.1", &[(":scheme", "http\r\nsmuggled: 1")]),
        case("a fragment in the path", "9113 8.3.1", whole(&[(":path", "/case#smuggled")]))
            .passes(),
        refused("an empty path", "9113 8.3.1", &[(":path", "")]),
        refused("a path without its slash", "9113 8.3.1", &[(":path", "smuggled")]),
        refused("a path in absolute-form", "9113 8.3.1", &[(":path", "http://a/smuggled")]),
        refused("a space in the path", "9113 8.3.1", &[(":path", "/case smuggled")]),
        refused(
            "a version in the path",
            "9113 8.3.1",
            &[(":path", "/case HTTP/1.1\r\nsmuggled: 1\r\nx: ")],
        ),
        refused("a space in the method", "9113 8.3.1", &[(":method", "GET /smuggled")]),
        refused(
            "a request in the method",
            "9113 8.3.1",
            &[(":method", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET")],
        ),
        case("CONNECT", "9113 8.5", {
            let fields = [(":method", "CONNECT"), (":authority", "a:443")];
            frame(HEADERS, END_HEADERS, 1, &block(&fields))
        }),
        case("CONNECT with a path", "9113 8.5", head(0, &[(":method", "CONNECT")])),
        refused("TRACE", "9110 9.3.8", &[(":method", "TRACE")]),
        case(
            "an expectation that can't be met",
            "9110 10.1.1",
            body(&[("expect", "miracles")], &[SMUGGLED]),
        )
        .status(417),
        case(
            "Expect: 100-continue, the body at once",
            "9110 10.1.1",
            body(&[("expect", "100-continue")], &["hello", ""]),
        )
        .passes()
        .body("hello"),
        case(
            "cookies in pieces",
            "9113 8.2.3",
            whole(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]),
        )
        .passes()
        .with("cookie", "a=1; b=2; c=3"),
    ]
}

fn frames() -> Vec<Case> {
    vec![
        case("a head in three frames", "9113 6.10", {
            let fields = with(&[("x-a", "b")]);
            let (first, rest) = fields.split_at(7);
            let (second, third) = rest.split_at(9);
            let mut bytes = frame(HEADERS, END_STREAM, 1, first);
            bytes.extend(frame(CONTINUATION, 0, 1, second));
            bytes.extend(frame(CONTINUATION, END_HEADERS, 1, third));
            bytes
        })
        .passes()
        .with("x-a", "b"),
        case("data in the midst of a head", "9113 6.10", {
            let fields = with(&[]);
            let (first, second) = fields.split_at(7);
            let mut bytes = frame(HEADERS, 0, 1, first);
            bytes.extend(frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes()));
            bytes.extend(frame(CONTINUATION, END_HEADERS, 1, second));
            bytes
        }),
        case("another head in the midst of a head", "9113 6.10", {
            let fields = with(&[]);
            let mut bytes = frame(HEADERS, END_STREAM, 1, &fields[..7]);
            bytes.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                3,
                &with(&[(":path", "/smuggled")]),
            ));
            bytes
        }),
        case("a second head that ends nothing", "9113 8.1", {
            let mut bytes = open(&[], &["hello"]);
            bytes.extend(frame(HEADERS, END_HEADERS, 1, &with(&[(":path", "/smuggled")])));
            bytes.extend(frame(DATA, END_STREAM, 1, b""));
            bytes
        })
        .cut_off(),
        case("a frame of an unknown type", "9113 5.5", {
            let mut bytes = open(&[], &["hel"]);
            bytes.extend(frame(UNKNOWN, END_STREAM, 1, SMUGGLED.as_bytes()));
            bytes.extend(frame(DATA, END_STREAM, 1, b"lo"));
            bytes
        })
        .passes()
        .body("hello"),
        case(
            "a stream of the server's",
            "9113 5.1.1",
            frame(HEADERS, END_HEADERS | END_STREAM, 2, &with(&[])),
        ),
        case(
            "a stream that is none",
            "9113 5.1.1",
            frame(HEADERS, END_HEADERS | END_STREAM, 0, &with(&[])),
        ),
        case("data without a head", "9113 5.1", frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes())),
        case("padding longer than its frame", "9113 6.1", {
            let mut bytes = open(&[], &[]);
            bytes.extend(frame(DATA, PADDED | END_STREAM, 1, b"\x20hello"));
            bytes
        })
        .cut_off(),
    ]
}
