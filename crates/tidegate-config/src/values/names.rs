//! Texts that must have a certain form: hosts, origins, headers, methods, paths, templates, statuses, close codes. Each
//! is validated as the gateway would use it, and the error says what to write. Knows no configuration key.

use serde::ser::{Serialize, Serializer};
use std::str::FromStr;
use tidegate_http::host::{is_authority, without_port};
use tidegate_http::path::{self, ForwardedForm, ParsedPath, PathPolicy};
use tidegate_http::websocket::close_code;

/// The leaves that are strings within, each judged by a function.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $check_format:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(String);

            impl $name {
                /// As written.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(&self.0)
                }
            }

            impl FromStr for $name {
                type Err = String;

                fn from_str(written: &str) -> Result<Self, String> {
                    let check_format: fn(&str) -> Result<(), String> = $check_format;
                    check_format(written).map(|()| Self(written.to_owned()))
                }
            }
        )*
    };
}

names! {
    /// `scheme://host[:port]`, `scheme://*.host[:port]`, `*`, or `null`.
    OriginPattern: check_origin;
    /// `host` or `*.host`, without port.
    HostPattern: check_host;
    /// The name of a header field (RFC 9110, section 5.1).
    HeaderName: check_header;
    /// A request method (RFC 9110, section 9.1).
    Method: check_method;
    /// A path, beginning with `/`.
    Path: check_path;
    /// A path with or without a query, as a health check asks for it.
    ProbeTarget: check_probe_target;
    /// A text with variables of the request: `{client.address}`.
    Template: check_template;
    /// A status of an error, or their class: `404`, `4xx`, `5xx`.
    ErrorStatus: check_error_status;
    /// A value, to be matched as it is.
    Exactly: |_| Ok(());
    /// The name of a scheme of `authentication`, or `off`.
    RequiredScheme: |_| Ok(());
}

fn check_origin(written: &str) -> Result<(), String> {
    if tidegate_http::origin::OriginPattern::parse(written).is_some() {
        return Ok(());
    }
    Err(match written.strip_suffix('/') {
        Some(rest) if tidegate_http::origin::OriginPattern::parse(rest).is_some() => {
            format!("an origin has no path; write `{rest}`")
        }
        _ => "not an origin; write it like `https://app.example.com`, \
              `https://*.example.com`, `http://localhost:5173`, `file://`, `null` or `*`"
            .to_owned(),
    })
}

/// Whether it is a name of letters, digits, `-`, `.` and `_`, or an IPv6 address in brackets, without a port.
fn is_host(written: &str) -> bool {
    let is_ipv6 = written.starts_with('[') && written.ends_with(']');
    let is_name = !written.is_empty()
        && written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_ipv6 || is_name) && tidegate_http::host::canonical(written).is_some()
}

fn check_host(written: &str) -> Result<(), String> {
    // Another never equals the host of a request.
    if is_host(written.strip_prefix("*.").unwrap_or(written)) {
        return Ok(());
    }
    Err(match written.rsplit_once(':') {
        Some((host, _)) if !host.contains(['/', ':']) => {
            format!("a host must not contain a port here; write `{host}`")
        }
        _ => "not a host name; write it like `api.example.com` or `*.example.com`".to_owned(),
    })
}

fn check_header(written: &str) -> Result<(), String> {
    match http::HeaderName::from_bytes(written.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err("not a valid header name; write it like `X-User-Id`".to_owned()),
    }
}

fn check_method(written: &str) -> Result<(), String> {
    let upper = written.to_ascii_uppercase();
    if http::Method::from_bytes(written.as_bytes()).is_err() {
        return Err("not an HTTP method; write it like `GET`".to_owned());
    }
    if upper == "CONNECT" || upper == "TRACE" {
        return Err(format!("no route can match `{upper}`: the gateway rejects it with 405"));
    }
    match upper == written {
        true => Ok(()),
        false => Err(format!("methods are case-sensitive; write `{upper}`")),
    }
}

