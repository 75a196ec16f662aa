//! What browsers ask of the gateway itself: the return from the issuer, and the logout. Knows nothing of how requests of
//! routes are verified.

use super::messages::is_error_code;
use super::navigation::{is_from_own_origin, own_origin};
use super::provider::TokenError;
use super::record::{Login, PENDING_TTL, PendingLogin, now};
use super::{Found, OidcScheme, cookies, lock, random_text, redirect, with_parameters};
use crate::authentication::{Credentials, EndpointVerdict, Refusal};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::Map;
use tidegate_config::SameSite;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::query;

/// The parameters with which the issuer sends a browser back (RFC 6749, section 4.1.2; RFC 9207).
struct Return {
    state: String,
    code: Option<String>,
    error: Option<String>,
    issuer: Option<String>,
}

impl Return {
    /// `None` if a parameter is repeated, or there is no state.
    fn parse(query: &str) -> Option<Self> {
        let only = |name: &str| {
            let mut values = query::find_all(query, name);
            let first = values.next();
            match values.next() {
                None => Some(first.and_then(|it| String::from_utf8(it.into_owned()).ok())),
                Some(_) => None,
            }
        };
        Some(Self {
            state: only("state")?.filter(|state| cookies::is_id(state))?,
            code: only("code")?,
            error: only("error")?,
            issuer: only("iss")?,
        })
    }
}

impl OidcScheme {
    /// Answers the return of a browser from the issuer: exchanges the code, and sets the cookie.
    pub(super) async fn call_back(&self, request: Credentials<'_>) -> EndpointVerdict {
        if request.head.method != Method::GET {
            return method_not_allowed("GET");
        }
        if request.exchange.is_dry_run() {
            return refused("dry_run", "a dry run exchanges no code");
        }
        let headers = &request.head.headers;
        let Some(returned) = request.head.uri.query().and_then(Return::parse) else {
            return refused("malformed_return", "the issuer's return has no valid `state`");
        };
        let Some(pending) = self.pending(headers, &returned.state) else {
            let message =
                "this login was begun by another browser or too long ago; open the page again";
            return refused("unknown_state", message);
        };
        let origin = own_origin(&request);
        let redirect_uri = origin.map(|origin| format!("{origin}{}", self.settings.callback));
        if redirect_uri.as_deref() != Some(&*pending.redirect_uri) {
            return refused(
                "wrong_origin",
                "this login was begun at another host; open the page again",
            );
        }
        if let Err(refusal) = self.check_issuer(returned.issuer.as_deref()) {
            return EndpointVerdict::Refused(ErrorCode::AuthenticationFailed, refusal);
        }
        let until = pending.began.saturating_add(PENDING_TTL.as_secs());
        if !lock(&self.returned).insert(&pending.id, until, now()) {
            return refused("replayed", "this login has come back already; open the page again");
        }
        let Some(code) = returned.code.filter(|_| returned.error.is_none()) else {
            let error = returned.error.filter(|error| is_error_code(error));
            let error = error.as_deref().unwrap_or("no code");
            return refused("issuer_refused", format!("the issuer refuses the login: {error}"));
        };
        let PendingLogin { redirect_uri, verifier, nonce, .. } = &pending;
        let client = request.exchange.client_address();
        let exchanged = self.provider.exchange(client, &code, redirect_uri, verifier, nonce).await;
        let tokens = match exchanged {
            Ok(tokens) => tokens,
            Err(TokenError::Refused(refusal)) => {
                return EndpointVerdict::Refused(ErrorCode::AuthenticationFailed, refusal);
            }
            Err(TokenError::Unavailable(refusal)) => {
                return EndpointVerdict::Refused(ErrorCode::AuthenticationUnavailable, refusal);
            }
        };
        let now = now();
        let ends = now.saturating_add(self.settings.ttl.as_secs());
        let Some(id) = random_text::<16>() else { return too_large() };
        let mut login = Login {
            id,
            claims: Map::new(),
            nonce: pending.nonce.clone(),
            refresh_token: tokens.refresh_token,
            refresh_at: 0,
            tokens_expire: 0,
            tokens_since: 0,
            ends,
        };
        login.renew(tokens.claims.unwrap_or_default(), tokens.expire.unwrap_or(ends), now);
        self.welcome(&login, &pending, headers).unwrap_or_else(|| {
            log::warn!(
                "the logins of `{}` are too large for cookies: request fewer scopes",
                self.name
            );
            too_large()
        })
    }

