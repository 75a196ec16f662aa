//! What a shared cache may keep, and for how long (RFC 9111, RFC 5861).

use super::RouteCachePolicy;
use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora_cache::CacheMeta;
use pingora_cache::cache_control::{CacheControl, DirectiveKey, InterpretCacheControl};
use std::time::{Duration, SystemTime};
use tidegate_http::accept::EVENT_STREAM;
use tidegate_http::grpc;
use tidegate_http::head::nominated;
use tidegate_http::header_name::{self, HOP_BY_HOP};

/// The most that is kept of a span of time: what RFC 9111, section 1.2.2, has for infinity.
const INFINITE_TTL: Duration = Duration::from_secs(1 << 31);

/// The statuses whose responses are stored if they say for how long.
const CACHEABLE_STATUSES: [StatusCode; 14] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::NO_CONTENT,
    StatusCode::MULTIPLE_CHOICES,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::GONE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
    StatusCode::SEE_OTHER,
];

/// The statuses to which `default_ttl` applies.
const DEFAULT_TTL_STATUSES: [StatusCode; 4] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
];

/// Headers of one connection or one request, which are not stored with a response.
const NOT_STORED_HEADERS: [HeaderName; 2] = [header::PROXY_AUTHENTICATE, header_name::X_REQUEST_ID];

/// Headers of a 304 that do not update the stored response (RFC 9111, section 3.2), and `Vary`, which belongs to
/// the key of the stored response.
const NOT_UPDATED_HEADERS: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::VARY,
    header::SET_COOKIE,
];

/// Headers that the gateway writes itself for the upstream. Responses cannot vary by what the client sent in them.
const GATEWAY_WRITTEN_HEADERS: [HeaderName; 10] = [
    header_name::X_FORWARDED_FOR,
    header_name::X_FORWARDED_HOST,
    header_name::X_FORWARDED_PROTO,
    header_name::X_FORWARDED_PORT,
    header_name::X_FORWARDED_PREFIX,
    header_name::X_FORWARDED_SSL,
    header_name::X_FORWARDED_PROTOCOL,
    header_name::X_REAL_IP,
    header_name::X_REQUEST_ID,
    header::FORWARDED,
];

/// Whether the gateway sets this header itself.
pub(crate) fn made_by_gateway(name: &HeaderName) -> bool {
    GATEWAY_WRITTEN_HEADERS.contains(name)
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStoredReason {
    /// Because of its own headers: the next response is not stored either.
    OfResponse,
    /// Because of this request.
    OfRequest(&'static str),
}

impl NotStoredReason {
    /// The request had an `Authorization`.
    pub(crate) const AUTHORIZATION: &'static str = "authorization";
    /// It had a `Cookie`, and the response does not say that it may be kept.
    pub(crate) const COOKIE: &'static str = "cookie";
    /// The same, where it names a user otherwise.
    pub(crate) const USER: &'static str = "user";
    /// The upstream failed; what it has for others is another matter, and so is what is kept.
    pub(crate) const ERROR: &'static str = "error";
    /// It asks for a part.
    pub(crate) const RANGE: &'static str = "range";

    /// Whether such a reason says nothing of what others would get.
    pub(crate) fn is_of_request(reason: &'static str) -> bool {
        [Self::AUTHORIZATION, Self::COOKIE, Self::USER, Self::ERROR, Self::RANGE].contains(&reason)
    }
}

/// The cache directives of a request (RFC 9111, section 5.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    /// Its response must not be stored.
    pub no_store: bool,
    /// A stored response must be validated first.
    pub no_cache: bool,
    /// The client wants a stored response or none.
    pub only_if_cached: bool,
    /// Maximum age of the response.
    pub max_age: Option<Duration>,
    /// Minimum time that the response must still be fresh.
    pub min_fresh: Option<Duration>,
}

impl RequestDirectives {
    /// The directives of a request with these headers.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let Some(cc) = CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers)
        else {
            return Self::default();
        };
        let min_fresh = DirectiveKey::Unknown("min-fresh".to_owned());
        let min_fresh = cc.directives.get(&min_fresh).and_then(Option::as_ref);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self {
            no_store: cc.no_store(),
            no_cache: cc.no_cache(),
            only_if_cached: cc.only_if_cached(),
            // One that can't be read wants something fresh; that is as far as it can be understood.
            max_age: match cc.max_age() {
                Ok(age) => age.map(seconds),
                Err(_) => Some(Duration::ZERO),
            },
            min_fresh: min_fresh.and_then(|it| it.parse_as_delta_seconds().ok()).map(seconds),
        }
    }

    /// Whether a stored response must be validated before this request gets it.
    pub(crate) fn require_validation(&self, meta: &CacheMeta, now: SystemTime) -> bool {
        let left = || meta.fresh_until().duration_since(now).unwrap_or_default();
        self.no_cache
            || self.max_age.is_some_and(|most| meta.age() > most)
            || self.min_fresh.is_some_and(|least| left() < least)
    }
}

