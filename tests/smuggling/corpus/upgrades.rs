//! Requests with `Upgrade`.

use crate::case::{Case, SMUGGLED, and_smuggled, case, get, post};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// The upstream here agrees to no upgrade: what follows a handshake stays HTTP.
pub(super) fn cases() -> Vec<Case> {
    let websocket =
        |fields: &str| get(&format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{fields}"));
    let both = &["/case", "/smuggled"];
    vec![
        case("handshake that the upstream declines, another behind", "9110 7.8", and_smuggled(websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13")))).passes_as(both).with("upgrade", "websocket"),
        case("handshake with a wrong version, another behind", "9110 7.8", and_smuggled(websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 777")))).passes_as(&["/smuggled"]),
        case("handshake without a key", "9110 7.8", websocket("Sec-WebSocket-Version: 13")).status(400),
        case("handshake without a version", "9110 7.8", websocket(KEY)).status(426),
        case("handshake with two versions", "9110 7.8", websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"))).status(426),
        case("handshake by POST", "9110 7.8", websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13")).replace("GET", "POST")).status(405),
        case("handshake in HTTP/1.0", "9110 7.8", websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13")).replace("HTTP/1.1", "HTTP/1.0")).status(400),
        case("handshake with a body", "9110 7.8", websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13\r\nContent-Length: 35")) + SMUGGLED),
        case("handshake with chunks", "9110 7.8", websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13\r\nTransfer-Encoding: chunked")) + "0\r\n\r\n" + SMUGGLED),
        case("handshake with a length of 0", "9110 7.8", and_smuggled(websocket(&format!("{KEY}\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0")))).passes_as(both),
        case("Upgrade without Connection", "9110 7.8", get(&format!("Upgrade: websocket\r\n{KEY}\r\nSec-WebSocket-Version: 13"))).status(400),
        case("h2c", "9110 7.8", get("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__")).passes().without(&["upgrade", "connection", "http2-settings"]),
        case("h2c without naming its settings", "9110 7.8", get("Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__")).passes().without(&["upgrade", "connection", "http2-settings"]),
        case("h2c, another behind", "9110 7.8", and_smuggled(get("Upgrade: h2c\r\nConnection: Upgrade"))).passes_as(both).without(&["upgrade"]),
        case("h2c with a body", "9110 7.8", post("Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 35", SMUGGLED)).passes().without(&["upgrade"]),
        case("h2c and websocket", "9110 7.8", get("Upgrade: h2c, websocket\r\nConnection: Upgrade")),
        case("TLS/1.0", "9110 7.8", get("Upgrade: TLS/1.0\r\nConnection: Upgrade")).passes().without(&["upgrade", "connection"]),
        case("an upgrade of one's own, another behind", "9110 7.8", and_smuggled(get("Upgrade: frob\r\nConnection: Upgrade"))).passes_as(both).without(&["upgrade"]),
        case("websockets in the plural", "9110 7.8", and_smuggled(get("Upgrade: websockets\r\nConnection: Upgrade"))).passes_as(both).without(&["upgrade"]),
        case("Upgrade, empty", "9110 7.8", get("Upgrade:\r\nConnection: Upgrade")).passes().without(&["upgrade"]),
        case("HTTP2-Settings alone", "9110 7.8", get("HTTP2-Settings: AAMAAABkAAQAAP__")).passes().without(&["http2-settings"]),
    ]
}
