//! Connects the cache to the hooks: which requests it answers, with which keys, and what the response says about it
//! (RFC 9111, RFC 9211). The rules about responses are in `cache/`.

use super::filter_error::FILTER;
use super::{Context, Proxy, failure, reply};
use crate::admission::authority;
use crate::cache::{
    CacheStatus, CacheStore, NotStoredReason, RequestDirectives, RequestFacts, ResponseArrival,
    RouteCachePolicy, StoreViewGuard, decide_storage, has_freshness_lifetime, is_answerable,
    names_user,
};
use crate::filter::Reply;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};
use pingora_cache::key::HashBinary;
use pingora_cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, NoCacheReason,
    RespCacheable, VarianceBuilder,
};
use pingora_proxy::{RangeType, Session, range_header_filter};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name;
use tidegate_http::header_name::spelled::{self, CACHE_STATUS};
use tidegate_http::url;

/// Maximum time that a request waits for another that fetches the same response.
const STAMPEDE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of ranges in a response: each may be the whole body.
const MAX_RANGES_PER_REQUEST: usize = 8;

/// Headers by which trusted proxies and the gateway describe the original request.
const FORWARDING_HEADERS: [HeaderName; 6] = [
    header_name::X_FORWARDED_HOST,
    header_name::X_FORWARDED_PROTO,
    header_name::X_FORWARDED_PORT,
    header_name::X_FORWARDED_PREFIX,
    header_name::X_FORWARDED_SSL,
    header_name::X_FORWARDED_PROTOCOL,
];

/// A request that the cache may answer.
pub(super) struct RequestCaching {
    view_guard: StoreViewGuard,
    policy: Arc<RouteCachePolicy>,
    directives: RequestDirectives,
    facts: RequestFacts,
    is_range: bool,
    /// Whether it refreshes what a client has been given already.
    is_background: bool,
    /// When the upstream was asked.
    sent: Option<Instant>,
    arrival: Option<ResponseArrival>,
    is_presented_as_http1: bool,
    has_added_host: bool,
}

/// Whether this is a background revalidation, for which no client waits.
pub(super) fn is_background(session: &Session) -> bool {
    session.subrequest_ctx.is_some()
}

/// Enables the cache for the request, if its route has one.
pub(super) fn enable(proxy: &Proxy, session: &mut Session, ctx: &mut Context) {
    let (Some(policy), Some(store)) = (&ctx.route.cache, proxy.state.cache.store()) else { return };
    let has_body = !session.is_body_empty();
    let head = session.req_header();
    if ctx.exchange.is_websocket || !is_answerable(head, has_body) {
        return;
    }
    let headers = &head.headers;
    let directives = match headers.contains_key(header::CACHE_CONTROL) {
        true => RequestDirectives::from_headers(headers),
        false => RequestDirectives::default(),
    };
    if directives.no_store {
        return;
    }
    let facts = RequestFacts {
        // Authentication has removed the credential from the head.
        with_authorization: headers.contains_key(header::AUTHORIZATION)
            || ctx.exchange.authentication.is_some(),
        with_cookie: headers.contains_key(header::COOKIE),
        // It matters where the response says nothing alone.
        of_user: !policy.default_ttl.is_zero()
            && names_user(headers, &ctx.exchange, &policy.identity_headers, &policy.key_headers),
    };
    let is_range = headers.contains_key(header::RANGE);
    let view_guard = StoreViewGuard::acquire(store);
    let mut options = CacheOptionOverrides::default();
    options.wait_timeout = Some(STAMPEDE_TIMEOUT);
    session.cache.enable(
        view_guard.view(),
        Some(store),
        Some(&store.predictor),
        // A part is not kept: nobody shall wait for it.
        (!is_range).then_some(&store.stampede as _),
        Some(options),
    );
    session.cache.set_max_file_size_bytes(store.max_entry());
    // While a client takes nothing of what it made the cache fetch, the others are still given it.
    session.set_proxy_tasks_enabled(true);
    ctx.caching = Some(Box::new(RequestCaching {
        view_guard,
        policy: Arc::clone(policy),
        directives,
        facts,
        is_range,
        is_background: is_background(session),
        sent: None,
        arrival: None,
        is_presented_as_http1: false,
        has_added_host: false,
    }));
}