/// The facts of a request that decide whether its response may be stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestFacts {
    /// It had an `Authorization`.
    pub with_authorization: bool,
    /// It had a `Cookie`.
    pub with_cookie: bool,
    /// It named a user otherwise, as far as that is known: by a certificate, or by a header.
    pub of_user: bool,
}

impl RequestFacts {
    /// Whether `default_ttl` must not share anything with this request.
    pub(crate) fn names_somebody(self) -> bool {
        self.with_authorization || self.with_cookie || self.of_user
    }

    /// Whether others may be given what this request fetches, as far as it tells by itself: where the
    /// response says so too, they may be given what names somebody.
    pub(crate) fn shares(self, policy: &RouteCachePolicy) -> bool {
        !self.with_authorization && (policy.default_ttl.is_zero() || !self.names_somebody())
    }
}

/// When a response arrived, and its age.
#[derive(Debug)]
pub(crate) struct ResponseArrival {
    /// When its head arrived.
    pub at: SystemTime,
    /// How old it can be by then, by its `Date`, or by its `Age` and the time that it took (section
    /// 4.2.3).
    pub age: Duration,
    /// The head, where it was a 304 about what is kept.
    pub not_modified: Option<Box<ResponseHeader>>,
}

impl ResponseArrival {
    /// Of this response, for which the upstream took so long.
    pub(crate) fn from_response(response: &ResponseHeader, took: Duration) -> Self {
        let age = response.headers.get(header::AGE).and_then(|age| age.to_str().ok());
        // The first of a list counts (section 5.1); what is no number is none.
        let age = age.and_then(|age| age.split(',').next()?.trim().parse().ok()).unwrap_or(0);
        let is_304 = response.status == StatusCode::NOT_MODIFIED;
        let at = SystemTime::now();
        let corrected = Duration::from_secs(age).min(INFINITE_TTL).saturating_add(took);
        // `Date` has whole seconds: what is younger than one has no age by it.
        let apparent = date(response).and_then(|date| at.duration_since(date).ok());
        let apparent = apparent.map_or(0, |apparent| apparent.as_secs());
        Self {
            at,
            age: corrected.max(Duration::from_secs(apparent).min(INFINITE_TTL)),
            not_modified: is_304.then(|| Box::new(response.clone())),
        }
    }
}

/// When its origin made the response.
fn date(response: &ResponseHeader) -> Option<SystemTime> {
    let date = response.headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// Whether a response declares its freshness; otherwise `default_ttl` applies.
pub(crate) fn says_how_long(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPIRES)
        || CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers).is_some_and(
            |cc| {
                cc.no_cache()
                    || cc.has_directive(&DirectiveKey::MaxAge)
                    || cc.has_directive(&DirectiveKey::SMaxAge)
            },
        )
}

