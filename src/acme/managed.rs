//! One certificate that the gateway orders and renews: when it orders, and what it serves until then. Knows nothing of
//! the messages of ACME.

use super::order::{IssuedCertificate, order};
use super::pending::PendingChallenges;
use super::retry_after::RetryAfter;
use super::store::AcmeStore;
use crate::background;
use crate::tls::{self, Certificate, CertificateSource, Roots};
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tidegate_config::AcmeChallenge;
use tokio::time::{Instant, sleep, timeout};

/// Maximum time of an order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum wait after a failed order.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum time between two checks whether the certificate is due: the clock may be set, and the certificate may no
/// longer be needed.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How often the gateway checks whether another process has finished ordering the same certificate.
const OTHER_PROCESS_INTERVAL: Duration = Duration::from_secs(2);

/// The settings of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcmeSettings {
    /// The names, in the order in which they are written.
    pub domains: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// A file of authorities that are believed about the directory's server.
    pub ca: Option<PathBuf>,
    /// How the names are proved.
    pub challenge: AcmeChallenge,
    /// An account that there is already: how it is called, and its key.
    pub external_account: Option<(String, Vec<u8>)>,
    /// How long before its end it is renewed.
    pub renew_before: Option<Duration>,
    /// How long after the first failure it is tried again.
    pub retry: Duration,
}

impl AcmeSettings {
    /// The authorities that are believed about the directory's server.
    pub(super) fn roots(&self) -> Result<Roots, String> {
        match &self.ca {
            Some(path) => tls::roots(path),
            None => Ok(Arc::clone(tls::system_roots())),
        }
    }
}

/// A certificate that the gateway orders and renews as long as this value lives.
#[derive(Debug)]
pub(crate) struct ManagedCertificate {
    settings: AcmeSettings,
    store: AcmeStore,
    certificate: ArcSwapOption<Certificate>,
    /// Those of other orders that are for some of these names, the best first. They are shown until
    /// this order is through.
    placeholder_certificates: ArcSwap<Vec<Arc<Certificate>>>,
    pending: PendingChallenges,
    renewal_started: AtomicBool,
    issued_count: AtomicU64,
    failure_count: AtomicU64,
}

impl ManagedCertificate {
    /// With what is kept in the folder, and what is shown at present.
    pub(crate) fn new(settings: AcmeSettings, state: &Path, shown: Vec<Arc<Certificate>>) -> Self {
        let store = AcmeStore::new(state, &settings);
        let certificate = store.load_certificate().map(Arc::new);
        let placeholder_certificates = if certificate.as_ref().is_some_and(|it| !it.has_expired()) {
            Vec::new()
        } else {
            placeholder_certificates(&settings.domains, shown, &store)
        };
        if let Some(first) = placeholder_certificates.first() {
            log::info!(
                "certificate `{}` is used as a placeholder until the certificate authority has \
                 issued one for `{}`",
                first.names.join(", "),
                settings.domains.join(", ")
            );
        }
        let certificate = ArcSwapOption::from(certificate);
        Self {
            settings,
            store,
            certificate,
            placeholder_certificates: ArcSwap::from_pointee(placeholder_certificates),
            pending: PendingChallenges::default(),
            renewal_started: AtomicBool::new(false),
            issued_count: AtomicU64::new(0),
            failure_count: AtomicU64::new(0),
        }
    }

    /// What is ordered.
    pub(crate) fn settings(&self) -> &AcmeSettings {
        &self.settings
    }

    /// The answer to a request of the authority for this token.
    pub(crate) fn answer_to_request(&self, token: &str) -> Option<String> {
        self.pending.key_authorization(token)
    }

    /// The numbers of orders that led to a certificate, and of orders that failed.
    pub(crate) fn order_counts(&self) -> (u64, u64) {
        (self.issued_count.load(Ordering::Relaxed), self.failure_count.load(Ordering::Relaxed))
    }

    /// Starts the task that orders and renews, once. Needs the runtime.
    pub(crate) fn start_renewal(self: &Arc<Self>) {
        if !self.renewal_started.swap(true, Ordering::Relaxed) {
            let this = Arc::downgrade(self);
            let name = format!("ACME order of {}", self.joined_names());
            background::spawn_restarting(name, move || renew_forever(Weak::clone(&this)));
        }
    }

