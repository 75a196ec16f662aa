//! User name and password of the Basic scheme (RFC 7617), as a client sends them. Verifies nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicCredentials {
    /// The user name, then a colon, then the password.
    text: String,
    /// Where the colon is.
    colon: usize,
}

/// Why a value is not a user name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicCredentialsError {
    /// It is longer than [`BasicCredentials::MAX_ENCODED_BYTES`].
    TooLong,
    /// It is not base64 (RFC 4648, section 4).
    Base64,
    /// It is not UTF-8, which the challenge asks for (RFC 7617, section 2.1).
    Utf8,
    /// It has no colon.
    NoColon,
    /// It has control characters (RFC 7617, section 2).
    ControlCharacter,
}

impl BasicCredentials {
    /// Maximum length of the encoded form, in bytes. A password costs time in proportion to its length, and none that
    /// people or programs use is longer.
    pub const MAX_ENCODED_BYTES: usize = 2048;

    /// Reads what follows `Basic ` in `Authorization`.
    ///
    /// # Errors
    /// If it is not a user name and a password.
    pub fn parse(encoded: &[u8]) -> Result<Self, BasicCredentialsError> {
        if encoded.len() > Self::MAX_ENCODED_BYTES {
            return Err(BasicCredentialsError::TooLong);
        }
        let decoded = STANDARD.decode(encoded).map_err(|_| BasicCredentialsError::Base64)?;
        let text = String::from_utf8(decoded).map_err(|_| BasicCredentialsError::Utf8)?;
        if text.chars().any(char::is_control) {
            return Err(BasicCredentialsError::ControlCharacter);
        }
        let colon = text.find(':').ok_or(BasicCredentialsError::NoColon)?;
        Ok(Self { text, colon })
    }

    /// The user name; it has no colon.
    pub fn user(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The password.
    pub fn password(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

/// Neither part: people type passwords where the user name belongs.
impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<(String, String), BasicCredentialsError> {
        let credentials = BasicCredentials::parse(STANDARD.encode(text).as_bytes())?;
        Ok((credentials.user().to_owned(), credentials.password().to_owned()))
    }

    #[test]
    fn user_ends_at_the_first_colon() {
        let pair = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
        assert_eq!(parse(b"Aladdin:open sesame"), pair("Aladdin", "open sesame"));
        assert_eq!(parse(b"a:b:c"), pair("a", "b:c"));
        assert_eq!(parse(b":"), pair("", ""));
        // RFC 7617, section 2.1.
        assert_eq!(
            BasicCredentials::parse(b"dGVzdDoxMjPCow==").map(|it| it.password().len()),
            Ok(5)
        );
    }

    #[test]
    fn what_is_no_pair_is_refused_with_the_reason() {
        use BasicCredentialsError::*;
        for (text, error) in [
            (&b"nocolon"[..], NoColon),
            (b"", NoColon),
            (b"a:\0", ControlCharacter),
            (b"a\r\n:b", ControlCharacter),
            ("a:\u{85}".as_bytes(), ControlCharacter),
            (b"a:\xa3", Utf8),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        for encoded in [&b"dTpw="[..], b"dTp", b"dTpw dTpw", b"dT-_", b"d", b"====", b"\xff"] {
            assert_eq!(BasicCredentials::parse(encoded), Err(Base64), "{encoded:?}");
        }
        let long = vec![b'A'; BasicCredentials::MAX_ENCODED_BYTES + 4];
        assert_eq!(BasicCredentials::parse(&long), Err(TooLong));
    }

    #[test]
    fn debug_output_has_neither_user_nor_password() {
        let credentials = BasicCredentials::parse(b"dXNlcjpwYXNz").unwrap();
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("user") && !shown.contains("pass"), "{shown}");
    }
}
