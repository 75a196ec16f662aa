//! The endpoint where a client renews the login of its living session by a fresh credential. It verifies no credential
//! itself, and knows nothing of tunnels: it finds the session in the registry, and hands it the new identity.

use super::user_id::UserIdFilter;
use super::{BodyAccess, Error, Filter, Flow, Reply, Request, RequestBody, refuse_origin};
use crate::authentication::{
    Credentials, Decision, HandshakeTarget, Refusal, Requirement, Verdict,
};
use crate::exchange::{Exchange, UserId};
use crate::identity::{AuthenticationOutcome, AuthenticationResult, VerifiedIdentity};
use crate::rate_limit::{CountBy, RateLimit, RateLimitSettings};
use crate::websocket::{RENEWAL_COOKIE, RenewalId, Session, SessionRegistry, WebSocketSettings};
use async_trait::async_trait;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_http::accept::MediaType;
use tidegate_http::cookie;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name::X_TIDEGATE_SESSION;
use tidegate_http::stable_hash;

/// Maximum size of the body, which has an id at most, in bytes.
const MAX_RENEWAL_BODY_BYTES: usize = 4096;

/// Maximum number of renewals by one client address, per [`RENEWAL_PERIOD`]: enough for thousands of sessions that share
/// an address.
const MAX_RENEWALS_PER_PERIOD: u32 = 100;

/// The period of [`MAX_RENEWALS_PER_PERIOD`].
const RENEWAL_PERIOD: Duration = Duration::from_secs(10);

/// Answers renewals of the sessions of one route.
#[derive(Debug)]
pub(crate) struct RenewalFilter {
    route: Arc<str>,
    requirement: Arc<Requirement>,
    user_id: Option<UserIdFilter>,
    settings: Arc<WebSocketSettings>,
    sessions: Arc<SessionRegistry>,
    limit: RateLimit,
    /// The settings in a serialised form.
    serialised: String,
}

stable_hash!(RenewalFilter { route, serialised } without { requirement, user_id, settings, sessions, limit });

/// The body of a renewal.
#[derive(Deserialize)]
struct RenewalBody {
    session: String,
}

/// What becomes of a renewal that has a verified credential.
enum Renewed {
    /// The session goes on with the new identity.
    Done,
    /// It is another user's credential: the session goes on as before.
    Foreign(&'static str),
    /// The credential allows less than the session needs, which ends.
    Narrower(Refusal),
}

impl RenewalFilter {
    /// A filter for the sessions of this route.
    pub(crate) fn new(
        route: &str,
        requirement: Arc<Requirement>,
        user_id: Option<UserIdFilter>,
        settings: Arc<WebSocketSettings>,
        sessions: Arc<SessionRegistry>,
    ) -> Self {
        let limit = RateLimitSettings {
            scope: format!("{route} renew").into(),
            requests: MAX_RENEWALS_PER_PERIOD,
            per: RENEWAL_PERIOD,
            burst: MAX_RENEWALS_PER_PERIOD,
            by: CountBy::ClientAddress,
        };
        let serialised = requirement.to_string();
        let limit = RateLimit::new(limit, None);
        Self { route: route.into(), requirement, user_id, settings, sessions, limit, serialised }
    }

    /// The session that the request names: by header, body, or cookie.
    fn find_session(&self, head: &RequestHeader, body: &[u8]) -> Option<Arc<Session>> {
        let id = match head.headers.get(X_TIDEGATE_SESSION) {
            Some(id) => RenewalId::parse(id.as_bytes()),
            None if body.is_empty() => {
                RenewalId::parse(cookie::find(&head.headers, RENEWAL_COOKIE)?)
            }
            None => {
                let body: RenewalBody = serde_json::from_slice(body).ok()?;
                RenewalId::parse(body.session.as_bytes())
            }
        };
        self.sessions.find_renewable(&self.route, id?)
    }

    /// The identity by the scheme that has verified the session, and the cookies that the response sets.
    async fn verify(
        &self,
        credentials: Credentials<'_>,
        before: &VerifiedIdentity,
        target: Option<&HandshakeTarget>,
    ) -> Result<(Arc<VerifiedIdentity>, Vec<HeaderValue>), Reply> {
        let own = self.requirement.schemes.iter().find(|it| **it.name() == *before.scheme());
        let verdict = match own {
            Some(scheme) => scheme.verify_renewal(credentials, target).await,
            None => Verdict::Missing,
        };
        let challenge = |reply: Reply, refusal: Option<&Refusal>| {
            let challenge = own.and_then(|scheme| scheme.challenge(refusal));
            challenge
                .into_iter()
                .fold(reply, |reply, it| reply.header(header::WWW_AUTHENTICATE, it))
        };
        match verdict {
            Verdict::Verified(identity, _) => Ok((identity, Vec::new())),
            Verdict::Renewed(identity, cookies) => Ok((identity, cookies)),
            Verdict::Refused(refusal) => {
                let code = ErrorCode::AuthenticationFailed;
                Err(challenge(Reply::gateway_error(code, refusal.message.clone()), Some(&refusal)))
            }
            Verdict::Unavailable(refusal) => {
                Err(Reply::gateway_error(ErrorCode::AuthenticationUnavailable, refusal.message))
            }
            Verdict::Missing | Verdict::Answer(_) | Verdict::AdmitUnverified => {
                if let Decision::Verified(..) | Decision::Renewed(..) =
                    self.requirement.decide(credentials).await
                {
                    let message = "the credential is of another scheme than the session";
                    return Err(Reply::gateway_error(ErrorCode::NotPermitted, message));
                }
                let message = "a renewal needs a fresh credential of the session's user";
                let code = ErrorCode::AuthenticationRequired;
                Err(challenge(Reply::gateway_error(code, message), None))
            }
        }
    }

