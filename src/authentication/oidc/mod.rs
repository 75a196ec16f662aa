//! Logins with OpenID Connect, for browsers: the authorization code flow with PKCE, kept in an encrypted cookie. Knows
//! nothing of routes.
//!
//! `openidconnect` was considered: it verifies by RustCrypto, a second cryptographic library beside ring, of which `rsa`
//! has an advisory without a fix (RUSTSEC-2023-0071). What is left without its signatures, which
//! `jwt` verifies, is a URL and a form.

mod cookies;
mod endpoints;
mod id_token;
mod messages;
mod navigation;
mod provider;
mod recent;
mod record;
mod refresh;
mod seal;

use super::{
    Credentials, EndpointVerdict, HandshakeTarget, Refusal, Scheme, SchemeEndpoint, Verdict,
};
use crate::http_client::HttpClient;
use crate::identity::SchemeKind;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cookies::{CookieAttributes, MixedCookies};
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use id_token::IdTokenRules;
use navigation::{is_navigation, is_safe_origin, own_origin, return_path};
use pingora::http::RequestHeader;
use provider::{ClientSettings, KnownProvider, Provider, TokenError};
use recent::RecentSet;
use record::{Login, PENDING_TTL, PendingLogin, now};
use refresh::Refreshes;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use seal::Seal;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_config::SameSite;

/// What a value is encrypted for.
const LOGIN: &str = "login";
/// What a value is encrypted for.
const PENDING: &str = "pending";

/// Maximum number of logins that a browser has begun at the same time, one in each of its tabs. More cookies would fill
/// the head of its requests.
const MAX_PENDING: usize = 8;

/// How a scheme is set.
pub(crate) struct OidcSettings {
    /// The issuer.
    pub(crate) issuer: String,
    /// The gateway's name at the issuer.
    pub(crate) client_id: String,
    /// The gateway's secret at the issuer.
    pub(crate) client_secret: Option<String>,
    /// The scopes to request, separated by spaces.
    pub(crate) scope: String,
    /// The name of the cookie.
    pub(crate) cookie: String,
    /// The keys of the cookie.
    pub(crate) keys: Vec<String>,
    /// Maximum age of a login.
    pub(crate) ttl: Duration,
    /// Whether links of other sites send the cookie.
    pub(crate) same_site: SameSite,
    /// The path to which the issuer sends browsers back.
    pub(crate) callback: String,
    /// The path that browsers see after a logout.
    pub(crate) after_logout: String,
    /// Tolerance for clocks that differ.
    pub(crate) leeway: Duration,
}

/// Logins of one issuer.
pub(crate) struct OidcScheme {
    name: Arc<str>,
    settings: OidcSettings,
    seal: Seal,
    provider: Arc<Provider>,
    refreshes: Refreshes,
    /// The logins that have come back from the issuer: each may do so once.
    returned: Mutex<RecentSet>,
    /// The logins that were logged out before their end.
    logged_out: Mutex<RecentSet>,
}

impl fmt::Debug for OidcScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcScheme").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the cookies of a request say.
enum Found {
    Nothing,
    Login(Box<Login>),
    Refused(Refusal),
}

impl OidcScheme {
    pub(crate) fn new(name: &str, mut settings: OidcSettings, http: HttpClient) -> Self {
        // A cookie of another scheme, issuer or client is worth nothing here, even under the same keys.
        let context = [name, &settings.cookie, &settings.issuer, &settings.client_id].join("\0");
        let seal = Seal::new(settings.keys.iter().map(String::as_str), context);
        settings.keys.clear();
        let client = ClientSettings {
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.take(),
            rules: IdTokenRules::new(&settings.issuer, &settings.client_id, settings.leeway),
        };
        Self {
            name: name.into(),
            seal,
            provider: Arc::new(Provider::new(client, http)),
            settings,
            refreshes: Refreshes::default(),
            returned: Mutex::default(),
            logged_out: Mutex::default(),
        }
    }

    /// The login that the cookies of a request keep, if it has not ended.
    fn find(&self, headers: &HeaderMap) -> Found {
        let sealed = match cookies::read(headers, &self.settings.cookie) {
            Ok(None) => return Found::Nothing,
            Ok(Some(sealed)) => sealed,
            Err(MixedCookies) => {
                let message = "the cookies of the login do not belong together";
                return Found::Refused(Refusal::new("mixed_cookies", message));
            }
        };
        let login = self.seal.open(LOGIN, &sealed);
        let Some(login) = login.and_then(|it| serde_json::from_slice::<Login>(&it).ok()) else {
            let message = "the cookie of the login is not one of this gateway's";
            return Found::Refused(Refusal::new("bad_cookie", message));
        };
        if login.expires() <= now() {
            return Found::Refused(Refusal::new("expired", "the login has expired"));
        }
        if lock(&self.logged_out).contains(&login.id) {
            return Found::Refused(Refusal::new("logged_out", "the login was logged out"));
        }
        Found::Login(Box::new(login))
    }

