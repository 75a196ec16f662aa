//! Conditional and range requests for one representation (RFC 9110, sections 13 and 14). Reads no file.

use http::header::{self, HeaderMap, HeaderName};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What identifies a state of a representation.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'v> {
    /// Its strong entity tag, with the quotes.
    pub etag: &'v str,
    /// When it was last changed.
    pub modified: Option<SystemTime>,
}

/// The result of evaluating the conditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionOutcome {
    /// Answer as without conditions.
    Proceed,
    /// 304: the client has this state.
    NotModified,
    /// 412.
    Failed,
}

/// The requested part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole representation.
    Whole,
    /// These bytes: 206.
    Range(RangeInclusive<u64>),
    /// 416.
    Unsatisfiable,
}

impl Validators<'_> {
    /// In the order of RFC 9110, section 13.2.2, for `GET` and `HEAD`.
    pub fn evaluate(&self, headers: &HeaderMap) -> PreconditionOutcome {
        if headers.contains_key(header::IF_MATCH) {
            if !listed(headers, header::IF_MATCH).any(|tag| tag == "*" || tag == self.etag) {
                return PreconditionOutcome::Failed;
            }
        } else if let Some(date) = date(headers, header::IF_UNMODIFIED_SINCE)
            && self.seconds().is_some_and(|modified| modified > date)
        {
            return PreconditionOutcome::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            let is_same =
                |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag;
            if listed(headers, header::IF_NONE_MATCH).any(is_same) {
                return PreconditionOutcome::NotModified;
            }
        } else if let Some(date) = date(headers, header::IF_MODIFIED_SINCE)
            && self.seconds().is_some_and(|modified| modified <= date)
        {
            return PreconditionOutcome::NotModified;
        }
        PreconditionOutcome::Proceed
    }

    /// The requested bytes of `size`. A request for several ranges gets the whole, as
    /// RFC 9110, section 14.2, allows.
    pub fn requested_range(&self, headers: &HeaderMap, size: u64) -> RequestedRange {
        let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
            return RequestedRange::Whole;
        };
        if let Some(condition) = headers.get(header::IF_RANGE) {
            let condition = condition.to_str().unwrap_or_default();
            let is_date = httpdate::parse_http_date(condition).ok().map(in_seconds);
            // A date alone may be that of several states within a second: RFC 9110, section
            // 13.1.5, wants the very one.
            let is_same =
                condition == self.etag || (is_date.is_some() && is_date == self.seconds());
            if !is_same {
                return RequestedRange::Whole;
            }
        }
        // An invalid range or one of another unit is ignored.
        let Ok(parsed) = http_range_header::parse_range_header(range) else {
            return RequestedRange::Whole;
        };
        match parsed.validate(size).as_deref() {
            Ok([one]) => RequestedRange::Range(one.clone()),
            Ok(_) => RequestedRange::Whole,
            Err(_) => RequestedRange::Unsatisfiable,
        }
    }

    fn seconds(&self) -> Option<u64> {
        self.modified.map(in_seconds)
    }
}

/// Dates in headers have no fractions.
fn in_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let written = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(written).ok().map(in_seconds)
}

/// The entity tags of a list. A comma within one splits it; ours have none.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        fields.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    fn validators() -> Validators<'static> {
        let then = httpdate::parse_http_date(THEN).expect("a date");
        Validators { etag: "\"v1\"", modified: Some(then + Duration::from_millis(300)) }
    }

    #[test]
    fn rfc9110_13_2_2_conditions_are_evaluated_in_order() {
        use PreconditionOutcome::{Failed, NotModified, Proceed};
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        for (fields, expected) in [
            (&[][..], Proceed),
            (&[(IF_NONE_MATCH, "\"v1\"")], NotModified),
            (&[(IF_NONE_MATCH, "\"v0\", W/\"v1\"")], NotModified),
            (&[(IF_NONE_MATCH, "*")], NotModified),
            (&[(IF_NONE_MATCH, "\"v0\"")], Proceed),
            (&[(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, AFTER)], Proceed),
            (&[(IF_MODIFIED_SINCE, THEN)], NotModified),
            (&[(IF_MODIFIED_SINCE, AFTER)], NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Proceed),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Proceed),
            (&[(IF_MATCH, "\"v1\"")], Proceed),
            (&[(IF_MATCH, "*")], Proceed),
            (&[(IF_MATCH, "W/\"v1\"")], Failed),
            (&[(IF_MATCH, "\"v0\""), (IF_NONE_MATCH, "\"v1\"")], Failed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Failed),
            (&[(IF_UNMODIFIED_SINCE, THEN)], Proceed),
            (&[(IF_MATCH, "\"v1\""), (IF_UNMODIFIED_SINCE, BEFORE)], Proceed),
        ] {
            assert_eq!(validators().evaluate(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn rfc9110_14_range_of_100_bytes_is_whole_partial_or_unsatisfiable() {
        use header::{IF_RANGE, RANGE};
        for (fields, expected) in [
            (&[][..], RequestedRange::Whole),
            (&[(RANGE, "bytes=0-0")], RequestedRange::Range(0..=0)),
            (&[(RANGE, "bytes=10-")], RequestedRange::Range(10..=99)),
            (&[(RANGE, "bytes=-10")], RequestedRange::Range(90..=99)),
            (&[(RANGE, "bytes=-1000")], RequestedRange::Range(0..=99)),
            (&[(RANGE, "bytes=50-1000")], RequestedRange::Range(50..=99)),
            (&[(RANGE, "bytes=100-")], RequestedRange::Unsatisfiable),
            (&[(RANGE, "bytes=0-1,5-6")], RequestedRange::Whole),
            (&[(RANGE, "lines=1-2")], RequestedRange::Whole),
            (&[(RANGE, "bytes=x")], RequestedRange::Whole),
            (&[(RANGE, "bytes=0-0"), (IF_RANGE, "\"v1\"")], RequestedRange::Range(0..=0)),
            (&[(RANGE, "bytes=0-0"), (IF_RANGE, "\"v0\"")], RequestedRange::Whole),
            (&[(RANGE, "bytes=0-0"), (IF_RANGE, "W/\"v1\"")], RequestedRange::Whole),
            (&[(RANGE, "bytes=0-0"), (IF_RANGE, THEN)], RequestedRange::Range(0..=0)),
            (&[(RANGE, "bytes=0-0"), (IF_RANGE, AFTER)], RequestedRange::Whole),
        ] {
            assert_eq!(validators().requested_range(&headers(fields), 100), expected, "{fields:?}");
        }
    }

    #[test]
    fn range_of_an_empty_body_is_unsatisfiable() {
        let asked = headers(&[(header::RANGE, "bytes=0-")]);
        assert_eq!(validators().requested_range(&asked, 0), RequestedRange::Unsatisfiable);
        let huge = headers(&[(header::RANGE, "bytes=0-99999999999999999999")]);
        assert!(matches!(
            validators().requested_range(&huge, 9),
            RequestedRange::Whole | RequestedRange::Range(_) | RequestedRange::Unsatisfiable
        ));
    }
}
