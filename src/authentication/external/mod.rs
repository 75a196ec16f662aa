//! What the schemes share that let another service decide about each request: the question, what they take of the answer,
//! the cache of admissions, and what happens during an outage. Knows no protocol to ask with.

mod admission_cache;
mod admitted;
mod key;
mod question;

pub(crate) use admitted::TakeSettings;
pub(crate) use key::CacheKeyParts;
pub(crate) use question::{HandshakeTarget, Question};

use self::admission_cache::{AdmissionCache, Lookup};
use self::admitted::Admitted;
use super::{Credentials, Refusal, Scheme, Verdict};
use crate::identity::SchemeKind;
use crate::rate_limited_log::RateLimitedLog;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use pingora::http::RequestHeader;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum number of concurrent questions of one scheme. Requests beyond them wait.
const MAX_QUESTIONS: usize = 256;

/// For how long after its last answer a service counts as alive, so that a question without an answer is no outage.
const ALIVE_TIME: Duration = Duration::from_secs(10);

/// What the service says.
#[derive(Debug)]
pub(crate) enum ServiceAnswer {
    /// It admits the request, with these headers; the gateway may reuse that for at most this time.
    Admitted(Box<HeaderMap>, Duration),
    /// It does not admit the request, and this is the response to it.
    Denied(Box<Response<Bytes>>),
    /// It has answered something that cannot be used, for this reason.
    Unusable(String),
    /// No connection to it can be made, for this reason.
    Unreachable(String),
    /// It has not answered this question, for this reason, which the client may have caused: a request that is too large
    /// or too slow for it.
    NoAnswer(String),
}

/// A service that decides about requests.
#[async_trait]
pub(crate) trait DecidingService: Send + Sync + Debug {
    /// The kind of its scheme.
    const KIND: SchemeKind;

    /// Where it is and what it is asked, for people; nothing secret.
    fn describe(&self) -> String;

    /// Asks it. The caller bounds neither time nor size.
    async fn ask(&self, question: Question) -> ServiceAnswer;
}

/// The settings of a scheme whose decisions another service makes.
#[derive(Debug)]
pub(crate) struct ExternalSettings {
    /// Headers of the request that the service receives.
    pub(crate) send: Box<[HeaderName]>,
    /// What the gateway takes of an admission.
    pub(crate) take: TakeSettings,
    /// Maximum time for which an admission is reused; none is for zero.
    pub(crate) cache: Duration,
    /// What belongs to the key of the cache, beside the headers of `send`.
    pub(crate) cache_by: CacheKeyParts,
    /// Maximum time for which a request waits for its turn.
    pub(crate) timeout: Duration,
    /// Whether requests are admitted while the service is unreachable.
    pub(crate) admits_on_error: bool,
}

/// A scheme whose decisions another service makes.
#[derive(Debug)]
pub(crate) struct ExternalScheme<S> {
    name: Arc<str>,
    settings: ExternalSettings,
    service: S,
    cache: AdmissionCache,
    permits: Semaphore,
    failures: RateLimitedLog,
    /// When it was made, and how long after that the service last answered, in milliseconds; 0 before.
    started: Instant,
    last_answer: AtomicU64,
}

impl<S: DecidingService> ExternalScheme<S> {
    /// A scheme of this name that asks this service.
    pub(crate) fn new(name: &str, settings: ExternalSettings, service: S) -> Self {
        Self {
            name: name.into(),
            settings,
            service,
            cache: AdmissionCache::default(),
            permits: Semaphore::new(MAX_QUESTIONS),
            failures: RateLimitedLog::default(),
            started: Instant::now(),
            last_answer: AtomicU64::new(0),
        }
    }