    /// The cookies that keep a login; `None` if it is too large for them.
    fn login_cookies(
        &self,
        login: &Login,
        is_secure: bool,
        request: &HeaderMap,
    ) -> Option<Vec<HeaderValue>> {
        let sealed = self.seal.seal(LOGIN, &serde_json::to_vec(login).ok()?)?;
        let max_age = Duration::from_secs(login.expires().saturating_sub(now()));
        let attributes =
            CookieAttributes { same_site: self.settings.same_site, max_age, is_secure };
        cookies::set(&self.settings.cookie, &sealed, attributes, request)
    }

    /// The attributes of the cookie of a login that has begun. The issuer, another site, sends the browser back.
    fn pending_attributes(is_secure: bool) -> CookieAttributes {
        CookieAttributes { same_site: SameSite::Lax, max_age: PENDING_TTL, is_secure }
    }

    /// The login that has begun with this id, in the browser that sends the request.
    fn pending(&self, headers: &HeaderMap, id: &str) -> Option<PendingLogin> {
        let name = cookies::pending_name(&self.settings.cookie, id);
        let sealed = cookies::only(headers, &name).ok()??;
        let pending = self.seal.open(PENDING, sealed)?;
        let pending: PendingLogin = serde_json::from_slice(&pending).ok()?;
        (pending.id == id && !pending.is_expired(now())).then_some(pending)
    }

    /// Accepts a login, after a refresh where its tokens expire soon or a session is renewed.
    async fn accept(&self, login: Login, request: Credentials<'_>, is_renewal: bool) -> Verdict {
        let verified = |login: &Login| Verdict::Verified(login.identity(&self.name), Vec::new());
        if !login.is_refresh_due(is_renewal, now()) || request.exchange.is_dry_run() {
            return verified(&login);
        }
        let refreshed = self.refreshes.refresh(&self.provider, &login).await;
        let refused = match refreshed {
            Some(Ok(renewed)) => {
                if lock(&self.logged_out).contains(&renewed.id) {
                    let refusal = Refusal::new("logged_out", "the login was logged out");
                    return self.refuse(refusal, request);
                }
                let is_secure = request.exchange.scheme() == "https";
                let cookies = self.login_cookies(&renewed, is_secure, &request.head.headers);
                let identity = renewed.identity(&self.name);
                return Verdict::Renewed(identity, cookies.unwrap_or_default());
            }
            Some(Err(TokenError::Refused(refusal))) => Verdict::Refused(refusal),
            Some(Err(TokenError::Unavailable(refusal))) => Verdict::Unavailable(refusal),
            None => Verdict::Unavailable(Refusal::new("busy", "too many logins are refreshed")),
        };
        match refused {
            // Until then the tokens are valid, and the next request asks again.
            Verdict::Unavailable(_) if now() < login.tokens_expire => verified(&login),
            Verdict::Refused(refusal) => self.refuse(refusal, request),
            refused => refused,
        }
    }

    /// Sends a browser to the issuer; anything else is refused.
    fn refuse(&self, refusal: Refusal, request: Credentials<'_>) -> Verdict {
        match is_navigation(&request) {
            true => self.redirect(request),
            false => Verdict::Refused(refusal),
        }
    }

    /// The redirect to the issuer (OpenID Connect Core 1.0, section 3.1.2.1).
    fn redirect(&self, request: Credentials<'_>) -> Verdict {
        if request.exchange.is_dry_run() {
            // Nothing is known of the issuer's endpoints, and no login begins.
            let answer = redirect(StatusCode::FOUND, &self.settings.issuer, Vec::new());
            return Verdict::Answer(Box::new(answer.unwrap_or_default()));
        }
        let Some(known) = self.provider.known() else {
            let message = "the issuer of logins has not been reached yet";
            return Verdict::Unavailable(Refusal::new("unreachable", message));
        };
        let Some(origin) = own_origin(&request) else {
            let message = "the request names no valid host to return to";
            return Verdict::Refused(Refusal::new("no_host", message));
        };
        if !is_safe_origin(&origin) {
            let message = "logins need https, except on localhost; behind a load balancer that ends TLS, it must be \
                           among `trusted_proxies`";
            return Verdict::Refused(Refusal::new("insecure", message));
        }
        let answer = self.begin(&known, &origin, request);
        answer.map_or_else(
            || Verdict::Unavailable(Refusal::new("failed", "the login could not begin")),
            |answer| Verdict::Answer(Box::new(answer)),
        )
    }

