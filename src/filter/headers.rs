//! The filter that changes headers of requests and responses. It knows nothing of routes.

use super::variables::Variables;
use super::{Error, Filter, Response, UpstreamRequest};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use std::fmt;
use tidegate_http::secret::{REDACTED, is_secret_field};
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::template::{Template, TemplatePart, Variable};

/// Sets, adds and removes header fields, of the request that goes to the upstream and of the
/// response that goes to the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadersFilter {
    /// On the way to the upstream.
    pub request: HeaderChanges,
    /// On the way to the client.
    pub response: HeaderChanges,
}

stable_hash!(HeadersFilter { request, response });

/// What is done to a message's fields, in the order in which it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderChanges {
    /// Fields that are removed.
    pub remove: Vec<HeaderName>,
    /// Fields that get one value, whatever there was.
    pub set: Vec<(FieldName, FieldValue)>,
    /// Fields that get a further value.
    pub add: Vec<(FieldName, FieldValue)>,
}

stable_hash!(HeaderChanges { remove, set, add });

/// The name of a field, and how it is spelt in HTTP/1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldName {
    /// The name.
    pub name: HeaderName,
    /// Its spelling.
    pub spelling: Bytes,
}

stable_hash!(FieldName { name, spelling });

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldValue {
    /// A constant, for every request.
    Fixed(HeaderValue),
    /// With variables.
    Filled(Template),
}

impl StableHash for FieldValue {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Fixed(value) => (0_u8, value).feed(hasher),
            Self::Filled(template) => (1_u8, template).feed(hasher),
        }
    }
}

impl FieldValue {
    /// `None` when it is not the value of any field.
    pub(crate) fn new(template: Template) -> Option<Self> {
        match template.literal() {
            Some(literal) => HeaderValue::from_str(literal).ok().map(Self::Fixed),
            None => Some(Self::Filled(template)),
        }
    }

    /// `None` when nothing is left of it.
    pub(crate) fn render(&self, variables: &Variables<'_>) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) if value.is_empty() => None,
            Self::Fixed(value) => Some(value.clone()),
            Self::Filled(template) => variables.header_value(template),
        }
    }
}

impl fmt::Display for HeaderChanges {
    /// In words, without what is secret by its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |(name, value): &(FieldName, FieldValue)| match value {
            _ if is_secret_field(name.name.as_str()) => format!("{}: {REDACTED}", name.name),
            FieldValue::Fixed(value) => {
                format!("{}: {}", name.name, String::from_utf8_lossy(value.as_bytes()))
            }
            FieldValue::Filled(template) => format!("{}: {template}", name.name),
        };
        let remove = self.remove.iter().map(|name| format!("removes {name}"));
        let set = self.set.iter().map(|field| format!("sets {}", value(field)));
        let add = self.add.iter().map(|field| format!("adds {}", value(field)));
        f.write_str(&remove.chain(set).chain(add).collect::<Vec<_>>().join(", "))
    }
}

impl HeadersFilter {
    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Either message's head.
trait Head {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &FieldName, value: HeaderValue) -> pingora::Result<()>;
    fn add(&mut self, name: &FieldName, value: HeaderValue) -> pingora::Result<()>;
}

macro_rules! heads {
    ($($head:ty)*) => {$(
        impl Head for $head {
            fn remove(&mut self, name: &HeaderName) {
                // Pingora keeps two maps: finding nothing in one is cheaper than in both.
                if self.headers.contains_key(name) {
                    self.remove_header(name);
                }
            }

            fn set(&mut self, name: &FieldName, value: HeaderValue) -> pingora::Result<()> {
                self.insert_header(name.spelling.clone(), value)
            }

            fn add(&mut self, name: &FieldName, value: HeaderValue) -> pingora::Result<()> {
                self.append_header(name.spelling.clone(), value).map(drop)
            }
        }
    )*};
}

heads! { RequestHeader pingora::http::ResponseHeader }

impl HeaderChanges {
    /// Whether it writes a variable that names the user.
    pub(crate) fn name_the_user(&self) -> bool {
        let names_user =
            |variable: &Variable| matches!(variable, Variable::UserId | Variable::Claim(_));
        self.set.iter().chain(&self.add).any(|(_, value)| match value {
            FieldValue::Fixed(_) => false,
            FieldValue::Filled(template) => template
                .parts()
                .iter()
                .any(|part| matches!(part, TemplatePart::Variable(it) if names_user(it))),
        })
    }

    fn apply(&self, head: &mut impl Head, variables: &Variables<'_>) -> pingora::Result<()> {
        for name in &self.remove {
            head.remove(name);
        }
        for (name, value) in &self.set {
            match value.render(variables) {
                Some(value) => head.set(name, value)?,
                // What the other side sent must not pass for what was to be set.
                None => head.remove(&name.name),
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.render(variables) {
                head.add(name, value)?;
            }
        }
        Ok(())
    }

    /// These, and of the defaults those for other fields.
    #[must_use]
    pub(crate) fn merged_with_defaults(mut self, defaults: &Self) -> Self {
        let is_own = |name: &HeaderName| {
            self.remove.contains(name)
                || self.set.iter().chain(&self.add).any(|(own, _)| own.name == *name)
        };
        let others = |fields: &[(FieldName, FieldValue)]| -> Vec<_> {
            fields.iter().filter(|(field, _)| !is_own(&field.name)).cloned().collect()
        };
        let (set, add) = (others(&defaults.set), others(&defaults.add));
        let remove: Vec<_> = defaults.remove.iter().filter(|name| !is_own(name)).cloned().collect();
        self.remove.splice(0..0, remove);
        self.set.splice(0..0, set);
        self.add.splice(0..0, add);
        self
    }
}

#[async_trait]
impl Filter for HeadersFilter {
    fn describe(&self) -> String {
        let messages = [("request", &self.request), ("response", &self.response)];
        let changed = messages.iter().filter(|(_, changes)| **changes != HeaderChanges::default());
        let changed = changed.map(|(message, changes)| format!("{message} {changes}"));
        format!("headers: {}", changed.collect::<Vec<_>>().join("; "))
    }

    fn on_forward(&self, request: &mut UpstreamRequest<'_>) -> Result<(), Error> {
        if self.request == HeaderChanges::default() {
            return Ok(());
        }
        // Variables are what the client said, not what is being made of it.
        let variables = Variables { request: request.client, exchange: request.exchange };
        Ok(self.request.apply(request.head, &variables)?)
    }

    async fn on_response(&self, response: &mut Response<'_>) -> Result<(), Error> {
        let variables = Variables { request: response.request, exchange: response.exchange };
        Ok(self.response.apply(response.head, &variables)?)
    }
}
