//! Path normalisation (RFC 3986, section 6.2.2), so that no spelling walks past a prefix.

use std::borrow::Cow;
use std::fmt;

/// Why a path is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it (RFC 3986, section 2.1).
    BadEscape,
    /// `%2F`, `%5C`, a raw backslash, NUL or another control character: servers disagree on
    /// what they mean, and the gateway must match just what the upstream will see.
    Ambiguous,
    /// A dot segment hidden behind path parameters, such as `/..;/`.
    HiddenDotSegment,
    /// It is not UTF-8.
    NotUtf8,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::BadEscape => "a `%` in the path is not followed by two hexadecimal digits",
            Self::Ambiguous => {
                "the path holds an encoded slash, a backslash or a control character"
            }
            Self::HiddenDotSegment => "the path hides a dot segment behind `;`",
            Self::NotUtf8 => "the path is not UTF-8",
        })
    }
}

/// The path with dot segments resolved, duplicate slashes merged, and escapes of unreserved
/// characters decoded. Borrowed when it was already so.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    resolve_segments(&decoded).map(Cow::Owned)
}

/// True when no rule below could change or refuse the path.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        match byte {
            b'%' | b'\\' | b';' | 0..=0x20 | 0x7f => return false,
            b'/' | b'.' if previous == b'/' => return false,
            _ => previous = byte,
        }
    }
    true
}

/// Decodes `%41` to `A` and the like, writes other escapes in upper case, refuses the rest.
fn decode_unreserved(path: &str) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit);
                let low = bytes.next().and_then(hex_digit);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(PathError::BadEscape);
                };
                match high << 4 | low {
                    b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(PathError::Ambiguous),
                    unreserved @ (b'A'..=b'Z'
                    | b'a'..=b'z'
                    | b'0'..=b'9'
                    | b'-'
                    | b'.'
                    | b'_'
                    | b'~') => decoded.push(unreserved),
                    other => decoded.extend(format!("%{other:02X}").bytes()),
                }
            }
            b'\\' | 0..=0x1f | 0x7f => return Err(PathError::Ambiguous),
            b' ' => decoded.extend_from_slice(b"%20"),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).map_err(|_| PathError::NotUtf8)
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Removes empty and dot segments (RFC 3986, section 5.2.4); `..` stops at the root.
fn resolve_segments(path: &str) -> Result<String, PathError> {
    let mut resolved = String::with_capacity(path.len());
    let mut ends_in_directory = true;
    for segment in path.split('/').skip(1) {
        ends_in_directory = false;
        match segment {
            "" | "." => ends_in_directory = true,
            ".." => {
                resolved.truncate(resolved.rfind('/').unwrap_or(0));
                ends_in_directory = true;
            }
            _ => {
                let name = segment.split(';').next().unwrap_or(segment);
                if name.len() < segment.len() && matches!(name, "." | ".." | "") {
                    return Err(PathError::HiddenDotSegment);
                }
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if ends_in_directory {
        resolved.push('/');
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> String {
        normalize(path).expect(path).into_owned()
    }

    #[test]
    fn leaves_a_normal_path_borrowed() {
        for path in ["/", "/api/notifications/ws", "/a.b/c..d/.../e-f_~", "/a/b/"] {
            assert_eq!(normal(path), path);
        }
        for path in ["/", "/api/notifications/ws", "/a.b/c..d", "/a/b/"] {
            assert!(matches!(normalize(path), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn rfc3986_5_2_4_resolves_dot_segments() {
        assert_eq!(normal("/a/b/c/./../../g"), "/a/g");
        assert_eq!(normal("/a/.."), "/");
        assert_eq!(normal("/a/."), "/a/");
        assert_eq!(normal("/../../a"), "/a");
        assert_eq!(normal("/public/%2e%2E/admin"), "/admin");
        assert_eq!(normal("/public/.%2e/admin"), "/admin");
    }

    #[test]
    fn merges_duplicate_slashes() {
        assert_eq!(normal("//api///x//"), "/api/x/");
    }

    #[test]
    fn rfc3986_6_2_2_decodes_unreserved_and_uppercases_the_rest() {
        assert_eq!(normal("/%61pi/%7euser/%c3%a9"), "/api/~user/%C3%A9");
        assert_eq!(normal("/a%20b%25"), "/a%20b%25");
    }

    #[test]
    fn refuses_what_servers_read_in_two_ways() {
        for path in ["/a%2fb", "/a%5Cb", "/a\\b", "/a%00", "/a%0d%0a", "/a\u{1}b"] {
            assert_eq!(normalize(path), Err(PathError::Ambiguous), "{path:?}");
        }
        for path in ["/a/..;/b", "/a/.;x=1/b", "/;/b", "/a/%2e%2e;/b"] {
            assert_eq!(normalize(path), Err(PathError::HiddenDotSegment), "{path:?}");
        }
        for path in ["/%", "/%2", "/%zz"] {
            assert_eq!(normalize(path), Err(PathError::BadEscape), "{path:?}");
        }
        for path in ["", "*", "a/b"] {
            assert_eq!(normalize(path), Err(PathError::NotAbsolute), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "/[a-c./%2eE;~\\\\ -]{0,24}") {
            if let Ok(once) = normalize(&path) {
                prop_assert_eq!(normalize(&once), Ok(Cow::Borrowed(&*once)));
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.contains("//"));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
