//! The issuer of logins: its endpoints and keys, which a task keeps up to date, and its token endpoint. Knows nothing of
//! cookies and of the requests of browsers.

use super::id_token::{Expected, IdTokenError, IdTokenRules};
use super::messages::{ProviderMetadata, TokenResponse, is_error_code};
use super::record::{Login, now};
use crate::authentication::Refusal;
use crate::authentication::jwt::KeySet;
use crate::authentication::verifier::{AttemptLimits, Attempts};
use crate::background;
use crate::http_client::HttpClient;
use crate::rate_limited_log::RateLimitedLog;
use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Maximum time for a response of the issuer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response of the issuer.
const MAX_RESPONSE_BYTES: usize = 512 * 1024;

/// Time between two fetches of the issuer's documents.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Time between two fetches after a failure: the first, and the longest.
const RETRY_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Minimum time between two fetches because of a token with an unknown key.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of concurrent exchanges of codes. Whoever begins a login may try codes of their own; so one address has
/// only some of them, and must wait after codes that the issuer refuses.
const MAX_EXCHANGES: AttemptLimits =
    AttemptLimits { in_flight: 64, per_client: 16, without_address: 48 };

/// Maximum number of concurrent refreshes. Only browsers with a login cause one, and no exchange takes their place.
const MAX_REFRESHES: usize = 64;

/// What an issuer needs to know of the gateway, and the gateway of it.
pub(super) struct ClientSettings {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    /// What its ID tokens must say.
    pub(super) rules: IdTokenRules,
}

/// The issuer.
pub(super) struct Provider {
    pub(super) client: ClientSettings,
    http: HttpClient,
    known: ArcSwapOption<KnownProvider>,
    /// Counts the fetches that succeeded.
    fetched: watch::Sender<u64>,
    /// Asks for a fetch before its time.
    wanted: Notify,
    exchanges: Arc<Attempts>,
    refreshes: Semaphore,
    has_started: AtomicBool,
    failures: RateLimitedLog,
}

/// What the issuer has published.
pub(super) struct KnownProvider {
    pub(super) metadata: ProviderMetadata,
    keys: KeySet,
}

/// Tokens, verified.
pub(super) struct Tokens {
    /// The claims of the ID token, which a refresh need not give.
    pub(super) claims: Option<Map<String, Value>>,
    pub(super) refresh_token: Option<String>,
    /// The time at which they expire, in seconds since 1970.
    pub(super) expire: Option<u64>,
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The issuer refuses, or its token is not valid.
    Refused(Refusal),
    /// The issuer is unreachable, or the gateway asks it too much already.
    Unavailable(Refusal),
}

impl Provider {
    pub(super) fn new(client: ClientSettings, http: HttpClient) -> Self {
        Self {
            client,
            http,
            known: ArcSwapOption::empty(),
            fetched: watch::Sender::new(0),
            wanted: Notify::new(),
            exchanges: Attempts::new(MAX_EXCHANGES),
            refreshes: Semaphore::new(MAX_REFRESHES),
            has_started: AtomicBool::new(false),
            failures: RateLimitedLog::default(),
        }
    }

    /// What is known of the issuer; `None` before the first fetch.
    pub(super) fn known(&self) -> Option<Arc<KnownProvider>> {
        self.known.load_full()
    }

    /// Starts the task that fetches the issuer's documents, unless it runs.
    pub(super) fn start(self: &Arc<Self>) {
        if !self.has_started.swap(true, Ordering::Relaxed) {
            let this = Arc::downgrade(self);
            background::spawn_restarting("OpenID Connect issuer", move || {
                keep_up_to_date(Weak::clone(&this))
            });
        }
    }

    /// Exchanges a code for tokens (RFC 6749, section 4.1.3), for the client with this address.
    pub(super) async fn exchange(
        &self,
        client: Option<IpAddr>,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        nonce: &str,
    ) -> Result<Tokens, TokenError> {
        // Waiting requests would pile up.
        let begun = self.exchanges.begin(client);
        let mut attempt = begun.map_err(|busy| TokenError::Unavailable(busy.refusal()))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let expected = Expected { nonce, is_nonce_required: true, subject: None };
        let tokens = match self.tokens(&form, &expected).await {
            Ok(tokens) if tokens.claims.is_none() => {
                Err(self.malformed("its token endpoint gives no ID token"))
            }
            tokens => tokens,
        };
        if let Err(TokenError::Refused(_)) = tokens {
            attempt.fail(1);
        }
        tokens
    }