    /// Orders if it is time to; returns how long to wait then.
    async fn order_if_due(&self, failures: &mut u32) -> Duration {
        let left = self.time_until_renewal();
        if !left.is_zero() {
            return left;
        }
        let _lock = match self.store.lock() {
            Ok(Some(lock)) => lock,
            // Another process orders: the one before or after this, or another replica.
            Ok(None) => return OTHER_PROCESS_INTERVAL,
            Err(error) => {
                return self.record_failure(
                    &format!("cannot open the folder for certificates: {error}"),
                    failures,
                    None,
                );
            }
        };
        // One may have done so just now.
        if let Some(kept) = self.store.load_certificate()
            && (kept.is_valid() || !self.has_valid())
        {
            self.serve_certificate(kept);
        }
        let left = self.time_until_renewal();
        if !left.is_zero() {
            return left;
        }
        let retry_after = Arc::new(RetryAfter::default());
        let ordering = order(&self.settings, &self.store, &self.pending, &retry_after);
        let ordered = timeout(ORDER_TIMEOUT, ordering).await;
        self.pending.clear();
        let ordered = ordered.unwrap_or_else(|_| {
            Err(format!(
                "the certificate authority did not complete the order within {ORDER_TIMEOUT:?}"
            ))
        });
        match ordered.and_then(|issued| self.accept_issued(&issued)) {
            Ok(certificate) => {
                let until = humantime::format_rfc3339_seconds(certificate.not_after);
                log::info!(
                    "certificate `{}` is issued and in use; it is valid until {until}",
                    self.joined_names()
                );
                self.serve_certificate(certificate);
                self.issued_count.fetch_add(1, Ordering::Relaxed);
                *failures = 0;
                // Not at once, were it to expire tomorrow.
                self.time_until_renewal().max(self.settings.retry)
            }
            Err(reason) => self.record_failure(&reason, failures, retry_after.remaining()),
        }
    }

    fn accept_issued(&self, issued: &IssuedCertificate) -> Result<Certificate, String> {
        let certificate = Certificate::parse(&issued.chain, &issued.key)
            .map_err(|fault| format!("the issued certificate cannot be used: {fault}"))?;
        let missing = |name: &&String| !certificate.is_for(&name.to_ascii_lowercase());
        if let Some(missing) = self.settings.domains.iter().find(missing) {
            return Err(format!("the issued certificate does not contain the name {missing}"));
        }
        self.check_validity(&certificate)?;
        if let Err(error) = self.store.write_certificate(&issued.chain, &issued.key) {
            log::error!(
                "cannot store the issued certificate `{}`: {error}; the gateway uses it and \
                 orders another one after a restart",
                self.joined_names()
            );
        }
        Ok(certificate)
    }

    /// Whether clients would take the certificate now. One that is not valid yet is better than none:
    /// it may be this machine's clock that is wrong.
    fn check_validity(&self, certificate: &Certificate) -> Result<(), String> {
        let time = |time| humantime::format_rfc3339_seconds(time);
        let fault = if certificate.has_expired() {
            format!("expired at {}", time(certificate.not_after))
        } else if !certificate.is_valid() {
            format!("is not valid before {}", time(certificate.not_before))
        } else {
            return Ok(());
        };
        if certificate.has_expired() || self.has_valid() {
            return Err(format!(
                "the issued certificate {fault} and is not used (the clock of this machine says \
                 {})",
                time(SystemTime::now())
            ));
        }
        log::warn!(
            "the issued certificate `{}` {fault}; the gateway uses it anyway, because it has no \
             valid one",
            self.joined_names()
        );
        Ok(())
    }

    /// Whether clients are shown a certificate that they take.
    fn has_valid(&self) -> bool {
        self.certificates().iter().any(|certificate| certificate.is_valid())
    }

    fn serve_certificate(&self, certificate: Certificate) {
        if !certificate.has_expired() {
            self.placeholder_certificates.store(Arc::default());
        }
        self.certificate.store(Some(Arc::new(certificate)));
    }

    /// How long to wait after a failure: longer with each, and no less than the authority asks for.
    fn record_failure(
        &self,
        reason: &str,
        failures: &mut u32,
        asked: Option<Duration>,
    ) -> Duration {
        self.failure_count.fetch_add(1, Ordering::Relaxed);
        let retry =
            self.settings.retry.saturating_mul(1 << (*failures).min(20)).min(MAX_RETRY_INTERVAL);
        *failures = failures.saturating_add(1);
        // Those who failed together do not come again together.
        let [a, ..] = *uuid::Uuid::new_v4().as_bytes();
        let jitter = 1.0 + f64::from(a) / 1024.0;
        let (wait, because) = match asked.filter(|asked| *asked > retry) {
            Some(asked) => {
                // Not a moment too soon.
                let asked = Duration::from_secs(asked.min(MAX_RETRY_INTERVAL).as_secs() + 1);
                (asked.mul_f64(jitter), ", as the certificate authority asks (Retry-After)")
            }
            None => (retry.mul_f64(jitter), ""),
        };
        let again = humantime::format_duration(Duration::from_secs(wait.as_secs().max(1)));
        log::error!(
            "certificate `{}` was not issued: {reason}; the gateway orders it again in \
             {again}{because}",
            self.joined_names()
        );
        wait
    }

    /// Time until the certificate is due for renewal; zero if there is none.
    fn time_until_renewal(&self) -> Duration {
        let Some(certificate) = self.certificate.load_full() else { return Duration::ZERO };
        let life = certificate.not_after.duration_since(certificate.not_before);
        let before = self.settings.renew_before.unwrap_or(life.unwrap_or_default() / 3);
        let at = certificate.not_after.checked_sub(before).unwrap_or(SystemTime::UNIX_EPOCH);
        at.duration_since(SystemTime::now()).unwrap_or_default()
    }

