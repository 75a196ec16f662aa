//! The endpoint where issuers log users out (OpenID Connect Back-Channel Logout 1.0). It verifies no signature itself;
//! the schemes do.

use super::{BodyAccess, Error, Filter, Flow, Reply, Request, RequestBody};
use crate::authentication::Scheme;
use crate::background;
use crate::websocket::SessionRegistry;
use async_trait::async_trait;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use tidegate_http::accept::MediaType;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash;

/// Maximum size of the form, in bytes.
const MAX_LOGOUT_BODY_BYTES: usize = 64 * 1024;

/// Revokes the logins that logout tokens name.
pub(crate) struct LogoutFilter {
    schemes: Vec<Arc<dyn Scheme>>,
    sessions: Arc<SessionRegistry>,
    /// The names of the schemes.
    serialised: String,
}

stable_hash!(LogoutFilter { serialised } without { schemes, sessions });

impl LogoutFilter {
    /// A filter that accepts the logout tokens of the issuers of these schemes.
    pub(crate) fn new(schemes: Vec<Arc<dyn Scheme>>, sessions: Arc<SessionRegistry>) -> Self {
        let names: Vec<&str> = schemes.iter().map(|scheme| &**scheme.name()).collect();
        let serialised = names.join(" ");
        Self { schemes, sessions, serialised }
    }

    async fn answer(&self, form: &[u8]) -> Reply {
        let mut tokens =
            form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token").map(|it| it.1);
        let accepted = match (tokens.next(), tokens.next()) {
            (Some(token), None) => self.sessions.revocations().accept_logout(&token, &self.schemes),
            _ => Err("the form must have `logout_token`, once"),
        };
        if let Err(reason) = accepted {
            let body = json!({"error": "invalid_request", "error_description": reason});
            let media_type = HeaderValue::from_static(MediaType::Json.content_type());
            return Reply::new(StatusCode::BAD_REQUEST)
                .header(header::CONTENT_TYPE, media_type)
                .body(body.to_string());
        }
        let sessions = Arc::clone(&self.sessions);
        // It looks at all sessions, which must not hold up the requests of this thread.
        let ended =
            background::run_blocking("end revoked sessions", move || sessions.close_revoked());
        let ended = ended.await.unwrap_or(0);
        log::info!("an issuer logged a user out; {ended} WebSocket sessions end");
        Reply::new(StatusCode::OK)
    }
}

impl fmt::Debug for LogoutFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogoutFilter").field("schemes", &self.serialised).finish_non_exhaustive()
    }
}

#[async_trait]
impl Filter for LogoutFilter {
    fn describe(&self) -> String {
        format!("back-channel logout of the issuers of {}", self.serialised)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        if request.head().method != Method::POST {
            let message = "a logout token is sent by POST";
            let reply = Reply::gateway_error(ErrorCode::MethodNotAllowed, message);
            return Ok(Flow::Respond(
                reply.header(header::ALLOW, HeaderValue::from_static("POST")),
            ));
        }
        Ok(Flow::Continue)
    }

    fn request_body(&self) -> BodyAccess {
        BodyAccess::Whole { max: MAX_LOGOUT_BODY_BYTES }
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, Error> {
        let form = body.bytes().clone();
        let no_store = HeaderValue::from_static("no-store");
        Ok(Flow::Respond(self.answer(&form).await.header(header::CACHE_CONTROL, no_store)))
    }
}
