//! Verifies who sends a request: schemes that read and check a credential, and what a route requires of them. Knows
//! nothing of routes, and sends no response.

mod api_keys;
mod basic;
#[cfg(feature = "ext-authz")]
mod ext_authz;
mod external;
mod forward;
pub(crate) mod jwt;
mod oidc;
mod password;
mod requirement;
mod revocation;
mod scheme;
mod token_source;
mod verifier;

pub(crate) use api_keys::{ApiKeyScheme, KeyHash, sha256_text};
pub(crate) use basic::BasicScheme;
#[cfg(feature = "ext-authz")]
pub(crate) use ext_authz::{ExtAuthzScheme, ExtAuthzService};
pub(crate) use external::{CacheKeyParts, ExternalSettings, HandshakeTarget, TakeSettings};
pub(crate) use forward::{ForwardScheme, ForwardService};
pub(crate) use oidc::{OidcScheme, OidcSettings};
pub(crate) use password::SlowHash;
pub(crate) use requirement::{ClaimRule, ClaimTest, Decision, Requirement, UserSource};
pub(crate) use revocation::{Revocation, Revocations, RevokedLogin};
pub(crate) use scheme::{
    Credentials, EndpointVerdict, Refusal, Scheme, SchemeEndpoint, Verdict, quoted_challenge,
};
pub(crate) use token_source::TokenSource;
