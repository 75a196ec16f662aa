//! How long an authority asks to wait before the next request (RFC 8555, sections 6.6, 7.4 and 7.5.1; RFC 9110, section
//! 10.2.3). Sends no request and waits for nothing.

use http::header::{self, HeaderMap, HeaderValue};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Maximum wait that an authority may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The time of the next allowed request, by the last response.
#[derive(Debug, Default)]
pub(super) struct RetryAfter(Mutex<Option<Instant>>);

impl RetryAfter {
    /// Notes what a response says, and bounds it for whoever reads the response next: a number of seconds
    /// that no clock has room for is no reason to panic.
    pub(super) fn record(&self, headers: &mut HeaderMap) {
        let wait = headers.get(header::RETRY_AFTER).and_then(read);
        headers.remove(header::RETRY_AFTER);
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        *self.lock_until() = wait.map(|wait| Instant::now() + wait);
    }

    /// How long it is until then, if the last response said so.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let until = *self.lock_until();
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn lock_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the value: seconds, or a date.
fn read(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has room for are a long time all the same.
        return Some(
            value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER),
        );
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default().min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(value: &str) -> (Option<u64>, Option<u64>) {
        let (retry_after, mut headers) = (RetryAfter::default(), HeaderMap::new());
        headers.insert(header::RETRY_AFTER, value.parse().expect("a value"));
        retry_after.record(&mut headers);
        let left = retry_after.remaining().map(|left| left.as_secs_f64().round() as u64);
        let kept = headers.get(header::RETRY_AFTER).map(|it| it.to_str().expect("digits"));
        (left, kept.map(|it| it.parse().expect("seconds")))
    }

    #[test]
    fn retry_after_seconds_and_dates_are_read_and_capped() {
        assert_eq!(noted("0"), (Some(0), Some(0)));
        assert_eq!(noted(" 90 "), (Some(90), Some(90)));
        for long in ["18446744073709551615", "99999999999999999999999", "86401"] {
            assert_eq!(noted(long), (Some(86_400), Some(86_400)), "{long}");
        }
        for nonsense in ["", "-1", "+5", "soon", "1.5"] {
            assert_eq!(noted(nonsense), (None, None), "{nonsense}");
        }
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(noted(&date).0.is_some_and(|left| (97..=100).contains(&left)));
        assert_eq!(noted("Fri, 31 Dec 1999 23:59:59 GMT"), (Some(0), Some(0)));
    }

    #[test]
    fn last_response_decides_retry_after() {
        let (retry_after, mut headers) = (RetryAfter::default(), HeaderMap::new());
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        retry_after.record(&mut headers);
        assert!(retry_after.remaining().is_some());
        retry_after.record(&mut HeaderMap::new());
        assert_eq!(retry_after.remaining(), None);
    }
}
