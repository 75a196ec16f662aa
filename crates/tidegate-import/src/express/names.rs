//! What the names of packages and functions say about a handler, such as that it is a guard.
//! It does not know how a program is read.

/// Words in the name of a handler that may reject requests.
const REJECTION_WORDS: [&str; 6] =
    ["401", "403", "Unauthorized", "Forbidden", "unauthorized", "forbidden"];
/// Parts of names of handlers that may reject requests.
const GUARD_NAMES: [&str; 22] = [
    "acl",
    "admin",
    "allow",
    "apikey",
    "auth",
    "csrf",
    "csurf",
    "deny",
    "ensure",
    "guard",
    "ipfilter",
    "jwt",
    "login",
    "lusca",
    "passport",
    "permission",
    "protect",
    "restrict",
    "role",
    "session",
    "token",
    "verify",
];
/// Names of that kind that let every request pass.
const SESSION_NAMES: [&str; 4] =
    ["cookie-session", "express-session", "passport.initialize", "passport.session"];
/// Names of handlers that do not reject by identity.
const HARMLESS_NAMES: [&str; 17] = [
    "bodyparser",
    "body-parser",
    "compress",
    "cookie",
    "express.json",
    "express.raw",
    "express.text",
    "express.urlencoded",
    "logg",
    "metric",
    "morgan",
    "pino",
    "requestid",
    "request-id",
    "response-time",
    "trace",
    "winston",
];

/// Whether a handler of this name can be left out.
pub(super) fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SESSION_NAMES.contains(&name.as_str())
        || HARMLESS_NAMES.iter().any(|word| name.contains(word)) && !is_guard(&name)
}

/// Whether code of the program rejects requests.
pub(super) fn refuses(text: &str) -> bool {
    REJECTION_WORDS.iter().any(|word| text.contains(word))
}

fn is_guard(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !SESSION_NAMES.contains(&name.as_str()) && GUARD_NAMES.iter().any(|word| name.contains(word))
}

/// Whether a handler from another file may reject requests: its name says so, or it is from one of the program's own
/// files, which are not read.
pub(super) fn may_guard(name: &str) -> bool {
    is_guard(name) || ["./", "../", "#", "~", "@/"].iter().any(|own| name.starts_with(own))
}

/// Whether a call makes a proxy.
pub(super) fn is_proxy(name: &str) -> bool {
    ["http-proxy-middleware", "http-proxy-middleware.createProxyMiddleware"].contains(&name)
        || name == "http-proxy-middleware.legacyCreateProxyMiddleware"
        || name == "express-http-proxy"
}