fn check_template(written: &str) -> Result<(), String> {
    use tidegate_http::template::{Template, TemplateError, Variable};
    written.parse::<Template>().map(drop).map_err(|error| {
        let names: Vec<_> =
            Variable::ALL.iter().map(Variable::name).chain(["claim.NAME".into()]).collect();
        match &error {
            TemplateError::Unknown(name) => {
                match crate::did_you_mean(name, names.iter().map(|name| &**name)) {
                    Some(guess) => format!("{error}; did you mean `{{{guess}}}`?"),
                    None => format!("{error}; known variables: {}", names.join(", ")),
                }
            }
            TemplateError::Unbalanced => error.to_string(),
        }
    })
}

fn check_error_status(written: &str) -> Result<(), String> {
    let is_status =
        written.len() == 3 && written.parse().is_ok_and(|code| (400..600).contains(&code));
    match is_status || matches!(written, "4xx" | "5xx") {
        true => Ok(()),
        false => Err("not an error status; write it like `404`, `4xx` or `5xx`".to_owned()),
    }
}

fn check_probe_target(written: &str) -> Result<(), String> {
    let (path, query) = written.split_once('?').unwrap_or((written, ""));
    check_path(path)?;
    match query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(()),
        false => {
            Err("a query must not contain spaces or `#`, and other special characters must be \
                percent-encoded"
                .into())
        }
    }
}

fn check_path(written: &str) -> Result<(), String> {
    if !written.starts_with('/') {
        return Err("a path must begin with `/`".to_owned());
    }
    if written.contains(['?', '#']) {
        return Err("a path must not contain `?` or `#`; to match the query, use the key `query`"
            .to_owned());
    }
    let in_words = |error: path::PathError| error.to_string();
    let spelling = ParsedPath::parse(written).map_err(in_words)?;
    let forwarded = spelling.forwarded(PathPolicy::NORMAL).map_err(in_words)?;
    let normal = match &forwarded {
        ForwardedForm::Spelt(form) | ForwardedForm::Other(form) => form,
        ForwardedForm::Normal | ForwardedForm::AsItCame => &*spelling.normal,
    };
    // Reserved characters are written as one likes, and so are those beyond ASCII.
    match normal == written || *normal == path::escape_illegal_bytes(written, false) {
        true => Ok(()),
        false => Err(format!("the path is not in normal form; write `{normal}`")),
    }
}

/// The `Host` that the upstream sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// What the client sent.
    Preserve,
    /// The endpoint's address.
    Upstream,
    /// A name of its own.
    Name(String),
}

/// How many letters of `preserve` and `upstream` may be wrong before it is taken for a name.
const MAX_EDIT_DISTANCE: usize = 2;

impl FromStr for HostRewrite {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written {
            "preserve" => return Ok(Self::Preserve),
            "upstream" => return Ok(Self::Upstream),
            _ => {}
        }
        if written.ends_with(':') || !is_authority(written) || !is_host(without_port(written)) {
            return Err("expected `preserve`, `upstream` or a host name".to_owned());
        }
        let lower = written.to_ascii_lowercase();
        let is_near = |word: &&str| {
            // Names of hosts may be long, and the distance costs their product.
            lower.len() < 16 && strsim::damerau_levenshtein(&lower, word) <= MAX_EDIT_DISTANCE
        };
        match ["preserve", "upstream"].into_iter().find(is_near) {
            Some(word) => Err(format!(
                "did you mean `{word}`? For a host of this name, add its port: `{written}:80`"
            )),
            None => Ok(Self::Name(written.to_owned())),
        }
    }
}

/// What a client gets whose upstream is gone: a close code, or `none` for no close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostCode(pub Option<u16>);

impl Serialize for LostCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(code) => serializer.serialize_u16(code),
            None => serializer.serialize_str("none"),
        }
    }
}

impl FromStr for LostCode {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if written == "none" {
            return Ok(Self(None));
        }
        let code = written.parse().ok().filter(|&code| close_code::is_sendable(code));
        code.map(|code| Self(Some(code))).ok_or_else(|| {
            format!(
                "not a WebSocket close code that may be sent; expected {}, or `none`",
                close_code::SENDABLE_CODES
            )
        })
    }
}
