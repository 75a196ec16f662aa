//! Which content coding a client prefers (RFC 9110, section 12.5.3). Compresses nothing.

use crate::stable_hash::{StableHash, StableHasher};
use http::{HeaderMap, header};

/// A content coding that responses can get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 9110, section 8.4.1.3.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl StableHash for Coding {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Gzip => hasher.number(0),
            Self::Brotli => hasher.number(1),
            Self::Zstd => hasher.number(2),
        }
    }
}

impl Coding {
    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The older name of `gzip`, which is the same (RFC 9110, section 8.4.1.3).
const X_GZIP: &str = "x-gzip";

/// The coding that the client prefers; among equal ones the first offered. `None` if it accepts none, or prefers the
/// unencoded response.
pub fn negotiate(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let fields = headers.get_all(header::ACCEPT_ENCODING);
    let elements = || fields.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let quality_of = |name: &str| {
        elements().find_map(|element| {
            let (coding, quality) = coding_and_quality(element);
            coding.eq_ignore_ascii_case(name).then_some(quality)
        })
    };
    let any = quality_of("*");
    let mut best: Option<(Coding, u16)> = None;
    for &coding in offered {
        let older = if coding == Coding::Gzip { quality_of(X_GZIP) } else { None };
        let quality = quality_of(coding.name()).or(older).or(any).unwrap_or(0);
        if quality > 0 && best.is_none_or(|(_, least)| quality > least) {
            best = Some((coding, quality));
        }
    }
    let as_it_is = quality_of("identity").unwrap_or(0);
    best.filter(|(_, quality)| *quality >= as_it_is).map(|(coding, _)| coding)
}

/// A coding and its quality value, in thousandths.
fn coding_and_quality(element: &str) -> (&str, u16) {
    let mut parts = element.split(';').map(str::trim);
    let coding = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")))
        .map_or(Some(1.0), |quality| quality.parse::<f32>().ok())
        // An unreadable quality value counts as 0.
        .unwrap_or(0.0);
    // The bounds are those of the type.
    (coding, (quality.clamp(0.0, 1.0) * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn rfc9110_12_5_3_coding_with_the_highest_quality_is_chosen() {
        const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        for (fields, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Coding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Coding::Zstd)),
            (&["gzip, deflate, br"], Some(Coding::Brotli)),
            (&["gzip", "br"], Some(Coding::Brotli)),
            (&["GZIP;Q=0.5, br;q=0.4"], Some(Coding::Gzip)),
            (&["gzip;q=1.0, br;q=0.9, zstd;q=0"], Some(Coding::Gzip)),
            (&["gzip;q=0"], None),
            (&["*"], Some(Coding::Zstd)),
            (&["*;q=0.5, zstd;q=0"], Some(Coding::Brotli)),
            (&["*;q=0, gzip"], Some(Coding::Gzip)),
            (&["gzip;q=0.5, identity"], None),
            (&["gzip, identity;q=0.5"], Some(Coding::Gzip)),
            (&["identity;q=0"], None),
            (&["gzip;q=x"], None),
            (&["gzip;q=NaN, br;q=-1"], None),
            (&["deflate, compress"], None),
            (&["gzipped"], None),
            (&["x-gzip"], Some(Coding::Gzip)),
            (&["X-GZip;q=0.5, br;q=0.4"], Some(Coding::Gzip)),
            (&["x-gzip;q=0"], None),
            (&["gzip;q=0, x-gzip"], None),
            (&["*;q=0, x-gzip"], Some(Coding::Gzip)),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(field));
            }
            assert_eq!(negotiate(&headers, &ALL), expected, "{fields:?}");
        }
    }
}