/// Whether a response may be kept, and for how long. For a 304, `response` is what is kept, with the
/// words of the 304.
pub(crate) fn judge(
    response: &ResponseHeader,
    arrival: &ResponseArrival,
    asked: RequestFacts,
    policy: &RouteCachePolicy,
) -> Result<CacheMeta, NotStoredReason> {
    if response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(NotStoredReason::OfRequest(NotStoredReason::ERROR));
    }
    let mut head = response.clone();
    if let Some(renewed) = &arrival.not_modified {
        renew(&mut head, renewed);
    } else if !is_delimited(response) {
        return Err(NotStoredReason::OfResponse);
    }
    if !CACHEABLE_STATUSES.contains(&head.status)
        || is_stream(&head.headers)
        || !can_vary(&head.headers)
    {
        return Err(NotStoredReason::OfResponse);
    }
    let cc = CacheControl::from_resp_headers(&head);
    let has = |is: fn(&CacheControl) -> bool| cc.as_ref().is_some_and(is);
    if has(CacheControl::no_store) || has(CacheControl::private) {
        return Err(NotStoredReason::OfResponse);
    }
    if head.headers.contains_key(header::SET_COOKIE) && !has(CacheControl::public) {
        return Err(NotStoredReason::OfResponse);
    }
    if asked.with_authorization && !has(CacheControl::allow_caching_authorized_req) {
        return Err(NotStoredReason::OfRequest(NotStoredReason::AUTHORIZATION));
    }
    let lifetime = lifetime(&head, cc.as_ref(), arrival, asked, policy)?;
    let (while_revalidate, if_error) = windows(cc.as_ref(), policy);
    let can_be_validated =
        head.headers.contains_key(header::ETAG) || head.headers.contains_key(header::LAST_MODIFIED);
    let left = lifetime.saturating_sub(arrival.age);
    if left.is_zero() && !can_be_validated && while_revalidate == 0 && if_error == 0 {
        // Nobody could ever be given it.
        return Err(NotStoredReason::OfResponse);
    }
    if let Some(cc) = &cc {
        cc.strip_private_headers(&mut head);
    }
    clean(&mut head);
    let fresh_until = match left {
        // Pingora takes the very moment for fresh.
        Duration::ZERO => arrival.at.checked_sub(Duration::from_secs(1)),
        left => arrival.at.checked_add(left),
    };
    let fresh_until = fresh_until.unwrap_or(arrival.at);
    let mut meta = CacheMeta::new(fresh_until, arrival.at, while_revalidate, if_error, head);
    if let Some(born) = arrival.at.checked_sub(arrival.age) {
        meta.set_epoch_override(born);
    }
    Ok(meta)
}

/// For how long it is fresh (section 4.2.1). Nothing is guessed (section 4.2.2) but what the operator
/// says.
fn lifetime(
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
        // What can't be read is stale, and so is what is said twice, each time otherwise (section 4.2.1).
        if says_two_things(&head.headers) {
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

/// Whether `Cache-Control` has a span twice, with another value each time.
fn says_two_things(headers: &HeaderMap) -> bool {
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

/// For how many seconds it may be given stale, while another is fetched and when none can be had.
fn windows(cc: Option<&CacheControl>, policy: &RouteCachePolicy) -> (u32, u32) {
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

/// Whether its end can be told from a connection that broke off.
fn is_delimited(response: &ResponseHeader) -> bool {
    let headers = &response.headers;
    response.version == Version::HTTP_2
        || response.status == StatusCode::NO_CONTENT
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether it comes for hours, or is gRPC, whose end is a trailer.
fn is_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    [EVENT_STREAM, grpc::GRPC_MEDIA_TYPE, "multipart/x-mixed-replace"]
        .iter()
        .any(|stream| media_type.starts_with(stream))
        || headers.contains_key(header::CONTENT_RANGE)
}

/// Whether one can tell for which requests it is.
fn can_vary(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().all(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
                HeaderName::from_bytes(name.as_bytes())
                    .is_ok_and(|it| it != "*" && !made_by_gateway(&it))
            })
        })
    })
}

/// Takes over what a 304 says (section 3.2).
fn renew(head: &mut ResponseHeader, renewed: &ResponseHeader) {
    for name in renewed.headers.keys() {
        if HOP_BY_HOP.contains(name)
            || NOT_STORED_HEADERS.contains(name)
            || NOT_UPDATED_HEADERS.contains(name)
        {
            continue;
        }
        head.remove_header(name);
        for value in renewed.headers.get_all(name) {
            // A name and a value that were in a message may be in another.
            let _ = head.append_header(name.clone(), value.clone());
        }
    }
}

