//! Asynchronous lookup with a cache: a service says which user a bearer token belongs to. The answer is kept for a while,
//! across reloads too.
//!
//! `cargo run --example user_lookup -- run --config examples/user_lookup.yaml`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate::filter::{self, Filter, Flow, Phase, Reply, Request, SettingsError};
use tidegate::http::{StatusCode, header};
use tidegate::{async_trait, schemars};

/// Asks a service whom a bearer token belongs to.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserLookup {
    /// The service's URL. It gets the token in `Authorization`, and answers 200 with the user's id, or 401.
    url: String,
    /// How long an answer is kept, in seconds. Default: 60.
    keep_seconds: Option<u64>,
}

/// The maximum number of tokens in the cache.
const MAX_TOKENS: usize = 10_000;
/// The maximum time of a lookup; the request then fails with 503.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What outlives a reload: `main` makes one, and each filter that the configuration uses shares it.
struct Users {
    client: reqwest::Client,
    /// By service and token.
    known: Mutex<HashMap<(String, String), Answer>>,
}

struct Answer {
    /// `None` for a token that the service refused.
    user: Option<String>,
    since: Instant,
}

impl Users {
    /// The answer in the cache, if it is new enough.
    fn cached(&self, key: &(String, String), keep: Duration) -> Option<Option<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = known.get(key).filter(|answer| answer.since.elapsed() < keep)?;
        Some(answer.user.clone())
    }

    fn remember(&self, key: (String, String), user: Option<String>, keep: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_TOKENS {
            known.retain(|_, answer| answer.since.elapsed() < keep);
        }
        if known.len() < MAX_TOKENS {
            known.insert(key, Answer { user, since: Instant::now() });
        }
    }

    /// Concurrent requests with a new token each ask; no lock is held meanwhile.
    async fn find(
        &self,
        url: &str,
        token: &str,
        keep: Duration,
    ) -> reqwest::Result<Option<String>> {
        let key = (url.to_owned(), token.to_owned());
        if let Some(user) = self.cached(&key, keep) {
            return Ok(user);
        }
        let asked = self.client.get(url).bearer_auth(token).timeout(LOOKUP_TIMEOUT);
        let response = asked.send().await?;
        let user = match response.status().as_u16() {
            401 => None,
            _ => Some(response.error_for_status()?.text().await?.trim().to_owned()),
        };
        let user = user.filter(|user| !user.is_empty());
        self.remember(key, user.clone(), keep);
        Ok(user)
    }
}

struct UserLookupFilter {
    url: String,
    keep: Duration,
    users: Arc<Users>,
}

impl UserLookupFilter {
    fn new(settings: UserLookup, users: &Arc<Users>) -> Result<Self, SettingsError> {
        reqwest::Url::parse(&settings.url).map_err(|error| SettingsError::at("url", error))?;
        let keep = Duration::from_secs(settings.keep_seconds.unwrap_or(60));
        Ok(Self { url: settings.url, keep, users: Arc::clone(users) })
    }
}

#[async_trait]
impl Filter for UserLookupFilter {
    fn phase(&self) -> Phase {
        Phase::BeforeLimits
    }

    fn describe(&self) -> String {
        format!("user from {}, kept for {:?}", self.url, self.keep)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let refuse = |status, code, message| Ok(Flow::Respond(Reply::error(status, code, message)));
        let token = request.head().headers.get(header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let Some(token) = token.map(str::to_owned) else {
            return refuse(StatusCode::UNAUTHORIZED, "no_token", "a bearer token is needed");
        };
        // `tidegate explain` must not disturb the service.
        if request.exchange().is_dry_run() {
            return Ok(Flow::Continue);
        }
        match self.users.find(&self.url, &token, self.keep).await {
            Ok(Some(user)) => {
                request.exchange_mut().set_verified_user(&user);
                request.head_mut().insert_header("x-user", user)?;
                Ok(Flow::Continue)
            }
            Ok(None) => refuse(StatusCode::UNAUTHORIZED, "bad_token", "the token is not valid"),
            Err(_) => refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "lookup_failed",
                "the user service does not answer; try again later",
            ),
        }
    }
}

fn main() -> std::process::ExitCode {
    let users = Arc::new(Users { client: reqwest::Client::new(), known: Mutex::default() });
    tidegate::cli::main_with(|gateway| {
        let users = Arc::clone(&users);
        gateway.register("user_lookup", move |settings| UserLookupFilter::new(settings, &users))
    })
}
