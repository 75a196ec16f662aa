//! The filter that reads the user id of a request. It verifies nothing; a claim is verified already.

use super::{Error, Filter, Flow, Request};
use crate::exchange::{UserId, UserIdOrigin};
use crate::identity::VerifiedIdentity;
use async_trait::async_trait;
use http::HeaderName;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::{cookie, query};

/// A place where a user id may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserIdReader {
    /// A query parameter.
    Query(String),
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A claim of the verified identity.
    Claim(String),
}

impl StableHash for UserIdReader {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Query(name) => (0_u8, name).feed(hasher),
            Self::Header(name) => (1_u8, name).feed(hasher),
            Self::Cookie(name) => (2_u8, name).feed(hasher),
            Self::Claim(name) => (3_u8, name).feed(hasher),
        }
    }
}

/// Finds out who a request says it speaks for, so that log lines can name them. Runs before authentication, so that
/// the log of what is refused names them too; authentication then asks it again.
#[derive(Debug)]
pub(crate) struct UserIdFilter {
    sources: Vec<UserIdReader>,
}

stable_hash!(UserIdFilter { sources });

impl UserIdFilter {
    /// Looks in these places; the first that holds an id wins.
    pub(crate) fn new(sources: Vec<UserIdReader>) -> Self {
        Self { sources }
    }

    /// The user id that this identity alone has.
    pub(super) fn of_claims(&self, identity: &VerifiedIdentity) -> Option<UserId> {
        self.sources.iter().find_map(|source| match source {
            UserIdReader::Claim(name) => UserId::new(&identity.claim(name)?, UserIdOrigin::Claim),
            UserIdReader::Query(_) | UserIdReader::Header(_) | UserIdReader::Cookie(_) => None,
        })
    }

    /// Whether a claim may be the user id. Then nothing that a client merely says is, where an identity is verified.
    pub(super) fn reads_claims(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, UserIdReader::Claim(_)))
    }
}

impl UserIdReader {
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
            // Nobody is verified yet.
            Self::Claim(_) => None,
        }
    }
}

#[async_trait]
impl Filter for UserIdFilter {
    fn describe(&self) -> String {
        let source = |source: &UserIdReader| match source {
            UserIdReader::Query(name) => format!("query {name}"),
            UserIdReader::Header(name) => format!("header {name}"),
            UserIdReader::Cookie(name) => format!("cookie {name}"),
            UserIdReader::Claim(name) => format!("claim {name}"),
        };
        format!("user id: from {}", self.sources.iter().map(source).collect::<Vec<_>>().join(", "))
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        request.exchange.user_id = self.sources.iter().find_map(|source| source.find(request));
        Ok(Flow::Continue)
    }
}
