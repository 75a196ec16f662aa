//! The smallest parts of a configuration: durations, sizes, addresses, names.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::str::FromStr;
use tidegate_http::address::Address;
use tidegate_http::host::{is_authority, without_port};
use tidegate_http::path::{self, Forwarded, PathPolicy, Spelling};
use tidegate_http::websocket::close_code;

/// Where something stands: the file by its number, line and column counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file, by its place in [`Sources`](super::Sources).
    pub file: u16,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The name by which the deserializer knows that a position is wanted as well.
pub(super) const SPANNED_TYPE_NAME: &str = "$tidegate::Spanned";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pair<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its position")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Spanned<T>, A::Error> {
                let missing = || de::Error::custom("no position");
                let (file, line, column) = seq.next_element()?.ok_or_else(missing)?;
                let value = seq.next_element()?.ok_or_else(missing)?;
                Ok(Spanned { value, span: Span { file, line, column } })
            }
        }
        deserializer.deserialize_newtype_struct(SPANNED_TYPE_NAME, Pair(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Makes a type a leaf of the configuration: a string that its `FromStr` judges, known to the
/// schema by its format.
macro_rules! leaves {
    ($($leaf:ident: $format:literal, $example:literal;)*) => {
        $(
            impl<'de> Deserialize<'de> for $leaf {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let written = Cow::<'de, str>::deserialize(deserializer)?;
                    written.parse().map_err(de::Error::custom)
                }
            }

            impl JsonSchema for $leaf {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($leaf).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({"type": "string", "format": $format, "examples": [$example]})
                }
            }
        )*

        /// Judges a string by the schema's format; `None` when it isn't one of ours.
        pub(super) fn judge(format: &str, written: &str) -> Option<Result<(), String>> {
            match format {
                $($format => Some(written.parse::<$leaf>().map(drop)),)*
                _ => None,
            }
        }

        #[cfg(test)]
        pub(super) const EXAMPLES: &[(&str, &str)] = &[$(($format, $example)),*];
    };
}

leaves! {
    Duration: "duration", "30s";
    ByteSize: "byte-size", "1MiB";
    Cidr: "cidr", "10.0.0.0/8";
    TrustedProxy: "trusted-proxy", "10.0.0.0/8";
    ListenAddress: "listen-address", "127.0.0.1:3000";
    EndpointAddress: "endpoint-address", "127.0.0.1:4009";
    OriginPattern: "origin-pattern", "https://*.example.com";
    HostPattern: "host-pattern", "*.example.com";
    HeaderName: "header-name", "x-user-id";
    Method: "http-method", "GET";
    Path: "path", "/api";
    ProbeTarget: "probe-target", "/socket.io/?EIO=4";
    LostCode: "lost-code", "1014";
    Exactly: "exact-value", "2";
    Template: "template", "{client.address}";
    ErrorStatus: "error-status", "5xx";
    HostRewrite: "host-rewrite", "upstream";
}

/// The longest duration: 100 years. A clock can add it to the present time without an overflow.
const MAX_DURATION: std::time::Duration = std::time::Duration::from_secs(100 * 31_557_600);

/// A span of time: `30s`, `10m`, `1h 30m`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub std::time::Duration);

impl FromStr for Duration {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("a duration needs a unit: write `{written}s` for seconds"));
        }
        let duration = humantime::parse_duration(written).map_err(|_| {
            "not a duration; write it like `30s`, `10m`, `1h 30m` or `250ms`".to_owned()
        })?;
        match duration <= MAX_DURATION {
            true => Ok(Self(duration)),
            false => Err("a duration must not exceed 100 years (`100y`)".to_owned()),
        }
    }
}

impl Serialize for Duration {
    /// As it would be written: in the largest unit that leaves a whole number, a minute in seconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let is_whole = |(unit, name): &&(u128, &str)| {
            millis.is_multiple_of(*unit) && (millis > *unit || *name == "s")
        };
        match units.iter().find(is_whole) {
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", millis / unit)),
            None => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }
}

