//! Paths: the normal form that routing uses (RFC 3986, section 6.2.2), so that no spelling bypasses a prefix, and the
//! form that is forwarded. Knows no route.

use crate::stable_hash::{StableHash, StableHasher};
use std::borrow::Cow;
use std::fmt;

/// Why a path is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it (RFC 3986, section 2.1).
    BadEscape,
    /// `%2F`, `%5C` or a raw backslash: servers disagree on what they mean.
    Ambiguous,
    /// NUL or another control character, raw or encoded.
    Control,
    /// A dot segment hidden behind path parameters, such as `/..;/`.
    HiddenDotSegment,
    /// An empty segment hidden behind path parameters, such as `/;a/b`.
    HiddenEmptySegment,
    /// It is not UTF-8.
    NotUtf8,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::BadEscape => "a `%` in the path is not followed by two hexadecimal digits",
            Self::Ambiguous => "the path contains an encoded slash (`%2F`) or a backslash",
            Self::Control => "the path contains a control character",
            Self::HiddenDotSegment => {
                "the path contains a dot segment with parameters, such as `/..;/`"
            }
            Self::HiddenEmptySegment => {
                "the path contains an empty segment with parameters, such as `/;a/`"
            }
            Self::NotUtf8 => "the path is not valid UTF-8",
        })
    }
}

impl std::error::Error for PathError {}

impl PathError {
    /// The setting of a route that lets such a path pass, if there is one.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::Ambiguous => Some("path: {encoded_slash: keep}"),
            Self::HiddenDotSegment => Some("path: {dot_segments: keep}"),
            Self::HiddenEmptySegment => Some("path: {duplicate_slashes: keep}"),
            Self::NotAbsolute | Self::BadEscape | Self::Control | Self::NotUtf8 => None,
        }
    }
}

/// What becomes of `%2F`, `%5C` and `\` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncodedSlash {
    /// The request is answered 400.
    Reject,
    /// It is passed on as it came.
    Keep,
    /// It becomes `/`.
    Decode,
}

impl StableHash for EncodedSlash {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Reject => hasher.number(0),
            Self::Keep => hasher.number(1),
            Self::Decode => hasher.number(2),
        }
    }
}

/// What of a path's spelling is passed on. Routing uses the normal form, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathPolicy {
    /// Encoded slashes and backslashes.
    pub encoded_slash: EncodedSlash,
    /// Whether `//` is passed on; else it becomes `/`.
    pub keeps_duplicate_slashes: bool,
    /// Whether `.` and `..` are passed on; else they are resolved.
    pub keeps_dot_segments: bool,
}

crate::stable_hash!(PathPolicy { encoded_slash, keeps_duplicate_slashes, keeps_dot_segments });

impl PathPolicy {
    /// Only normal paths are passed on.
    pub const NORMAL: Self = Self {
        encoded_slash: EncodedSlash::Reject,
        keeps_duplicate_slashes: false,
        keeps_dot_segments: false,
    };

    /// Paths are passed on byte for byte.
    pub const RAW: Self = Self {
        encoded_slash: EncodedSlash::Keep,
        keeps_duplicate_slashes: true,
        keeps_dot_segments: true,
    };
}

impl fmt::Display for PathPolicy {
    /// As a configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NORMAL => return f.write_str("normal"),
            Self::RAW => return f.write_str("raw"),
            _ => {}
        }
        let slash = match self.encoded_slash {
            EncodedSlash::Reject => "reject",
            EncodedSlash::Keep => "keep",
            EncodedSlash::Decode => "decode",
        };
        let duplicates = if self.keeps_duplicate_slashes { "keep" } else { "merge" };
        let dots = if self.keeps_dot_segments { "keep" } else { "resolve" };
        write!(f, "encoded_slash {slash}, duplicate_slashes {duplicates}, dot_segments {dots}")
    }
}

/// The form of a path for routing, if routes forward it in its normal form: see `Spelling::normal`. Borrowed if the
/// path was already normal. A path that servers normalise differently is refused.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    let spelling = Spelling::read(path)?;
    spelling.forwarded(PathPolicy::NORMAL)?;
    Ok(spelling.normal)
}

/// A path and its normal form.
#[derive(Debug)]
pub struct Spelling<'p> {
    /// The form that routing uses: encoded slashes and all characters that need no escape in a
    /// segment (RFC 3986, section 3.3) decoded, all others encoded, duplicate slashes merged, dot
    /// segments resolved. Borrowed if the path was already normal.
    pub normal: Cow<'p, str>,
    /// The path as received.
    path: &'p str,
    /// With escapes of unreserved characters decoded and others in upper case; `None` when the
    /// path was normal.
    unescaped: Option<String>,
}

