//! The lines of a file of users and hashes, as Apache's `htpasswd` writes it. Verifies nothing.

use super::{HashFormat, UnsupportedHash};
use std::fmt;

/// A user of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordLine<'t> {
    /// The number of the line, from 1.
    pub line: u32,
    /// The user name.
    pub user: &'t str,
    /// The hash.
    pub hash: &'t str,
    /// The column of the hash in characters, from 1.
    pub hash_column: u32,
}

/// Without the hash.
impl fmt::Debug for PasswordLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, user, .. } = self;
        f.debug_struct("PasswordLine")
            .field("line", line)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// A line that has no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordLineError {
    /// The number of the line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong with it.
    pub fault: PasswordLineFault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordLineFault {
    /// It has no colon.
    NoColon,
    /// Nothing is before the colon.
    NoUser,
    /// The user name has a control character, which no client may send (RFC 7617, section 2).
    ControlCharacter,
    /// The hash is none that the gateway accepts.
    Hash(UnsupportedHash),
}

impl PasswordLineFault {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::NoColon | Self::NoUser => "write `name:hash`, one user per line",
            Self::ControlCharacter => "remove the character: clients cannot send it",
            Self::Hash(hash) => hash.help(),
        }
    }
}

/// The reason, without any part of the line: it may be a password.
impl fmt::Display for PasswordLineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColon => f.write_str("the line has no colon between user name and hash"),
            Self::NoUser => f.write_str("the user name is missing"),
            Self::ControlCharacter => f.write_str("the user name has a control character"),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

/// The users of a file: one `name:hash` per line. What follows a further colon is a comment, as in nginx; so is a line
/// that begins with `#`.
pub fn password_lines(
    text: &str,
) -> impl Iterator<Item = Result<PasswordLine<'_>, PasswordLineError>> {
    // Editors on Windows begin a file with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = (1_u32..).zip(text.lines());
    numbered.filter_map(|(line, written)| {
        let is_empty = written.trim().is_empty() || written.trim_start().starts_with('#');
        (!is_empty).then(|| password_line(line, written))
    })
}

fn password_line(line: u32, written: &str) -> Result<PasswordLine<'_>, PasswordLineError> {
    let fault = |column, fault| PasswordLineError { line, column, fault };
    let (user, rest) = written.split_once(':').ok_or(fault(1, PasswordLineFault::NoColon))?;
    if user.is_empty() {
        return Err(fault(1, PasswordLineFault::NoUser));
    }
    if let Some(at) = user.chars().position(char::is_control) {
        return Err(fault(column(at), PasswordLineFault::ControlCharacter));
    }
    let hash_column = column(user.chars().count() + 1);
    // `sha256:` is for keys, and has a colon itself; it must not be taken for a hash with a comment.
    let hash = rest.split(':').next().unwrap_or_default().trim_end();
    match HashFormat::of(hash) {
        Ok(HashFormat::Argon2 | HashFormat::Bcrypt) => {
            Ok(PasswordLine { line, user, hash, hash_column })
        }
        Ok(HashFormat::Sha256) => {
            Err(fault(hash_column, PasswordLineFault::Hash(UnsupportedHash::Plain)))
        }
        Err(unsupported) => Err(fault(hash_column, PasswordLineFault::Hash(unsupported))),
    }
}

/// The column of a character, by how many are before it.
fn column(before: usize) -> u32 {
    u32::try_from(before).map_or(u32::MAX, |before| before.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_with_their_lines() {
        let text = "\u{feff}# staff\n\nanna:$2y$05$abc\r\nbjörn é:$argon2id$x  :since 2024\n";
        let read: Vec<_> = password_lines(text).map(Result::unwrap).collect();
        let read: Vec<_> =
            read.iter().map(|it| (it.line, it.user, it.hash, it.hash_column)).collect();
        assert_eq!(read, [(3, "anna", "$2y$05$abc", 6), (4, "björn é", "$argon2id$x", 9)]);
    }

    #[test]
    fn faulty_lines_are_reported_at_their_place() {
        use PasswordLineFault::*;
        for (text, expected) in [
            ("anna", (1, 1, NoColon)),
            ("\n:$2y$05$abc", (2, 1, NoUser)),
            ("an\tna:$2y$05$abc", (1, 3, ControlCharacter)),
            ("anna:", (1, 6, Hash(UnsupportedHash::Empty))),
            ("anna:{SHA}x", (1, 6, Hash(UnsupportedHash::Sha1))),
            ("anna:open sesame", (1, 6, Hash(UnsupportedHash::Plain))),
            ("anna:sha256:abc", (1, 6, Hash(UnsupportedHash::Plain))),
        ] {
            let error = password_lines(text).next().unwrap().unwrap_err();
            assert_eq!((error.line, error.column, error.fault), expected, "{text}");
        }
    }
}