    /// New tokens for a login, by its refresh token (OpenID Connect Core 1.0, section 12).
    pub(super) async fn refresh(&self, login: &Login) -> Result<Tokens, TokenError> {
        let Ok(_permit) = self.refreshes.try_acquire() else { return Err(unavailable()) };
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", login.refresh_token.as_deref().unwrap_or_default()),
        ];
        let subject = login.claims.get("sub").and_then(Value::as_str);
        let expected = Expected { nonce: &login.nonce, is_nonce_required: false, subject };
        self.tokens(&form, &expected).await
    }

    async fn tokens(
        &self,
        form: &[(&str, &str)],
        expected: &Expected<'_>,
    ) -> Result<Tokens, TokenError> {
        let Some(known) = self.known() else { return Err(unavailable()) };
        let request = self.token_request(&known.metadata, form).ok_or_else(unavailable)?;
        let response = match self.http.send(request, TIMEOUT, MAX_RESPONSE_BYTES).await {
            Ok(response) => response,
            Err(error) => {
                self.report(&format!("its token endpoint did not answer: {error}"));
                return Err(unavailable());
            }
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.refusal(response.body()));
            }
            status => {
                self.report(&format!("its token endpoint answered {status}"));
                return Err(unavailable());
            }
        }
        let Ok(response) = serde_json::from_slice::<TokenResponse>(response.body()) else {
            return Err(self.malformed("its token endpoint answers no valid JSON"));
        };
        let claims = match &response.id_token {
            Some(token) => Some(self.verify(token, known, expected).await.map_err(|refusal| {
                self.report(&format!("its ID token is refused: {}", refusal.message));
                TokenError::Refused(refusal)
            })?),
            None => None,
        };
        let of_token = claims.as_ref().and_then(|claims| claims.get("exp")?.as_u64());
        let of_response = response.lifetime().map(|seconds| now().saturating_add(seconds));
        // Without a refresh token, the ID token alone decides: it is what the login is made of.
        let expire = match &response.refresh_token {
            Some(_) => of_token.into_iter().chain(of_response).min(),
            None => of_token.or(of_response),
        };
        Ok(Tokens { claims, refresh_token: response.refresh_token, expire })
    }

    /// Verifies an ID token. After a rotation of keys it waits for the task to fetch the new ones.
    async fn verify(
        &self,
        token: &str,
        known: Arc<KnownProvider>,
        expected: &Expected<'_>,
    ) -> Result<Map<String, Value>, Refusal> {
        let mut fetched = self.fetched.subscribe();
        let before = *fetched.borrow();
        let verify = |known: &KnownProvider| self.client.rules.verify(token, &known.keys, expected);
        let refusal = match verify(&known) {
            Ok(claims) => return Ok(claims),
            Err(IdTokenError::Refused(refusal)) => return Err(refusal),
            Err(IdTokenError::UnknownKey(refusal)) => refusal,
        };
        self.wanted.notify_one();
        let newer = timeout(TIMEOUT, fetched.wait_for(|count| *count > before)).await;
        match (newer, self.known()) {
            (Ok(Ok(_)), Some(known)) => verify(&known).map_err(|error| match error {
                IdTokenError::UnknownKey(refusal) | IdTokenError::Refused(refusal) => refusal,
            }),
            _ => Err(refusal),
        }
    }

    /// The claims of a logout token that the issuer has signed for this client.
    pub(super) fn verify_logout_token(&self, token: &[u8]) -> Result<Map<String, Value>, Refusal> {
        match self.known() {
            Some(known) => self.client.rules.verify_logout(token, &known.keys),
            None => Err(Refusal::new("no_keys", "the gateway does not have the issuer's keys yet")),
        }
    }

    fn token_request(
        &self,
        metadata: &ProviderMetadata,
        form: &[(&str, &str)],
    ) -> Option<Request<Bytes>> {
        let ClientSettings { client_id, client_secret, .. } = &self.client;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&metadata.token_endpoint)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        match client_secret {
            // RFC 6749, section 2.3.1.
            Some(secret) if metadata.takes_basic() => {
                let pair = format!("{}:{}", encoded(client_id), encoded(secret));
                request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            Some(secret) => {
                body.append_pair("client_id", client_id).append_pair("client_secret", secret);
            }
            None => {
                body.append_pair("client_id", client_id);
            }
        }
        request.body(body.finish().into()).ok()
    }

    /// What the issuer says instead of tokens (RFC 6749, section 5.2).
    fn refusal(&self, body: &[u8]) -> TokenError {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = body.get("error").and_then(Value::as_str).filter(|code| is_error_code(code));
        let code = code.unwrap_or("no error code");
        if code != "invalid_grant" {
            // The gateway's own settings, such as its secret, are probably wrong: no fault of the login.
            self.report(&format!("its token endpoint refuses the gateway: {code}"));
            return unavailable();
        }
        let message = format!("the issuer refuses the login: {code}");
        TokenError::Refused(Refusal::new("issuer_refused", message))
    }

    fn malformed(&self, reason: &str) -> TokenError {
        self.report(reason);
        TokenError::Refused(Refusal::new("malformed_response", "the issuer's answer is malformed"))
    }

    fn report(&self, reason: &str) {
        if self.failures.should_log() {
            log::warn!("OpenID Connect issuer {}: {reason}", self.client.issuer);
        }
    }

    /// Fetches the issuer's documents.
    async fn fetch(&self) -> Result<(), String> {
        let base = self.client.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let document = self.get(&url).await?;
        let metadata = ProviderMetadata::parse(&document, &self.client.issuer)
            .map_err(|reason| format!("{url}: {reason}"))?;
        let (keys, _) = KeySet::from_json(&self.get(&metadata.jwks_uri).await?)
            .map_err(|reason| format!("{}: {reason}", metadata.jwks_uri))?;
        self.known.store(Some(Arc::new(KnownProvider { metadata, keys })));
        self.fetched.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Bytes::new());
        let request = request.map_err(|_| format!("`{url}` is not a URL"))?;
        let response = self.http.send(request, TIMEOUT, MAX_RESPONSE_BYTES).await;
        let response = response.map_err(|error| format!("GET {url}: {error}"))?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(format!("GET {url} answered {status}")),
        }
    }
}

