//! Percent-encoding in paths (RFC 3986, section 2): decoding, encoding, and the one form in which names are compared.
//! Knows nothing of segments and of policies.

use super::policy::PathError;
use std::borrow::Cow;

/// A path whose escapes are checked and in upper case, in the one form in which names are compared:
/// what needs no escape in a segment is decoded, and all else but slashes encoded. Servers decode
/// both spellings to the same name.
pub(super) fn canonical(path: &str) -> Cow<'_, str> {
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
pub fn escape_illegal_bytes(text: &str, is_query: bool) -> Cow<'_, str> {
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

pub(super) fn escape(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| {
        char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
    };
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// Decodes `%41` to `A` and the like, writes other escapes in upper case, escapes what a URL does
/// not have, refuses control characters.
pub(super) fn normalize_escapes(path: &str) -> Result<String, PathError> {
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
pub(super) fn needs_no_escape(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=' | b':' | b'@')
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
