//! What a route requires: schemes, claims, and that the user whom the request names is the verified one. Verifies no
//! credential itself.

use super::{Credentials, Refusal, Scheme, Verdict};
use crate::identity::VerifiedIdentity;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use pingora::http::RequestHeader;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use tidegate_http::{cookie, query};

/// What a request needs to be admitted.
#[derive(Debug)]
pub(crate) struct Requirement {
    /// The schemes, one of which must verify the request, in this order.
    pub(crate) schemes: Box<[Arc<dyn Scheme>]>,
    /// The claims that the identity needs.
    pub(crate) claims: Box<[ClaimRule]>,
    /// Where the request names a user that must be the verified one.
    pub(crate) user_matches: Option<UserSource>,
}

/// A claim and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRule {
    /// The name of the claim.
    pub(crate) claim: String,
    /// The test of its value.
    pub(crate) test: ClaimTest,
}

/// The test of a claim's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimTest {
    /// It is this value.
    Equals(String),
    /// These are all among its values.
    Contains(Vec<String>),
    /// One of these is among its values.
    AnyOf(Vec<String>),
}

/// A place where a request names a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserSource {
    /// A query parameter.
    Query(String),
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// What the schemes of a requirement say together.
#[derive(Debug)]
pub(crate) enum Decision {
    /// This scheme has verified the request.
    Verified(Arc<VerifiedIdentity>, Vec<(HeaderName, HeaderValue)>),
    /// This scheme has verified the request and renewed its login: the response sets these cookies.
    Renewed(Arc<VerifiedIdentity>, Vec<HeaderValue>),
    /// Admitted though no scheme could decide.
    AdmitUnverified(Arc<dyn Scheme>),
    /// No scheme found a credential.
    Missing,
    /// This scheme refused the credential.
    Refused(Arc<dyn Scheme>, Refusal),
    /// This scheme answers the request.
    Answer(Arc<dyn Scheme>, Box<Response<Bytes>>),
    /// This scheme cannot decide now.
    Unavailable(Arc<dyn Scheme>, Refusal),
}

impl Requirement {
    /// Asks the schemes in order; the first that verifies the request decides. Otherwise an answer of a scheme comes
    /// before an outage, an outage before a refusal, and a refusal before a missing credential.
    pub(crate) async fn decide(&self, credentials: Credentials<'_>) -> Decision {
        let mut decision = Decision::Missing;
        for scheme in &self.schemes {
            let verdict = match scheme.verify(credentials).await {
                Verdict::Verified(identity, headers) => {
                    return Decision::Verified(identity, headers);
                }
                Verdict::Renewed(identity, cookies) => {
                    return Decision::Renewed(identity, cookies);
                }
                // What is required of a user cannot hold for none. A dry run asks nobody.
                Verdict::AdmitUnverified
                    if self.has_conditions() && !credentials.exchange.is_dry_run() =>
                {
                    let message = "the service that decides about this request is unreachable";
                    let refusal = Refusal::new("unreachable", message);
                    Decision::Unavailable(Arc::clone(scheme), refusal)
                }
                Verdict::AdmitUnverified => Decision::AdmitUnverified(Arc::clone(scheme)),
                Verdict::Missing => continue,
                Verdict::Refused(refusal) => Decision::Refused(Arc::clone(scheme), refusal),
                Verdict::Answer(answer) => Decision::Answer(Arc::clone(scheme), answer),
                Verdict::Unavailable(refusal) => Decision::Unavailable(Arc::clone(scheme), refusal),
            };
            if verdict.rank() > decision.rank() {
                decision = verdict;
            }
        }
        decision
    }

    /// Which claim of this identity is not what it must be.
    pub(crate) fn forbidden_claim(&self, identity: &VerifiedIdentity) -> Option<Refusal> {
        let rule = self.claims.iter().find(|rule| !rule.holds(identity))?;
        let message = format!("the claim `{}` does not allow this request", rule.claim);
        Some(Refusal::new("claim", message))
    }