/// The form in which a path is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarded {
    /// Its normal form.
    Normal,
    /// Its normal form, except that reserved characters stay encoded or not as received (RFC 3986,
    /// section 2.2).
    Spelt(String),
    /// The path as received.
    AsItCame,
    /// Another form.
    Other(String),
}

impl<'p> Spelling<'p> {
    /// Reads a path.
    pub fn read(path: &'p str) -> Result<Self, PathError> {
        if !path.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if is_normal(path.as_bytes()) {
            return Ok(Self { normal: Cow::Borrowed(path), path, unescaped: None });
        }
        let unescaped = unescape(path)?;
        let normal = match has_encoded_slash(&unescaped) {
            true => render(&decode_slashes(&unescaped), true, true),
            false => render(&unescaped, true, true),
        };
        let normal = canonical(&normal).into_owned();
        let normal = if normal == path { Cow::Borrowed(path) } else { Cow::Owned(normal) };
        Ok(Self { normal, path, unescaped: Some(unescaped) })
    }

    /// Whether the received path was normal.
    pub fn is_plain(&self) -> bool {
        self.unescaped.is_none()
    }

    /// The form that the policy forwards, or why it refuses the path.
    pub fn forwarded(&self, policy: PathPolicy) -> Result<Forwarded, PathError> {
        let Some(unescaped) = &self.unescaped else { return Ok(Forwarded::Normal) };
        let mut form = Cow::Borrowed(unescaped.as_str());
        if has_encoded_slash(&form) {
            match policy.encoded_slash {
                EncodedSlash::Reject => return Err(PathError::Ambiguous),
                EncodedSlash::Keep => {}
                EncodedSlash::Decode => form = Cow::Owned(decode_slashes(&form)),
            }
        }
        // Some servers decode `%3B` before they look for parameters, others after.
        check_hidden(&canonical(&form), policy)?;
        if policy == PathPolicy::RAW {
            // HTTP/2 allows characters that HTTP/1.1 does not.
            return Ok(match encode(self.path, false) {
                Cow::Owned(encoded) => Forwarded::Other(encoded),
                Cow::Borrowed(path) if path == self.normal => Forwarded::Normal,
                Cow::Borrowed(_) => Forwarded::AsItCame,
            });
        }
        let form = render(&form, !policy.keeps_duplicate_slashes, !policy.keeps_dot_segments);
        Ok(match () {
            () if form == self.normal => Forwarded::Normal,
            () if canonical(&form) == self.normal => Forwarded::Spelt(form),
            () => Forwarded::Other(form),
        })
    }

    /// The forms other than the normal one in which a server may read the forwarded path: without path parameters;
    /// and if the path is not forwarded in its normal form, with encoded slashes decoded or not, duplicate slashes
    /// merged or not, dot segments resolved or not.
    pub fn readings(&self, forwarded: &Forwarded) -> Vec<String> {
        let mut readings = Vec::new();
        let Some(unescaped) = &self.unescaped else { return readings };
        let mut add = |reading: String| {
            if reading != *self.normal && !readings.contains(&reading) {
                readings.push(reading);
            }
        };
        match forwarded {
            // A normal form has at most one other reading.
            Forwarded::Normal | Forwarded::Spelt(_) if !self.normal.contains(';') => {}
            Forwarded::Normal | Forwarded::Spelt(_) => {
                add(render(&without_parameters(&self.normal), true, true));
            }
            Forwarded::AsItCame => all_readings(&canonical(unescaped), &mut add),
            Forwarded::Other(form) => {
                all_readings(&canonical(unescaped), &mut add);
                all_readings(&canonical(form), &mut add);
            }
        }
        readings
    }
}

