//! The keys of the lines in the access log, and of the gateway's own log in JSON: name, type, when present, meaning.
//! Who writes them when is not known here.
//!
//! `docs/reference/access-log.md` is made from this list. The keys are a promise to scripts and dashboards.

use http::HeaderName;

/// A key of a line. Only this file makes one, so that no line has a key that is not documented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonKey {
    name: &'static str,
    /// The name in quotes, with a comma before it and a colon after it: one piece to copy instead of three.
    quoted_with_separators: &'static str,
}

impl JsonKey {
    /// The key itself.
    pub(crate) const fn name(self) -> &'static str {
        self.name
    }

    /// As it is between two values in a line.
    pub(super) const fn quoted_with_separators(self) -> &'static str {
        self.quoted_with_separators
    }
}

/// The key of a header that `access_log.fields` names.
#[derive(Debug, Clone)]
pub(crate) struct FieldKey(String);

impl FieldKey {
    /// Of a header of the request.
    pub(crate) fn of_request(name: &HeaderName) -> Self {
        Self(format!("http.request.header.{name}"))
    }

    /// Of a header of the response.
    pub(crate) fn of_response(name: &HeaderName) -> Self {
        Self(format!("http.response.header.{name}"))
    }

    /// The key itself.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// A key, as it is documented: the page is made by a test.
#[cfg(test)]
#[derive(Debug)]
struct DocumentedKey {
    name: &'static str,
    /// The JSON type, and the unit of a number.
    kind: &'static str,
    when: &'static str,
    meaning: &'static str,
}

/// The method where none could be read or where it is unknown, by OpenTelemetry's conventions.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// What the line is about that a WebSocket session writes when it opens.
pub(crate) const WEBSOCKET_OPEN: &str = "websocket.open";

/// The event name of the line that a WebSocket session writes when it ends.
pub(crate) const WEBSOCKET_CLOSE: &str = "websocket.close";

/// Writes each key, and all that is to say of it, in one place.
macro_rules! keys {
    ($($list:ident { $($key:ident: $name:literal, $kind:literal, $when:literal, $meaning:literal;)* })*) => {
        $($(
            #[doc = $meaning]
            pub(crate) const $key: JsonKey = JsonKey { name: $name, quoted_with_separators: concat!(",\"", $name, "\":") };
        )*)*
        $(
            #[cfg(test)]
            const $list: &[DocumentedKey] = &[
                $(DocumentedKey { name: $name, kind: $kind, when: $when, meaning: $meaning },)*
            ];
        )*
    };
}

keys! {
    REQUEST_LINES {
        EVENT: "event", "string", "always",
            "What the line is about: `http.request`, `websocket.open` or `websocket.close`.";
        METHOD: "http.request.method", "string", "always", "The method; `_OTHER` where none could be read.";
        PATH: "url.path", "string", "always",
            "The path that is passed on, without the values of secret path parameters.";
        QUERY: "url.query", "string", "with a query", "The query; secret values are `REDACTED`.";
        ROUTE: "http.route", "string", "with a route", "The name of the route.";
        STATUS: "http.response.status_code", "integer", "always",
            "The status; 0 if the client left before there was one.";
        DURATION: "duration_ms", "number, ms", "always",
            "Time from the head of the request to the end of the response or of the session.";
        USER: "user.id", "string", "with a user id", "The user id (`identity.user_id`).";
        USER_SOURCE: "user.id.source", "string", "with a user id", "Where it was found: `query`, `header`, `cookie`, `claim` (verified by `authentication`) or `filter`.";
        USER_VERIFIED: "user.id.verified", "boolean", "with a user id", "Whether the gateway verified it.";
        AUTH_SCHEME: "auth.scheme", "string", "if a scheme decided",
            "The name of the scheme below `authentication` that verified or refused the request.";
        AUTH_RESULT: "auth.result", "string", "with `require` on the route",
            "`verified`, `missing`, `refused`, `forbidden`, `unavailable`, or `unverified` (`on_error: allow`).";
        AUTH_REASON: "auth.reason", "string", "if it was not verified", "Why: `expired`, `signature`, `claim` and so on.";
        CLIENT: "client.address", "string", "with a client address",
            "The IP address of the client, as trusted proxies report it.";
        REQUEST_ID: "http.request.id", "string", "always", "The id that is also in the `X-Request-Id` header.";
        TRACE: "trace_id", "string", "with `tracing`", "The trace of the request: 32 hexadecimal digits.";
        SPAN: "span_id", "string", "with `tracing`", "The span of the request: 16 hexadecimal digits.";
        UPSTREAM: "upstream.name", "string", "with an upstream", "The name of the upstream that was selected.";
        UPSTREAM_ADDRESS: "upstream.address", "string", "with an endpoint",
            "The address of the endpoint that was selected last: `host:port`, or the path of a Unix socket.";
        CACHE: "cache", "string", "with `cache` on the route",
            "What the cache did: `hit`, `stale`, `miss`, `expired`, `revalidated`, `pass` or `bypass`.";
        CACHE_BACKGROUND: "cache.background", "boolean", "if true",
            "The gateway itself sent the request, to revalidate a stale response.";
        SERVER: "server.address", "string", "with a host", "The host that the client asked for.";
        PROTOCOL_VERSION: "network.protocol.version", "string", "always", "The version of HTTP: `1.0`, `1.1` or `2`.";
        TLS_VERSION: "tls.protocol.version", "string", "over TLS", "The version of TLS.";
        TLS_CIPHER: "tls.cipher", "string", "over TLS", "The cipher suite.";
        TLS_SERVER_NAME: "tls.client.server_name", "string", "over TLS with SNI", "The host name of the handshake.";
        TLS_SUBJECT: "tls.client.subject", "string", "with a client certificate", "The subject of the certificate.";
        TLS_ALTERNATIVE_NAMES: "tls.client.x509.alternative_names", "string", "if the certificate has any",
            "The subject alternative names of the certificate, separated by commas.";
        USER_AGENT: "user_agent.original", "string", "with `User-Agent`", "The header as it came.";
        REQUEST_SIZE: "http.request.body.size", "integer, bytes", "`http.request`", "Length of the request body.";
        RESPONSE_SIZE: "http.response.body.size", "integer, bytes", "`http.request`", "Length of the response body.";
        HANDSHAKE: "websocket.handshake_ms", "number, ms", "`websocket.close`",
            "Time from the head of the request to the 101.";
        SESSION_DURATION: "websocket.duration_ms", "number, ms", "`websocket.close`",
            "Time from the 101 to the end of the session.";
        BYTES_RECEIVED: "websocket.bytes_received", "integer, bytes", "`websocket.close`",
            "Length of all frames from the client.";
        BYTES_SENT: "websocket.bytes_sent", "integer, bytes", "`websocket.close`",
            "Length of all frames to the client.";
        FRAMES_RECEIVED: "websocket.frames_received", "integer", "`websocket.close`",
            "Number of frames from the client.";
        FRAMES_SENT: "websocket.frames_sent", "integer", "`websocket.close`", "Number of frames to the client.";
        PROTOCOL_ERRORS: "websocket.protocol_errors", "integer", "if not 0",
            "Number of frames, in both directions, that break RFC 6455.";
        CLOSE_INITIATOR: "websocket.close.initiator", "string", "`websocket.close`",
            "Who ended the session; see [sessions.md](../sessions.md).";
        CLOSE_CODE: "websocket.close.code", "integer", "with a code", "The code of the first close frame.";
        CLOSE_REASON: "websocket.close.reason", "string", "with a reason",
            "The reason of the first close frame, or what happened.";
        ERROR: "error.message", "string", "after an error", "What went wrong, for operators.";
    }
    FRAME_LINES {
        FRAME_OPCODE: "websocket.frame.opcode", "string", "`websocket.frame`",
            "`continuation`, `text`, `binary`, `close`, `ping` or `pong`.";
        FRAME_FIN: "websocket.frame.fin", "boolean", "`websocket.frame`", "Whether the frame ends its message.";
        FRAME_LENGTH: "websocket.frame.length", "integer, bytes", "`websocket.frame`", "Length of the payload.";
        MESSAGE_LENGTH: "websocket.message.length", "integer, bytes", "`websocket.message`",
            "Length of the message, as it was sent.";
        MESSAGE_COMPRESSED: "websocket.message.compressed", "boolean", "`websocket.message`",
            "Whether it was compressed (permessage-deflate).";
        MESSAGE_CUT: "websocket.message.cut", "boolean", "`websocket.message`",
            "Whether `websocket.message.text` has only its beginning.";
        MESSAGE_TEXT: "websocket.message.text", "string", "`websocket.message`", "The text of the message; secret values are `REDACTED`.";
        DIRECTION: "network.io.direction", "string", "always", "`receive`: from the client; `transmit`: to the client.";
    }
    OWN_LINES {
        LEVEL: "level", "string", "always", "`error`, `warn`, `info`, `debug` or `trace`.";
        TARGET: "target", "string", "always", "The module that reports.";
        MESSAGE: "message", "string", "always", "What happened.";
    }
}

/// Keys for tests of the lines' form.
#[cfg(test)]
pub(super) mod made_up {
    use super::JsonKey;