    /// Gives the session the new identity, if that is of the same user and allows it.
    fn renew(
        &self,
        session: &Session,
        before: &VerifiedIdentity,
        identity: &Arc<VerifiedIdentity>,
    ) -> Renewed {
        let is_same = |claim: &str| before.claims().get(claim) == identity.claims().get(claim);
        if before.subject().is_none() || !is_same("sub") || !is_same("iss") {
            return Renewed::Foreign("the credential is another user's");
        }
        if let Some(refusal) = self.requirement.forbidden_claim(identity) {
            return Renewed::Narrower(refusal);
        }
        // Limits and logs know the session by the user of its handshake.
        let user = session.identity.user.as_ref().filter(|user| user.is_verified());
        let now = self.user_id.as_ref().and_then(|user_id| user_id.of_claims(identity));
        if user.is_some() && now.as_ref() != user {
            if self.requirement.user_matches.is_some() {
                let message = "the credential names another user than the handshake";
                return Renewed::Narrower(Refusal::new("user_mismatch", message));
            }
            return Renewed::Foreign("the credential has another user id");
        }
        let user = now.as_ref().map(UserId::as_str).or_else(|| identity.subject());
        if self.sessions.revocations().refuse(identity, user) {
            return Renewed::Foreign("the login was revoked");
        }
        session.renew_login(Arc::clone(identity));
        // It may have been revoked meanwhile.
        self.sessions.close_if_revoked(session);
        Renewed::Done
    }

    async fn answer(&self, head: &RequestHeader, body: &[u8], exchange: &mut Exchange) -> Reply {
        let Some(session) = self.find_session(head, body) else {
            let message = "there is no open session with this id; the id is in the warning or in \
                           the cookie of the handshake";
            return Reply::gateway_error(ErrorCode::NoSuchSession, message);
        };
        let Some(login) = session.login() else {
            return Reply::gateway_error(ErrorCode::NoSuchSession, "the session has no login");
        };
        let before = login.identity();
        let verified = self.verify(Credentials { head, exchange }, &before, login.target()).await;
        let (identity, cookies) = match verified {
            Ok(verified) => verified,
            Err(reply) => {
                let is_missing = reply.is_error(ErrorCode::AuthenticationRequired);
                let (result, reason) = match is_missing {
                    true => (AuthenticationResult::Missing, "missing"),
                    false => (AuthenticationResult::Refused, "renewal"),
                };
                record(exchange, &before, result, Some(reason));
                return reply;
            }
        };
        let reply = match self.renew(&session, &before, &identity) {
            Renewed::Done => {
                record(exchange, &identity, AuthenticationResult::Verified, None);
                exchange.user_id = session.identity.user.clone();
                let in_words = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
                let body = json!({"expires": identity.expires_at().map(in_words)});
                let media_type = HeaderValue::from_static(MediaType::Json.content_type());
                Reply::new(StatusCode::OK)
                    .header(header::CONTENT_TYPE, media_type)
                    .body(body.to_string())
            }
            Renewed::Foreign(message) => {
                let result = AuthenticationResult::Forbidden;
                record(exchange, &identity, result, Some("foreign_user"));
                Reply::gateway_error(ErrorCode::NotPermitted, message)
            }
            Renewed::Narrower(refusal) => {
                let result = AuthenticationResult::Forbidden;
                record(exchange, &identity, result, Some(refusal.reason));
                session.request_close(login.narrowed());
                let message = format!("{}; the session ends", refusal.message);
                Reply::gateway_error(ErrorCode::NotPermitted, message)
            }
        };
        cookies.into_iter().fold(reply, |reply, cookie| reply.header(header::SET_COOKIE, cookie))
    }
}

/// Lets the access log say what became of the credential.
fn record(
    exchange: &mut Exchange,
    identity: &VerifiedIdentity,
    result: AuthenticationResult,
    reason: Option<&'static str>,
) {
    exchange.authentication = Some(Box::new(AuthenticationOutcome {
        scheme: Some(Arc::clone(identity.shared_scheme())),
        result,
        reason,
        identity: None,
        upstream_headers: Vec::new(),
        cookies: Vec::new(),
    }));
}

#[async_trait]
impl Filter for RenewalFilter {
    fn describe(&self) -> String {
        format!("renewal of sessions of the route {}: {}", self.route, self.requirement)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        if request.head().method != Method::POST {
            let reply = Reply::gateway_error(
                ErrorCode::MethodNotAllowed,
                "use POST to renew the login of a session",
            );
            return Ok(Flow::Respond(
                reply.header(header::ALLOW, HeaderValue::from_static("POST")),
            ));
        }
        let origins = &self.settings.origins;
        if let Some(origin) = request.head().headers.get(header::ORIGIN)
            && !origins.allow(origin, request.authority(), request.exchange().scheme())
        {
            return Ok(Flow::Respond(refuse_origin(origin, origins.key())));
        }
        if request.exchange().is_dry_run() {
            return Ok(Flow::Continue);
        }
        let key = self.limit.settings().by.key(&request.head().headers, request.exchange());
        if let Some(wait) = self.limit.take_token(&key).await {
            return Ok(Flow::Respond(super::rate_limit::too_many(&self.limit, wait)));
        }
        Ok(Flow::Continue)
    }

    fn request_body(&self) -> BodyAccess {
        BodyAccess::Whole { max: MAX_RENEWAL_BODY_BYTES }
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, Error> {
        let bytes = body.bytes().clone();
        let reply = self.answer(body.head, &bytes, body.exchange).await;
        let no_store = HeaderValue::from_static("no-store");
        Ok(Flow::Respond(reply.header(header::CACHE_CONTROL, no_store)))
    }
}