/// A number of bytes: `64KiB`, `1MiB`, `500kB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        written
            .parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_| "not a size; write it like `64KiB`, `1MiB` or `4096`".to_owned())
    }
}

impl Serialize for ByteSize {
    /// As it would be written: in the largest unit that leaves a whole number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(1024 * 1024 * 1024, "GiB"), (1024 * 1024, "MiB"), (1024, "KiB")];
        let is_whole = |(unit, _): &&(u64, &str)| self.0 > 0 && self.0.is_multiple_of(*unit);
        match units.iter().find(is_whole) {
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", self.0 / unit)),
            None => serializer.collect_str(&self.0),
        }
    }
}

/// On or off. YAML 1.1 reads `off` as a boolean, YAML 1.2 as a string; both are meant here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err("expected `on` or `off`".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The tree hands a scalar over as it is written when a string is asked for.
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 { "on" } else { "off" })
    }
}

impl JsonSchema for Switch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": ["on", "off", true, false]})
    }
}

/// A network: `10.0.0.0/8`, `::1/128`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(pub ipnet::IpNet);

impl FromStr for Cidr {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        written
            .parse()
            .or_else(|_| written.parse::<IpAddr>().map(ipnet::IpNet::from))
            .map(|network| Self(canonical(network)))
            .map_err(|_| {
                "not an IP network or address; write it like `10.0.0.0/8` or `192.0.2.1`".to_owned()
            })
    }
}

/// Clients are known by their IPv4 address (RFC 4291, section 2.5.5.2), so a network of IPv4
/// addresses that are mapped into IPv6 is one of IPv4.
fn canonical(network: ipnet::IpNet) -> ipnet::IpNet {
    let (IpAddr::V4(address), Some(prefix)) =
        (network.addr().to_canonical(), network.prefix_len().checked_sub(96))
    else {
        return network;
    };
    match network {
        ipnet::IpNet::V6(_) => ipnet::Ipv4Net::new(address, prefix).map_or(network, Into::into),
        ipnet::IpNet::V4(_) => network,
    }
}

/// Whose forwarding headers are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// A network's.
    Network(Cidr),
    /// Those of who connects to a Unix domain socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written {
            "unix" => Ok(Self::Unix),
            network => network.parse().map(Self::Network),
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress(pub Address);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if let Some(path) = socket_path(written) {
            return path.map(|path| Self(Address::Unix(path.into())));
        }
        if let Ok(address) = written.parse() {
            return Ok(Self(Address::Inet(address)));
        }
        Err(match written.strip_prefix(':').or_else(|| written.strip_prefix("*:")) {
            Some(port) => {
                format!("the IP address before the port is missing; write `0.0.0.0:{port}`")
            }
            None => "not an IP address and port; write it like `127.0.0.1:3000` or `[::]:3000`"
                .to_owned(),
        })
    }
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// A name, or an IP address (IPv6 without brackets), and a port.
    Host(String, u16),
    /// The absolute path of a Unix domain socket.
    Unix(String),
}

/// The longest path of a Unix domain socket (Linux: 108 bytes with the zero at their end).
pub(crate) const MAX_SOCKET_PATH: usize = 107;

/// The path behind `unix:`.
fn socket_path(written: &str) -> Option<Result<&str, String>> {
    let path = written.strip_prefix("unix:")?;
    Some(match path {
        path if !path.starts_with('/') => {
            Err("a Unix socket needs an absolute path; write it like `unix:/run/app.sock`"
                .to_owned())
        }
        path if path.len() > MAX_SOCKET_PATH => Err(format!(
            "the path of a Unix socket must not be longer than {MAX_SOCKET_PATH} bytes"
        )),
        path if path.contains(|c: char| c == '\0' || c.is_whitespace()) => {
            Err("the path of a Unix socket must not contain spaces".to_owned())
        }
        path => Ok(path),
    })
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if let Some(path) = socket_path(written) {
            return path.map(|path| Self::Unix(path.to_owned()));
        }
        if let Some((scheme, rest)) = written.split_once("://") {
            let authority = rest.split('/').next().unwrap_or(rest);
            return Err(format!(
                "an endpoint is `host:port` without `{scheme}://`; write `{authority}`"
            ));
        }
        if let Ok(address) = written.parse::<SocketAddr>() {
            return Ok(Self::Host(address.ip().to_string(), address.port()));
        }
        let form = || "not `host:port`; write it like `127.0.0.1:4009` or `api.internal:8080`";
        let (host, port) = written.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(form)?;
        let is_name = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match is_name {
            true => Ok(Self::Host(host.to_owned(), port)),
            false => Err(form().to_owned()),
        }
    }
}