    /// Sets the cookie of the login, and returns the browser to the path that it asked for.
    fn welcome(
        &self,
        login: &Login,
        pending: &PendingLogin,
        headers: &HeaderMap,
    ) -> Option<EndpointVerdict> {
        let is_secure = pending.redirect_uri.starts_with("https:");
        let mut set = self.login_cookies(login, is_secure, headers)?;
        let name = cookies::pending_name(&self.settings.cookie, &pending.id);
        set.push(cookies::remove_one(&name, Self::pending_attributes(is_secure))?);
        let answer = match self.settings.same_site {
            SameSite::Lax => redirect(StatusCode::SEE_OTHER, &pending.return_path, set)?,
            // The issuer, another site, began this navigation, so a redirect would carry no such cookie. A page begins
            // one of its own.
            SameSite::Strict => page(&pending.return_path, set)?,
        };
        Some(EndpointVerdict::Answer(Box::new(answer)))
    }

    /// An issuer that names itself must be the right one (RFC 9207, section 2.4).
    fn check_issuer(&self, named: Option<&str>) -> Result<(), Refusal> {
        let known = self.provider.known();
        let is_required = known
            .is_some_and(|known| known.metadata.authorization_response_iss_parameter_supported);
        match named {
            Some(issuer) if issuer == self.settings.issuer => Ok(()),
            None if !is_required => Ok(()),
            _ => Err(Refusal::new("wrong_issuer", "another issuer has sent the browser back")),
        }
    }

    /// Ends the login of a browser, here and at the issuer (OpenID Connect RP-Initiated Logout 1.0).
    pub(super) fn log_out(&self, request: Credentials<'_>) -> EndpointVerdict {
        if request.head.method != Method::GET && request.head.method != Method::POST {
            return method_not_allowed("GET, POST");
        }
        if !is_from_own_origin(&request) {
            let message = "only pages of the same origin can log out";
            let refusal = Refusal::new("cross_site", message);
            return EndpointVerdict::Refused(ErrorCode::OriginNotAllowed, refusal);
        }
        let headers = &request.head.headers;
        let is_secure = request.exchange.scheme() == "https";
        let attributes = Self::pending_attributes(is_secure);
        let set = cookies::remove(&self.settings.cookie, attributes, headers);
        let login = match self.find(headers) {
            Found::Login(login) => Some(login),
            Found::Nothing | Found::Refused(_) => None,
        };
        let at_issuer = login.as_ref().and_then(|_| self.end_session_url(&request));
        let location = at_issuer.as_deref().unwrap_or(&self.settings.after_logout);
        let Some(answer) = redirect(StatusCode::SEE_OTHER, location, set).map(Box::new) else {
            return too_large();
        };
        match login {
            Some(login) if !request.exchange.is_dry_run() => {
                lock(&self.logged_out).insert(&login.id, login.ends, now());
                EndpointVerdict::LoggedOut(answer, login.identity(&self.name))
            }
            _ => EndpointVerdict::Answer(answer),
        }
    }

    /// The URL at which the issuer ends its own session and sends the browser back, if it offers one.
    fn end_session_url(&self, request: &Credentials<'_>) -> Option<String> {
        let known = self.provider.known()?;
        let endpoint = known.metadata.end_session_endpoint.as_deref()?;
        let back = format!("{}{}", own_origin(request)?, self.settings.after_logout);
        let parameters =
            [("client_id", &*self.settings.client_id), ("post_logout_redirect_uri", &back)];
        Some(with_parameters(endpoint, &parameters))
    }
}

/// A page that leads on to a path of the same origin.
fn page(path: &str, cookies: Vec<HeaderValue>) -> Option<Response<Bytes>> {
    let path = path.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let text = format!(
        "<!doctype html><meta charset=utf-8><title>Logged in</title>\
         <meta http-equiv=\"refresh\" content=\"0;url={path}\">\
         <p><a href=\"{path}\">Continue</a>"
    );
    let mut response = redirect(StatusCode::OK, "/", cookies)?;
    let headers = response.headers_mut();
    headers.remove(http::header::LOCATION);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    *response.body_mut() = text.into();
    Some(response)
}

fn refused(
    reason: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> EndpointVerdict {
    EndpointVerdict::Refused(ErrorCode::AuthenticationFailed, Refusal::new(reason, message))
}

fn too_large() -> EndpointVerdict {
    refused("too_large", "the login is too large for cookies")
}

fn method_not_allowed(allowed: &'static str) -> EndpointVerdict {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    EndpointVerdict::Answer(Box::new(response))
}