    fn begin(
        &self,
        known: &KnownProvider,
        origin: &str,
        request: Credentials<'_>,
    ) -> Option<Response<Bytes>> {
        let pending = PendingLogin {
            id: random_text::<16>()?,
            nonce: random_text::<16>()?,
            verifier: random_text::<32>()?,
            redirect_uri: format!("{origin}{}", self.settings.callback),
            return_path: return_path(&request.head.uri).to_owned(),
            began: now(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, pending.verifier.as_bytes()));
        let location = with_parameters(
            &known.metadata.authorization_endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &self.settings.client_id),
                ("redirect_uri", &pending.redirect_uri),
                ("scope", &self.settings.scope),
                ("state", &pending.id),
                ("nonce", &pending.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        );
        let sealed = self.seal.seal(PENDING, &serde_json::to_vec(&pending).ok()?)?;
        let attributes = Self::pending_attributes(origin.starts_with("https:"));
        let name = cookies::pending_name(&self.settings.cookie, &pending.id);
        let mut set = vec![cookies::set_one(&name, &sealed, attributes)?];
        set.extend(self.superfluous(&request.head.headers, attributes));
        redirect(StatusCode::FOUND, &location, set)
    }

    /// Removes the cookies of the oldest logins that have begun, and of those that are worth nothing.
    fn superfluous(&self, headers: &HeaderMap, attributes: CookieAttributes) -> Vec<HeaderValue> {
        let ids = cookies::pending_ids(headers, &self.settings.cookie);
        let mut all: Vec<(u64, &str)> = ids
            .map(|id| (self.pending(headers, id).map_or(0, |pending| pending.began), id))
            .collect();
        all.sort_unstable_by_key(|(began, _)| std::cmp::Reverse(*began));
        let others = MAX_PENDING - 1;
        let superfluous = all.iter().enumerate();
        superfluous
            .filter(|(place, (began, _))| *place >= others || *began == 0)
            .filter_map(|(_, (_, id))| {
                let name = cookies::pending_name(&self.settings.cookie, id);
                cookies::remove_one(&name, attributes)
            })
            .collect()
    }
}

#[async_trait]
impl Scheme for OidcScheme {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn kind(&self) -> SchemeKind {
        SchemeKind::Oidc
    }

    fn describe(&self) -> String {
        format!("login at {}, cookie {}", self.settings.issuer, self.settings.cookie)
    }

    async fn verify(&self, request: Credentials<'_>) -> Verdict {
        match self.find(&request.head.headers) {
            Found::Login(login) => self.accept(*login, request, false).await,
            Found::Refused(refusal) => self.refuse(refusal, request),
            Found::Nothing if is_navigation(&request) => self.redirect(request),
            Found::Nothing => Verdict::Missing,
        }
    }

    async fn verify_renewal(
        &self,
        request: Credentials<'_>,
        _: Option<&HandshakeTarget>,
    ) -> Verdict {
        match self.find(&request.head.headers) {
            Found::Login(login) => self.accept(*login, request, true).await,
            _ => self.verify(request).await,
        }
    }

    fn challenge(&self, _: Option<&Refusal>) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("Cookie cookie-name=\"{}\"", self.settings.cookie)).ok()
    }

    fn sanitize(&self, head: &mut RequestHeader) {
        cookies::sanitize(head, &self.settings.cookie);
    }

    fn verify_logout_token(&self, token: &[u8]) -> Option<Result<Map<String, Value>, Refusal>> {
        Some(self.provider.verify_logout_token(token))
    }

    fn start(self: Arc<Self>) {
        self.provider.start();
    }

    async fn answer(
        &self,
        endpoint: SchemeEndpoint,
        request: Credentials<'_>,
    ) -> Option<EndpointVerdict> {
        Some(match endpoint {
            SchemeEndpoint::Callback => self.call_back(request).await,
            SchemeEndpoint::Logout => self.log_out(request),
        })
    }
}

/// A redirect that no cache keeps.
fn redirect(
    status: StatusCode,
    location: &str,
    cookies: Vec<HeaderValue>,
) -> Option<Response<Bytes>> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    Some(response)
}

/// The URL with these parameters after those that it has.
fn with_parameters(url: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{}", query.finish())
}

/// Random bytes in base64url.
fn random_text<const SIZE: usize>() -> Option<String> {
    let mut bytes = [0; SIZE];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn lock(set: &Mutex<RecentSet>) -> MutexGuard<'_, RecentSet> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
