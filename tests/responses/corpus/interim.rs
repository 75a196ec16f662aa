//! Interim responses (1xx) before a final one.

use crate::case::{Case, case, head, ok};

pub(super) fn cases() -> Vec<Case> {
    let before = |interim: &str| format!("{interim}{}", ok("Content-Length: 5", "hello"));
    let switch =
        |fields: &str, behind: &str| head("HTTP/1.1 101 Switching Protocols", fields, behind);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
    vec![
        case("100 that nobody waits for", "9110 15.2.1", before("HTTP/1.1 100 Continue\r\n\r\n"))
            .passes("hello"),
        case("103", "9110 15.2", before("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))
            .passes("hello"),
        case(
            "three interim answers",
            "9110 15.2",
            before("HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\n\r\nHTTP/1.1 199 C\r\n\r\n"),
        )
        .passes("hello"),
        case("103 and no answer", "9110 15.2", "HTTP/1.1 103 Early Hints\r\n\r\n").closing(),
        case("101 that nobody asked for", "9110 15.2.2", switch(upgrade, "\u{1}\u{2}hi")),
        case("101 with nothing of a switch", "9110 15.2.2", switch("", "")),
        case(
            "101 to another protocol",
            "9110 7.8",
            switch("Connection: Upgrade\r\nUpgrade: h2c", ""),
        ),
        case(
            "101 with a length",
            "9110 15.2.2",
            switch(&format!("{upgrade}\r\nContent-Length: 5"), "hello"),
        ),
        case("101 that closes", "9110 15.2.2", switch(upgrade, "hello")).closing(),
        case("101 to HEAD", "9110 15.2.2", switch(upgrade, "")).for_head(),
        case(
            "101 in HTTP/1.0",
            "9110 15.2.2",
            head("HTTP/1.0 101 Switching Protocols", upgrade, ""),
        ),
        case(
            "101, and an answer behind it",
            "9110 15.2.2",
            before("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ),
        case(
            "Upgrade in a 200",
            "9110 7.8",
            ok("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5", "hello"),
        )
        .passes("hello")
        .without(&["upgrade"]),
        case(
            "426",
            "9110 15.5.22",
            head(
                "HTTP/1.1 426 Upgrade Required",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0",
                "",
            ),
        )
        .passes_as(426, "")
        .with("upgrade", "websocket"),
    ]
}
