//! The filter that admits only requests whose sender is verified. It verifies no credential itself; the schemes do.

use super::user_id::UserIdFilter;
use super::{Error, Filter, Flow, RETRY_SOON, Reply, Request, Response, UpstreamRequest};
use crate::authentication::{Credentials, Decision, Refusal, Requirement, Scheme};
use crate::identity::{AuthenticationOutcome, AuthenticationResult, VerifiedIdentity};
use crate::websocket::SessionRegistry;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use std::fmt;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash;

/// Answers 401 to requests that no scheme verifies, and 403 to those whose sender may not send them.
pub(crate) struct AuthenticationFilter {
    /// What is required.
    pub(crate) requirement: Arc<Requirement>,
    /// Reads the user id again, once the claims are known.
    pub(crate) user_id: Option<UserIdFilter>,
    /// The sessions, whose registry knows which logins were revoked.
    pub(crate) sessions: Arc<SessionRegistry>,
    /// The settings in a serialised form, secrets included: part of the route's fingerprint.
    pub(crate) serialised: String,
}

impl fmt::Debug for AuthenticationFilter {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthenticationFilter").field(&self.describe()).finish()
    }
}

/// A verified identity whose login was revoked.
struct Revoked(Arc<VerifiedIdentity>);

stable_hash!(AuthenticationFilter { serialised } without { requirement, user_id, sessions });

impl AuthenticationFilter {
    fn record(
        request: &mut Request<'_>,
        scheme: Option<&Arc<str>>,
        result: AuthenticationResult,
        reason: Option<&'static str>,
    ) {
        request.exchange.authentication = Some(Box::new(AuthenticationOutcome {
            scheme: scheme.cloned(),
            result,
            reason,
            identity: None,
            upstream_headers: Vec::new(),
            cookies: Vec::new(),
        }));
    }

    /// Admits the request of a verified identity, unless it may not send it.
    fn admit(
        &self,
        request: &mut Request<'_>,
        identity: Arc<VerifiedIdentity>,
        upstream_headers: Vec<(HeaderName, HeaderValue)>,
        cookies: Vec<HeaderValue>,
    ) -> Result<Flow, Revoked> {
        let scheme = Arc::clone(identity.shared_scheme());
        request.exchange.authentication = Some(Box::new(AuthenticationOutcome {
            scheme: Some(scheme),
            result: AuthenticationResult::Verified,
            reason: None,
            identity: Some(Arc::clone(&identity)),
            upstream_headers,
            cookies,
        }));
        if let Some(user_id) = self.user_id.as_ref().filter(|user_id| user_id.reads_claims()) {
            request.exchange.user_id = user_id.of_claims(&identity);
        }
        let user = request.exchange.user_id.as_ref().filter(|user| user.is_verified());
        let user = user.map(|user| user.as_str()).or_else(|| identity.subject());
        if self.sessions.revocations().refuse(&identity, user) {
            return Err(Revoked(identity));
        }
        let Some(refusal) = self.requirement.forbids(&identity, user, request.head) else {
            return Ok(Flow::Continue);
        };
        if let Some(outcome) = &mut request.exchange.authentication {
            outcome.result = AuthenticationResult::Forbidden;
            outcome.reason = Some(refusal.reason);
        }
        let reply = Reply::gateway_error(ErrorCode::NotPermitted, refusal.message.clone());
        Ok(Flow::Respond(self.challenged(reply, Some((identity.scheme(), &refusal)))))
    }

    /// The same; a revoked identity is refused.
    async fn admit_unless_revoked(
        &self,
        request: &mut Request<'_>,
        identity: Arc<VerifiedIdentity>,
        upstream_headers: Vec<(HeaderName, HeaderValue)>,
        cookies: Vec<HeaderValue>,
    ) -> Flow {
        match self.admit(request, identity, upstream_headers, cookies) {
            Ok(flow) => flow,
            Err(Revoked(identity)) => self.refuse_revoked(request, &identity).await,
        }
    }

    /// Passes on what a scheme answers.
    fn pass_answer(
        request: &mut Request<'_>,
        scheme: &Arc<dyn Scheme>,
        answer: http::Response<Bytes>,
        reason: &'static str,
    ) -> Flow {
        Self::record(request, Some(scheme.name()), AuthenticationResult::Refused, Some(reason));
        let (parts, body) = answer.into_parts();
        let reply = Reply::new(parts.status).body(body);
        let headers = parts.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Flow::Respond(headers.fold(reply, |reply, (name, value)| reply.header(name, value)))
    }

