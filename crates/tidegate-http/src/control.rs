//! Which characters control a terminal or an editor instead of being shown. Knows nothing of where text is shown.

/// Whether a character controls a terminal or an editor: the control characters of ASCII (C0 and DEL) and beyond (C1,
/// among them U+009B, by which an escape sequence begins), those that turn the direction of a line
/// (Unicode, UAX 9), and those that end it.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}
