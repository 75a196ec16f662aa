//! `traceparent` and `tracestate`: the trace that a request belongs to (W3C Trace Context). Decides nothing about
//! recording.

use crate::header_name::{TRACEPARENT, TRACESTATE};
use http::{HeaderMap, HeaderValue};

/// Length of `traceparent` in bytes: `00-` + 32 + `-` + 16 + `-` + 2.
const TRACEPARENT_LENGTH: usize = 55;

/// Maximum number of members of `tracestate` (section 3.3.1.1).
const MAX_TRACESTATE_MEMBERS: usize = 32;

/// A span in a trace, whoever created it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// Whether its creator records it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// The parent in a request; `None` if it is malformed or repeated (section 4.3).
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let (field, further) = (fields.next()?, fields.next());
        if further.is_some() {
            return None;
        }
        Self::parse(field.as_bytes())
    }

    /// Versions after 00 may have more behind what is known; what is known stands where it did
    /// (section 4.3).
    fn parse(written: &[u8]) -> Option<Self> {
        let (known, more) = written.split_at_checked(TRACEPARENT_LENGTH)?;
        let [v1, v2, b'-', rest @ ..] = known else { return None };
        let version = number(&[*v1, *v2])?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let (trace_id, rest) = rest.split_at_checked(32)?;
        let (dash, rest) = rest.split_first()?;
        let (span_id, rest) = rest.split_at_checked(16)?;
        let [b'-', f1, f2] = rest else { return None };
        if !is_whole || *dash != b'-' {
            return None;
        }
        let trace_id = number(trace_id)?.to_be_bytes();
        let span_id = u64::try_from(number(span_id)?).ok()?.to_be_bytes();
        let flags = number(&[*f1, *f2])?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }

    /// The field's value. Flags that this version does not know are not passed on (section 3.2.2.5).
    pub fn to_value(self) -> HeaderValue {
        let mut text = [0; TRACEPARENT_LENGTH];
        text.copy_from_slice(b"00-00000000000000000000000000000000-0000000000000000-00");
        let (head, flags) = text.split_at_mut(53);
        let (head, span_id) = head.split_at_mut(36);
        if let Some(trace_id) = head.get_mut(3..35) {
            push_hex(&self.trace_id, trace_id);
        }
        push_hex(&self.span_id, span_id);
        push_hex(&[u8::from(self.is_sampled)], flags);
        // These characters may stand in any value.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Lower-case hexadecimal digits, and nothing else.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

fn push_hex(bytes: &[u8], into: &mut [u8]) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    for (byte, digits) in bytes.iter().zip(into.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Whether there is a valid `tracestate`; a malformed one must not be forwarded (section 4.3).
pub fn has_sound_state(headers: &HeaderMap) -> bool {
    let mut members = 0;
    let mut are_sound = true;
    for field in headers.get_all(TRACESTATE) {
        let members_of = field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for member in members_of.filter(|member| !member.is_empty()) {
            members += 1;
            are_sound &= is_member(member);
        }
    }
    (1..=MAX_TRACESTATE_MEMBERS).contains(&members) && are_sound
}

/// The field's value, as one.
pub fn tracestate(headers: &HeaderMap) -> Option<String> {
    let fields = headers.get_all(TRACESTATE).iter().filter_map(|field| field.to_str().ok());
    let state = fields.collect::<Vec<_>>().join(",");
    (!state.is_empty()).then_some(state)
}

/// `key=value`, `tenant@system=value` (section 3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = member.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    let is_key = |key: &[u8], max_length: usize| {
        (1..=max_length).contains(&key.len())
            && key
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let begins = |key: &[u8], digit: bool| {
        key.first().is_some_and(|it| it.is_ascii_lowercase() || digit && it.is_ascii_digit())
    };
    let is_sound_key = match key.iter().position(|byte| *byte == b'@') {
        None => is_key(key, 256) && begins(key, false),
        Some(at) => {
            let (tenant, system) = key.split_at(at);
            let system = system.get(1..).unwrap_or_default();
            is_key(tenant, 241)
                && begins(tenant, true)
                && is_key(system, 14)
                && begins(system, false)
        }
    };
    is_sound_key
        && (1..=256).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !b",=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|it| (name.clone(), it.parse().unwrap())).collect()
    }

    #[test]
    fn traceparent_is_read_and_written_unchanged() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("03", true), ("02", false)] {
            let written = format!("00-{TRACE}-{SPAN}-{flags}");
            let parent =
                TraceParent::from_headers(&headers(TRACEPARENT, &[&written])).expect("a parent");
            assert_eq!(format!("{:032x}", u128::from_be_bytes(parent.trace_id)), TRACE);
            assert_eq!(format!("{:016x}", u64::from_be_bytes(parent.span_id)), SPAN);
            assert_eq!(parent.is_sampled, is_sampled, "{flags}");
            let again = format!("00-{TRACE}-{SPAN}-0{}", u8::from(is_sampled));
            assert_eq!(parent.to_value(), again.as_str());
        }
    }

    #[test]
    fn malformed_traceparent_is_ignored() {
        let zeros = "0".repeat(32);
        for written in [
            String::new(),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-011"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
        ] {
            assert_eq!(
                TraceParent::from_headers(&headers(TRACEPARENT, &[&written])),
                None,
                "{written}"
            );
        }
        let sound = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(
            TraceParent::from_headers(&headers(TRACEPARENT, &[&sound, &sound])),
            None,
            "twice"
        );
    }

    #[test]
    fn traceparent_of_a_later_version_is_read() {
        for written in [format!("cc-{TRACE}-{SPAN}-01"), format!("cc-{TRACE}-{SPAN}-01-what")] {
            let parent =
                TraceParent::from_headers(&headers(TRACEPARENT, &[&written])).expect("a parent");
            assert_eq!(parent.to_value(), format!("00-{TRACE}-{SPAN}-01").as_str());
        }
    }

    #[test]
    fn malformed_tracestate_is_unsound() {
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for (written, is_sound) in [
            (&["congo=t61rcWkgMzE"][..], true),
            (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a@b=1"], true),
            (&["foo=1, ,bar=2"], true),
            (&["0tenant@sys=v!"], true),
            (&[""], false),
            (&[], false),
            (&["foo"], false),
            (&["Foo=1"], false),
            (&["1foo=1"], false),
            (&["foo="], false),
            (&["foo=1=2"], false),
            (&["foo@=1"], false),
            (&["foo=1", "b ar=2"], false),
            (&[many.as_str()], false),
        ] {
            assert_eq!(has_sound_state(&headers(TRACESTATE, written)), is_sound, "{written:?}");
        }
    }
}
