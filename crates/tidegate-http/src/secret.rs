//! The names of secrets (headers, parameters, keys), in one place for logs, messages, the admin endpoint, `explain` and
//! the history. Removes nothing itself; `redact` does.

pub use super::redact::REDACTED;

use super::header_name::lower;
use super::spelling;
use std::borrow::Cow;

/// Names of secrets. A name is secret if it ends in one of them, ignoring case, `-` and `_`:
/// `X-Amz-Security-Token` ends in `token`, `clientSecret` in `secret`.
pub const SECRET_NAMES: [&str; 28] = [
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "pass",
    "otp",
    "authorization",
    "auth",
    "bearer",
    "jwt",
    "credential",
    "assertion",
    "samlresponse",
    "session",
    "sessionid",
    "sessid",
    "sid",
    "csrf",
    "xsrf",
    "signature",
    "sig",
    "hmac",
    "ticket",
    "key",
    "code",
];

/// Names of secrets that also end other words: they count only where a word of the name starts with them.
const WHOLE_WORD_SECRETS: [&str; 5] = ["code", "otp", "pass", "sid", "sig"];

/// Names that end like a secret and are not secret.
const NOT_SECRET_NAMES: [&str; 20] = [
    "cachekey",
    "idempotencykey",
    "partitionkey",
    "primarykey",
    "publickey",
    "routingkey",
    "sortkey",
    "surrogatekey",
    "websocketkey",
    "closecode",
    "countrycode",
    "currencycode",
    "errorcode",
    "exitcode",
    "languagecode",
    "postalcode",
    "postcode",
    "responsecode",
    "statuscode",
    "zipcode",
];

/// Ends of the names of headers that prove or describe a user.
const CREDENTIAL_HEADER_ENDS: [&str; 8] = [
    "cookie",
    "dpop",
    "clientcert",
    "clientcertchain",
    "clientprincipal",
    "oidcdata",
    "userinfo",
    "keys",
];

/// Configuration keys that end like a secret and contain a path, a number or a switch.
const NOT_SECRET_KEYS: [&str; 5] =
    ["key", "code", "client_auth", "allow_credentials", "max_sessions"];

/// The names of secrets: the built-in list, or the operator's; beside it names that the configuration reads secrets from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretNames {
    listed: Option<Box<[String]>>,
    added: Box<[String]>,
}

impl SecretNames {
    /// Only these names, compared like those of the list; each counts as a word.
    pub fn with_names(names: &[String]) -> Self {
        let folded = names.iter().map(|name| FoldedName::new(name).as_string()).collect();
        Self { listed: Some(folded), added: Box::default() }
    }

    /// These names as well, whatever the list is.
    #[must_use]
    pub fn adding<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let added = names.into_iter().map(|name| FoldedName::new(name).as_string()).collect();
        Self { added, ..self }
    }

    /// Whether this name is that of a secret.
    pub fn contains(&self, name: &str) -> bool {
        if self.listed.is_none() && is_secret(name) {
            return true;
        }
        let mut words = self.listed.iter().flatten().chain(&self.added).peekable();
        if words.peek().is_none() {
            return false;
        }
        let name = FoldedName::new(name);
        words.any(|word| name.ends_with_word(word))
    }
}

/// Whether something of this name is secret.
pub fn is_secret(name: &str) -> bool {
    let name = FoldedName::new(name);
    let is_listed = |word: &&str| {
        name.may_end_with(word)
            && name.ends_with(word)
            && (!WHOLE_WORD_SECRETS.contains(word) || name.ends_with_word(word))
    };
    SECRET_NAMES.iter().any(is_listed)
        && !NOT_SECRET_NAMES.iter().any(|harmless| name.ends_with(harmless))
}

/// Whether a header with this name is secret, including cookies.
pub fn is_secret_field(name: &str) -> bool {
    let folded = FoldedName::new(name);
    CREDENTIAL_HEADER_ENDS.iter().any(|end| folded.ends_with(end)) || is_secret(name)
}

/// Whether no log may have a header of this name. Browsers can't set headers for a WebSocket, so
/// their pages send tokens as subprotocols.
pub fn is_unloggable_field(name: &str) -> bool {
    name.eq_ignore_ascii_case(lower::SEC_WEBSOCKET_PROTOCOL) || is_secret_field(name)
}

/// Whether a key of the configuration is secret.
pub fn is_secret_key(name: &str) -> bool {
    !NOT_SECRET_KEYS.contains(&name) && is_secret(name)
}

/// Whether keys below this one of the configuration are not the gateway's own: names of headers, cookies or
/// parameters, or settings of filters that a program registers, whose `key` may be one.
pub fn holds_fields(key: &str) -> bool {
    ["headers", "forward_headers", "query", "cookie", "cookies", FILTERS_KEY].contains(&key)
}

/// The configuration key that lists named filters, whose settings can have any names.
const FILTERS_KEY: &str = "filters";

