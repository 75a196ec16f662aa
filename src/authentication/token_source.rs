//! Where clients put tokens and keys: reads them there, and removes them from what the upstream receives. Verifies
//! nothing.

use http::header::{self, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use std::borrow::Cow;
use std::fmt;
use tidegate_http::{cookie, query};

/// A place where a client may put a token or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// `Authorization`, after this scheme and a space (RFC 9110, section 11.4).
    Authorization(&'static str),
    /// Another header.
    Header(HeaderName),
    /// An entry of `Sec-WebSocket-Protocol` with this prefix.
    Subprotocol(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorization(scheme) => write!(f, "header authorization ({scheme})"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Subprotocol(prefix) => write!(f, "subprotocol {prefix}…"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query {name}"),
        }
    }
}

impl TokenSource {
    /// The token, if the request has one here. `Err` if it has several, of which an upstream or another gateway might
    /// read another one.
    pub(crate) fn find<'h>(
        &self,
        head: &'h RequestHeader,
    ) -> Result<Option<Cow<'h, [u8]>>, SeveralTokens> {
        match self {
            Self::Authorization(scheme) => {
                let values =
                    head.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
                let Some(value) = only(values)? else { return Ok(None) };
                Ok(credentials_of(scheme, value).map(Cow::Borrowed))
            }
            Self::Header(name) => {
                let values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                Ok(only(values)?
                    .map(<[u8]>::trim_ascii)
                    .filter(|it| !it.is_empty())
                    .map(Cow::Borrowed))
            }
            Self::Subprotocol(prefix) => {
                let tokens =
                    subprotocols(head).filter_map(|entry| entry.strip_prefix(prefix.as_bytes()));
                Ok(only(tokens)?.filter(|it| !it.is_empty()).map(Cow::Borrowed))
            }
            Self::Cookie(name) => Ok(only(cookie::find_all(&head.headers, name))?
                .filter(|it| !it.is_empty())
                .map(Cow::Borrowed)),
            Self::Query(name) => {
                let values =
                    head.uri.query().into_iter().flat_map(|text| query::find_all(text, name));
                Ok(only(values)?.filter(|it| !it.is_empty()))
            }
        }
    }

    /// Removes the token, and leaves everything else as it is.
    pub(crate) fn remove(&self, head: &mut RequestHeader) {
        match self {
            Self::Authorization(scheme) => {
                let is_ours =
                    |value: &HeaderValue| credentials_of(scheme, value.as_bytes()).is_some();
                if head.headers.get_all(header::AUTHORIZATION).iter().any(is_ours) {
                    head.remove_header(&header::AUTHORIZATION);
                }
            }
            Self::Header(name) => {
                head.remove_header(name);
            }
            Self::Subprotocol(prefix) => {
                let is_token = |entry: &&[u8]| entry.starts_with(prefix.as_bytes());
                if !subprotocols(head).any(|entry| is_token(&entry)) {
                    return;
                }
                let kept: Vec<&[u8]> =
                    subprotocols(head).filter(|entry| !is_token(entry)).collect();
                replace(head, header::SEC_WEBSOCKET_PROTOCOL, &kept.join(&b", "[..]));
            }
            Self::Cookie(name) => {
                if cookie::find(&head.headers, name).is_none() {
                    return;
                }
                let kept: Vec<&[u8]> = cookie::pairs(&head.headers)
                    .filter(|pair| cookie::name_of(pair) != name.as_bytes())
                    .collect();
                let kept = kept.join(&b"; "[..]);
                replace(head, header::COOKIE, &kept);
            }
            Self::Query(name) => remove_parameter(head, name),
        }
    }
}

/// Several tokens in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeveralTokens;

fn only<T>(mut values: impl Iterator<Item = T>) -> Result<Option<T>, SeveralTokens> {
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(SeveralTokens),
    }
}

/// What follows the scheme, ignoring its case, and at least one space.
fn credentials_of<'v>(scheme: &str, value: &'v [u8]) -> Option<&'v [u8]> {
    let (name, rest) = value.split_at_checked(scheme.len())?;
    let is_scheme = name.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ');
    is_scheme.then(|| rest.trim_ascii()).filter(|rest| !rest.is_empty())
}

/// The entries of `Sec-WebSocket-Protocol` (RFC 6455, section 11.3.4).
fn subprotocols(head: &RequestHeader) -> impl Iterator<Item = &[u8]> {
    head.headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

fn replace(head: &mut RequestHeader, name: HeaderName, value: &[u8]) {
    head.remove_header(&name);
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        // Parts of a valid value, joined by valid characters.
        let _ = head.insert_header(name, value);
    }
}

fn remove_parameter(head: &mut RequestHeader, name: &str) {
    let Some(text) = head.uri.query() else { return };
    let Some(kept) = query::without(text, name) else { return };
    let path = head.uri.path();
    let target = match kept.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{kept}"),
    };
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = target.parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        head.set_uri(uri);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    fn text(
        found: Result<Option<Cow<'_, [u8]>>, SeveralTokens>,
    ) -> Result<Option<String>, SeveralTokens> {
        found.map(|it| it.map(|it| String::from_utf8_lossy(&it).into_owned()))
    }

    #[test]
    fn token_is_found_and_removed_at_each_place_and_nothing_else_changes() {
        let mut request = head(
            "/ws?a=1&access_token=t4&b=%20",
            &[
                ("authorization", "bearer  t1"),
                ("sec-websocket-protocol", "chat.v1, access_token.t2"),
                ("cookie", "a=1; session=t3; b=2"),
                ("x-api-key", "t5"),
            ],
        );
        let sources = [
            (TokenSource::Authorization("Bearer"), "t1"),
            (TokenSource::Subprotocol("access_token.".into()), "t2"),
            (TokenSource::Cookie("session".into()), "t3"),
            (TokenSource::Query("access_token".into()), "t4"),
            (TokenSource::Header(HeaderName::from_static("x-api-key")), "t5"),
        ];
        for (source, token) in sources {
            assert_eq!(text(source.find(&request)), Ok(Some(token.to_owned())), "{source}");
            source.remove(&mut request);
            assert_eq!(text(source.find(&request)), Ok(None), "{source}");
        }
        assert_eq!(request.uri.to_string(), "/ws?a=1&b=%20");
        assert_eq!(request.headers["sec-websocket-protocol"], "chat.v1");
        assert_eq!(request.headers["cookie"], "a=1; b=2");
        assert_eq!(request.headers.len(), 2);
    }

    #[test]
    fn several_tokens_in_one_place_are_refused() {
        let request = head(
            "/?t=1&t=2",
            &[
                ("authorization", "Bearer a"),
                ("authorization", "Bearer b"),
                ("sec-websocket-protocol", "t.a"),
                ("sec-websocket-protocol", "t.b"),
                ("cookie", "s=1"),
                ("cookie", "s=2"),
            ],
        );
        for source in [
            TokenSource::Authorization("Bearer"),
            TokenSource::Subprotocol("t.".into()),
            TokenSource::Cookie("s".into()),
            TokenSource::Query("t".into()),
        ] {
            assert_eq!(text(source.find(&request)), Err(SeveralTokens), "{source}");
        }
    }

    #[test]
    fn authorization_of_another_scheme_is_no_token() {
        for value in ["Basic dTpw", "Bearer", "Bearer ", "Bearertoken", "", "Bear"] {
            let request = head("/", &[("authorization", value)]);
            assert_eq!(
                text(TokenSource::Authorization("Bearer").find(&request)),
                Ok(None),
                "{value}"
            );
        }
    }
}
