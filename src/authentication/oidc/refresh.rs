//! Refreshes logins: once for all requests that need it at the same time, and remembers what came of it. Knows nothing
//! of cookies.

use super::provider::{Provider, TokenError};
use super::record::{Login, now};
use crate::background;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a refreshed login is remembered for requests that still have the old cookie. Many issuers refuse a refresh
/// token that has been used, and end the login.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// Time between two attempts for one login.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Maximum number of logins that are remembered.
const CAPACITY: usize = 8_192;

/// What came of a refresh.
pub(super) type Refreshed = Result<Arc<Login>, TokenError>;

type Key = [u8; 32];

/// The refreshes of the last minutes.
#[derive(Default)]
pub(super) struct Refreshes {
    entries: Mutex<HashMap<Key, Entry>>,
}

struct Entry {
    outcome: watch::Receiver<Option<Refreshed>>,
    began: Instant,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let lasts = match &*self.outcome.borrow() {
            Some(Err(TokenError::Unavailable(_))) => RETRY_AFTER,
            _ => REMEMBERED,
        };
        now.duration_since(self.began) >= lasts
    }
}

impl Refreshes {
    /// The login with new tokens. Requests with the same login wait for one and the same exchange with the issuer, whose
    /// time is bounded. `None` if too many logins are being refreshed.
    pub(super) async fn refresh(
        &self,
        provider: &Arc<Provider>,
        login: &Login,
    ) -> Option<Refreshed> {
        let mut outcome = self.join(provider, login)?;
        let outcome = outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    fn join(
        &self,
        provider: &Arc<Provider>,
        login: &Login,
    ) -> Option<watch::Receiver<Option<Refreshed>>> {
        let key = key_of(login);
        let began = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&key) {
            Some(entry) if !entry.is_over(began) => return Some(entry.outcome.clone()),
            _ => {}
        }
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| !entry.is_over(began));
            if entries.len() >= CAPACITY {
                return None;
            }
        }
        let (sender, outcome) = watch::channel(None);
        entries.insert(key, Entry { outcome: outcome.clone(), began });
        let (provider, login) = (Arc::clone(provider), login.clone());
        // A client that leaves must not break off what the issuer has begun.
        background::spawn("refresh of a login", async move {
            let refreshed = refresh(&provider, login).await.map(Arc::new);
            let _ = sender.send(Some(refreshed));
        });
        Some(outcome)
    }
}

async fn refresh(provider: &Provider, mut login: Login) -> Result<Login, TokenError> {
    let lifetime = login.tokens_expire.saturating_sub(login.refresh_at).saturating_mul(4);
    let tokens = provider.refresh(&login).await?;
    let now = now();
    let expire = tokens.expire.unwrap_or_else(|| now.saturating_add(lifetime));
    match tokens.claims {
        Some(claims) => login.renew(claims, expire, now),
        None => login.extend(expire, now),
    }
    if tokens.refresh_token.is_some() {
        login.refresh_token = tokens.refresh_token;
    }
    Ok(login)
}

/// Names a login with its present tokens. The time is part of it: an issuer may give the same refresh token again.
fn key_of(login: &Login) -> Key {
    let token = login.refresh_token.as_deref().unwrap_or_default();
    let text = format!("{}\n{}\n{token}", login.id, login.tokens_expire);
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    key
}
