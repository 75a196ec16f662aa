use super::Query;
use crate::http::host::HostPattern;
use http::{HeaderName, Method};

/// The path of a rule, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// Just this path.
    Exact(String),
    /// This path and all below it, at segment boundaries; without a trailing slash, so the
    /// root is the empty string.
    Prefix(String),
}

impl PathRule {
    /// A prefix; a trailing slash makes no difference.
    pub fn prefix(path: &str) -> Self {
        Self::Prefix(path.trim_end_matches('/').to_owned())
    }

    /// Whether a normalised path satisfies the rule.
    #[cfg(test)]
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

impl Rule {
    /// How many conditions beyond path and host it makes: more are more specific.
    pub fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Whether the method suits.
    pub fn takes_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether header fields and query suit.
    pub fn takes_fields(&self, query: &Query<'_>) -> bool {
        self.headers.iter().all(|(name, rule)| {
            rule.matches(query.headers.get_all(name).iter().map(http::HeaderValue::as_bytes))
        }) && self.query.iter().all(|(name, rule)| {
            let pairs = form_urlencoded::parse(query.query.unwrap_or_default().as_bytes());
            let values: Vec<_> =
                pairs.filter_map(|(key, value)| (key == *name).then_some(value)).collect();
            rule.matches(values.iter().map(|value| value.as_bytes()))
        })
    }
}
