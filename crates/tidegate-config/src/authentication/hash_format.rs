//! The formats of hashes of passwords and keys, told apart by how they begin. Verifies nothing, and judges no cost.

use std::fmt;

/// A format that the gateway accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFormat {
    /// `sha256:` and hexadecimal digits: fast, for keys that nobody can guess.
    Sha256,
    /// `$argon2id$`, `$argon2i$`, `$argon2d$` (RFC 9106).
    Argon2,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
}

/// What the gateway does not accept as a hash, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsupportedHash {
    /// Nothing.
    Empty,
    /// `{SHA}`, `{SSHA}`: unsalted or fast SHA-1.
    Sha1,
    /// `$apr1$`, `$1$`: MD5.
    Md5,
    /// `$5$`, `$6$`, `$y$` and others of crypt(3).
    Crypt,
    /// Thirteen characters: crypt(3) with DES.
    Des,
    /// `$2x$`, which a faulty implementation wrote.
    FaultyBcrypt,
    /// None of these: probably the secret itself.
    Plain,
}

impl HashFormat {
    /// The beginning of a SHA-256 hash.
    pub const SHA256_PREFIX: &str = "sha256:";

    /// The format of a hash.
    ///
    /// # Errors
    /// If the gateway does not accept it.
    pub fn of(hash: &str) -> Result<Self, UnsupportedHash> {
        let begins = |starts: &[&str]| starts.iter().any(|start| hash.starts_with(start));
        let is_crypt_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        Err(match () {
            () if hash.is_empty() => UnsupportedHash::Empty,
            () if begins(&[Self::SHA256_PREFIX]) => return Ok(Self::Sha256),
            () if begins(&["$argon2id$", "$argon2i$", "$argon2d$"]) => return Ok(Self::Argon2),
            () if begins(&["$2a$", "$2b$", "$2y$"]) => return Ok(Self::Bcrypt),
            () if begins(&["$2x$"]) => UnsupportedHash::FaultyBcrypt,
            () if begins(&["{SHA}", "{SSHA}"]) => UnsupportedHash::Sha1,
            () if begins(&["$apr1$", "$1$"]) => UnsupportedHash::Md5,
            () if begins(&["$"]) => UnsupportedHash::Crypt,
            () if hash.len() == 13 && hash.bytes().all(is_crypt_letter) => UnsupportedHash::Des,
            () => UnsupportedHash::Plain,
        })
    }
}

impl UnsupportedHash {
    /// What to do about it, for a file of passwords.
    pub fn help(self) -> &'static str {
        match self {
            Self::Empty | Self::Plain => {
                "write a hash: `tidegate hash` reads the password and prints one; `htpasswd -B` \
                 writes bcrypt"
            }
            _ => {
                "a hash cannot be converted without the password: set the password again with \
                 `tidegate hash` (Argon2) or `htpasswd -B` (bcrypt)"
            }
        }
    }
}

/// Why it is not accepted, without any part of it.
impl fmt::Display for UnsupportedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the hash is missing",
            Self::Sha1 => {
                "SHA-1 (`{SHA}`) is not accepted: it is so fast that most passwords can be guessed"
            }
            Self::Md5 => {
                "MD5 (`$apr1$`) is not accepted: it is so fast that most passwords can be guessed"
            }
            Self::Crypt => "this format of crypt is not accepted, only Argon2 and bcrypt are",
            Self::Des => {
                "this looks like crypt with DES, which ignores all but eight characters of a \
                 password; it is not accepted"
            }
            Self::FaultyBcrypt => {
                "`$2x$` is not accepted: it marks bcrypt hashes of a faulty program"
            }
            Self::Plain => "not a hash that the gateway knows; a plain secret is not accepted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (hash, format) in [
            ("sha256:00", Ok(HashFormat::Sha256)),
            ("$argon2id$v=19$m=8,t=1,p=1$AA$AA", Ok(HashFormat::Argon2)),
            ("$argon2$", Err(UnsupportedHash::Crypt)),
            ("$2y$05$abc", Ok(HashFormat::Bcrypt)),
            ("$2x$05$abc", Err(UnsupportedHash::FaultyBcrypt)),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Err(UnsupportedHash::Sha1)),
            ("{SSHA}x", Err(UnsupportedHash::Sha1)),
            ("$apr1$x$y", Err(UnsupportedHash::Md5)),
            ("$1$x$y", Err(UnsupportedHash::Md5)),
            ("$6$x$y", Err(UnsupportedHash::Crypt)),
            ("rqXexS6ZhobKA", Err(UnsupportedHash::Des)),
            ("open sesame", Err(UnsupportedHash::Plain)),
            ("{PLAIN}x", Err(UnsupportedHash::Plain)),
            ("", Err(UnsupportedHash::Empty)),
        ] {
            assert_eq!(HashFormat::of(hash), format, "{hash}");
        }
    }
}
