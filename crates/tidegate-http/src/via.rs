//! `Via` (RFC 9110, section 7.6.3): which gateways a message has passed, and so whether it loops. Rejects nothing.

use http::Version;
use http::header::{self, HeaderMap, HeaderValue};

/// How one gateway names itself.
#[derive(Debug)]
pub struct Via {
    pseudonym: String,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// A random name, unique to this gateway.
    pub fn unique() -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let pseudonym = format!("tidegate-{}", id.get(..12).unwrap_or(&id));
        let value = |protocol: &str| {
            HeaderValue::try_from(format!("{protocol} {pseudonym}"))
                .unwrap_or(HeaderValue::from_static("1.1 tidegate"))
        };
        Self { http10: value("1.0"), http11: value("1.1"), http2: value("2"), pseudonym }
    }

    /// The element to add to a message that was received with this version.
    pub fn element(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        }
    }

    /// Whether a message has already passed this gateway.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::VIA)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| matches!(byte, b',' | b' ' | b'\t')))
            .any(|word| word.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_7_6_3_via_identifies_only_its_own_gateway() {
        let (own, other) = (Via::unique(), Via::unique());
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.0 fred, 1.1 p.example.net"));
        assert!(!own.is_in(&headers));
        headers.append(header::VIA, other.element(Version::HTTP_2).clone());
        assert!(!own.is_in(&headers) && other.is_in(&headers));
        let element = own.element(Version::HTTP_11).to_str().expect("text");
        let list = format!("1.1 a (a comment),{element},1.1 b");
        headers.append(header::VIA, HeaderValue::try_from(list).expect("a value"));
        assert!(own.is_in(&headers));
    }
}