/// The host that the upstream gets for a request that the cache may answer: the one of the cache key, so that no
/// spelling of it affects the response that other clients get. `None` if the cache is not used.
pub(super) fn host(session: &Session, ctx: &Context) -> Option<String> {
    ctx.caching.as_ref()?;
    let authority = authority(session.req_header()).ok().filter(|it| !it.is_empty())?;
    Some(url::normalized_authority(ctx.exchange.scheme(), authority))
}

/// The requested target with this path, as a client would write it.
fn target_url(head: &RequestHeader, path: &str, ctx: &Context) -> Option<String> {
    let authority = authority(head).ok().filter(|authority| !authority.is_empty())?;
    Some(url::normal(ctx.exchange.scheme(), authority, path, head.uri.query()))
}

/// The cache key of a request: the target as the upstream gets it, the upstream, and the route with its settings,
/// so that after a reload no response is served that was fetched under other rules.
pub(super) fn key(session: &Session, ctx: &Context) -> Result<CacheKey> {
    let head = session.req_header();
    let path = ctx.exchange.forwarded_path(head);
    let (Some(caching), Some(url)) = (&ctx.caching, target_url(head, path, ctx)) else {
        return Error::e_explain(ErrorType::InternalError, "the request has no URL");
    };
    let mut key = Vec::with_capacity(url.len() + 64);
    // Each part ends where nothing can move it: none holds a zero, and lengths stand before values.
    key.extend_from_slice(url.as_bytes());
    key.push(0);
    key.extend_from_slice(&ctx.route.fingerprint.to_be_bytes());
    key.extend_from_slice(ctx.pool().map_or("", |pool| pool.name()).as_bytes());
    key.push(0);
    let forwarding: &[HeaderName] = if ctx.peer_is_trusted { &FORWARDING_HEADERS } else { &[] };
    for name in caching.policy.key_headers.iter().chain(forwarding) {
        let value = joined_header(&head.headers, name);
        key.extend_from_slice(&value.as_ref().map_or(u64::MAX, |it| it.len() as u64).to_be_bytes());
        key.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    if ctx.peer_is_trusted {
        push_forwarded_parameters(&head.headers, &mut key);
    }
    // Whoever purges a URL purges it however it is spelt.
    let normal = ctx.exchange.normal_path(head);
    let url = match normal == path {
        true => url,
        false => target_url(head, normal, ctx).unwrap_or(url),
    };
    let mut key = CacheKey::new(key, "");
    // What wants nothing fetched lets nobody wait for it.
    let shares = caching.facts.may_share(&caching.policy) && !caching.directives.only_if_cached;
    key.extensions.insert(caching.view_guard.store().target(url, shares));
    Ok(key)
}

/// Adds the parameters of `Forwarded` (RFC 7239) to the key, except addresses, which would give each client a key
/// of its own. If quoting is ambiguous, the key distinguishes more, not less.
fn push_forwarded_parameters(headers: &HeaderMap, key: &mut Vec<u8>) {
    let is_address = |pair: &[u8]| {
        [&b"for="[..], b"by="]
            .iter()
            .any(|name| pair.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name)))
    };
    for value in headers.get_all(header::FORWARDED) {
        let pairs = value.as_bytes().split(|byte| matches!(byte, b';' | b','));
        for pair in pairs.map(<[u8]>::trim_ascii).filter(|pair| !is_address(pair)) {
            key.push(0);
            key.extend_from_slice(pair);
        }
    }
}

