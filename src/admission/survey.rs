//! Collects in one pass over the headers what admission needs to know about them, because each lookup by name costs
//! more than this pass costs per header. Decides nothing.

use crate::snapshot::is_odd;
use http::HeaderMap;
use tidegate_http::head::is_padded;
use tidegate_http::header_name::lower;
use tidegate_http::proxy_headers::is_for_proxies;

/// A header that only some requests have and that admission reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownHeader {
    /// `Connection`.
    Connection = 1,
    /// `Content-Length`.
    ContentLength = 2,
    /// `Expect`.
    Expect = 4,
    /// `X-Tidegate-Explain`.
    Explain = 8,
    /// `Transfer-Encoding`.
    TransferEncoding = 16,
    /// `Upgrade`.
    Upgrade = 32,
    /// `Via`.
    Via = 64,
    /// `Origin`.
    Origin = 128,
    /// `Access-Control-Request-Method`.
    AskedMethod = 256,
}

impl KnownHeader {
    /// The header with this lower-case name.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            lower::CONNECTION => Self::Connection,
            lower::CONTENT_LENGTH => Self::ContentLength,
            lower::EXPECT => Self::Expect,
            lower::X_TIDEGATE_EXPLAIN => Self::Explain,
            lower::TRANSFER_ENCODING => Self::TransferEncoding,
            lower::UPGRADE => Self::Upgrade,
            lower::VIA => Self::Via,
            lower::ORIGIN => Self::Origin,
            lower::ACCESS_CONTROL_REQUEST_METHOD => Self::AskedMethod,
            _ => return None,
        })
    }
}

/// What the survey found about the headers of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeaderSurvey {
    /// Bytes of all headers, each with its colon, space and line end.
    pub(super) size: usize,
    /// Whether a name has characters other than letters, digits and `-`.
    pub(super) has_odd_name: bool,
    /// Whether a value begins or ends with white space.
    pub(super) has_padded_value: bool,
    /// Whether there is a header that only a trusted proxy may send.
    pub(super) is_like_a_proxys: bool,
    /// A bit for each [`KnownHeader`] that is present.
    present: u16,
    /// A bit for each [`KnownHeader`] that is present more than once.
    repeated: u16,
}

impl HeaderSurvey {
    /// Surveys the headers.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut survey = Self::default();
        for (name, value) in headers {
            survey.size += name.as_str().len() + value.len() + 4;
            survey.has_odd_name |= is_odd(name);
            survey.has_padded_value |= is_padded(value);
            survey.is_like_a_proxys |= is_for_proxies(name);
            let known = KnownHeader::from_name(name.as_str()).map_or(0, |known| known as u16);
            survey.repeated |= survey.present & known;
            survey.present |= known;
        }
        survey
    }

    /// Whether this header is present.
    pub(crate) fn has(&self, header: KnownHeader) -> bool {
        self.present & header as u16 != 0
    }

    /// Whether this header is present more than once.
    pub(crate) fn is_repeated(&self, header: KnownHeader) -> bool {
        self.repeated & header as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn survey(names: &[&'static str]) -> HeaderSurvey {
        let value = HeaderValue::from_static("1");
        let name = |name: &&'static str| (HeaderName::from_static(name), value.clone());
        HeaderSurvey::from_headers(&names.iter().map(name).collect())
    }

    #[test]
    fn survey_finds_exactly_the_headers_present() {
        let all = [
            (KnownHeader::Connection, "connection"),
            (KnownHeader::ContentLength, "content-length"),
            (KnownHeader::Expect, "expect"),
            (KnownHeader::Explain, "x-tidegate-explain"),
            (KnownHeader::TransferEncoding, "transfer-encoding"),
            (KnownHeader::Upgrade, "upgrade"),
            (KnownHeader::Via, "via"),
            (KnownHeader::Origin, "origin"),
            (KnownHeader::AskedMethod, "access-control-request-method"),
        ];
        for (known, name) in all {
            let one = survey(&["accept", name]);
            for (other, _) in all {
                assert_eq!(one.has(other), other == known, "{name}");
            }
        }
        let none = survey(&["accept"]);
        assert!(!none.has_odd_name && none.size == "accept: 1\r\n".len());
        assert!(survey(&["x_a"]).has_odd_name);
        let twice = survey(&["origin", "via", "origin"]);
        assert!(twice.is_repeated(KnownHeader::Origin) && !twice.is_repeated(KnownHeader::Via));
    }
}
