//! The compact form of JSON Web Tokens (RFC 7519, RFC 7515): parses it as strictly as RFC 8725 asks. Verifies no
//! signature and no claim.

use super::strict_json::{self, StrictJsonError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Maximum size of a token in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Maximum size of the header in bytes, decoded.
const MAX_HEADER_BYTES: usize = 2 * 1024;

/// Maximum length of `kid` and `typ`.
const MAX_NAME_BYTES: usize = 256;

/// A token whose form is valid. Nobody has verified it.
#[derive(Debug, Clone, PartialEq)]
pub struct UnverifiedToken<'t> {
    /// What its header says.
    pub header: TokenHeader,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// The part that is signed.
    pub signed: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// The header of a token, as far as it is used. Keys and URLs of keys in it (`jwk`, `jku`, `x5u`, `x5c`) are never read: the
/// sender of the token has chosen them (RFC 8725, section 3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHeader {
    /// `alg`, as it is written.
    pub algorithm: String,
    /// `kid`: the name of a key, which nothing but a comparison may use.
    pub key_id: Option<String>,
    /// `typ`, in lower case, without `application/`.
    pub token_type: Option<String>,
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFormError {
    /// It is longer than [`MAX_TOKEN_BYTES`], or its header is too long.
    TooLong,
    /// It does not have three parts; a token with five is encrypted (RFC 7516), and nobody here has its key.
    Parts,
    /// A part is not base64url as RFC 7515 defines it: without padding, white space and stray bits.
    Base64,
    /// The header or the claims are no JSON object.
    Json,
    /// A member occurs twice (RFC 7515 and RFC 7519, section 4).
    DuplicateMember,
    /// A member of the header has the wrong type.
    Header,
    /// The header has `crit` or `b64`: it wants something understood that is not (RFC 7515, section 4.1.11).
    Critical,
    /// The token contains another one (`cty`), or is compressed or encrypted.
    Nested,
}

impl<'t> UnverifiedToken<'t> {
    /// Parses a token.
    ///
    /// # Errors
    /// When the text is no token, or one that two parsers may read differently.
    pub fn parse(text: &'t [u8]) -> Result<Self, TokenFormError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenFormError::TooLong);
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFormError::Parts);
        };
        let signed_length = header.len() + 1 + claims.len();
        let header = decode(header)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(TokenFormError::TooLong);
        }
        let header = TokenHeader::read(&object(&header)?)?;
        let claims = object(&decode(claims)?)?;
        let signature = decode(signature)?;
        let signed = text.get(..signed_length).ok_or(TokenFormError::Parts)?;
        Ok(Self { header, claims, signed, signature })
    }
}

impl TokenHeader {
    fn read(members: &Map<String, Value>) -> Result<Self, TokenFormError> {
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(TokenFormError::Critical);
        }
        if ["enc", "zip", "cty"].iter().any(|name| members.contains_key(*name)) {
            return Err(TokenFormError::Nested);
        }
        let name = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_NAME_BYTES => Ok(Some(text.as_str())),
            Some(_) => Err(TokenFormError::Header),
        };
        let algorithm = name("alg")?.ok_or(TokenFormError::Header)?;
        Ok(Self {
            algorithm: algorithm.to_owned(),
            key_id: name("kid")?.map(str::to_owned),
            token_type: name("typ")?.map(media_type),
        })
    }
}

/// A `typ` for comparisons: in lower case, without `application/`, which senders may leave out (RFC 7515, section 4.1.9).
pub fn media_type(written: &str) -> String {
    let lower = written.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => lower,
    }
}

/// The bytes that a base64url text without padding is the only one for.
///
/// # Errors
/// When it is not that.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, TokenFormError> {
    // This engine refuses padding, and bits that the last character has too many: one token has one text.
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFormError::Base64)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, TokenFormError> {
    strict_json::object(bytes).map_err(|error| match error {
        StrictJsonError::DuplicateMember => TokenFormError::DuplicateMember,
        StrictJsonError::Malformed | StrictJsonError::TooDeep => TokenFormError::Json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn token_is_split_into_its_parts() {
        let text = token(
            r#"{"alg":"ES256","kid":"k","typ":"application/AT+jwt","jku":"http://x"}"#,
            r#"{"sub":"u"}"#,
        );
        let token = UnverifiedToken::parse(text.as_bytes()).unwrap();
        let header = TokenHeader {
            algorithm: "ES256".into(),
            key_id: Some("k".into()),
            token_type: Some("at+jwt".into()),
        };
        assert_eq!((token.header, token.signature.as_slice()), (header, &b"sig"[..]));
        assert_eq!(token.claims["sub"], "u");
        assert_eq!(token.signed, text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn other_texts_are_no_tokens() {
        use TokenFormError::{
            Base64, Critical, DuplicateMember, Header, Json, Nested, Parts, TooLong,
        };
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        let long_kid = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257));
        for (text, error) in [
            (String::new(), Parts),
            ("..".to_owned(), Json),
            (format!("{good}."), Parts),
            (format!("{good}=="), Base64),
            (format!("{good} "), Base64),
            (good.replacen('.', "..", 1), Parts),
            (format!("{good}9"), Base64),
            (good.replace("c2ln", "c2lo+/"), Base64),
            (good.replace("c2ln", "c2l"), Base64),
            (token(r#"{"alg":"ES256","alg":"none"}"#, "{}"), DuplicateMember),
            (token(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#), DuplicateMember),
            (token(r#"{"alg":["ES256"]}"#, "{}"), Header),
            (token(r#"{"typ":"JWT"}"#, "{}"), Header),
            (token(r#"{"alg":"ES256","kid":1}"#, "{}"), Header),
            (token(&long_kid, "{}"), Header),
            (token(r#"{"alg":"ES256","crit":[]}"#, "{}"), Critical),
            (token(r#"{"alg":"ES256","b64":true}"#, "{}"), Critical),
            (token(r#"{"alg":"ES256","cty":"JWT"}"#, "{}"), Nested),
            (token(r#"{"alg":"ES256"}"#, "[]"), Json),
            (token(r#"{"alg":"ES256"}"#, ""), Json),
            ("a".repeat(MAX_TOKEN_BYTES + 1), TooLong),
            (token(&format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(2048)), "{}"), TooLong),
        ] {
            assert_eq!(UnverifiedToken::parse(text.as_bytes()), Err(error), "{text:.80}");
        }
    }
}