/// A header's value, joined over all its lines; `None` if it is absent.
fn joined_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let mut value = Cow::Borrowed(first.as_bytes().trim_ascii());
    for further in values {
        let value = value.to_mut();
        value.extend_from_slice(b", ");
        value.extend_from_slice(further.as_bytes().trim_ascii());
    }
    Some(value)
}

/// The variant of a response by the headers that `Vary` names, and by `Accept-Encoding` for an encoded response even
/// if `Vary` lacks it.
pub(super) fn variance(meta: &CacheMeta, head: &RequestHeader) -> Option<HashBinary> {
    let headers = meta.headers();
    let named = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).map(str::trim);
    let encoded =
        headers.contains_key(header::CONTENT_ENCODING).then_some(spelled::ACCEPT_ENCODING);
    let mut variance = VarianceBuilder::new();
    for name in named.chain(encoded) {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let value = joined_header(&head.headers, &name);
        let mut told_apart = vec![u8::from(value.is_some())];
        told_apart.extend_from_slice(value.as_deref().unwrap_or_default());
        variance.add_owned_name_value(name.as_str().to_owned(), told_apart);
    }
    variance.finalize()
}

/// Records that no stored response matches.
pub(super) fn record_miss(session: &mut Session, ctx: &Context) {
    if ctx.caching.as_ref().is_some_and(|caching| caching.is_range) {
        // It goes as it is; the whole would be fetched for a part.
        session.cache.disable(NoCacheReason::Custom(NotStoredReason::RANGE));
    } else {
        session.cache.cache_miss();
    }
}

/// Whether the stored response must be revalidated for this request.
pub(super) fn forced_freshness(meta: &CacheMeta, ctx: &Context) -> Option<ForcedFreshness> {
    let caching = ctx.caching.as_ref().filter(|caching| !caching.is_background)?;
    if caching.facts.identifies_user() && !has_freshness_lifetime(meta.headers()) {
        // It was kept by `default_ttl`, for requests that name nobody.
        return Some(ForcedFreshness::ForceMiss);
    }
    let now = SystemTime::now();
    caching.directives.require_validation(meta, now).then_some(ForcedFreshness::ForceExpired)
}

/// Whether the upstream may be asked. With `only-if-cached` it may not, and the client gets 504.
pub(super) async fn may_ask_upstream(session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let caching = ctx.caching.as_ref().filter(|caching| !caching.is_background);
    if !caching.is_some_and(|caching| caching.directives.only_if_cached) {
        return Ok(true);
    }
    let reply = Reply::gateway_error(
        ErrorCode::NotCached,
        "the request accepts only a cached response (only-if-cached), and the cache has none",
    );
    reply::send(session, ctx, reply).await.map(|()| false)
}

/// Records that the upstream is asked.
pub(super) fn record_request(ctx: &mut Context) {
    if let Some(caching) = &mut ctx.caching {
        caching.sent = Some(Instant::now());
    }
}

/// Records the response of the upstream.
pub(super) fn record_response(response: &ResponseHeader, ctx: &mut Context) {
    if let Some(caching) = &mut ctx.caching
        && !response.status.is_informational()
    {
        let took = caching.sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        caching.arrival = Some(ResponseArrival::from_response(response, took));
    }
}

/// Whether the response may be stored.
pub(super) fn cacheability(response: &ResponseHeader, ctx: &Context) -> RespCacheable {
    let Some(caching) = &ctx.caching else {
        return RespCacheable::Uncacheable(NoCacheReason::OriginNotCache);
    };
    // A page takes its place, for those who want one.
    let pages = ctx.route.global.error_pages.as_ref().filter(|pages| pages.intercepts);
    if pages.is_some_and(|pages| pages.has_page(response.status)) {
        return RespCacheable::Uncacheable(NoCacheReason::OriginNotCache);
    }
    let Some(arrival) = &caching.arrival else {
        return RespCacheable::Uncacheable(NoCacheReason::InternalError);
    };
    match decide_storage(response, arrival, caching.facts, &caching.policy) {
        Ok(meta) => RespCacheable::Cacheable(meta),
        Err(NotStoredReason::OfResponse) => {
            RespCacheable::Uncacheable(NoCacheReason::OriginNotCache)
        }
        Err(NotStoredReason::OfRequest(reason)) => {
            RespCacheable::Uncacheable(NoCacheReason::Custom(reason))
        }
    }
}

