//! Other spellings of one name: percent-encoded once or several times, in full-width letters, or with invisible
//! characters. A service may read any of them as the plain name, so `secret` hides them too; which names are secret is
//! not known here.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Maximum number of times that a text is percent-decoded.
const MAX_DECODINGS: usize = 4;

/// The name in its plain spelling. Most names are already plain, which one pass over their bytes shows.
pub(super) fn plain(name: &str) -> Cow<'_, str> {
    let name = decoded(name);
    if name.is_ascii() {
        return name;
    }
    let visible = name.chars().filter(|&c| !is_invisible(c));
    visible.map(without_width).collect::<String>().into()
}

/// The text without its percent-encoding, decoded until that changes nothing, at most [`MAX_DECODINGS`] times.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        if !decoded.contains('%') {
            break;
        }
        let next = percent_decode_str(&decoded).decode_utf8_lossy();
        if next == decoded {
            break;
        }
        decoded = Cow::Owned(next.into_owned());
    }
    decoded
}

/// The ASCII character of which this one is the full-width form (U+FF01 to U+FF5E), or the character itself.
fn without_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// Whether the character is invisible and separates nothing: zero-width and format characters, fillers, and variation
/// selectors.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The character that the text begins with in percent-encoding, and the length of its encoding in bytes.
pub(super) fn escaped_char(text: &str) -> Option<(char, usize)> {
    let text = text.as_bytes();
    if text.first() != Some(&b'%') {
        return None;
    }
    let (first, mut length) = decoded_byte(text, MAX_DECODINGS).filter(|it| it.1 > 1)?;
    let count = match first {
        0..0x80 => return Some((char::from(first), length)),
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let mut bytes = vec![first];
    while bytes.len() < count {
        let (byte, more) = decoded_byte(text.get(length..)?, MAX_DECODINGS)?;
        bytes.push(byte);
        length += more;
    }
    std::str::from_utf8(&bytes).ok()?.chars().next().map(|c| (c, length))
}

/// The first byte of the text after this many decodings, and the length of its encoded form.
fn decoded_byte(text: &[u8], decodings: usize) -> Option<(u8, usize)> {
    let Some(decodings) = decodings.checked_sub(1) else {
        return text.first().map(|&byte| (byte, 1));
    };
    let (byte, length) = decoded_byte(text, decodings)?;
    if byte != b'%' {
        return Some((byte, length));
    }
    let digit = |from: usize| {
        let (byte, length) = decoded_byte(text.get(from..)?, decodings)?;
        Some((char::from(byte).to_digit(16)?, from + length))
    };
    let escape = || {
        let (high, end) = digit(length)?;
        let (low, end) = digit(end)?;
        Some((u8::try_from(high * 16 + low).ok()?, end))
    };
    Some(escape().unwrap_or((byte, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_has_one_plain_form() {
        for name in [
            "token",
            "tok%65n",
            "tok%2565n",
            "tok%25%36%35n",
            "tok%25252565n",
            "to\u{200b}ken",
            "to%E2%80%8Bken",
            "to%25E2%2580%258Bken",
            "\u{ff54}\u{ff4f}\u{ff4b}\u{ff45}\u{ff4e}",
            "%EF%BD%94oken",
        ] {
            assert_eq!(plain(name), "token", "{name}");
        }
        assert_eq!(plain("tok%252525252565n"), "tok%2565n", "four decodings at most");
        assert!(matches!(plain("plain_name"), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_character_is_read_at_any_depth() {
        for (text, expected) in [
            ("%65n", Some(('e', 3))),
            ("%2565n", Some(('e', 5))),
            ("%25%36%35n", Some(('e', 9))),
            ("%25", Some(('%', 3))),
            ("%EF%BD%94o", Some(('\u{ff54}', 9))),
            ("%E2%80", None),
            ("%zz", None),
            ("%", None),
            ("e", None),
        ] {
            assert_eq!(escaped_char(text), expected, "{text}");
        }
    }
}