/// Fetches the issuer's documents now and then, as long as it is in use. What was fetched stays in use while the issuer is
/// unreachable.
async fn keep_up_to_date(provider: Weak<Provider>) {
    let (first, longest) = RETRY_INTERVAL;
    let mut retry = first;
    let mut was_failing = false;
    loop {
        let began = Instant::now();
        let next = {
            let Some(provider) = provider.upgrade() else { return };
            let issuer = &provider.client.issuer;
            match provider.fetch().await {
                Ok(()) => {
                    if std::mem::take(&mut was_failing) {
                        log::info!("OpenID Connect issuer {issuer}: it is reachable again");
                    }
                    retry = first;
                    began + REFRESH_INTERVAL
                }
                Err(reason) => {
                    if !std::mem::replace(&mut was_failing, true) {
                        log::warn!("OpenID Connect issuer {issuer}: {reason}");
                    }
                    let wait = retry;
                    retry = (retry * 2).min(longest);
                    Instant::now() + wait
                }
            }
        };
        // In steps, since the task ends with the scheme.
        loop {
            let Some(provider) = provider.upgrade() else { return };
            let until = next.min(Instant::now() + Duration::from_secs(1));
            tokio::select! {
                () = sleep_until(until) => {}
                () = provider.wanted.notified() => {
                    sleep_until((began + MIN_INTERVAL).min(next)).await;
                    break;
                }
            }
            if Instant::now() >= next {
                break;
            }
        }
    }
}

fn unavailable() -> TokenError {
    TokenError::Unavailable(Refusal::new(
        "unreachable",
        "the issuer of logins is unreachable or busy",
    ))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
