//! The configuration that an import builds, before it is written as YAML; it has only the keys that imports need. It
//! does not know the source format, nor whether the gateway accepts the result.

use super::note::SourcePosition;

/// Text in the result, where `$` starts an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// A literal text.
    pub(crate) fn literal(text: &str) -> Self {
        Self(text.replace('$', "$$"))
    }

    /// `${NAME:-default}`.
    #[cfg(feature = "express")]
    pub(crate) fn variable(name: &str, default: &str) -> Self {
        let default = if default.is_empty() { String::new() } else { format!(":-{default}") };
        Self(format!("${{{name}{default}}}"))
    }

    /// This text followed by another.
    #[cfg(feature = "express")]
    pub(crate) fn then(&self, other: &Self) -> Self {
        Self(format!("{}{}", self.0, other.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::literal(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::literal(&text)
    }
}

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub listeners: Vec<Listener>,
    pub trusted_proxies: Vec<String>,
    /// `limits.body_size` in bytes, with its line in the source.
    pub body_size: Option<(u64, String)>,
    pub cors: Option<Cors>,
    pub compression: Option<Compression>,
    /// Query parameters that identify a user.
    pub user_id: Vec<String>,
    /// The schemes of `authentication`, by name.
    pub authentication: Vec<(String, Scheme)>,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub comment: Vec<String>,
    pub address: Text,
    pub tls: Option<Tls>,
    /// `redirect_to_https`.
    pub redirect_to: Option<u16>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub certificates: Vec<(String, String)>,
    pub min_version: Option<&'static str>,
    /// Only HTTP/1.1.
    pub h1_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cors {
    pub comment: Vec<String>,
    pub origins: Vec<Text>,
    pub methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub credentials: bool,
    pub max_age: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compression {
    pub algorithms: Vec<&'static str>,
    pub types: Vec<String>,
    pub min_size: Option<u64>,
    pub gzip_level: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Upstream {
    pub comment: Vec<String>,
    pub name: String,
    pub endpoints: Vec<Endpoint>,
    pub balance: Option<Balance>,
    pub ejection: Option<Ejection>,
    pub health: Option<String>,
    /// TLS is on, with the name that the certificate must have.
    pub tls: Option<Option<String>>,
    pub h2c: bool,
    pub idle_timeout: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub address: Text,
    pub weight: u32,
    pub backup: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Balance {
    LeastRequests,
    HashClientAddress,
    HashHeader(String),
    HashCookie(String),
    StickyCookie(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ejection {
    Off,
    After { failures: u32, duration: String },
}

/// A scheme of `authentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic {
        file: String,
        realm: String,
        /// Whether the upstream receives the password.
        forward: bool,
    },
    Forward {
        url: String,
        /// `None` for the default.
        send: Option<Vec<String>>,
        take: Vec<String>,
        timeout: String,
        ca: Option<String>,
    },
}

/// The client addresses that a route admits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Clients {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

/// The path condition of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PathRule {
    Exact(String),
    /// Without a trailing slash, except `/` itself.
    Prefix(String),
}

impl PathRule {
    /// A prefix, in the form in which prefixes are compared.
    pub(crate) fn prefix(path: &str) -> Self {
        match path.trim_end_matches('/') {
            "" => Self::Prefix("/".to_owned()),
            trimmed => Self::Prefix(trimmed.to_owned()),
        }
    }

    /// The rest of a path below this prefix.
    pub(crate) fn rest_below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Self::Prefix(prefix) = self else { return None };
        let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Whether a path is below this prefix or equal to it. An exact path contains none.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.rest_below(path).is_some()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Its line in the source.
    pub position: SourcePosition,
    pub comment: Vec<String>,
    pub name: String,
    pub hosts: Vec<String>,
    pub path: PathRule,
    pub methods: Vec<String>,
    pub match_headers: Vec<(String, String)>,
    pub match_query: Vec<(String, String)>,
    pub action: Action,
    pub clients: Option<Clients>,
    /// The name of the scheme that must verify a request.
    pub require: Option<String>,
    /// `rewrite.prefix`.
    pub prefix: Option<String>,
    /// `rewrite.host`.
    pub host: Option<String>,
    /// Whether WebSockets are allowed, if the route has an upstream.
    pub websocket: bool,
    pub timeouts: Timeouts,
    pub max_body_size: Option<u64>,
    pub rate_limits: Vec<RateLimit>,
    pub retry: Option<Retry>,
    pub request: Changes,
    pub response: Changes,
    pub compression: Option<Option<Compression>>,
    pub cors: Option<Cors>,
}

impl Route {
    pub(crate) fn new(
        position: SourcePosition,
        name: impl Into<String>,
        path: PathRule,
        action: Action,
    ) -> Self {
        Self {
            position,
            comment: Vec::new(),
            name: name.into(),
            hosts: Vec::new(),
            path,
            methods: Vec::new(),
            match_headers: Vec::new(),
            match_query: Vec::new(),
            action,
            clients: None,
            require: None,
            prefix: None,
            host: None,
            websocket: true,
            timeouts: Timeouts::default(),
            max_body_size: None,
            rate_limits: Vec::new(),
            retry: None,
            request: Changes::default(),
            response: Changes::default(),
            compression: None,
            cors: None,
        }
    }
}

impl Route {
    /// Closes the route.
    pub(crate) fn close(&mut self) {
        self.comment_former_upstream();
        self.action = Action::Respond { status: 403, body: None, content_type: None };
        self.clients = None;
        self.require = None;
    }

    /// Notes the former upstream, before the route is closed.
    pub(crate) fn comment_former_upstream(&mut self) {
        if let Action::Upstream(name) = &self.action {
            self.comment.push(format!(
                "Closed: requests went to `{name}` behind access control that the \
                 import cannot convert."
            ));
        }
    }

    /// Removes upstream settings from a route without an upstream.
    pub(crate) fn remove_unused_settings(&mut self) {
        if matches!(self.action, Action::Upstream(_)) {
            return;
        }
        if !matches!(self.action, Action::Files(_)) {
            self.prefix = None;
        }
        self.host = None;
        self.timeouts = Timeouts::default();
        self.retry = None;
        self.request = Changes::default();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Upstream(String),
    /// Status and a template.
    Redirect(u16, String),
    Respond {
        status: u16,
        body: Option<String>,
        content_type: Option<String>,
    },
    Files(Files),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    pub root: String,
    pub index: Option<String>,
    pub fallback: Option<String>,
    pub cache_control: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Timeouts {
    pub connect: Option<String>,
    pub read: Option<String>,
    pub write: Option<String>,
    pub request: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub requests: u32,
    pub per: String,
    pub burst: u32,
    pub by: RateLimitBy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RateLimitBy {
    ClientAddress,
    Header(String),
    Cookie(String),
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Retry {
    Off,
    On { on: Vec<&'static str>, attempts: Option<u32> },
}

/// Header changes; values are templates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    pub remove: Vec<String>,
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl Draft {
    /// Whether WebSockets are allowed whose origin the gateway, unlike the source, restricts to the own host.
    pub(crate) fn requires_origin_check(&self) -> bool {
        self.cors.is_none()
            && self.routes.iter().any(|route| {
                route.websocket
                    && route.cors.is_none()
                    && matches!(route.action, Action::Upstream(_))
            })
    }

    /// A unique name for a route, derived from its path or host.
    pub(crate) fn free_name(&self, wanted: &str) -> String {
        first_free_name(wanted, |name| self.routes.iter().any(|route| route.name == name))
    }

    /// The name of an equal scheme, which is added if there is none.
    pub(crate) fn scheme(&mut self, wanted: Scheme) -> String {
        if let Some((name, _)) = self.authentication.iter().find(|(_, known)| *known == wanted) {
            return name.clone();
        }
        let kind = match wanted {
            Scheme::Basic { .. } => "passwords",
            Scheme::Forward { .. } => "auth-service",
        };
        let name = first_free_name(kind, |name| {
            self.authentication.iter().any(|(known, _)| known == name)
        });
        self.authentication.push((name.clone(), wanted));
        name
    }

    /// The name of an equal upstream, which is added if there is none.
    pub(crate) fn upstream(&mut self, wanted: Upstream) -> String {
        let same = |known: &&Upstream| {
            let renamed = Upstream { name: known.name.clone(), ..wanted.clone() };
            **known == renamed
        };
        if let Some(known) = self.upstreams.iter().find(same) {
            return known.name.clone();
        }
        let name = first_free_name(&upstream_name(&wanted.name), |name| {
            self.upstreams.iter().any(|upstream| upstream.name == name)
        });
        self.upstreams.push(Upstream { name: name.clone(), ..wanted });
        name
    }
}

fn first_free_name(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(wanted) {
        return wanted.to_owned();
    }
    let numbered = (2_u32..).map(|number| format!("{wanted}-{number}"));
    numbered.into_iter().find(|name| !is_taken(name)).unwrap_or_default()
}

/// A name for an upstream, derived from its source name or address.
fn upstream_name(written: &str) -> String {
    let name = slug(written);
    for local in ["127.0.0.1-", "localhost-", "1-"] {
        if let Some(port) = name.strip_prefix(local).filter(|_| written.ends_with(char::is_numeric))
            && (local != "1-" || written.starts_with("[::1]"))
        {
            return format!("local-{port}");
        }
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("at-{name}") } else { name }
}

/// A name derived from a path, a host or a source name.
pub(crate) fn slug(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '.' || character == '_' {
            name.push(character.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    match name.trim_end_matches('-') {
        "" => "root".to_owned(),
        name => name.to_owned(),
    }
}
