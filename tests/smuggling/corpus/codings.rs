//! `Transfer-Encoding`: malformed, hidden, repeated, and beside `Content-Length`.

use crate::case::{Case, SMUGGLED, and_smuggled, case, chunked, post};

const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let coding = |field: &str| and_smuggled(post(field, BODY));
    let both = |fields: &str, body: &str| post(fields, &format!("{body}{SMUGGLED}"));
    vec![
        case("chunked", "9112 7.1", chunked(BODY))
            .passes()
            .without(&["content-length"])
            .with("transfer-encoding", "chunked")
            .body("hello"),
        case("chunked, in capitals", "9112 7", post("TRANSFER-ENCODING: CHUNKED", BODY))
            .passes()
            .with("transfer-encoding", "chunked")
            .body("hello"),
        case(
            "chunked with spaces and tabs about it",
            "9110 5.5",
            post("Transfer-Encoding: \t chunked \t", BODY),
        )
        .passes()
        .with("transfer-encoding", "chunked")
        .body("hello"),
        case("chunked behind a tab", "9110 5.5", post("Transfer-Encoding:\tchunked", BODY))
            .passes()
            .with("transfer-encoding", "chunked")
            .body("hello"),
        case("chunked right behind the colon", "9110 5.5", post("Transfer-Encoding:chunked", BODY))
            .passes()
            .body("hello"),
        case("chunked on a GET", "9110 9.3.1", chunked(BODY).replace("POST", "GET"))
            .passes()
            .with("transfer-encoding", "chunked")
            .body("hello"),
        case(
            "CL.TE: length and chunked",
            "9112 6.3",
            both("Content-Length: 40\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        )
        .status(400),
        case(
            "TE.CL: chunked and length",
            "9112 6.3",
            both("Transfer-Encoding: chunked\r\nContent-Length: 4", "5\r\nhello\r\n0\r\n\r\n"),
        )
        .status(400),
        case(
            "TE.CL: the smuggled one in a chunk",
            "9112 6.3",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked",
                &format!("23\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            ),
        )
        .status(400),
        case(
            "length of 0 and chunked",
            "9112 6.3",
            both("Content-Length: 0\r\nTransfer-Encoding: chunked", BODY),
        )
        .status(400),
        case(
            "malformed length and chunked",
            "9112 6.3",
            both("Content-Length: x\r\nTransfer-Encoding: chunked", BODY),
        )
        .status(400),
        case(
            "two lengths and chunked",
            "9112 6.3",
            both("Content-Length: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", BODY),
        )
        .status(400),
        case(
            "length and an unknown coding",
            "9112 6.1",
            and_smuggled(post("Content-Length: 5\r\nTransfer-Encoding: xchunked", "hello")),
        ),
        case(
            "length and identity",
            "9112 6.1",
            and_smuggled(post("Content-Length: 5\r\nTransfer-Encoding: identity", "hello")),
        ),
        case(
            "length and an empty coding",
            "9112 6.1",
            and_smuggled(post("Content-Length: 5\r\nTransfer-Encoding:", "hello")),
        ),
        case(
            "chunked in HTTP/1.0",
            "9112 6.1",
            coding("Transfer-Encoding: chunked")
                .replace("HTTP/1.1\r\nHost: a\r\nT", "HTTP/1.0\r\nHost: a\r\nT"),
        ),
        case(
            "chunked and a length in HTTP/1.0",
            "9112 6.1",
            format!(
                "POST /case HTTP/1.0\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        case("space before the colon", "9112 5.1", coding("Transfer-Encoding : chunked"))
            .status(400),
        case("tab before the colon", "9112 5.1", coding("Transfer-Encoding\t: chunked"))
            .status(400),
        case("space before the name", "9112 2.2", coding(" Transfer-Encoding: chunked"))
            .status(400),
        case("xchunked", "9112 6.1", coding("Transfer-Encoding: xchunked")),
        case("chunkedx", "9112 6.1", coding("Transfer-Encoding: chunkedx")),
        case("chunk", "9112 6.1", coding("Transfer-Encoding: chunk")),
        case("cow", "9112 6.1", coding("Transfer-Encoding: cow")),
        case("chunked in quotes", "9112 7", coding("Transfer-Encoding: \"chunked\"")),
        case("chunked in single quotes", "9112 7", coding("Transfer-Encoding: 'chunked'")),
        case(
            "chunked behind a vertical tab",
            "9110 5.5",
            coding("Transfer-Encoding: \u{b}chunked"),
        ),
        case("chunked before a form feed", "9110 5.5", coding("Transfer-Encoding: chunked\u{c}")),
        case(
            "chunked behind a no-break space",
            "9112 7",
            coding("Transfer-Encoding: \u{a0}chunked"),
        ),
        case("chunked with a parameter", "9112 7", coding("Transfer-Encoding: chunked;q=1")),
        case("chunked with a weight of 0", "9112 7", coding("Transfer-Encoding: chunked; q=0")),
        case("empty coding", "9112 6.1", coding("Transfer-Encoding:")),
        case("identity", "9112 7", coding("Transfer-Encoding: identity")),
        case("gzip alone", "9112 6.3", coding("Transfer-Encoding: gzip")),
        case("identity, chunked", "9112 7", coding("Transfer-Encoding: identity, chunked")),
        case("gzip, chunked", "9112 6.1", coding("Transfer-Encoding: gzip, chunked")).status(501),
        case("chunked, identity", "9112 6.3", coding("Transfer-Encoding: chunked, identity")),
        case("chunked, gzip", "9112 6.3", coding("Transfer-Encoding: chunked, gzip")),
        case("chunked, chunked", "9112 6.1", coding("Transfer-Encoding: chunked, chunked")),
        case("chunked with a comma behind", "9112 6.1", coding("Transfer-Encoding: chunked,")),
        case("chunked with a comma before", "9112 6.1", coding("Transfer-Encoding: ,chunked")),
        case(
            "two fields, both chunked",
            "9112 6.1",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        case(
            "two fields, identity last",
            "9112 6.3",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        case(
            "two fields, identity first",
            "9112 6.1",
            coding("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ),
        case(
            "two fields, nonsense last",
            "9112 6.3",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        ),
        case(
            "two fields, the first empty",
            "9112 6.1",
            coding("Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
        ),
        case("coding in a folded line", "9112 5.2", coding("Transfer-Encoding:\r\n chunked"))
            .status(400),
        case(
            "coding in a folded line behind another field",
            "9112 5.2",
            coding("X-A: b\r\n Transfer-Encoding: chunked"),
        )
        .status(400),
        case(
            "coding behind a bare line feed",
            "9112 2.2",
            coding("X-A: b\nTransfer-Encoding: chunked"),
        ),
        case(
            "coding behind a bare carriage return",
            "9112 2.2",
            coding("X-A: b\rTransfer-Encoding: chunked"),
        )
        .status(400),
        case("coding behind a NUL", "9110 5.5", coding("Transfer-Encoding: \0chunked")).status(400),
        case(
            "underscore for the hyphen is another field",
            "9110 5.1",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
        )
        .passes()
        .without(&["transfer-encoding"])
        .body("hello"),
        case(
            "Content-Encoding is no transfer coding",
            "9110 8.4",
            post("Content-Encoding: chunked\r\nContent-Length: 5", "hello"),
        )
        .passes()
        .body("hello"),
    ]
}
