//! How long a stored response is fresh, and how long it may be served stale (RFC 9111, section 4.2; RFC 5861). Decides
//! about time only, not whether the response may be stored.

use super::directives::RequestFacts;
use super::{NotStoredReason, RouteCachePolicy};
use http::StatusCode;
use http::header::{self, HeaderMap};
use pingora::http::ResponseHeader;
use pingora_cache::cache_control::{CacheControl, DirectiveKey};
use std::time::{Duration, SystemTime};

/// Longer times are read as this one: what RFC 9111, section 1.2.2, uses for infinity.
const INFINITE_TTL: Duration = Duration::from_secs(1 << 31);

/// The statuses to which `default_ttl` applies.
const DEFAULT_TTL_STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
];

/// When a response arrived, and its age.
#[derive(Debug)]
pub(crate) struct ResponseArrival {
    /// When its head arrived.
    pub at: SystemTime,
    /// Its age on arrival: the larger of the ages by its `Date` and by its `Age` (section 4.2.3).
    pub age: Duration,
    /// The head, if it was a 304 for the stored response.
    pub not_modified: Option<Box<ResponseHeader>>,
}

impl ResponseArrival {
    /// The arrival of a response, for which the upstream took this time.
    pub(crate) fn from_response(response: &ResponseHeader, took: Duration) -> Self {
        let age = response.headers.get(header::AGE).and_then(|age| age.to_str().ok());
        // The first value of a list counts (section 5.1); a value that is no number is ignored.
        let age = age.and_then(|age| age.split(',').next()?.trim().parse().ok()).unwrap_or(0);
        let is_304 = response.status == StatusCode::NOT_MODIFIED;
        let at = SystemTime::now();
        let corrected = Duration::from_secs(age).min(INFINITE_TTL).saturating_add(took);
        // `Date` has whole seconds, so an age below one second is rounding.
        let apparent = date(response).and_then(|date| at.duration_since(date).ok());
        let apparent = apparent.map_or(0, |apparent| apparent.as_secs());
        Self {
            at,
            age: corrected.max(Duration::from_secs(apparent).min(INFINITE_TTL)),
            not_modified: is_304.then(|| Box::new(response.clone())),
        }
    }
}

/// When the origin created the response.
fn date(response: &ResponseHeader) -> Option<SystemTime> {
    let date = response.headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// Whether a response declares its freshness; otherwise `default_ttl` applies.
pub(crate) fn has_freshness_lifetime(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPIRES)
        || CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers).is_some_and(
            |cc| {
                cc.no_cache()
                    || cc.has_directive(&DirectiveKey::MaxAge)
                    || cc.has_directive(&DirectiveKey::SMaxAge)
            },
        )
}

/// How long the response is fresh (section 4.2.1). The heuristics of section 4.2.2 are not used: without a time in the
/// response, only the operator's `default_ttl` applies.
pub(super) fn lifetime(
    head: &ResponseHeader,
    cc: Option<&CacheControl>,
    arrival: &ResponseArrival,
    asked: RequestFacts,
    policy: &RouteCachePolicy,
) -> Result<Duration, NotStoredReason> {
    let cap = policy.max_ttl.unwrap_or(INFINITE_TTL);
    if let Some(cc) = cc {
        if cc.no_cache() {
            return Ok(Duration::ZERO);
        }
        // An unreadable time, or two different ones, make the response stale (section 4.2.1).
        if has_conflicting_ages(&head.headers) {
            return Ok(Duration::ZERO);
        }
        let written =
            cc.s_maxage().and_then(|it| it.map_or_else(|| cc.max_age(), |it| Ok(Some(it))));
        match written {
            Ok(Some(seconds)) => return Ok(Duration::from_secs(seconds.into()).min(cap)),
            Ok(None) => {}
            Err(_) => return Ok(Duration::ZERO),
        }
    }
    let mut expires = head.headers.get_all(header::EXPIRES).iter();
    if let Some(first) = expires.next() {
        let first = first.to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok());
        let until = first.filter(|_| expires.next().is_none());
        let date = date(head).unwrap_or(arrival.at);
        let span = until.and_then(|until| until.duration_since(date).ok());
        return Ok(span.unwrap_or_default().min(cap));
    }
    if policy.default_ttl.is_zero() || !DEFAULT_TTL_STATUSES.contains(&head.status) {
        return Err(NotStoredReason::OfResponse);
    }
    if asked.with_cookie {
        return Err(NotStoredReason::OfRequest(NotStoredReason::COOKIE));
    }
    if asked.of_user {
        return Err(NotStoredReason::OfRequest(NotStoredReason::USER));
    }
    Ok(policy.default_ttl.min(cap))
}

/// Whether `Cache-Control` repeats a time with a different value.
fn has_conflicting_ages(headers: &HeaderMap) -> bool {
    let values = |name: &'static str| {
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        let directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        directives.filter_map(move |directive| {
            let (found, value) = directive.trim_ascii().split_at_checked(name.len())?;
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    };
    ["max-age=", "s-maxage="].into_iter().any(|name| {
        let mut values = values(name);
        values.next().is_some_and(|first| values.any(|other| other != first))
    })
}

/// For how many seconds the response may be served stale: while a new one is fetched, and when the fetch fails.
pub(super) fn stale_windows(cc: Option<&CacheControl>, policy: &RouteCachePolicy) -> (u32, u32) {
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    let defaults = (seconds(policy.stale_while_revalidate), seconds(policy.stale_if_error));
    let Some(cc) = cc else { return defaults };
    // Section 4.2.4.
    if cc.no_cache() || cc.must_revalidate() || cc.proxy_revalidate() {
        return (0, 0);
    }
    // `s-maxage` means `proxy-revalidate` (section 5.2.2.10), unless the same response says
    // otherwise.
    let is_shared = cc.has_directive(&DirectiveKey::SMaxAge);
    let or = |written: Option<u32>, default| match written {
        Some(written) => written,
        None if is_shared => 0,
        None => default,
    };
    (
        or(cc.stale_while_revalidate().unwrap_or(Some(0)), defaults.0),
        or(cc.stale_if_error().unwrap_or(Some(0)), defaults.1),
    )
}