/// The leaves that are strings within, each judged by a function.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $judge:expr;)*) => {
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
                    let judge: fn(&str) -> Result<(), String> = $judge;
                    judge(written).map(|()| Self(written.to_owned()))
                }
            }
        )*
    };
}

names! {
    /// `scheme://host[:port]`, `scheme://*.host[:port]`, `*`, or `null`.
    OriginPattern: judge_origin;
    /// `host` or `*.host`, without port.
    HostPattern: judge_host;
    /// The name of a header field (RFC 9110, section 5.1).
    HeaderName: judge_header;
    /// A request method (RFC 9110, section 9.1).
    Method: judge_method;
    /// A path, beginning with `/`.
    Path: judge_path;
    /// A path with or without a query, as a health check asks for it.
    ProbeTarget: judge_probe_target;
    /// A text with variables of the request: `{client.address}`.
    Template: judge_template;
    /// A status of an error, or their class: `404`, `4xx`, `5xx`.
    ErrorStatus: judge_error_status;
    /// A value, to be matched as it is.
    Exactly: |_| Ok(());
}

fn judge_origin(written: &str) -> Result<(), String> {
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

fn judge_host(written: &str) -> Result<(), String> {
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

fn judge_header(written: &str) -> Result<(), String> {
    match http::HeaderName::from_bytes(written.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err("not a valid header name; write it like `X-User-Id`".to_owned()),
    }
}

fn judge_method(written: &str) -> Result<(), String> {
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

fn judge_template(written: &str) -> Result<(), String> {
    use tidegate_http::template::{Template, TemplateError, Variable};
    written.parse::<Template>().map(drop).map_err(|error| {
        let names = Variable::ALL.map(Variable::name);
        match &error {
            TemplateError::Unknown(name) => match super::did_you_mean(name, names) {
                Some(guess) => format!("{error}; did you mean `{{{guess}}}`?"),
                None => format!("{error}; known variables: {}", names.join(", ")),
            },
            TemplateError::Unbalanced => error.to_string(),
        }
    })
}

fn judge_error_status(written: &str) -> Result<(), String> {
    let is_status =
        written.len() == 3 && written.parse().is_ok_and(|code| (400..600).contains(&code));
    match is_status || matches!(written, "4xx" | "5xx") {
        true => Ok(()),
        false => Err("not an error status; write it like `404`, `4xx` or `5xx`".to_owned()),
    }
}

fn judge_probe_target(written: &str) -> Result<(), String> {
    let (path, query) = written.split_once('?').unwrap_or((written, ""));
    judge_path(path)?;
    match query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(()),
        false => {
            Err("a query must not contain spaces or `#`, and other special characters must be \
                percent-encoded"
                .into())
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

fn judge_path(written: &str) -> Result<(), String> {
    if !written.starts_with('/') {
        return Err("a path must begin with `/`".to_owned());
    }
    if written.contains(['?', '#']) {
        return Err("a path must not contain `?` or `#`; to match the query, use the key `query`"
            .to_owned());
    }
    let in_words = |error: path::PathError| error.to_string();
    let spelling = Spelling::read(written).map_err(in_words)?;
    let forwarded = spelling.forwarded(PathPolicy::NORMAL).map_err(in_words)?;
    let normal = match &forwarded {
        Forwarded::Spelt(form) | Forwarded::Other(form) => form,
        Forwarded::Normal | Forwarded::AsItCame => &*spelling.normal,
    };
    // Reserved characters are written as one likes, and so are those beyond ASCII.
    match normal == written || *normal == path::encode(written, false) {
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
