//! Frames and messages of WebSocket sessions, as lines of the access log. Knows nothing of tunnels.

use super::access_log::{AccessLog, AccessLogFormat};
use super::escape::EscapedValue;
use super::json::JsonObject;
use super::keys;
use crate::websocket::{Message, Session};
use std::time::SystemTime;
use tidegate_http::redact::redact;
use tidegate_http::secret::without_userinfo;
use tidegate_http::websocket::frame::{Direction, FrameHeader};

impl AccessLog {
    /// A frame has begun.
    pub(crate) fn log_frame(&self, session: &Session, direction: Direction, header: &FrameHeader) {
        let opcode = header.opcode.as_str();
        if self.format() == AccessLogFormat::Text {
            let fin = if header.fin { "" } else { ", continued in another frame" };
            let what = format!("{opcode} frame, {} bytes{fin}", header.length);
            return self.write_text(session, direction, &what);
        }
        let mut line = start_line("websocket.frame", session, direction);
        line.word(keys::FRAME_OPCODE, opcode);
        line.boolean(keys::FRAME_FIN, header.fin);
        line.number(keys::FRAME_LENGTH, header.length);
        self.write_line(line.finish());
    }

    /// A message of text is complete. Values of secret keys in it are not written.
    pub(crate) fn log_message(
        &self,
        session: &Session,
        direction: Direction,
        message: &Message<'_>,
    ) {
        let mut text = redact(message.text, |key| self.is_secret(key));
        if text.contains('@') {
            text = without_userinfo(&text).into();
        }
        if self.format() == AccessLogFormat::Text {
            let cut = if message.is_cut { "…" } else { "" };
            return self.write_text(session, direction, &format!("{:?}{cut}", &*text));
        }
        let mut line = start_line("websocket.message", session, direction);
        line.number(keys::MESSAGE_LENGTH, message.length);
        line.boolean(keys::MESSAGE_COMPRESSED, message.is_compressed);
        line.boolean(keys::MESSAGE_CUT, message.is_cut);
        line.text(keys::MESSAGE_TEXT, &text);
        self.write_line(line.finish());
    }

    fn write_text(&self, session: &Session, direction: Direction, what: &str) {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time = time.get(11..23).unwrap_or(&time);
        let identity = &session.identity;
        let way = match direction {
            Direction::ClientToUpstream => format!("client → {}", identity.upstream),
            Direction::UpstreamToClient => format!("{} → client", identity.upstream),
        };
        let user = identity.user.as_ref();
        let user =
            user.map(|user| format!(" user={}", EscapedValue(user.as_str()))).unwrap_or_default();
        self.write_line(format!("{time} {way}: {what}{user} id={}\n", EscapedValue(&identity.id)));
    }
}

fn start_line(event: &'static str, session: &Session, direction: Direction) -> JsonObject {
    let identity = &session.identity;
    let mut line = JsonObject::new(SystemTime::now());
    line.word(keys::EVENT, event);
    line.text(keys::REQUEST_ID, &identity.id);
    line.text(keys::ROUTE, &identity.route);
    if let Some(user) = &identity.user {
        line.text(keys::USER, user.as_str());
    }
    line.word(
        keys::DIRECTION,
        match direction {
            Direction::ClientToUpstream => "receive",
            Direction::UpstreamToClient => "transmit",
        },
    );
    line
}
