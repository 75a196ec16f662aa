//! What must not be shown.

/// What the name of something secret has in it.
const WORDS: [&str; 9] = [
    "token",
    "secret",
    "passw",
    "authorization",
    "hmac",
    "api-key",
    "api_key",
    "apikey",
    "credential",
];

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Whether something of this name is secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// The same of a header field, cookies included.
pub fn is_secret_field(name: &str) -> bool {
    let is_cookie = ["cookie", "set-cookie"].iter().any(|it| name.eq_ignore_ascii_case(it));
    is_cookie || is_secret(name)
}

/// `redis://user:password@host` without what is before the `@`.
pub fn without_userinfo(text: &str) -> String {
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.split_once('@')?;
        (!user.contains('/')).then(|| format!("{scheme}://{REDACTED}@{host}"))
    });
    parts.unwrap_or_else(|| text.to_owned())
}
