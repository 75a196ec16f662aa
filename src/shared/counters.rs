//! The counters in Valkey or Redis, and the fallback while the server is unreachable. Knows nothing of routes and of
//! HTTP.

mod link;
mod rate;
mod revocations;
mod sessions;

pub(crate) use sessions::{SharedSessionOutcome, SharedSessionPermit};

use super::{SharedCounterSettings, SharedCounterTotals};
use crate::background;
use crate::rate_limited_log::RateLimitedLog;
use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, RedisError, TlsCertificates};
use sessions::CountedSessions;
use sha1::{Digest, Sha1};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// The shared counters, as one gateway uses them.
pub(crate) struct SharedCounterClient {
    settings: SharedCounterSettings,
    client: Client,
    /// The name of this process among the gateways that share the counters.
    replica: String,
    link: ArcSwapOption<MultiplexedConnection>,
    /// Wakes the task of the link.
    stirred: Arc<Notify>,
    has_begun: AtomicBool,
    /// Whether the task that exchanges revocations runs.
    exchanges_revocations: AtomicBool,
    /// Whether the revocations of the other gateways have been read.
    has_revocations: watch::Sender<bool>,
    sessions: Mutex<CountedSessions>,
    answered: AtomicU64,
    failed: AtomicU64,
    unanswered: AtomicU64,
    failure_log: RateLimitedLog,
    /// Whether the log has reported the server as unreachable.
    is_reported_away: AtomicBool,
    broken_keys: RateLimitedLog,
    evictions: RateLimitedLog,
}

impl SharedCounterClient {
    /// Checks the settings; nothing is connected before [`SharedCounterClient::start`].
    pub(crate) fn new(settings: SharedCounterSettings) -> Result<Self, String> {
        let client = client(&settings).map_err(|error| reason(&error))?;
        Ok(Self {
            settings,
            client,
            replica: Uuid::new_v4().simple().to_string(),
            link: ArcSwapOption::empty(),
            stirred: Arc::default(),
            has_begun: AtomicBool::new(false),
            exchanges_revocations: AtomicBool::new(false),
            has_revocations: watch::Sender::new(false),
            sessions: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            failure_log: RateLimitedLog::default(),
            // So that the first connection is logged.
            is_reported_away: AtomicBool::new(true),
            broken_keys: RateLimitedLog::default(),
            evictions: RateLimitedLog::default(),
        })
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &SharedCounterSettings {
        &self.settings
    }

    /// Connects and stays connected as long as this value lives, unless it already does. It needs a
    /// runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            let (this, stirred) = (Arc::downgrade(self), Arc::clone(&self.stirred));
            let keep = move || link::keep_connected(Weak::clone(&this), Arc::clone(&stirred));
            background::spawn_restarting("shared counters", keep);
            let this = Arc::downgrade(self);
            let close_evicted = move || sessions::close_evicted(Weak::clone(&this));
            background::spawn_restarting("sessions that other gateways evict", close_evicted);
        }
    }

    /// Whether the server is reachable.
    pub(crate) fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// The totals so far.
    pub(crate) fn totals(&self) -> SharedCounterTotals {
        SharedCounterTotals {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
        }
    }

    /// The host and port, for messages.
    pub(crate) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The connection, if there is one.
    fn link(&self) -> Option<MultiplexedConnection> {
        let link = self.link.load().as_deref().cloned();
        if link.is_none() {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        link
    }

    /// The answer of the server; after a failure the link reconnects.
    fn unless_failed<T>(&self, answer: Result<T, RedisError>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Some(answer)
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.give_up_link(&error);
                None
            }
        }
    }

    /// Treats the server as unreachable for a while, unless the fault concerns one key. Returns whether it did.
    fn give_up_link(&self, error: &RedisError) -> bool {
        if is_single_key_error(error) {
            if self.broken_keys.should_log() {
                let (address, reason) = (self.address(), reason(error));
                log::warn!(
                    "shared counters: the server {address} has a value of another type under a \
                     key of this gateway ({reason}); this gateway counts that key by itself"
                );
            }
            return false;
        }
        if self.link.swap(None).is_some() {
            self.log_unreachable(error);
        }
        self.stirred.notify_one();
        true
    }

    /// Logs a fault at most once a minute.
    fn log_unreachable(&self, error: &RedisError) {
        if !self.failure_log.should_log() {
            return;
        }
        self.is_reported_away.store(true, Ordering::Relaxed);
        let (address, reason) = (self.address(), reason(error));
        if error.is_cluster_error() {
            log::warn!(
                "shared counters: the server {address} belongs to a cluster ({reason}), which is \
                 not supported; this gateway counts requests and sessions by itself"
            );
        } else if error.code().is_some() {
            log::warn!(
                "shared counters: the server {address} refuses commands ({reason}); this gateway \
                 counts requests and sessions by itself until the server accepts writes"
            );
        } else if matches!(error.kind(), ErrorKind::UnexpectedReturnType | ErrorKind::Parse) {
            log::warn!(
                "shared counters: the server {address} does not answer like Valkey or Redis \
                 ({reason}); this gateway counts requests and sessions by itself meanwhile"
            );
        } else {
            log::warn!(
                "shared counters: cannot reach the server {address} ({reason}); this gateway \
                 counts requests and sessions by itself until the server answers"
            );
        }
    }

    /// Logs that the server is reachable again, if the log has reported the opposite.
    fn log_reachable(&self) {
        if self.is_reported_away.swap(false, Ordering::Relaxed) {
            log::info!(
                "shared counters: connected to {}; limits are counted together with the other \
                 gateways",
                self.address()
            );
        }
    }
}

impl Drop for SharedCounterClient {
    /// The task of the link sees that the counters are no longer used, and ends.
    fn drop(&mut self) {
        self.stirred.notify_one();
    }
}

impl fmt::Debug for SharedCounterClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedCounterClient").field(&self.address()).finish()
    }
}

fn client(settings: &SharedCounterSettings) -> Result<Client, RedisError> {
    use redis::IntoConnectionInfo;
    let info = settings.url.as_str().into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    let info = info.set_redis_settings(login);
    match &settings.ca {
        None => Client::open(info),
        Some(ca) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
            Client::build_with_tls(info, certificates)
        }
    }
}

/// Whether the error is about one key with a value of another type, and not about the server.
/// Redis before 7.0 wraps errors in scripts: their code is then that of the script.
fn is_single_key_error(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || error.detail().is_some_and(|detail| detail.contains("-WRONGTYPE"))
}

/// The error without the sent command.
fn reason(error: &RedisError) -> String {
    error.to_string()
}

/// A digest as the name of something that the server must not know: an address, a user, an API key.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::with_capacity(40), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