    /// Milliseconds since the scheme was made, at least 1.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn is_alive(&self) -> bool {
        let last = self.last_answer.load(Ordering::Relaxed);
        last > 0 && u128::from(self.elapsed().saturating_sub(last)) < ALIVE_TIME.as_millis()
    }

    /// Asks the service; the second value is an admission that may be reused, and until when.
    async fn ask(&self, question: Question) -> (Verdict, Option<(Arc<Admitted>, Instant)>) {
        let Ok(Ok(_permit)) = timeout(self.settings.timeout, self.permits.acquire()).await else {
            // Not an outage: who sends many requests must not get the rest admitted.
            return (self.unusable("busy", "too many requests wait for its decision"), None);
        };
        let answer = self.service.ask(question).await;
        if !matches!(answer, ServiceAnswer::Unreachable(_) | ServiceAnswer::NoAnswer(_)) {
            self.last_answer.store(self.elapsed(), Ordering::Relaxed);
        }
        let verdict = match answer {
            ServiceAnswer::Admitted(headers, lifetime) => {
                match Admitted::new(&self.name, S::KIND, &self.settings.take, &headers) {
                    Ok(admitted) => {
                        let admitted = Arc::new(admitted);
                        let lifetime = lifetime.min(self.settings.cache);
                        let until = Instant::now().checked_add(lifetime);
                        let until = until.filter(|_| !lifetime.is_zero());
                        return (admitted.verdict(), until.map(|until| (admitted, until)));
                    }
                    Err(reason) => self.unusable("bad_answer", reason),
                }
            }
            ServiceAnswer::Denied(response) => Verdict::Answer(response),
            ServiceAnswer::Unusable(reason) => self.unusable("bad_answer", reason),
            // One client must not be able to make its own outage, which `on_error: allow` would admit.
            ServiceAnswer::NoAnswer(reason) if self.is_alive() => {
                self.unusable("no_answer", reason)
            }
            ServiceAnswer::Unreachable(reason) | ServiceAnswer::NoAnswer(reason) => {
                self.unreachable(&reason)
            }
        };
        (verdict, None)
    }

    fn unusable(&self, word: &'static str, reason: impl Display) -> Verdict {
        if self.failures.should_log() {
            log::warn!(
                "authentication.{}: {}: {reason}; the gateway answers 503",
                self.name,
                self.service.describe(),
            );
        }
        Verdict::Unavailable(Refusal::new(
            word,
            "the service that decides about this request gives no decision",
        ))
    }

    fn unreachable(&self, reason: &str) -> Verdict {
        let (name, service) = (&self.name, self.service.describe());
        let is_time_to_log = self.failures.should_log();
        if self.settings.admits_on_error {
            if is_time_to_log {
                log::error!(
                    "authentication.{name}: {service} is unreachable: {reason}; the gateway ADMITS requests \
                     without a user (`on_error: allow`; {} failures so far)",
                    self.failures.count(),
                );
            }
            return Verdict::AdmitUnverified;
        }
        if is_time_to_log {
            log::warn!(
                "authentication.{name}: {service} is unreachable: {reason}; the gateway answers 503 \
                 ({} failures so far)",
                self.failures.count(),
            );
        }
        let message = "the service that decides about this request is unreachable";
        Verdict::Unavailable(Refusal::new("unreachable", message))
    }
}

#[async_trait]
impl<S: DecidingService> Scheme for ExternalScheme<S> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn kind(&self) -> SchemeKind {
        S::KIND
    }

    fn describe(&self) -> String {
        let settings = &self.settings;
        let names = |names: &[HeaderName]| match names {
            [] => "nothing".to_owned(),
            names => names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(" "),
        };
        let cache = match settings.cache.is_zero() {
            true => "no cache".to_owned(),
            false => format!("cached {}", humantime::format_duration(settings.cache)),
        };
        let on_error = if settings.admits_on_error { "; an outage ADMITS" } else { "" };
        format!(
            "{}, sends {}, takes {}, {cache}{on_error}; a dry run asks nobody and counts as admitted",
            self.service.describe(),
            names(&settings.send),
            names(&settings.take.headers),
        )
    }

    async fn verify(&self, credentials: Credentials<'_>) -> Verdict {
        if credentials.exchange.is_dry_run() {
            return Verdict::AdmitUnverified;
        }
        let question = || Question::new(credentials, &self.settings.send);
        if self.settings.cache.is_zero() {
            return self.ask(question()).await.0;
        }
        let key = self.settings.cache_by.key(credentials, &self.settings.send);
        let turn = match self.cache.look_up(&key) {
            Lookup::Cached(admitted) => return admitted.verdict(),
            Lookup::Asking(mut asking) => {
                // It ends without a value, once the other request has its answer.
                let _ = timeout(self.settings.timeout, asking.changed()).await;
                if let Some(admitted) = self.cache.get(&key) {
                    return admitted.verdict();
                }
                // Only admissions are shared: a denial may set a cookie for one client alone.
                None
            }
            Lookup::First(turn) => Some(turn),
        };
        let (verdict, admission) = self.ask(question()).await;
        if let Some((admitted, until)) = admission {
            self.cache.insert(key, admitted, until);
        }
        drop(turn);
        verdict
    }

    async fn verify_renewal(
        &self,
        credentials: Credentials<'_>,
        session: Option<&HandshakeTarget>,
    ) -> Verdict {
        // What it says of the path of renewals is no decision about the session.
        let Some(session) = session else {
            return self.unusable("no_target", "the place of the session's handshake is unknown");
        };
        let (head, exchange) = session.repeat(credentials);
        self.verify(Credentials { head: &head, exchange: &exchange }).await
    }

    fn challenge(&self, _: Option<&Refusal>) -> Option<HeaderValue> {
        None
    }

    fn sanitize(&self, head: &mut RequestHeader) {
        for name in &self.settings.take.headers {
            head.remove_header(name);
        }
    }
}