/// Whether the last key of this path of the configuration, such as `admin.token`, is that of a secret.
pub fn is_secret_path(path: &str) -> bool {
    let mut keys = path.split(['.', '[']).filter(|part| !part.ends_with(']'));
    let key = keys.next_back().unwrap_or(path);
    match keys.any(holds_fields) {
        true => is_secret_field(key),
        false => is_secret_key(key),
    }
}

/// Whether a name may be a misspelt name of a secret.
pub fn is_nearly_secret(name: &str) -> bool {
    let folded = FoldedName::new(name).as_string();
    // Names may be long, and computing the distance costs the product of the lengths.
    folded.len() < 32
        && SECRET_NAMES.iter().filter(|secret| secret.len() > 4).any(|secret| {
            let misspelt = if secret.len() > 6 { 2 } else { 1 };
            strsim::damerau_levenshtein(&folded, secret) <= misspelt
        })
}

/// Maximum number of bytes of a name that are compared, counted from its end.
const MAX_COMPARED_BYTES: usize = 64;

/// A name in its plain spelling and in lower case, without what separates its words and without the number, the
/// brackets or the plural at its end.
struct FoldedName {
    bytes: [u8; MAX_COMPARED_BYTES],
    length: usize,
    /// Where a word of the name begins, a bit for each byte.
    starts: u64,
}

