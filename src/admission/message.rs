//! Validates and normalises a request head, whichever route it is for: host, headers, framing, limits. Knows no route.

use super::{HeaderSurvey, KnownHeader, Rejection};
use crate::filter::Reply;
use crate::snapshot::{GlobalSettings, ManagedHeaders, RequestLimits, Underscores, has_underscore};
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Uri, Version};
use pingora::http::RequestHeader;
use std::borrow::Cow;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::proxy_headers::is_for_proxies;
use tidegate_http::raw_head::MANY_HOSTS;
use tidegate_http::{framing, head, host, path, url};

/// Why a request is refused whose header could be read in two ways: with the white space around it, and without
/// (RFC 9113, section 8.2.1; RFC 9110, section 5.5).
pub(crate) const PADDED_VALUE_REASON: &str =
    "the value of a header begins or ends with white space";

/// Normalises a head for all later steps: removes headers that imitate others or that only a trusted proxy may
/// send, and writes the host in its canonical form. Rejects heads over a limit, and requests that loop back.
pub(crate) fn prepare(
    global: &GlobalSettings,
    survey: &HeaderSurvey,
    peer_is_trusted: bool,
    head: &mut RequestHeader,
) -> Result<(), Rejection> {
    check_limits(&global.limits, survey, head)?;
    // Over HTTP/1.1 the parser has removed the white space.
    if survey.has_padded_value && head.version == Version::HTTP_2 {
        return Err(Rejection::bad_request(PADDED_VALUE_REASON));
    }
    if survey.has_odd_name || global.managed_headers.has_odd_names() {
        drop_aliases(&global.managed_headers, head)?;
    }
    if survey.is_like_a_proxys && !peer_is_trusted {
        drop_forged(head);
    }
    if survey.has(KnownHeader::Via) && global.via.is_in(&head.headers) {
        return Err(Rejection::request(Reply::gateway_error(
            ErrorCode::LoopDetected,
            "the request has already passed through this gateway: an upstream forwards requests \
             back to the gateway",
        )));
    }
    canonicalize_host(head)
}

/// Removes headers that CGI, WSGI and the like would read as other headers.
fn drop_aliases(managed: &ManagedHeaders, head: &mut RequestHeader) -> Result<(), Rejection> {
    if managed.underscores == Underscores::Reject
        && let Some(name) = head.headers.keys().find(|name| has_underscore(name))
    {
        return Err(Rejection::bad_request(&format!(
            "the name of the header `{name}` contains an underscore (limits.underscore_headers)"
        )));
    }
    for name in managed.aliases(&head.headers) {
        head.remove_header(&name);
    }
    Ok(())
}

/// Removes headers about connection and certificate that an untrusted client sent. Filters may set them later.
fn drop_forged(head: &mut RequestHeader) {
    while let Some(name) = head.headers.keys().find(|name| is_for_proxies(name)).cloned() {
        head.remove_header(&name);
    }
}

/// Writes the host in its canonical form into both places where a head can have it.
fn canonicalize_host(head: &mut RequestHeader) -> Result<(), Rejection> {
    if let Some(authority) = head.uri.authority() {
        match host::canonical(authority.as_str()) {
            None => {
                return Err(Rejection::bad_request(
                    "the authority of the request is not a valid host",
                ));
            }
            Some(Cow::Borrowed(same)) if same.len() == authority.as_str().len() => {}
            Some(canonical) => {
                let mut parts = head.uri.clone().into_parts();
                parts.authority = canonical.parse().ok();
                if let Ok(uri) = Uri::from_parts(parts) {
                    head.set_uri(uri);
                }
            }
        }
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let Some(written) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(Rejection::bad_request(MANY_HOSTS));
    }
    let canonical = written.to_str().ok().and_then(host::canonical);
    let Some(canonical) = canonical else {
        return Err(Rejection::bad_request("the Host header is not a valid host"));
    };
    if canonical.is_empty() {
        // RFC 9110, section 4.2.1: a URL without a host is invalid.
        return Err(Rejection::bad_request("the Host header is empty"));
    }
    // RFC 9113, section 8.3.1: `:authority` decides, and `Host` must not differ from it.
    if let Some(authority) = head.uri.authority().map(Authority::as_str)
        && authority != canonical
    {
        let scheme = head.uri.scheme_str().unwrap_or("http");
        if !url::is_same_authority(scheme, authority, &canonical) {
            return Err(Rejection::bad_request(
                "the Host header and :authority name different hosts",
            ));
        }
        let authority = HeaderValue::try_from(authority).ok();
        return authority
            .and_then(|authority| head.insert_header(header::HOST, authority).ok())
            .ok_or_else(|| {
                Rejection::bad_request("the authority of the request is not a valid host")
            });
    }
    if canonical.len() == written.len() && matches!(canonical, Cow::Borrowed(_)) {
        return Ok(());
    }
    match HeaderValue::try_from(canonical.as_ref()) {
        // It was a valid value before, and lost only characters or case.
        Ok(canonical) => drop(head.insert_header(header::HOST, canonical)),
        Err(_) => return Err(Rejection::bad_request("the Host header is not a valid host")),
    }
    Ok(())
}

