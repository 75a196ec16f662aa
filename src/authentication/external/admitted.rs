//! What the gateway takes of a service's admission: the headers for the upstream, the claims, the user, the expiry.
//! Asks no service.

use super::super::Verdict;
use crate::identity::{LAST_SECOND, SchemeKind, VerifiedIdentity};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is taken of the response of a service.
#[derive(Debug, Clone, Default)]
pub(crate) struct TakeSettings {
    /// Headers that the upstream receives; they are claims too.
    pub(crate) headers: Box<[HeaderName]>,
    /// The one with the user id.
    pub(crate) user: Option<HeaderName>,
    /// The one with the time at which the login expires.
    pub(crate) expires: Option<HeaderName>,
}

/// An admission.
#[derive(Debug)]
pub(super) struct Admitted {
    identity: Arc<VerifiedIdentity>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Admitted {
    /// What a response with these headers admits, or why it cannot be read.
    pub(super) fn new(
        scheme: &Arc<str>,
        kind: SchemeKind,
        take: &TakeSettings,
        response: &HeaderMap,
    ) -> Result<Self, String> {
        let mut claims = Map::new();
        let mut headers = Vec::new();
        for name in &take.headers {
            let values = response.get_all(name);
            headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
            let mut texts: Vec<Value> =
                values.iter().filter_map(text).map(|text| Value::from(text.to_owned())).collect();
            let claim = match texts.len() {
                0 => continue,
                1 => texts.remove(0),
                _ => Value::Array(texts),
            };
            claims.insert(name.as_str().to_owned(), claim);
        }
        if let Some(name) = &take.user {
            // Whatever another header is called, this one alone names the user.
            claims.remove("sub");
            if let Some(user) = only(response, name)? {
                claims.insert("sub".to_owned(), Value::from(user.to_owned()));
            }
        }
        let expires_at = match &take.expires {
            None => None,
            Some(name) => match only(response, name)? {
                None => None,
                Some(written) => {
                    let time = time(written);
                    Some(time.ok_or_else(|| format!("its header `{name}` is not a time"))?)
                }
            },
        };
        if expires_at.is_some_and(|time| time <= SystemTime::now()) {
            return Err("it admits a login that has expired".to_owned());
        }
        let identity = VerifiedIdentity::new(Arc::clone(scheme), kind, claims, expires_at);
        Ok(Self { identity: Arc::new(identity), headers })
    }

    /// What it says of a request.
    pub(super) fn verdict(&self) -> Verdict {
        Verdict::Verified(Arc::clone(&self.identity), self.headers.clone())
    }

    /// Whether the login has not expired.
    pub(super) fn is_current(&self) -> bool {
        self.identity.expires_at().is_none_or(|time| time > SystemTime::now())
    }

    /// About how many bytes it keeps: the headers, and the claims that are made of them.
    pub(super) fn size(&self) -> usize {
        let header = |(name, value): &(HeaderName, HeaderValue)| {
            2 * (name.as_str().len() + value.len()) + 128
        };
        256 + self.headers.iter().map(header).sum::<usize>()
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::trim)
}

/// The only value of a header; `None` if there is none, or an empty one.
fn only<'r>(response: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r str>, String> {
    let mut values = response.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("it sends several headers `{name}`"));
    }
    let value = text(value).ok_or_else(|| format!("its header `{name}` is not UTF-8"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// Seconds since 1970, a date of HTTP, or RFC 3339.
fn time(written: &str) -> Option<SystemTime> {
    if let Ok(seconds) = written.parse::<u64>() {
        // Milliseconds would be thousands of years.
        let is_time = seconds <= LAST_SECOND;
        return is_time.then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(written).or_else(|_| humantime::parse_rfc3339(written)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of an answer.
    type Line = (&'static str, &'static [u8]);

    fn admitted(lines: &[(&'static str, &[u8])]) -> Result<Admitted, String> {
        let names =
            |names: &[&'static str]| names.iter().map(|it| HeaderName::from_static(it)).collect();
        let take = TakeSettings {
            headers: names(&["x-user-id", "x-groups", "sub", "x-expires"]),
            user: Some(HeaderName::from_static("x-user-id")),
            expires: Some(HeaderName::from_static("x-expires")),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Admitted::new(&"legacy".into(), SchemeKind::Forward, &take, &headers)
    }

    #[test]
    fn taken_headers_are_claims_and_the_user_is_one_of_them() {
        let lines: [(&str, &[u8]); 6] = [
            ("x-user-id", " müller ".trim().as_bytes()),
            ("x-groups", b"a b"),
            ("x-groups", b"c"),
            ("sub", b"root"),
            ("x-expires", b"4102444800"),
            ("x-other", b"no"),
        ];
        let admitted = admitted(&lines).unwrap();
        let identity = &admitted.identity;
        assert_eq!(identity.subject(), Some("müller"));
        assert_eq!(identity.claims()["x-groups"], serde_json::json!(["a b", "c"]));
        assert_eq!(identity.claim("x-other"), None);
        let year_2100 = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        assert_eq!(identity.expires_at(), Some(year_2100));
        assert_eq!(admitted.headers.len(), 5);
    }

    #[test]
    fn answer_with_an_ambiguous_user_or_expiry_is_not_read() {
        let cases: [(&[Line], &str); 5] = [
            (&[("x-user-id", b"a"), ("x-user-id", b"b")], "it sends several headers `x-user-id`"),
            (&[("x-user-id", b"\xff")], "its header `x-user-id` is not UTF-8"),
            (&[("x-expires", b"soon")], "its header `x-expires` is not a time"),
            (&[("x-expires", b"1"), ("x-expires", b"2")], "it sends several headers `x-expires`"),
            (&[("x-expires", b"1000")], "it admits a login that has expired"),
        ];
        for (lines, reason) in cases {
            assert_eq!(admitted(lines).unwrap_err(), reason);
        }
        let without = admitted(&[("x-user-id", b""), ("sub", b"root")]).unwrap();
        assert_eq!((without.identity.subject(), without.identity.expires_at()), (None, None));
    }

    #[test]
    fn time_is_read_in_three_forms() {
        for written in ["784111777", "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
            assert_eq!(time(written), Some(expected), "{written}");
        }
        assert_eq!((time("-1"), time(""), time("253402300800")), (None, None, None));
    }
}
