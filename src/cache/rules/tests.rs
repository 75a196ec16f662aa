//! Tests of the rules of RFC 9111 and RFC 5861, among them the ones that must hold for any headers. They send no
//! request.

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
    decide_storage(&response, &arrival, RequestFacts::default(), &policy()).ok()
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
    let meta = decide_storage(&kept, &arrival, RequestFacts::default(), &policy())
        .expect("it may be kept");
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
        let refusal = decide_storage(&response, &arrival, RequestFacts::default(), &policy()).err();
        assert_eq!(refusal, Some(NotStoredReason::OfRequest(NotStoredReason::ERROR)), "{status}");
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
    let list = prop::collection::vec(item, 1..5).prop_map(|items| items.join(", ").into_bytes());
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
        let judged = decide_storage(&head, &arrival, RequestFacts::default(), &policy());
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