fn check_limits(
    limits: &RequestLimits,
    survey: &HeaderSurvey,
    head: &RequestHeader,
) -> Result<(), Rejection> {
    let target = head.raw_path().len() as u64;
    if target > limits.uri_size {
        return Err(Rejection::request(Reply::gateway_error(
            ErrorCode::UriTooLong,
            format!("path and query may have at most {} bytes", limits.uri_size),
        )));
    }
    // A server that reads another of the repeated headers would see another page or method than this gateway.
    if survey.is_repeated(KnownHeader::Origin) {
        return Err(Rejection::bad_request("the request has more than one Origin header"));
    }
    if survey.is_repeated(KnownHeader::AskedMethod) {
        return Err(Rejection::bad_request(
            "the request has more than one Access-Control-Request-Method header",
        ));
    }
    if head.headers.len() > limits.header_count || survey.size as u64 > limits.header_size {
        return Err(Rejection::request(Reply::gateway_error(
            ErrorCode::HeadersTooLarge,
            format!(
                "a request may have at most {} headers with {} bytes in total",
                limits.header_count, limits.header_size
            ),
        )));
    }
    Ok(())
}

/// Rejects heads that two servers could read differently, for instance as one request or as two.
///
/// `raw_head` has already checked the raw bytes of a head over HTTP/1.
pub(super) fn check(request: &RequestHeader, survey: &HeaderSurvey) -> Result<(), Rejection> {
    if request.version == Version::HTTP_2
        && request.uri.scheme().is_some_and(|scheme| !is_served(scheme))
    {
        // This includes the absolute form over HTTP/1.1.
        return Err(Rejection::bad_request("the :scheme is neither http nor https"));
    }
    if survey.has(KnownHeader::ContentLength) || survey.has(KnownHeader::TransferEncoding) {
        check_framing(request)?;
    }
    // RFC 9110, section 10.1.1: HTTP/1.0 knows no expectations.
    let may_expect = survey.has(KnownHeader::Expect) && request.version != Version::HTTP_10;
    if may_expect && framing::expects_the_unknown(&request.headers) {
        return Err(Rejection::request(Reply::error(
            StatusCode::EXPECTATION_FAILED,
            ErrorCode::BadRequest,
            "the gateway supports no expectation other than 100-continue",
        )));
    }
    if is_miscased_standard(&request.method) {
        let reason = format!("`{}` is not a method; methods are case-sensitive", request.method);
        return Err(Rejection::bad_request(&reason));
    }
    // RFC 9112, section 3.2: origin-form, or absolute-form of what is served here. RFC 9113, section 8.3.1: over
    // HTTP/2 `:path` is the former.
    let target = request.raw_path();
    let is_origin_form = target.starts_with(b"/");
    let is_absolute_form = request.version != Version::HTTP_2 && head::is_target(target);
    if is_origin_form || is_absolute_form || is_about_gateway(request) {
        Ok(())
    } else {
        Err(Rejection::bad_request(&path::PathError::NotAbsolute.to_string()))
    }
}

fn check_framing(request: &RequestHeader) -> Result<(), Rejection> {
    framing::check(&request.headers).map_err(|error| match error {
        framing::FramingError::Length => Rejection::bad_request(&error.to_string()),
        framing::FramingError::Coding => Rejection::request(Reply::error(
            StatusCode::NOT_IMPLEMENTED,
            ErrorCode::BadRequest,
            error.to_string(),
        )),
    })
}

/// Whether the request is `OPTIONS *`, which asks about the gateway itself (RFC 9110, section 9.3.7).
pub(super) fn is_about_gateway(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS && request.raw_path() == b"*"
}

/// Whether the gateway must answer the request instead of forwarding it: OPTIONS with `Max-Forwards: 0`
/// (RFC 9110, section 7.6.2). TRACE is answered here anyway.
pub(super) fn has_max_forwards_zero(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.get(header::MAX_FORWARDS).is_some_and(|value| {
            let digits = value.as_bytes();
            !digits.is_empty() && digits.iter().all(|digit| *digit == b'0')
        })
}

/// Whether the gateway serves URLs of this scheme.
fn is_served(scheme: &Scheme) -> bool {
    // RFC 3986, section 3.1: schemes are case-insensitive.
    [Scheme::HTTP, Scheme::HTTPS].iter().any(|it| it.as_str().eq_ignore_ascii_case(scheme.as_str()))
}

/// Whether a method differs from a standard one only in case. Some frameworks accept it as the standard one, so it
/// could bypass a rule by methods.
fn is_miscased_standard(method: &Method) -> bool {
    const STANDARD: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    let name = method.as_str();
    name.bytes().any(|byte| byte.is_ascii_lowercase())
        && STANDARD.iter().any(|standard| standard.as_str().eq_ignore_ascii_case(name))
}

/// The requested host (RFC 9110, section 7.2) of a head after [`prepare`].
pub(crate) fn authority(head: &RequestHeader) -> Result<&str, Rejection> {
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str());
    }
    match head.headers.get(header::HOST) {
        Some(value) => value
            .to_str()
            .map_err(|_| Rejection::bad_request("the Host header is not a valid host")),
        None if head.version == Version::HTTP_10 => Ok(""),
        // RFC 9112, section 3.2: a server must refuse this.
        None => Err(Rejection::bad_request("the request has no Host header")),
    }
}
