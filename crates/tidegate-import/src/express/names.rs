//! What names of packages and words of programs tell of a handler.
//! It knows nothing of how a program runs.

/// Words by which a handler that turns away is known.
const REFUSALS: [&str; 6] =
    ["401", "403", "Unauthorized", "Forbidden", "unauthorized", "forbidden"];
/// The same, of names.
const GUARDS: [&str; 22] = [
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
/// What has such a name, and lets everybody pass.
const SESSIONS: [&str; 4] =
    ["cookie-session", "express-session", "passport.initialize", "passport.session"];
/// Names of what does not turn away for who one is.
const HARMLESS: [&str; 17] = [
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

/// Whether nothing is lost without what has this name.
pub(super) fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SESSIONS.contains(&name.as_str())
        || HARMLESS.iter().any(|word| name.contains(word)) && !is_guard(&name)
}

/// Whether a piece of the program turns requests away.
pub(super) fn refuses(text: &str) -> bool {
    REFUSALS.iter().any(|word| text.contains(word))
}

fn is_guard(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !SESSIONS.contains(&name.as_str()) && GUARDS.iter().any(|word| name.contains(word))
}

/// Whether a handler that comes from elsewhere may turn requests away: by its name, or because the
/// program's own files are not read.
pub(super) fn may_guard(name: &str) -> bool {
    is_guard(name) || ["./", "../", "#", "~", "@/"].iter().any(|own| name.starts_with(own))
}

/// Whether a call makes a proxy.
pub(super) fn is_proxy(name: &str) -> bool {
    ["http-proxy-middleware", "http-proxy-middleware.createProxyMiddleware"].contains(&name)
        || name == "http-proxy-middleware.legacyCreateProxyMiddleware"
        || name == "express-http-proxy"
}