    /// Whether it requires something of the identity.
    fn has_conditions(&self) -> bool {
        !self.claims.is_empty() || self.user_matches.is_some()
    }

    /// Why this identity may not send the request, or `None` if it may.
    pub(crate) fn forbids(
        &self,
        identity: &VerifiedIdentity,
        user: Option<&str>,
        head: &RequestHeader,
    ) -> Option<Refusal> {
        if let Some(refusal) = self.forbidden_claim(identity) {
            return Some(refusal);
        }
        let source = self.user_matches.as_ref()?;
        if source.names(head, user) {
            return None;
        }
        let message = format!("{source} must name the user who is logged in, once");
        Some(Refusal::new("user_mismatch", message))
    }
}

impl Decision {
    /// Which of two decisions holds.
    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Refused(..) => 1,
            Self::AdmitUnverified(_) => 2,
            Self::Unavailable(..) => 3,
            Self::Answer(..) => 4,
            Self::Verified(..) | Self::Renewed(..) => 5,
        }
    }
}

impl ClaimRule {
    /// Whether the identity has the claim with a right value.
    pub(crate) fn holds(&self, identity: &VerifiedIdentity) -> bool {
        let Some(value) = identity.claims().get(&self.claim) else { return false };
        let has = |wanted: &String| has_value(value, wanted);
        match &self.test {
            ClaimTest::Equals(wanted) => {
                identity.claim(&self.claim).is_some_and(|claim| claim == wanted.as_str())
            }
            ClaimTest::Contains(wanted) => wanted.iter().all(has),
            ClaimTest::AnyOf(wanted) => wanted.iter().any(has),
        }
    }
}

/// Whether a claim has this value: alone, in a list, or as a word of a text such as `scope` (RFC 8693, section 4.2).
fn has_value(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Array(values) => values.iter().any(|value| match value {
            Value::String(text) => text == wanted,
            Value::Number(number) => number.to_string() == wanted,
            _ => false,
        }),
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(value) => value.to_string() == wanted,
        Value::Null | Value::Object(_) => false,
    }
}

impl UserSource {
    /// Whether the request names exactly this user, and no other beside it.
    fn names(&self, head: &RequestHeader, user: Option<&str>) -> bool {
        let Some(user) = user else { return false };
        let is_user = |value: &[u8]| value == user.as_bytes();
        match self {
            Self::Query(name) => {
                let Some(text) = head.uri.query() else { return false };
                query::find_bytes(text, name).is_some()
                    && query::find_all_lookalikes(text, name).all(|value| is_user(&value))
            }
            Self::Header(name) => {
                all_are(head.headers.get_all(name).iter().map(HeaderValue::as_bytes), is_user)
            }
            Self::Cookie(name) => all_are(cookie::find_all(&head.headers, name), is_user),
        }
    }
}

fn all_are<'h>(values: impl Iterator<Item = &'h [u8]>, is_it: impl Fn(&[u8]) -> bool) -> bool {
    let mut values = values.peekable();
    values.peek().is_some() && values.all(is_it)
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schemes, claims, user_matches } = self;
        let schemes = schemes.iter().map(|scheme| {
            format!("{} ({}: {})", scheme.name(), scheme.kind().as_str(), scheme.describe())
        });
        f.write_str(&schemes.collect::<Vec<_>>().join(" or "))?;
        claims.iter().try_for_each(|rule| write!(f, ", {rule}"))?;
        user_matches.iter().try_for_each(|source| write!(f, ", {source} names the user"))
    }
}

impl fmt::Display for ClaimRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, test } = self;
        match test {
            ClaimTest::Equals(wanted) => write!(f, "claim {claim} is {wanted}"),
            ClaimTest::Contains(wanted) => {
                write!(f, "claim {claim} contains {}", wanted.join(" and "))
            }
            ClaimTest::AnyOf(wanted) => write!(f, "claim {claim} contains {}", wanted.join(" or ")),
        }
    }
}

impl fmt::Display for UserSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "the query parameter `{name}`"),
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Cookie(name) => write!(f, "the cookie `{name}`"),
        }
    }
}