    /// Refuses an identity that was verified, but whose login was revoked.
    async fn refuse_revoked(&self, request: &mut Request<'_>, identity: &VerifiedIdentity) -> Flow {
        // Without its credential, a browser may be sent to a login.
        let mut bare = request.head.clone();
        self.requirement.schemes.iter().for_each(|scheme| scheme.sanitize(&mut bare));
        let credentials = Credentials { head: &bare, exchange: request.exchange };
        if let Decision::Answer(scheme, answer) = self.requirement.decide(credentials).await {
            return Self::pass_answer(request, &scheme, *answer, "revoked");
        }
        let refusal = Refusal::new("revoked", "the login was revoked");
        self.refuse(request, identity.shared_scheme(), refusal)
    }

    /// With the challenges of all schemes (RFC 9110, section 11.6.1). Only the scheme of this name has refused the
    /// request.
    fn challenged(&self, reply: Reply, refusal: Option<(&str, &Refusal)>) -> Reply {
        let challenges = self.requirement.schemes.iter().filter_map(|scheme| {
            let own = refusal.filter(|(name, _)| **scheme.name() == **name);
            scheme.challenge(own.map(|(_, refusal)| refusal))
        });
        let mut seen: Vec<HeaderValue> = Vec::new();
        for challenge in challenges {
            if !seen.contains(&challenge) {
                seen.push(challenge);
            }
        }
        seen.into_iter().fold(reply, |reply, it| reply.header(header::WWW_AUTHENTICATE, it))
    }

    /// Answers 401 to a credential that the scheme of this name has refused.
    fn refuse(&self, request: &mut Request<'_>, scheme: &Arc<str>, refusal: Refusal) -> Flow {
        let result = AuthenticationResult::Refused;
        Self::record(request, Some(scheme), result, Some(refusal.reason));
        let reply = Reply::gateway_error(ErrorCode::AuthenticationFailed, refusal.message.clone());
        Flow::Respond(self.challenged(reply, Some((scheme, &refusal))))
    }
}

#[async_trait]
impl Filter for AuthenticationFilter {
    fn describe(&self) -> String {
        format!("require: {}", self.requirement)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let credentials = Credentials { head: request.head, exchange: request.exchange };
        let decision = self.requirement.decide(credentials).await;
        let flow = match decision {
            Decision::Verified(identity, headers) => {
                self.admit_unless_revoked(request, identity, headers, Vec::new()).await
            }
            Decision::Renewed(identity, cookies) => {
                self.admit_unless_revoked(request, identity, Vec::new(), cookies).await
            }
            Decision::AdmitUnverified(scheme) => {
                Self::record(
                    request,
                    Some(scheme.name()),
                    AuthenticationResult::Unverified,
                    Some("unreachable"),
                );
                // Whom the request names is nobody's word now.
                if !request.exchange.is_dry_run() {
                    request.exchange.user_id = None;
                }
                Flow::Continue
            }
            Decision::Missing => {
                Self::record(request, None, AuthenticationResult::Missing, Some("missing"));
                let message = "this resource requires authentication";
                let reply = Reply::gateway_error(ErrorCode::AuthenticationRequired, message);
                Flow::Respond(self.challenged(reply, None))
            }
            Decision::Refused(scheme, refusal) => self.refuse(request, scheme.name(), refusal),
            Decision::Answer(scheme, answer) => {
                Self::pass_answer(request, &scheme, *answer, "answered")
            }
            Decision::Unavailable(scheme, refusal) => {
                let reason = Some(refusal.reason);
                Self::record(
                    request,
                    Some(scheme.name()),
                    AuthenticationResult::Unavailable,
                    reason,
                );
                let reply =
                    Reply::gateway_error(ErrorCode::AuthenticationUnavailable, refusal.message);
                let soon = HeaderValue::from_static(RETRY_SOON);
                Flow::Respond(reply.header(header::RETRY_AFTER, soon))
            }
        };
        if matches!(flow, Flow::Continue) {
            for scheme in &self.requirement.schemes {
                scheme.sanitize(request.head);
            }
        }
        Ok(flow)
    }

    fn on_forward(&self, request: &mut UpstreamRequest<'_>) -> Result<(), Error> {
        let Some(outcome) = &request.exchange.authentication else { return Ok(()) };
        for (name, _) in &outcome.upstream_headers {
            request.head.remove_header(name);
        }
        for (name, value) in &outcome.upstream_headers {
            request.head.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }

    async fn on_response(&self, response: &mut Response<'_>) -> Result<(), Error> {
        let Some(outcome) = &mut response.exchange.authentication else { return Ok(()) };
        let cookies = std::mem::take(&mut outcome.cookies);
        if cookies.is_empty() {
            return Ok(());
        }
        // No cache between the gateway and the client may give a login to another client.
        let no_store = HeaderValue::from_static("no-store");
        response.head.insert_header(header::CACHE_CONTROL, no_store)?;
        for cookie in cookies {
            response.head.append_header(header::SET_COOKIE, cookie)?;
        }
        Ok(())
    }
}
