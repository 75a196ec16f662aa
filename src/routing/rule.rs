//! The conditions of one route, and whether a request meets them. It knows nothing of other routes.

use super::Query;
use http::{HeaderName, Method};
use std::borrow::Cow;
use tidegate_http::host::HostPattern;
use tidegate_http::secret::{REDACTED, is_secret_field};
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// The path of a rule, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// Just this path.
    Exact(String),
    /// This path and all below it, at segment boundaries; without a trailing slash, so the
    /// root is the empty string.
    Prefix(String),
}

impl StableHash for PathRule {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Exact(path) => (0_u8, path).feed(hasher),
            Self::Prefix(path) => (1_u8, path).feed(hasher),
        }
    }
}

impl PathRule {
    /// A prefix; a trailing slash makes no difference.
    pub fn prefix(path: &str) -> Self {
        Self::Prefix(path.trim_end_matches('/').to_owned())
    }

    /// As written, without a trailing slash.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }

    /// Whether a normalised path satisfies the rule.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// What a header field or query parameter must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueRule {
    /// Just this value.
    Exact(String),
    /// There, or not.
    Present(bool),
}

impl StableHash for ValueRule {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Exact(value) => (0_u8, value).feed(hasher),
            Self::Present(wanted) => (1_u8, *wanted).feed(hasher),
        }
    }
}

impl ValueRule {
    fn matches<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
        match self {
            Self::Exact(exact) => values.any(|value| value == exact.as_bytes()),
            Self::Present(wanted) => values.next().is_some() == *wanted,
        }
    }
}

/// All that a request must be like for a route to take it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Its path.
    pub path: PathRule,
    /// Any of these hosts; empty for every host.
    pub hosts: Vec<HostPattern>,
    /// Any of these methods; empty for every method.
    pub methods: Vec<Method>,
    /// All of these header fields.
    pub headers: Vec<(HeaderName, ValueRule)>,
    /// All of these query parameters.
    pub query: Vec<(String, ValueRule)>,
}

stable_hash!(Rule { path, hosts, methods, headers, query });

impl Rule {
    /// How many conditions beyond path and host it makes: more are more specific.
    pub fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Each of its conditions in words, and whether this request meets it. It is taken when all
    /// are met and no rule that is more specific takes it.
    pub fn judge(&self, query: &Query<'_>) -> Vec<Condition> {
        let host = query.host.to_ascii_lowercase();
        let mut met = vec![self.path.matches(query.path)];
        if !self.hosts.is_empty() {
            met.push(self.hosts.iter().any(|pattern| pattern.matches(&host)));
        }
        if !self.methods.is_empty() {
            met.push(self.takes_method(query.method));
        }
        met.extend(self.headers.iter().map(|(name, rule)| takes_header(name, rule, query)));
        met.extend(self.query.iter().map(|(name, rule)| takes_parameter(name, rule, query)));
        let both = self.conditions_in_words().into_iter().zip(met);
        both.map(|(what, is_met)| Condition { what, is_met }).collect()
    }

    /// Its conditions: path, hosts, methods, header fields, query parameters.
    pub fn conditions_in_words(&self) -> Vec<String> {
        let mut words = vec![match &self.path {
            PathRule::Exact(path) => format!("path is {path}"),
            PathRule::Prefix(prefix) if prefix.is_empty() => "any path".to_owned(),
            PathRule::Prefix(prefix) => format!("path is {prefix} or below"),
        }];
        if !self.hosts.is_empty() {
            let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
            words.push(format!("host is {}", hosts.join(" or ")));
        }
        if !self.methods.is_empty() {
            let methods: Vec<&str> = self.taken_methods().map(Method::as_str).collect();
            words.push(format!("method is {}", methods.join(" or ")));
        }
        words.extend(self.headers.iter().map(|(name, rule)| {
            format!("header {name} {}", rule.shown(is_secret_field(name.as_str())))
        }));
        words.extend(self.query.iter().map(|(name, rule)| {
            format!("query parameter {name} {}", rule.shown(is_secret_field(name)))
        }));
        words
    }

    /// Whether the method suits: any of those that are named, and HEAD where GET is (RFC 9110,
    /// section 9.1).
    pub fn takes_method(&self, method: &Method) -> bool {
        self.names_method(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// Whether the method is one of those that are named; each is, where none is named.
    pub fn names_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// The methods that are named, and HEAD where it comes with GET.
    pub fn taken_methods(&self) -> impl Iterator<Item = &Method> {
        let names_head = self.methods.contains(&Method::HEAD);
        self.methods.iter().flat_map(move |method| {
            let implies_head = *method == Method::GET && !names_head;
            std::iter::once(method).chain(implies_head.then_some(&Method::HEAD))
        })
    }

    /// Whether header fields and query suit.
    pub fn takes_fields(&self, query: &Query<'_>) -> bool {
        self.headers.iter().all(|(name, rule)| takes_header(name, rule, query))
            && self.query.iter().all(|(name, rule)| takes_parameter(name, rule, query))
    }
}

fn takes_header(name: &HeaderName, rule: &ValueRule, query: &Query<'_>) -> bool {
    rule.matches(query.headers.get_all(name).iter().map(http::HeaderValue::as_bytes))
}

fn takes_parameter(name: &str, rule: &ValueRule, query: &Query<'_>) -> bool {
    let pairs = form_urlencoded::parse(query.query.unwrap_or_default().as_bytes());
    let values: Vec<_> = pairs.filter_map(|(key, value)| (key == *name).then_some(value)).collect();
    rule.matches(values.iter().map(|value| value.as_bytes()))
}

impl ValueRule {
    /// In words, without the value where that is secret.
    fn shown(&self, is_secret: bool) -> Cow<'_, str> {
        match self {
            Self::Exact(_) if is_secret => format!("is {REDACTED}").into(),
            Self::Exact(value) => format!("is {value}").into(),
            Self::Present(true) => "is there".into(),
            Self::Present(false) => "is not there".into(),
        }
    }
}

/// A condition of a rule, and whether a request meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// The condition, in words.
    pub what: String,
    /// Whether it is met.
    pub is_met: bool,
}
