//! What each scheme of `authentication` can do. Knows none of them.

use super::HandshakeTarget;
use crate::exchange::Exchange;
use crate::identity::{SchemeKind, VerifiedIdentity};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use pingora::http::RequestHeader;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;

/// A request whose sender a scheme verifies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'r> {
    /// Its head, as the client sent it.
    pub(crate) head: &'r RequestHeader,
    /// What the gateway knows of it.
    pub(crate) exchange: &'r Exchange,
}

/// What a scheme says of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The request has no credential for this scheme.
    Missing,
    /// The scheme has verified who sends it. The upstream receives these headers in place of the client's.
    Verified(Arc<VerifiedIdentity>, Vec<(HeaderName, HeaderValue)>),
    /// The scheme has verified who sends it and renewed its login: the response sets these cookies.
    Renewed(Arc<VerifiedIdentity>, Vec<HeaderValue>),
    /// The credential is not valid.
    Refused(Refusal),
    /// The scheme answers the request: a redirect to a login, or what another service says.
    Answer(Box<Response<Bytes>>),
    /// The scheme cannot decide now: what it needs is unreachable or busy.
    Unavailable(Refusal),
    /// The scheme cannot decide, and its settings admit the request for that case.
    AdmitUnverified,
}

/// An endpoint of the gateway's own that a scheme answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemeEndpoint {
    /// To which an issuer sends browsers back.
    Callback,
    /// At which browsers log out.
    Logout,
}

/// What a scheme says of a request to one of its endpoints.
#[derive(Debug)]
pub(crate) enum EndpointVerdict {
    /// This is the response.
    Answer(Box<Response<Bytes>>),
    /// The login of this identity has ended, and this is the response. The claim `jti` names the login.
    LoggedOut(Box<Response<Bytes>>, Arc<VerifiedIdentity>),
    /// The request is refused with this error.
    Refused(ErrorCode, Refusal),
}

/// Why a credential does not admit a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason as a word for programs (`auth.reason`): `expired`.
    pub(crate) reason: &'static str,
    /// The reason as a sentence for people, without any part of the credential.
    pub(crate) message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with this reason.
    pub(crate) fn new(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into() }
    }

    /// For a request with several credentials in one place, of which an upstream might read another one.
    pub(crate) fn several_credentials() -> Self {
        Self::new("several_credentials", "the request has several credentials in one place")
    }
}

/// A way to verify who sends a request.
#[async_trait]
pub(crate) trait Scheme: Send + Sync + Debug {
    /// Its name below `authentication`.
    fn name(&self) -> &Arc<str>;

    /// Its kind.
    fn kind(&self) -> SchemeKind;

    /// How it is set, in a line for `tidegate explain`; nothing secret.
    fn describe(&self) -> String;

    /// Reads the credential of the request and verifies it. Never waits for anything that no credential needs.
    async fn verify(&self, credentials: Credentials<'_>) -> Verdict;

    /// The same for the renewal of a session whose handshake went to this place. What can be made to last longer is.
    async fn verify_renewal(
        &self,
        credentials: Credentials<'_>,
        session: Option<&HandshakeTarget>,
    ) -> Verdict {
        let _ = session;
        self.verify(credentials).await
    }

    /// The challenge that tells a client how to authenticate (`WWW-Authenticate`, RFC 9110, section 11.6.1); with the
    /// reason where a credential was refused.
    fn challenge(&self, refusal: Option<&Refusal>) -> Option<HeaderValue>;

    /// Removes what the upstream must not receive from the client: the credential, unless the settings forward it, and
    /// headers that only the scheme may set.
    fn sanitize(&self, head: &mut RequestHeader);

    /// Verifies a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6) of the issuer that it trusts:
    /// signature, `iss`, `aud`, `iat` and `exp`. The caller checks `events`, `sid`, `sub`, `jti` and `nonce` of the claims.
    /// `None` if it trusts no issuer.
    fn verify_logout_token(&self, _token: &[u8]) -> Option<Result<Map<String, Value>, Refusal>> {
        None
    }

    /// Whether it still admits an identity that it verified before its settings changed: a session that lives by another
    /// one ends.
    fn still_admits(&self, _identity: &VerifiedIdentity) -> bool {
        true
    }

    /// Starts the task that keeps it up to date, if it needs one and it does not run yet. The task ends with the
    /// scheme. Needs a runtime.
    fn start(self: Arc<Self>) {}

    /// Answers a request to one of its endpoints; `None` if it has no such endpoint.
    async fn answer(
        &self,
        endpoint: SchemeEndpoint,
        request: Credentials<'_>,
    ) -> Option<EndpointVerdict> {
        let _ = (endpoint, request);
        None
    }
}

/// A challenge with one parameter (RFC 9110, section 11.6.1), quoted; `None` if no header can have the value.
pub(crate) fn quoted_challenge(scheme: &str, parameter: &str, value: &str) -> Option<String> {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = format!("{scheme} {parameter}=\"{value}\"");
    HeaderValue::from_str(&challenge).is_ok().then_some(challenge)
}