    fn joined_names(&self) -> String {
        self.settings.domains.join(", ")
    }
}

impl CertificateSource for ManagedCertificate {
    fn names(&self) -> &[String] {
        &self.settings.domains
    }

    fn certificate(&self, name: Option<&str>) -> Option<Arc<Certificate>> {
        let own = self.certificate.load_full();
        let placeholder_certificates = self.placeholder_certificates.load();
        if placeholder_certificates.is_empty() {
            return own;
        }
        let is_for = |it: &&Arc<Certificate>| name.is_none_or(|name| it.is_for(name));
        placeholder_certificates.iter().find(is_for).cloned().or(own)
    }

    fn certificates(&self) -> Vec<Arc<Certificate>> {
        let placeholder_certificates = self.placeholder_certificates.load();
        self.certificate
            .load_full()
            .into_iter()
            .chain(placeholder_certificates.iter().cloned())
            .collect()
    }

    fn challenge_certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.pending.challenge_certificate(name)
    }
}

/// Valid certificates for some of these names, those with the most of the names first.
fn placeholder_certificates(
    domains: &[String],
    shown: Vec<Arc<Certificate>>,
    store: &AcmeStore,
) -> Vec<Arc<Certificate>> {
    let names: Vec<_> = domains.iter().map(|name| name.to_ascii_lowercase()).collect();
    let count = |it: &Certificate| names.iter().filter(|name| it.is_for(name)).count();
    let kept = store.load_other_certificates().into_iter().map(Arc::new);
    let all = shown.into_iter().chain(kept);
    let mut good: Vec<_> = all.filter(|it| !it.has_expired() && count(it) > 0).collect();
    // Of equal ones what is shown at present comes first.
    good.sort_by_key(|it| std::cmp::Reverse(count(it)));
    good
}

/// Renews the certificate until nobody holds it any more.
async fn renew_forever(managed: Weak<ManagedCertificate>) {
    let mut failures = 0;
    loop {
        let Some(certificate) = managed.upgrade() else { return };
        let until = Instant::now() + certificate.order_if_due(&mut failures).await;
        drop(certificate);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            sleep(left.min(MAX_CHECK_INTERVAL)).await;
            // After a failure nothing is ordered before its time, whatever the clock says.
            if failures == 0 || left <= MAX_CHECK_INTERVAL {
                break;
            }
            if managed.strong_count() == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// What an authority issues for `a.test`, with this validity in days from today.
    fn issued(name: &str, from: i64, to: i64) -> IssuedCertificate {
        let days = |days: i64| {
            let time = match u32::try_from(days) {
                Ok(days) => SystemTime::now() + DAY * days,
                Err(_) => SystemTime::now() - DAY * u32::try_from(-days).expect("days"),
            };
            time.into()
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (days(from), days(to));
        let key = KeyPair::generate().expect("a key");
        let chain = params.self_signed(&key).expect("a certificate").pem();
        IssuedCertificate { chain, key: key.serialize_pem() }
    }

    fn managed(folder: &Path) -> ManagedCertificate {
        let settings = AcmeSettings {
            domains: vec!["a.test".to_owned()],
            email: None,
            directory: "https://localhost/dir".to_owned(),
            ca: None,
            challenge: AcmeChallenge::Http01,
            external_account: None,
            renew_before: None,
            retry: Duration::from_secs(1),
        };
        ManagedCertificate::new(settings, folder, Vec::new())
    }

    #[test]
    fn issued_certificate_outside_its_validity_does_not_replace_a_valid_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let managed = managed(folder.path());
        let reason =
            |issued: IssuedCertificate| managed.accept_issued(&issued).map(drop).unwrap_err();
        // None is valid yet: any that will be is better.
        assert!(reason(issued("a.test", -10, -5)).contains("expired at "));
        assert!(managed.accept_issued(&issued("a.test", 5, 90)).is_ok());
        managed.serve_certificate(
            managed.accept_issued(&issued("a.test", -1, 30)).expect("a certificate"),
        );
        for (wrong, expected) in [
            (issued("a.test", -10, -5), "expired at "),
            (issued("a.test", 5, 90), "is not valid before "),
            (issued("b.test", -1, 90), "does not contain the name a.test"),
            (
                IssuedCertificate { key: issued("a.test", -1, 90).key, ..issued("a.test", -1, 90) },
                "key",
            ),
            (
                IssuedCertificate { chain: "no PEM".to_owned(), ..issued("a.test", -1, 90) },
                "cannot be used",
            ),
        ] {
            let got = reason(wrong);
            assert!(got.contains(expected), "{got}");
        }
        let kept = managed.store.load_certificate().expect("the good one is kept");
        assert!(kept.is_valid());
        assert!(managed.accept_issued(&issued("a.test", -1, 90)).is_ok());
    }
}