    pub(in crate::telemetry) const TEXT: JsonKey =
        JsonKey { name: "text", quoted_with_separators: ",\"text\":" };
    pub(in crate::telemetry) const NUMBER: JsonKey =
        JsonKey { name: "number", quoted_with_separators: ",\"number\":" };
    pub(in crate::telemetry) const MS: JsonKey =
        JsonKey { name: "ms", quoted_with_separators: ",\"ms\":" };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::json::TIMESTAMP_KEY;
    use std::fmt::Write;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/access-log.md");

    const TIME: DocumentedKey = DocumentedKey {
        name: TIMESTAMP_KEY,
        kind: "string",
        when: "always",
        meaning: "When the line was written (RFC 3339, UTC, with milliseconds).",
    };

    fn reference() -> String {
        let mut page = String::from(
            "# Keys of the access log\n\n\
             <!-- Made from src/telemetry/keys.rs: TIDEGATE_BLESS=1 cargo test -p tidegate --lib reference -->\n\n\
             With `access_log.format: json` each line is one flat JSON object. [access-log.md](../access-log.md) says how \
             to configure\nand read the log. Keys follow OpenTelemetry's semantic conventions where these define one.\n",
        );
        let header = "| key | type | present | meaning |\n|---|---|---|---|\n";
        let mut list = |title: &str, keys: &[DocumentedKey]| {
            let _ = write!(page, "\n## {title}\n\n{header}");
            for DocumentedKey { name, kind, when, meaning } in std::iter::once(&TIME).chain(keys) {
                let _ = writeln!(page, "| `{name}` | {kind} | {when} | {meaning} |");
            }
        };
        list("Requests and sessions", REQUEST_LINES);
        list("Frames and messages", FRAME_LINES);
        list("The gateway's own log", OWN_LINES);
        let frames = "\nThe lines of frames and messages (`websocket.log_frames`) have `event` (`websocket.frame` or \
                      `websocket.message`),\n`http.request.id`, `http.route` and `user.id` as well.\n";
        page = page.replace(
            "\n## The gateway's own log\n",
            &format!("{frames}\n## The gateway's own log\n\nWith `log.format: json`.\n"),
        );
        let fields = "\nHeaders that `access_log.fields` names have the keys `http.request.header.NAME` and\n\
                      `http.response.header.NAME`, with the name in lower case: strings, present with the header.\n";
        page.replace("\n## Frames and messages\n", &format!("{fields}\n## Frames and messages\n"))
    }

    #[test]
    fn reference_of_log_keys_is_up_to_date() {
        let made = reference();
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(PAGE, &made).expect("a page");
        }
        let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(kept == made, "{PAGE} is stale: run the command at its top");
    }

    #[test]
    fn keys_of_headers_are_the_documented_ones() {
        let name = tidegate_http::header_name::X_REQUEST_ID;
        assert_eq!(FieldKey::of_request(&name).name(), "http.request.header.x-request-id");
        assert_eq!(FieldKey::of_response(&name).name(), "http.response.header.x-request-id");
    }

    #[test]
    fn keys_differ() {
        let all = [REQUEST_LINES, FRAME_LINES, OWN_LINES];
        let names: Vec<&str> = all.into_iter().flatten().map(|key| key.name).collect();
        let distinct: std::collections::HashSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
