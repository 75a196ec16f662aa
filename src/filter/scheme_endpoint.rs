//! The filter of endpoints that a scheme of `authentication` answers: the return from an issuer, the logout. It knows
//! nothing of how the scheme answers.

use super::{Error, Filter, Flow, RETRY_SOON, Reply, Request};
use crate::authentication::{Credentials, EndpointVerdict, RevokedLogin, Scheme, SchemeEndpoint};
use crate::background;
use crate::identity::{AuthenticationOutcome, AuthenticationResult, VerifiedIdentity};
use crate::websocket::SessionRegistry;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash;

/// Lets a scheme answer each request.
#[derive(Debug)]
pub(crate) struct SchemeEndpointFilter {
    /// The scheme.
    pub(crate) scheme: Arc<dyn Scheme>,
    /// Which of its endpoints it is.
    pub(crate) endpoint: SchemeEndpoint,
    /// The sessions of the gateway, of which a logout ends some.
    pub(crate) sessions: Arc<SessionRegistry>,
    /// The settings of the scheme and the endpoint in a serialised form: part of the route's fingerprint.
    pub(crate) serialised: String,
}

stable_hash!(SchemeEndpointFilter { serialised } without { scheme, endpoint, sessions });

impl SchemeEndpointFilter {
    /// Ends the WebSocket sessions of a login, and lets other gateways refuse it too.
    async fn revoke(&self, identity: &VerifiedIdentity) {
        let text = |name: &str| identity.claims().get(name).and_then(Value::as_str);
        let (Some(issuer), Some(id)) = (text("iss"), text("jti")) else { return };
        let login = RevokedLogin::Token { issuer, id };
        self.sessions.revocations().revoke(login, SystemTime::now());
        let sessions = Arc::clone(&self.sessions);
        let _ = background::run_blocking("end revoked sessions", move || sessions.close_revoked())
            .await;
    }
}

fn reply_of(answer: Response<Bytes>) -> Reply {
    let (parts, body) = answer.into_parts();
    let reply = match body.is_empty() {
        true => Reply::new(parts.status),
        false => Reply::new(parts.status).body(body),
    };
    let headers = parts.headers.iter();
    headers.fold(reply, |reply, (name, value)| reply.header(name.clone(), value.clone()))
}

#[async_trait]
impl Filter for SchemeEndpointFilter {
    fn describe(&self) -> String {
        let endpoint = match self.endpoint {
            SchemeEndpoint::Callback => "return from the issuer",
            SchemeEndpoint::Logout => "logout",
        };
        format!("authentication.{}: {endpoint}", self.scheme.name())
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let credentials = Credentials { head: request.head, exchange: request.exchange };
        let verdict = self.scheme.answer(self.endpoint, credentials).await;
        let (reply, result, reason) = match verdict {
            None => return Ok(Flow::Respond(Reply::new(StatusCode::NOT_FOUND))),
            Some(EndpointVerdict::Answer(answer)) => {
                (reply_of(*answer), AuthenticationResult::Verified, None)
            }
            Some(EndpointVerdict::LoggedOut(answer, identity)) => {
                self.revoke(&identity).await;
                (reply_of(*answer), AuthenticationResult::Verified, None)
            }
            Some(EndpointVerdict::Refused(code, refusal)) => {
                let reply = Reply::gateway_error(code, refusal.message);
                let no_store = HeaderValue::from_static("no-store");
                let reply = reply.header(header::CACHE_CONTROL, no_store);
                let (reply, result) = match code {
                    ErrorCode::AuthenticationUnavailable => {
                        let soon = HeaderValue::from_static(RETRY_SOON);
                        let reply = reply.header(header::RETRY_AFTER, soon);
                        (reply, AuthenticationResult::Unavailable)
                    }
                    ErrorCode::AuthenticationFailed => {
                        let challenge = self.scheme.challenge(None).into_iter();
                        let reply = challenge.fold(reply, |reply, challenge| {
                            reply.header(header::WWW_AUTHENTICATE, challenge)
                        });
                        (reply, AuthenticationResult::Refused)
                    }
                    _ => (reply, AuthenticationResult::Refused),
                };
                (reply, result, Some(refusal.reason))
            }
        };
        request.exchange.authentication = Some(Box::new(AuthenticationOutcome {
            scheme: Some(Arc::clone(self.scheme.name())),
            result,
            reason,
            identity: None,
            upstream_headers: Vec::new(),
            cookies: Vec::new(),
        }));
        Ok(Flow::Respond(reply))
    }
}