/// Takes away what is of one connection or one request.
fn clean(head: &mut ResponseHeader) {
    for name in nominated(&head.headers).iter().chain(&HOP_BY_HOP).chain(&NOT_STORED_HEADERS) {
        if head.headers.contains_key(name) {
            head.remove_header(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheStatusCounts;
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn policy() -> RouteCachePolicy {
        RouteCachePolicy {
            default_ttl: Duration::from_secs(5),
            max_ttl: Some(Duration::from_secs(1000)),
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(300),
            key_headers: Vec::new(),
            identity_headers: Vec::new(),
            counts: Arc::new(CacheStatusCounts::default()),
        }
    }

    fn response(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).expect("a response");
        head.insert_header("content-length", "0").expect("a length");
        for (name, value) in fields {
            head.append_header(*name, *value).expect("a field");
        }
        head
    }

    fn judged(fields: &[(&'static str, &'static str)]) -> Option<CacheMeta> {
        let response = response(200, fields);
        let arrival = ResponseArrival::from_response(&response, Duration::from_secs(2));
        judge(&response, &arrival, RequestFacts::default(), &policy()).ok()
    }

    fn left(meta: &CacheMeta) -> u64 {
        meta.fresh_until().duration_since(meta.created()).map_or(0, |left| left.as_secs())
    }

    #[test]
    fn rfc9111_4_2_freshness_is_the_lifetime_less_the_age() {
        for (fields, expected) in [
            (&[("cache-control", "max-age=60")][..], 58),
            (&[("cache-control", "max-age=60"), ("age", "50")], 8),
            (&[("cache-control", "max-age=60"), ("age", "50, 7")], 8),
            (&[("cache-control", "max-age=60"), ("age", "x")], 58),
            (&[("cache-control", "max-age=60"), ("age", "99999999999999999999")], 58),
            (&[("cache-control", "max-age=\"60\"")], 58),
            (&[("cache-control", "max-age=60, s-maxage=20")], 18),
            (&[("cache-control", "max-age=60"), ("expires", "0")], 58),
            (&[("cache-control", "max-age=99999999999")], 998),
            (&[("cache-control", "max-age=x"), ("etag", "\"1\"")], 0),
            (&[("cache-control", "no-cache"), ("etag", "\"1\"")], 0),
            (&[("cache-control", "public")], 3),
            (&[], 3),
            (
                &[
                    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
                    ("expires", "Thu, 01 Jan 2026 00:01:00 GMT"),
                ],
                0,
            ),
            (&[("date", "Thu, 01 Jan 2026 00:00:00 GMT"), ("cache-control", "max-age=60")], 0),
            (&[("date", "Thu, 01 Jan 2099 00:00:00 GMT"), ("cache-control", "max-age=60")], 58),
            (&[("date", "yesterday"), ("cache-control", "max-age=60")], 58),
            (&[("expires", "tomorrow"), ("etag", "\"1\"")], 0),
        ] {
            let meta = judged(fields);
            assert_eq!(meta.as_ref().map(left), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn rfc5861_stale_windows_follow_cache_control() {
        for (cc, expected) in [
            ("max-age=60", (30, 300)),
            ("max-age=60, stale-while-revalidate=1", (1, 300)),
            ("max-age=60, stale-while-revalidate=0, stale-if-error=0", (0, 0)),
            ("max-age=60, stale-if-error=x", (30, 0)),
            ("s-maxage=60", (0, 0)),
            ("s-maxage=60, stale-if-error=9", (0, 9)),
            ("max-age=60, must-revalidate, stale-if-error=9", (0, 0)),
            ("max-age=60, proxy-revalidate", (0, 0)),
        ] {
            let meta = judged(&[("cache-control", cc)]).expect(cc);
            let windows = (meta.stale_while_revalidate_sec(), meta.stale_if_error_sec());
            assert_eq!(windows, expected, "{cc}");
        }
    }

    #[test]
    fn rfc9111_3_1_connection_and_request_headers_are_not_stored() {
        let meta = judged(&[
            ("cache-control", "max-age=60, no-cache=\"x-named\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-named", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("x-request-id", "1"),
            ("x-kept", "1"),
        ])
        .expect("it may be kept");
        let mut names: Vec<&str> = meta.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-length", "x-kept"]);
    }

    #[test]
    fn rfc9111_3_2_304_renews_all_headers_except_those_of_the_body() {
        let mut kept = response(200, &[("cache-control", "max-age=0"), ("x-a", "1"), ("x-a", "2")]);
        kept.insert_header("content-length", "10").expect("a length");
        let said = response(
            304,
            &[("cache-control", "max-age=60"), ("x-a", "3"), ("content-type", "x/y"), ("age", "9")],
        );
        let arrival = ResponseArrival::from_response(&said, Duration::ZERO);
        let meta =
            judge(&kept, &arrival, RequestFacts::default(), &policy()).expect("it may be kept");
        let value = |name| meta.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((value("x-a"), value("content-length")), (Some("3"), Some("10")));
        assert_eq!(value("content-type"), None);
        assert_eq!((left(&meta), meta.headers().get_all("x-a").iter().count()), (51, 1));
    }

    #[test]
    fn error_response_is_not_stored_and_says_nothing_about_the_url() {
        for status in [500, 503, 429] {
            let response = response(status, &[("cache-control", "max-age=60")]);
            let arrival = ResponseArrival::from_response(&response, Duration::ZERO);
            let refusal = judge(&response, &arrival, RequestFacts::default(), &policy()).err();
            assert_eq!(
                refusal,
                Some(NotStoredReason::OfRequest(NotStoredReason::ERROR)),
                "{status}"
            );
        }
    }

    /// Values of a header: lists of what means something in one or another, and any bytes.
    fn values() -> impl Strategy<Value = HeaderValue> {
        let item = prop::sample::select(vec![
            "max-age=60",
            "max-age=x",
            "max-age=18446744073709551616",
            "s-maxage=4294967296",
            "s-maxage=5",
            "public",
            "private",
            "private=\"set-cookie\"",
            "no-cache",
            "no-cache=\"set-cookie\"",
            "no-store",
            "NO-STORE",
            "must-revalidate",
            "only-if-cached",
            "min-fresh=5",
            "stale-while-revalidate=5",
            "stale-if-error=-1",
            "x=\", no-store",
            "*",
            "accept",
            "0",
            "3",
            "\"v1\"",
            "Thu, 01 Jan 2026 00:00:00 GMT",
            "Thu, 01 Jan 2099 00:00:00 GMT",
            "",
        ]);
        let list =
            prop::collection::vec(item, 1..5).prop_map(|items| items.join(", ").into_bytes());
        prop_oneof![4 => list, 1 => prop::collection::vec(any::<u8>(), 0..40)]
            .prop_filter_map("not the value of a header", |it| HeaderValue::from_bytes(&it).ok())
    }

    fn fields() -> impl Strategy<Value = HeaderMap> {
        let any_name = prop::sample::select(vec![
            header::AGE,
            header::CONTENT_LENGTH,
            header::DATE,
            header::ETAG,
            header::EXPIRES,
            header::PRAGMA,
            header::SET_COOKIE,
            header::VARY,
        ]);
        let name = prop_oneof![Just(header::CACHE_CONTROL), any_name];
        prop::collection::vec((name, values()), 0..6).prop_map(|fields| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value);
            }
            headers
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn nothing_forbidden_is_stored_and_nothing_for_longer_than_max_ttl(
            status in prop::sample::select(vec![
                200_u16, 203, 204, 206, 301, 302, 304, 404, 410, 429, 500, 503,
            ]),
            headers in fields(),
        ) {
            let _ = RequestDirectives::from_headers(&headers);
            let mut head = response(status, &[]);
            for (name, value) in &headers {
                head.append_header(name, value).expect("a field");
            }
            let arrival = ResponseArrival::from_response(&head, Duration::ZERO);
            let judged = judge(&head, &arrival, RequestFacts::default(), &policy());
            let Ok(meta) = judged else { return Ok(()) };
            prop_assert!(left(&meta) <= 1000);
            prop_assert!(status < 500 && status != 429);
            let lines = || headers.get_all(header::CACHE_CONTROL).iter();
            let says = |word: &str| {
                let lines = lines().filter_map(|line| line.to_str().ok());
                lines.flat_map(|line| line.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
            };
            // Quotation marks may hold what looks like a directive.
            if lines().all(|line| !line.as_bytes().contains(&b'"')) {
                prop_assert!(!says("no-store") && !says("private"));
                prop_assert!(!headers.contains_key(header::SET_COOKIE) || says("public"));
            }
        }
    }
}
