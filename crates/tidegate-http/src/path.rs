//! Paths: the normal form that routing uses (RFC 3986, section 6.2.2), so that no spelling bypasses a prefix, and the
//! form that is forwarded. Knows no route.

mod escapes;
mod policy;
mod segments;

pub use escapes::{escape_illegal_bytes, is_to_be_encoded};
pub use policy::{EncodedSlash, PathError, PathPolicy};

use escapes::{canonical, escape, hex_digit, needs_no_escape, normalize_escapes};
use segments::{check_hidden, decode_slashes, has_encoded_slash, render, without_parameters};
use std::borrow::Cow;

impl std::error::Error for PathError {}

/// The form of a path for routing, if routes forward it in its normal form: see `Spelling::normal`. Borrowed if the
/// path was already normal. A path that servers normalise differently is refused.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    let spelling = ParsedPath::parse(path)?;
    spelling.forwarded(PathPolicy::NORMAL)?;
    Ok(spelling.normal)
}

/// A path and its normal form.
#[derive(Debug)]
pub struct ParsedPath<'p> {
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
pub enum ForwardedForm {
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

impl<'p> ParsedPath<'p> {
    /// Reads a path.
    pub fn parse(path: &'p str) -> Result<Self, PathError> {
        if !path.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if is_normal(path.as_bytes()) {
            return Ok(Self { normal: Cow::Borrowed(path), path, unescaped: None });
        }
        let unescaped = normalize_escapes(path)?;
        let normal = match has_encoded_slash(&unescaped) {
            true => render(&decode_slashes(&unescaped), true, true),
            false => render(&unescaped, true, true),
        };
        let normal = canonical(&normal).into_owned();
        let normal = if normal == path { Cow::Borrowed(path) } else { Cow::Owned(normal) };
        Ok(Self { normal, path, unescaped: Some(unescaped) })
    }

    /// Whether the received path was normal.
    pub fn was_normal(&self) -> bool {
        self.unescaped.is_none()
    }

    /// The form that the policy forwards, or why it refuses the path.
    pub fn forwarded(&self, policy: PathPolicy) -> Result<ForwardedForm, PathError> {
        let Some(unescaped) = &self.unescaped else { return Ok(ForwardedForm::Normal) };
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
            return Ok(match escape_illegal_bytes(self.path, false) {
                Cow::Owned(encoded) => ForwardedForm::Other(encoded),
                Cow::Borrowed(path) if path == self.normal => ForwardedForm::Normal,
                Cow::Borrowed(_) => ForwardedForm::AsItCame,
            });
        }
        let form = render(&form, !policy.keeps_duplicate_slashes, !policy.keeps_dot_segments);
        Ok(match () {
            () if form == self.normal => ForwardedForm::Normal,
            () if canonical(&form) == self.normal => ForwardedForm::Spelt(form),
            () => ForwardedForm::Other(form),
        })
    }

    /// The forms other than the normal one in which a server may read the forwarded path: without path parameters;
    /// and if the path is not forwarded in its normal form, with encoded slashes decoded or not, duplicate slashes
    /// merged or not, dot segments resolved or not.
    pub fn readings(&self, forwarded: &ForwardedForm) -> Vec<String> {
        let mut readings = Vec::new();
        let Some(unescaped) = &self.unescaped else { return readings };
        let mut add = |reading: String| {
            if reading != *self.normal && !readings.contains(&reading) {
                readings.push(reading);
            }
        };
        match forwarded {
            // A normal form has at most one other reading.
            ForwardedForm::Normal | ForwardedForm::Spelt(_) if !self.normal.contains(';') => {}
            ForwardedForm::Normal | ForwardedForm::Spelt(_) => {
                add(render(&without_parameters(&self.normal), true, true));
            }
            ForwardedForm::AsItCame => all_readings(&canonical(unescaped), &mut add),
            ForwardedForm::Other(form) => {
                all_readings(&canonical(unescaped), &mut add);
                all_readings(&canonical(form), &mut add);
            }
        }
        readings
    }
}

/// Whether a path stays below a normal prefix in every reading of a server.
pub fn stays_below(path: &str, prefix: &str) -> bool {
    let (Ok(path), Ok(prefix)) = (normalize_escapes(path), normalize_escapes(prefix)) else {
        return false;
    };
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

#[cfg(test)]
mod tests;
