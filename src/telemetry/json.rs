//! Writes the JSON of a log line into a buffer, without a tree of values. It knows nothing of which keys a
//! line has.

use super::escape::push_json_string;
use super::keys::{FieldKey, JsonKey};
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use tidegate_http::address::{self, Address};

/// The start of each line: its time, under the key `timestamp`.
const LINE_START: &str = "{\"timestamp\":\"";

/// The key of the time.
#[cfg(test)]
pub(super) const TIMESTAMP_KEY: &str = "timestamp";

/// One flat JSON object on its way into a line, field by field.
///
/// The keys are ours and need no escaping; that, and values looked at once instead of byte by
/// byte, is a tenth of what a request costs the gateway.
pub(super) struct JsonObject {
    text: String,
}

impl JsonObject {
    /// An object whose first field is the time.
    pub(super) fn new(time: SystemTime) -> Self {
        let mut text = String::with_capacity(1024);
        text.push_str(LINE_START);
        push_time(&mut text, time);
        text.push('"');
        Self { text }
    }

    fn key(&mut self, key: JsonKey) {
        self.text.push_str(key.quoted_with_separators());
    }

    /// A value of ours, in which nothing needs escaping.
    pub(super) fn word(&mut self, key: JsonKey, value: &str) {
        self.key(key);
        self.text.push('"');
        self.text.push_str(value);
        self.text.push('"');
    }

    /// A value from outside.
    pub(super) fn text(&mut self, key: JsonKey, value: &str) {
        self.key(key);
        self.value(value);
    }

    /// A value from outside whose key the configuration names; it needs no escaping.
    pub(super) fn named(&mut self, key: &FieldKey, value: &str) {
        self.text.push_str(",\"");
        self.text.push_str(key.name());
        self.text.push_str("\":");
        self.value(value);
    }

    fn value(&mut self, value: &str) {
        if needs_escape(value) {
            return push_json_string(&mut self.text, value);
        }
        self.text.push('"');
        self.text.push_str(value);
        self.text.push('"');
    }

    pub(super) fn number(&mut self, key: JsonKey, value: u64) {
        self.key(key);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    pub(super) fn boolean(&mut self, key: JsonKey, value: bool) {
        self.key(key);
        self.text.push_str(if value { "true" } else { "false" });
    }

    /// In milliseconds, to the microsecond: more digits would only be noise.
    pub(super) fn milliseconds(&mut self, key: JsonKey, value: Duration) {
        self.key(key);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.text.push_str(itoa::Buffer::new().format(micros / 1000));
        self.text.push('.');
        let fraction = micros % 1000;
        if fraction < 100 {
            self.text.push('0');
        }
        if fraction < 10 {
            self.text.push('0');
        }
        self.text.push_str(itoa::Buffer::new().format(fraction));
    }

    pub(super) fn hex(&mut self, key: JsonKey, value: &[u8]) {
        self.key(key);
        self.text.push('"');
        let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 });
        for byte in value {
            self.text.push(digit(byte >> 4));
            self.text.push(digit(byte & 15));
        }
        self.text.push('"');
    }

    pub(super) fn ip(&mut self, key: JsonKey, value: IpAddr) {
        self.key(key);
        self.text.push('"');
        address::push_ip(&mut self.text, value);
        self.text.push('"');
    }

    pub(super) fn socket(&mut self, key: JsonKey, value: &Address) {
        self.key(key);
        self.text.push('"');
        address::push_address(&mut self.text, value);
        self.text.push('"');
    }

    /// The object as a line.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }
}

/// Appends a time as RFC 3339 has it, with milliseconds. Its text up to the second is the same for
/// many lines, and is kept.
fn push_time(text: &mut String, time: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != since.as_secs() || written.is_empty() {
            *second = since.as_secs();
            *written = humantime::format_rfc3339_seconds(time).to_string();
            written.truncate(written.trim_end_matches('Z').len());
        }
        text.push_str(written);
    });
    let digit = |digit: u32| char::from_digit(digit % 10, 10).unwrap_or('0');
    let millis = since.subsec_millis();
    text.extend(['.', digit(millis / 100), digit(millis / 10), digit(millis), 'Z']);
}

/// Whether the value may have to be written otherwise than it is: beyond ASCII there are control
/// characters too. Without an early end, so that the compiler looks at many bytes at a time.
fn needs_escape(value: &str) -> bool {
    value.bytes().fold(false, |found, byte| {
        found | (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0x7f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::telemetry::keys::made_up::{MS, NUMBER, TEXT};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives_a_json_round_trip(value in any::<String>(), number in any::<u64>()) {
            let mut object = JsonObject::new(SystemTime::UNIX_EPOCH);
            object.text(TEXT, &value);
            object.named(&FieldKey::of_request(&http::header::ETAG), &value);
            object.number(NUMBER, number);
            let line = object.finish();
            let text = line.trim_end_matches('\n');
            prop_assert!(!text.contains(tidegate_http::control::is_control), "{:?}", text);
            let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            let timestamp = "1970-01-01T00:00:00.000Z";
            let expected = serde_json::json!({
                "timestamp": timestamp, "text": value, "http.request.header.etag": value, "number": number,
            });
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn times_are_written_as_in_rfc3339(seconds in 0..253_402_300_800_u64, millis in 0..1000_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis);
            let mut text = String::new();
            push_time(&mut text, time);
            push_time(&mut text, time);
            prop_assert_eq!(text, humantime::format_rfc3339_millis(time).to_string().repeat(2));
        }

        #[test]
        fn milliseconds_keep_three_digits(micros in 0..10_000_000_000_u64) {
            let mut object = JsonObject::new(SystemTime::UNIX_EPOCH);
            object.milliseconds(MS, Duration::from_micros(micros));
            let read: serde_json::Value = serde_json::from_str(&object.finish()).expect("JSON");
            let ms = read["ms"].as_f64().expect("number");
            prop_assert_eq!((ms * 1000.0).round() as u64, micros);
        }
    }
}