/// Whether a stale response is served, during revalidation or instead of an error. The stored metadata already
/// limits for how long.
pub(super) fn may_serve_stale(
    session: &mut Session,
    ctx: &mut Context,
    error: Option<&Error>,
) -> bool {
    // Pingora discards what is left of the response, and the connection may go to another request.
    ctx.attempt.deadline = None;
    match error {
        // The request in the background would have no credential, which has been removed from the head.
        None if ctx.exchange.authentication.is_some() => false,
        None => {
            present_as_http1(session, ctx);
            true
        }
        // What a filter refuses is refused, whatever the cache has.
        Some(error) if *error.esource() == ErrorSource::Downstream || *error.etype() == FILTER => {
            false
        }
        Some(error) => {
            ctx.outcome.error = Some(match error.etype() {
                ErrorType::HTTPStatus(status) => format!("the upstream answered {status}"),
                _ => failure::describe(error, ctx),
            });
            true
        }
    }
}

/// Forwards an interim response if the cache may store the final one: Pingora drops interim responses that it reads
/// together with the final head.
pub(super) async fn pass_interim(
    session: &mut Session,
    response: &mut ResponseHeader,
) -> Result<()> {
    let version = session.req_header().version;
    let is_due = session.cache.enabled()
        && response.status != StatusCode::CONTINUE
        && version != Version::HTTP_10;
    if !is_due {
        return Ok(());
    }
    let client = session.as_downstream_mut();
    client.set_ignore_info_resp(false);
    client.write_response_header_ref(response).await.map_err(Error::into_down)?;
    // Pingora may pass it on as well, which would be a second time.
    client.set_ignore_info_resp(true);
    if version == Version::HTTP_2 {
        // There is no such setting, but no client is sent a 100.
        response.set_status(StatusCode::CONTINUE)?;
    }
    Ok(())
}

/// Presents an HTTP/2 request as HTTP/1.1 until its response begins. Pingora revalidates in the background with a copy
/// of the head that it writes and parses as HTTP/1; it cannot parse its own copy of an HTTP/2 head.
fn present_as_http1(session: &mut Session, ctx: &mut Context) {
    let head = session.req_header();
    let Some(caching) = ctx.caching.as_mut().filter(|_| head.version == Version::HTTP_2) else {
        return;
    };
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let authority = authority.filter(|_| !head.headers.contains_key(header::HOST));
    caching.is_presented_as_http1 = true;
    caching.has_added_host = authority.is_some();
    let head = session.req_header_mut();
    head.set_version(Version::HTTP_11);
    if let Some(authority) = authority {
        // What was an authority is a value.
        let _ = head.insert_header(header::HOST, authority);
    }
}

/// Restores the head that [`present_as_http1`] changed.
pub(super) fn restore_http2(session: &mut Session, ctx: &mut Context) {
    let Some(caching) = ctx.caching.as_mut().filter(|caching| caching.is_presented_as_http1) else {
        return;
    };
    caching.is_presented_as_http1 = false;
    let head = session.req_header_mut();
    head.set_version(Version::HTTP_2);
    if caching.has_added_host {
        head.remove_header(&header::HOST);
    }
}

