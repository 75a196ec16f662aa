//! `TRACE`, `CONNECT`, and methods that servers read differently.

use crate::case::{Case, SMUGGLED, and_smuggled, case, post};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("TRACE", "9110 9.3.8", "TRACE /case HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n").status(405),
        case("TRACE with a body", "9110 9.3.8", "TRACE /case HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").status(405),
        case("TRACE with Max-Forwards", "9110 7.6.2", "TRACE /case HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").status(405),
        case("trace in small letters, which some frameworks take for TRACE", "9110 9.1", "trace /case HTTP/1.1\r\nHost: a\r\n\r\n").status(400),
        case("a method of its own in small letters", "9110 9.1", "brew /case HTTP/1.1\r\nHost: a\r\n\r\n").passes(),
        case("CONNECT", "9110 9.3.6", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        case("CONNECT, another behind", "9110 9.3.6", format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n{SMUGGLED}")),
        case("CONNECT to a path", "9110 9.3.6", "CONNECT /case HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("CONNECT without Host", "9110 9.3.6", "CONNECT a:443 HTTP/1.1\r\n\r\n"),
        case("CONNECT with a length", "9110 9.3.6", format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 35\r\n\r\n{SMUGGLED}")),
        case("CONNECT to an absolute form", "9110 9.3.6", "CONNECT http://a/case HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("HEAD", "9110 9.3.2", "HEAD /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").passes(),
        case("HEAD with a body", "9110 9.3.2", "HEAD /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").passes().body("hello"),
        case("DELETE with a body", "9110 9.3.5", "DELETE /case HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").passes().body("hello"),
        case("OPTIONS with a body", "9110 9.3.7", "OPTIONS /case HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").passes().body("hello"),
        case("a method of one's own", "9110 9.1", "FROB /case HTTP/1.1\r\nHost: a\r\n\r\n").passes(),
        case("a method of one's own with the smuggled one for its body", "9110 9.1", format!("FROB /case HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n{SMUGGLED}")).passes(),
        case("Expect: 100-continue, the body at once", "9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 5", "hello")).passes().body("hello"),
        case("Expect: 100-continue with chunks", "9110 10.1.1", post("Expect: 100-continue\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")).passes().body("hello"),
        case("Expect: 100-continue, smuggled for the body", "9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 35", SMUGGLED)).passes(),
        case("Expect: 100-continue without a body", "9110 10.1.1", and_smuggled(post("Expect: 100-continue", ""))).passes_as(&["/case", "/smuggled"]),
        case("Expect: 100-continue, the body never comes", "9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 35", "")).cut_off().unfinished(),
        case("Expect of something else", "9110 10.1.1", post("Expect: miracles\r\nContent-Length: 35", SMUGGLED)).status(417),
        case("Expect, empty", "9110 10.1.1", post("Expect:\r\nContent-Length: 35", SMUGGLED)).status(417),
        case("Expect, obfuscated", "9110 10.1.1", post("Expect: y 100-continue\r\nContent-Length: 35", SMUGGLED)).status(417),
        case("Expect in capitals", "9110 10.1.1", post("Expect: 100-CONTINUE\r\nContent-Length: 5", "hello")).passes().body("hello"),
        case("Expect twice", "9110 10.1.1", post("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 35", SMUGGLED)).status(417),
        case("Expect in HTTP/1.0", "9110 10.1.1", format!("POST /case HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n{SMUGGLED}")).passes(),
        case("X-HTTP-Method-Override is left to the upstream", "9110 9.1", post("X-HTTP-Method-Override: TRACE\r\nContent-Length: 0", "")).passes(),
    ]
}