/// Whether a path stays below a normal prefix in every reading of a server.
pub fn stays_below(path: &str, prefix: &str) -> bool {
    let (Ok(path), Ok(prefix)) = (unescape(path), unescape(prefix)) else { return false };
    let prefix = canonical(&prefix);
    let bare = without_parameters(&prefix);
    let is_below = |reading: &str, prefix: &str| {
        let rest = reading.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut stays = true;
    all_readings(&canonical(&path), &mut |reading| {
        stays &= is_below(&reading, &prefix) || is_below(&reading, &bare);
    });
    stays
}

/// Every reading of a path in its [canonical form](canonical()).
fn all_readings(path: &str, add: &mut impl FnMut(String)) {
    let either = |is_there: bool| if is_there { &[false, true][..] } else { &[false][..] };
    let has_parameters = path.contains(';');
    for &strips_first in either(has_parameters) {
        let first = if strips_first { without_parameters(path) } else { path.to_owned() };
        for &decodes in either(has_encoded_slash(&first)) {
            let decoded = if decodes { decode_slashes(&first) } else { first.clone() };
            for &strips in either(decodes && decoded.contains(';')) {
                let read = if strips { without_parameters(&decoded) } else { decoded.clone() };
                for merges in [false, true] {
                    for resolves in [false, true] {
                        add(render(&read, merges, resolves));
                    }
                }
            }
        }
    }
}

/// The length, in bytes of the path, of this normal prefix, if the path begins with it and the prefix ends a segment.
pub fn length_of_prefix(path: &str, prefix: &str) -> Option<usize> {
    let (mut rest, mut wanted) = (path.as_bytes(), prefix.as_bytes());
    while let [first, wanted_behind @ ..] = wanted {
        let (byte, is_escaped, behind) = match rest {
            [b'%', high, low, behind @ ..] => {
                (hex_digit(*high)? << 4 | hex_digit(*low)?, true, behind)
            }
            [byte, behind @ ..] => (*byte, false, behind),
            [] => return None,
        };
        rest = behind;
        if needs_no_escape(byte) || (byte == b'/' && !is_escaped) {
            if byte != *first {
                return None;
            }
            wanted = wanted_behind;
        } else {
            let (escaped, behind_escape) = wanted.split_at_checked(3)?;
            if !escape(byte).into_iter().eq(escaped.iter().copied().map(char::from)) {
                return None;
            }
            wanted = behind_escape;
        }
    }
    let is_end = rest.is_empty() || rest.starts_with(b"/");
    is_end.then(|| path.len() - rest.len())
}

/// Whether no rule below could change or refuse the path.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        match byte {
            b'/' | b'.' if previous == b'/' => return false,
            b';' => return false,
            b'/' => previous = byte,
            _ if needs_no_escape(byte) => previous = byte,
            _ => return false,
        }
    }
    true
}

/// A path whose escapes are checked and in upper case, in the one form in which names are compared:
/// what needs no escape in a segment is decoded, and all else but slashes encoded. Servers decode
/// both spellings to the same name.
fn canonical(path: &str) -> Cow<'_, str> {
    let is_slash = |byte| matches!(byte, b'/' | b'\\');
    if path.bytes().all(|byte| is_slash(byte) || needs_no_escape(byte)) {
        return Cow::Borrowed(path);
    }
    let mut form = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if let (b'%', [high, low, behind @ ..]) = (first, rest) {
            rest = behind;
            match hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low) {
                Some(byte) if needs_no_escape(byte) => form.push(char::from(byte)),
                _ => form.extend(['%', char::from(*high), char::from(*low)]),
            }
        } else if is_slash(*first) || needs_no_escape(*first) {
            form.push(char::from(*first));
        } else {
            form.extend(escape(*first));
        }
    }
    Cow::Owned(form)
}

/// With everything escaped that a URL does not have and clients send all the same.
pub fn encode(text: &str, is_query: bool) -> Cow<'_, str> {
    if !text.bytes().any(|byte| is_to_be_encoded(byte, is_query)) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match is_to_be_encoded(byte, is_query) {
            true => encoded.extend(escape(byte)),
            false => encoded.push(char::from(byte)),
        }
    }
    Cow::Owned(encoded)
}

/// What a URL does not have and clients send all the same (RFC 3986, section 2). A backtick in a
/// query harms nobody.
pub fn is_to_be_encoded(byte: u8, is_query: bool) -> bool {
    matches!(byte, b'"' | b'<' | b'>') || (byte == b'`' && !is_query) || !byte.is_ascii()
}

fn escape(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| {
        char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
    };
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// Decodes `%41` to `A` and the like, writes other escapes in upper case, escapes what a URL does
/// not have, refuses control characters.
fn unescape(path: &str) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(path.len());
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
                    0..=0x1f | 0x7f => return Err(PathError::Control),
                    unreserved if is_unreserved(unreserved) => decoded.push(unreserved.into()),
                    other => decoded.extend(escape(other)),
                }
            }
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b' ' => decoded.push_str("%20"),
            odd if is_to_be_encoded(odd, false) => decoded.extend(escape(odd)),
            other => decoded.push(other.into()),
        }
    }
    Ok(decoded)
}