impl FoldedName {
    fn new(name: &str) -> Self {
        let name = spelling::plain(name);
        let name = name.as_bytes();
        let name = name.get(name.len().saturating_sub(MAX_COMPARED_BYTES)..).unwrap_or(name);
        let end = name.iter().rposition(|byte| !(byte.is_ascii_digit() || b"[]".contains(byte)));
        let name = end.and_then(|end| name.get(..=end)).unwrap_or(name);
        let mut folded = Self { bytes: [0; MAX_COMPARED_BYTES], length: 0, starts: 0 };
        let mut before = None;
        for (index, &byte) in name.iter().enumerate() {
            let is_part = byte.is_ascii_alphanumeric() || !byte.is_ascii();
            if is_part {
                let next = name.get(index + 1);
                let is_hump = byte.is_ascii_uppercase()
                    && (before.is_some_and(|it: u8| !it.is_ascii_uppercase())
                        || next.is_some_and(u8::is_ascii_lowercase));
                if before.is_none() || is_hump {
                    folded.starts |= 1 << folded.length;
                }
                if let Some(byte_slot) = folded.bytes.get_mut(folded.length) {
                    *byte_slot = byte.to_ascii_lowercase();
                    folded.length += 1;
                }
            }
            before = is_part.then_some(byte);
        }
        folded
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn as_string(&self) -> String {
        String::from_utf8_lossy(self.text()).into_owned()
    }

    /// Whether the last letter matches. Most words differ there already, and every query of a
    /// logged request is checked.
    fn may_end_with(&self, word: &str) -> bool {
        let last = self.text().last();
        last == word.as_bytes().last() || last == Some(&b's')
    }

    /// Where the word begins that the name ends in, one that stands in the plural too.
    fn suffix_start(&self, word: &str) -> Option<usize> {
        let singular = self.text().strip_suffix(b"s").unwrap_or_default();
        let found = [self.text(), singular].into_iter().find(|it| it.ends_with(word.as_bytes()))?;
        found.len().checked_sub(word.len())
    }

    fn ends_with(&self, word: &str) -> bool {
        self.suffix_start(word).is_some()
    }

    fn ends_with_word(&self, word: &str) -> bool {
        self.suffix_start(word)
            .is_some_and(|start| start < MAX_COMPARED_BYTES && self.starts & (1 << start) != 0)
    }
}

/// `redis://user:password@host` without what is before the `@`, wherever it is in the text.
pub fn without_userinfo(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((scheme, behind)) = rest.split_once("://") {
        shown.push_str(scheme);
        shown.push_str("://");
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\\' | '`') || c.is_whitespace();
        let authority = behind.split(ends).next().unwrap_or_default();
        // A host has no `@`, so everything before the last one is user information.
        rest = match authority.rsplit_once('@') {
            Some((user, _)) => {
                shown.push_str(REDACTED);
                behind.get(user.len()..).unwrap_or_default()
            }
            None => behind,
        };
    }
    shown.push_str(rest);
    shown
}

/// A text without the passwords and the secret parameters of its URLs.
pub fn without_secrets_of_urls(text: &str) -> String {
    if !text.contains("://") && !text.contains('?') {
        return text.to_owned();
    }
    let words = text.split(' ').map(|word| match word.contains("://") || word.contains('?') {
        true => without_url_secrets(word),
        false => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A URL, or a text that may be one, without the password in it and without the values of secret
/// parameters in its query and its fragment.
pub fn without_url_secrets(text: &str) -> String {
    let mut text = without_userinfo(text);
    if !text.contains("://")
        && let Some((before, host)) = text.rsplit_once('@')
        && before.contains(':')
        && !before.contains(['/', ' '])
    {
        // A URL without its scheme: `user:password@host`.
        text = format!("{REDACTED}@{host}");
    }
    let Some(start) = text.find(['?', '#', '=']) else { return text };
    let (before, parameters) = match text.as_bytes().get(start) {
        Some(b'=') => ("", text.as_str()),
        _ => text.split_at(start),
    };
    match super::redact::redact(parameters, is_secret) {
        Cow::Borrowed(_) => text,
        Cow::Owned(parameters) => format!("{before}{parameters}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_filters_are_judged_as_names_that_are_not_the_gateways() {
        for path in ["admin.token", "filters[0].guard.users[1].key", "routes[2].filters[0].g.code"]
        {
            assert!(is_secret_path(path), "{path}");
        }
        for path in ["listeners[0].tls.key", "drain.code", "filters[0].guard.name", "name"] {
            assert!(!is_secret_path(path), "{path}");
        }
        assert!(holds_fields("filters"));
    }

    #[test]
    fn secret_is_recognised_by_the_end_of_its_name() {
        for name in [
            "token",
            "TOKEN",
            "access_token",
            "accessToken",
            "access-token",
            "refreshToken",
            "idToken",
            "X-Amz-Security-Token",
            "apiKey",
            "api-key",
            "apikey",
            "x-api-key",
            "key",
            "X-Access-Key",
            "clientSecret",
            "client-secret",
            "sessionToken",
            "session",
            "session_id",
            "sessionId",
            "PHPSESSID",
            "connect.sid",
            "bearer",
            "jwtToken",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "sig",
            "X-Sig",
            "X-Auth",
            "authorization",
            "Proxy-Authorization",
            "code",
            "authorization_code",
            "authCode",
            "tickets",
            "tokens",
            "token[]",
            "user[password]",
            "password2",
            "new_password",
            "csrfmiddlewaretoken",
            "_csrf",
            "oauth_signature",
            "hmac_key",
            "passwd",
            "dbPwd",
            "tok%2565n",
            "to\u{200b}ken",
            "to%E2%80%8Bken",
            "\u{ff54}\u{ff4f}\u{ff4b}\u{ff45}\u{ff4e}",
            "%EF%BC%B4OKEN",
            "pass\u{ad}word",
            "user_pass",
            "smtpPass",
            "otp",
            "client_assertion",
            "SAMLResponse",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "id",
            "userId",
            "author",
            "tokenizer",
            "secretary",
            "barcode",
            "bypass",
            "compass",
            "hotpot",
            "zipCode",
            "status_code",
            "design",
            "inside",
            "Idempotency-Key",
            "Surrogate-Key",
            "keyword",
            "Sec-WebSocket-Key",
            "page",
            "[]",
            "123",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(is_secret(&format!("{}_token", "x".repeat(1000))));
        assert!(is_secret_field("Set-Cookie") && is_secret_field("cookie"));
        assert!(is_unloggable_field("Sec-WebSocket-Protocol"));
        for name in [
            "X-Goog-Iap-Jwt-Assertion",
            "Cf-Access-Jwt-Assertion",
            "X-Amzn-Oidc-Data",
            "X-Ms-Client-Principal",
            "DPoP",
            "X-Forwarded-Client-Cert",
            "Client-Cert-Chain",
            "X_Userinfo",
        ] {
            assert!(is_unloggable_field(name), "{name}");
        }
        for name in ["X-Ms-Client-Principal-Id", "X-Amzn-Oidc-Identity", "Remote-User"] {
            assert!(!is_unloggable_field(name), "{name}");
        }
    }

    #[test]
    fn secrets_in_urls_are_redacted_under_odd_spellings() {
        for name in ["tok%2565n", "to%E2%80%8Bken", "\u{ff54}oken"] {
            let shown = without_secrets_of_urls(&format!("GET http://a/?{name}=x&b=1"));
            assert_eq!(shown, format!("GET http://a/?{name}=REDACTED&b=1"));
        }
    }

    #[test]
    fn configured_secret_names_match_whole_words() {
        let names = SecretNames::with_names(&["pin".to_owned(), "Door-Code".to_owned()]);
        for name in ["pin", "PIN", "user_pin", "userPin", "door-code", "doorcode", "DOOR_CODE"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["spin", "pinned", "code", "token"] {
            assert!(!names.contains(name), "{name}");
        }
    }

    #[test]
    fn misspelt_secret_name_is_recognised() {
        for name in ["tokn", "tokne", "pasword", "secert", "authorisation"] {
            assert!(is_nearly_secret(name), "{name}");
        }
        for name in ["address", "listeners", "endpoints", "path_prefix"] {
            assert!(!is_nearly_secret(name), "{name}");
        }
    }
}
