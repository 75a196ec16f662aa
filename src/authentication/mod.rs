//! Verifies who sends a request: schemes that read and check a credential, and what a route requires of them. Knows
//! nothing of routes, and sends no response.

mod external;
mod forward;
pub(crate) mod jwt;
mod requirement;
mod scheme;
mod token_source;

pub(crate) use external::{CacheKeyParts, ExternalSettings, TakeSettings};
pub(crate) use forward::{ForwardScheme, ForwardService};
pub(crate) use requirement::{ClaimRule, ClaimTest, Decision, Requirement, UserSource};
pub(crate) use scheme::{Credentials, Refusal, Scheme, Verdict};
pub(crate) use token_source::TokenSource;