/// What stands for itself in a segment (RFC 3986, section 3.3).
fn needs_no_escape(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=' | b':' | b'@')
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a path whose escapes are in upper case holds a slash that only some servers see.
fn has_encoded_slash(path: &str) -> bool {
    path.contains('\\') || path.contains("%2F") || path.contains("%5C")
}

fn decode_slashes(path: &str) -> String {
    path.replace('\\', "/").replace("%2F", "/").replace("%5C", "/")
}

fn without_parameters(path: &str) -> String {
    let mut stripped = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        stripped.push('/');
        stripped.push_str(segment.split(';').next().unwrap_or_default());
    }
    stripped
}

/// Refuses dot segments and empty segments behind path parameters, unless they may pass. An empty
/// name at the end hides nothing: it is that of a folder (`/app/;jsessionid=1`).
fn check_hidden(path: &str, policy: PathPolicy) -> Result<(), PathError> {
    if !path.contains(';') {
        return Ok(());
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let Some((name, _)) = segment.split_once(';') else { continue };
        match name {
            "." | ".." if !policy.keeps_dot_segments => return Err(PathError::HiddenDotSegment),
            "" if segments.peek().is_some() && !policy.keeps_duplicate_slashes => {
                return Err(PathError::HiddenEmptySegment);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The path with empty segments removed and dot segments resolved (RFC 3986, section 5.2.4), where
/// that is asked for; `..` stops at the root.
fn render(path: &str, merges: bool, resolves: bool) -> String {
    let mut rendered = String::with_capacity(path.len());
    let mut ends_in_directory = true;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if merges || segments.peek().is_none() => ends_in_directory = true,
            "." if resolves => ends_in_directory = true,
            ".." if resolves => {
                rendered.truncate(rendered.rfind('/').unwrap_or(0));
                ends_in_directory = true;
            }
            _ => {
                rendered.push('/');
                rendered.push_str(segment);
                ends_in_directory = false;
            }
        }
    }
    if ends_in_directory {
        rendered.push('/');
    }
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> String {
        normalize(path).expect(path).into_owned()
    }

    #[test]
    fn normal_path_is_borrowed() {
        for path in ["/", "/api/notifications/ws", "/a.b/c..d/.../e-f_~", "/a/b/"] {
            assert_eq!(normal(path), path);
        }
        for path in ["/", "/api/notifications/ws", "/a.b/c..d", "/a/b/", "/a;b=1/c"] {
            assert!(matches!(normalize(path), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn rfc3986_5_2_4_dot_segments_are_resolved() {
        assert_eq!(normal("/a/b/c/./../../g"), "/a/g");
        assert_eq!(normal("/a/.."), "/");
        assert_eq!(normal("/a/."), "/a/");
        assert_eq!(normal("/../../a"), "/a");
        assert_eq!(normal("/public/%2e%2E/admin"), "/admin");
        assert_eq!(normal("/public/.%2e/admin"), "/admin");
    }

    #[test]
    fn duplicate_slashes_are_merged() {
        assert_eq!(normal("//api///x//"), "/api/x/");
    }

    #[test]
    fn rfc3986_6_2_2_unreserved_escapes_are_decoded_and_others_uppercased() {
        assert_eq!(normal("/%61pi/%7euser/%c3%a9"), "/api/~user/%C3%A9");
        assert_eq!(normal("/a%20b%25"), "/a%20b%25");
    }

    #[test]
    fn every_escaping_of_a_path_has_one_normal_form() {
        for (path, expected) in [
            ("/%40a%24%2b%3a%2C", "/@a$+:,"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/a\"<>`{|}^[]", "/a%22%3C%3E%60%7B%7C%7D%5E%5B%5D"),
            ("/a%3Fb%23%25", "/a%3Fb%23%25"),
            ("/a%3Bb", "/a;b"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
        let spelling = Spelling::read("/%40a//caf\u{e9}%2b").expect("a path");
        let spelt = Forwarded::Spelt("/%40a/caf%C3%A9%2B".to_owned());
        assert_eq!(spelling.forwarded(PathPolicy::NORMAL), Ok(spelt));
    }

    #[test]
    fn path_that_may_leave_its_prefix_is_detected() {
        for path in ["/t", "/t/", "/t/a/../b", "/t//a", "/t/a%2Fb", "/t/;x", "/%74/@"] {
            assert!(stays_below(path, "/t"), "{path}");
        }
        for path in ["/t/../u", "/t/..%2Fu", "/t/..;/u", "/t/..%3B/u", "/t/%2e%2e/u", "/t//../../u"]
        {
            assert!(!stays_below(path, "/t"), "{path}");
        }
    }

    #[test]
    fn rfc3986_3_3_path_parameters_are_kept() {
        for path in ["/app/;jsessionid=1", "/;a=b", "/a;b/c;d", "/a;/b"] {
            assert_eq!(normal(path), path);
        }
    }

    #[test]
    fn ambiguous_path_is_refused() {
        let refused = |path, error| assert_eq!(normalize(path), Err(error), "{path:?}");
        for path in ["/a%2fb", "/a%5Cb", "/a\\b"] {
            refused(path, PathError::Ambiguous);
        }
        for path in ["/a%00", "/a%0d%0a", "/a\u{1}b"] {
            refused(path, PathError::Control);
        }
        for path in ["/a/..;/b", "/a/.;x=1/b", "/a/%2e%2e;/b", "/a/..;", "/a/..%3b/b"] {
            refused(path, PathError::HiddenDotSegment);
        }
        for path in ["/;/b", "/a/;x=1/b", "/%3B//b"] {
            refused(path, PathError::HiddenEmptySegment);
        }
        for path in ["/%", "/%2", "/%zz"] {
            refused(path, PathError::BadEscape);
        }
        for path in ["", "*", "a/b"] {
            refused(path, PathError::NotAbsolute);
        }
    }

    #[test]
    fn each_path_policy_forwards_its_own_form() {
        const REJECT: EncodedSlash = EncodedSlash::Reject;
        const KEEP: EncodedSlash = EncodedSlash::Keep;
        const DECODE: EncodedSlash = EncodedSlash::Decode;
        let policy = |encoded_slash, keeps_duplicate_slashes, keeps_dot_segments| PathPolicy {
            encoded_slash,
            keeps_duplicate_slashes,
            keeps_dot_segments,
        };
        let form = |path: &str, policy| {
            let spelling = Spelling::read(path).expect(path);
            match spelling.forwarded(policy).expect(path) {
                Forwarded::Normal => spelling.normal.clone().into_owned(),
                Forwarded::AsItCame => path.to_owned(),
                Forwarded::Spelt(form) | Forwarded::Other(form) => form,
            }
        };
        let path = "/%61//b%2fc/../d%2e";
        assert_eq!(form(path, policy(KEEP, false, false)), "/a/d.");
        assert_eq!(form(path, policy(DECODE, false, false)), "/a/b/d.");
        assert_eq!(form(path, policy(KEEP, true, false)), "/a//d.");
        assert_eq!(form(path, policy(KEEP, false, true)), "/a/b%2Fc/../d.");
        assert_eq!(form(path, policy(DECODE, true, true)), "/a//b/c/../d.");
        assert_eq!(form(path, PathPolicy::RAW), path);
        assert_eq!(form("//a/./b", policy(REJECT, true, false)), "//a/b");
        assert_eq!(form("//a/./b", policy(REJECT, false, true)), "/a/./b");
        assert_eq!(Spelling::read(path).expect(path).normal, "/a/b/d.");
    }

    #[test]
    fn prefix_length_is_found_under_every_spelling() {
        for (path, prefix, length) in [
            ("/api//x", "/api", Some(4)),
            ("/api", "/api", Some(4)),
            ("/%61pi/x", "/api", Some(6)),
            ("/a%2db%c3%a9/x", "/a-b%C3%A9", Some(12)),
            ("/%40a/x", "/@a", Some(5)),
            ("/\u{e9}/x", "/%C3%A9", Some(3)),
            ("/x", "", Some(0)),
            ("/apis", "/api", None),
            ("/ap", "/api", None),
            ("//api", "/api", None),
        ] {
            assert_eq!(length_of_prefix(path, prefix), length, "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent(path in "/([a-c./%24e0E;@\u{e9}~\\\\ -]|%3B|%2[Ee]){0,24}") {
            if let Ok(once) = normalize(&path) {
                prop_assert_eq!(normalize(&once), Ok(Cow::Borrowed(&*once)));
            }
            if let Ok(spelling) = Spelling::read(&path) {
                let normal = &*spelling.normal;
                prop_assert!(normal.starts_with('/'));
                prop_assert!(!normal.contains("//"));
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
