//! The filter that reads the user id of a request. It verifies nothing.

use super::{Error, Filter, Flow, Request};
use crate::exchange::{UserId, UserIdOrigin};
use async_trait::async_trait;
use http::HeaderName;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::{cookie, query};

/// A place where a user id may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A query parameter.
    Query(String),
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

impl StableHash for Source {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Query(name) => (0_u8, name).feed(hasher),
            Self::Header(name) => (1_u8, name).feed(hasher),
            Self::Cookie(name) => (2_u8, name).feed(hasher),
        }
    }
}

/// Finds out who a request says it speaks for, so that log lines can name them.
#[derive(Debug)]
pub struct UserIdFilter {
    sources: Vec<Source>,
}

stable_hash!(UserIdFilter { sources });

impl UserIdFilter {
    /// Looks in these places; the first that holds an id wins.
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }
}

impl Source {
    fn find(&self, request: &Request<'_>) -> Option<UserId> {
        match self {
            Self::Query(name) => {
                let value = query::find_bytes(request.head().uri.query()?, name)?;
                UserId::from_bytes(&value, UserIdOrigin::Query)
            }
            Self::Header(name) => {
                let value = request.head().headers.get(name)?;
                UserId::from_bytes(value.as_bytes(), UserIdOrigin::Header)
            }
            Self::Cookie(name) => {
                let value = cookie::find(&request.head().headers, name)?;
                UserId::from_bytes(value, UserIdOrigin::Cookie)
            }
        }
    }
}

#[async_trait]
impl Filter for UserIdFilter {
    fn describe(&self) -> String {
        let source = |source: &Source| match source {
            Source::Query(name) => format!("query {name}"),
            Source::Header(name) => format!("header {name}"),
            Source::Cookie(name) => format!("cookie {name}"),
        };
        format!("user id: from {}", self.sources.iter().map(source).collect::<Vec<_>>().join(", "))
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        request.exchange.user_id = self.sources.iter().find_map(|source| source.find(request));
        Ok(Flow::Continue)
    }
}