/// The requested range of a stored response.
pub(super) fn range(session: &Session, response: &mut ResponseHeader) -> RangeType {
    let head = session.req_header();
    // RFC 9110, section 13.1.5: a weak validator does not tell bytes apart.
    let is_weak = |value: &HeaderValue| value.as_bytes().starts_with(b"W/");
    // Section 14.2: it is for GET alone.
    if head.method != Method::GET || head.headers.get(header::IF_RANGE).is_some_and(is_weak) {
        return RangeType::None;
    }
    range_header_filter(head, response, Some(MAX_RANGES_PER_REQUEST))
}

/// What the cache did for the request, if its route has one.
pub(super) fn status(session: &Session, ctx: &Context) -> Option<CacheStatus> {
    ctx.route.cache.as_ref().map(|_| CacheStatus::from_phase(session.cache.phase()))
}

/// Whether the body comes from the cache.
pub(super) fn is_from_cache(session: &Session) -> bool {
    matches!(
        session.cache.phase(),
        CachePhase::Hit
            | CachePhase::Stale
            | CachePhase::StaleUpdating
            | CachePhase::Revalidated
            | CachePhase::RevalidatedNoCache(_)
    )
}

/// Adds `Cache-Status` (RFC 9211) and `Age`.
pub(super) fn add_status(
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &Context,
) -> Result<()> {
    let Some(status) = status(session, ctx) else { return Ok(()) };
    let directives = ctx.caching.as_ref().map(|caching| caching.directives);
    let forced = directives.is_some_and(|it| it != RequestDirectives::default());
    let stale = if forced { "request" } else { "stale" };
    let cache_status = match status {
        CacheStatus::Hit | CacheStatus::Stale => {
            let meta = session.cache.cache_meta();
            HeaderValue::try_from(format!("tidegate; hit; ttl={}", ttl(meta)))
                .or_err(ErrorType::InternalError, "cannot build the `Cache-Status` header")?
        }
        CacheStatus::Miss => HeaderValue::from_static("tidegate; fwd=miss; stored"),
        CacheStatus::Expired | CacheStatus::Revalidated => {
            let code = if status == CacheStatus::Expired { response.status.as_u16() } else { 304 };
            let stored = if is_stored(session) { "; stored" } else { "" };
            HeaderValue::try_from(format!("tidegate; fwd={stale}; fwd-status={code}{stored}"))
                .or_err(ErrorType::InternalError, "cannot build the `Cache-Status` header")?
        }
        CacheStatus::Pass => HeaderValue::from_static("tidegate; fwd=miss"),
        CacheStatus::Bypass if session.req_header().method.is_safe() => {
            HeaderValue::from_static("tidegate; fwd=bypass")
        }
        CacheStatus::Bypass => HeaderValue::from_static("tidegate; fwd=method"),
    };
    response.append_header(CACHE_STATUS, cache_status)?;
    if status == CacheStatus::Revalidated {
        // What is kept has the age of when it came; Pingora mends that of a hit alone.
        let age = session.cache.cache_meta().age().as_secs();
        response.insert_header(header::AGE, age)?;
    }
    Ok(())
}

fn is_stored(session: &Session) -> bool {
    !matches!(session.cache.phase(), CachePhase::RevalidatedNoCache(_))
}

/// Seconds for which the response is still fresh; negative if it is stale.
fn ttl(meta: &CacheMeta) -> i64 {
    let now = SystemTime::now();
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match meta.fresh_until().duration_since(now) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()).max(1),
    }
}

/// Purges the URLs that an unsafe request has changed (RFC 9111, section 4.4).
pub(super) fn invalidate(
    store: Option<&'static CacheStore>,
    session: &Session,
    response: &ResponseHeader,
    ctx: &Context,
) {
    let Some(store) = store else { return };
    let head = session.req_header();
    let is_done = response.status.is_success() || response.status.is_redirection();
    if head.method.is_safe() || !is_done {
        return;
    }
    if let Some(url) = target_url(head, ctx.exchange.normal_path(head), ctx) {
        store.purge(&crate::cache::PurgeScope::Url(url));
    }
}
