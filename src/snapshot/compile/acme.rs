//! Compiles `tls.acme` of a listener. It orders nothing; `acme/` does, once the snapshot is in force.

use super::{Compiler, duration_or_default, refuse_shorter_duration};
use crate::acme::{AcmeSettings, ManagedCertificate};
use crate::tls::CertificateSource;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{Acme, AcmeChallenge, HostPattern, Spanned, defaults};

impl Compiler<'_> {
    /// The certificate that is ordered by ACME: the same as before, where nothing has changed.
    pub(super) fn acme(
        &mut self,
        written: &Spanned<Acme>,
        key_path: &str,
    ) -> Option<Arc<ManagedCertificate>> {
        let problems_before = self.problems.iter().count();
        if !written.agree_to_terms.value {
            self.problems
                .add(
                    written.agree_to_terms.span,
                    format!("{key_path}.agree_to_terms"),
                    "must be `true`",
                )
                .help("read the terms of service of the certificate authority first");
        }
        for (index, domain) in written.domains.iter().enumerate() {
            let reason = match domain.value.as_str() {
                name if name.starts_with('*') => {
                    "wildcard certificates need the challenge `dns-01`, which the gateway does \
                     not support; list the names instead"
                }
                name if name.parse::<std::net::IpAddr>().is_ok() => {
                    "must be a domain name, not an IP address"
                }
                name if !name.contains('.') => {
                    "no public authority issues certificates for a name without a dot"
                }
                _ => continue,
            };
            self.problems.add(domain.span, format!("{key_path}.domains[{index}]"), reason);
        }
        if written.challenge == AcmeChallenge::Http01
            && self.config.listeners.iter().all(|listener| listener.tls.is_some())
            && !self.broken.is_any_within("listeners")
        {
            self.problems
                .add(
                    written.span,
                    format!("{key_path}.challenge"),
                    "the challenge `http-01` needs a listener without TLS",
                )
                .help("add a listener for port 80: `{address: 0.0.0.0:80, redirect_to_https: on}`");
        }
        let directory = match &written.directory {
            None => defaults::acme::DIRECTORY.to_owned(),
            Some(url) => {
                if !url.starts_with("https://") || url.parse::<http::Uri>().is_err() {
                    let reason = "must be a URL that begins with https://";
                    self.problems.add(url.span, format!("{key_path}.directory"), reason);
                }
                url.value.clone()
            }
        };
        let external_account = written.external_account.as_ref().and_then(|account| {
            let key = account.hmac_key.trim_end_matches('=');
            match BASE64_URL_SAFE_NO_PAD.decode(key) {
                Ok(key) => Some((account.key_id.clone(), key)),
                Err(_) => {
                    let key_path = format!("{key_path}.external_account.hmac_key");
                    self.problems.add(account.hmac_key.span, key_path, "must be base64url");
                    None
                }
            }
        });
        let ca = written.ca.as_ref().map(|ca| {
            let path = self.path(ca);
            if let Err(reason) = crate::tls::roots(&path) {
                self.problems.add(ca.span, format!("{key_path}.ca"), reason);
            }
            path
        });
        let (retry, shortest) = (written.retry.as_ref(), Duration::from_secs(1));
        refuse_shorter_duration(retry, shortest, self.problems, &format!("{key_path}.retry"));
        let state = self.state_dir(written, key_path)?;
        if self.problems.iter().count() > problems_before {
            return None;
        }
        let settings = AcmeSettings {
            domains: written.domains.iter().map(|it| HostPattern::as_str(it).to_owned()).collect(),
            email: written.email.clone(),
            directory,
            ca,
            challenge: written.challenge,
            external_account,
            renew_before: written.renew_before.map(|it| it.0),
            retry: duration_or_default(written.retry.as_ref(), defaults::acme::RETRY),
        };
        let before = || self.env.previous.iter().flat_map(|it| it.managed());
        let kept = before().find(|managed| *managed.settings() == settings).cloned();
        Some(kept.unwrap_or_else(|| {
            let shown = before().flat_map(|managed| managed.certificates()).collect();
            Arc::new(ManagedCertificate::new(settings, &state, shown))
        }))
    }

    fn state_dir(&mut self, acme: &Spanned<Acme>, key_path: &str) -> Option<PathBuf> {
        let Some(written) = &self.config.state_dir else {
            if self.broken.is_any_within("state_dir") {
                return None;
            }
            self.problems
                .add(
                    acme.span,
                    key_path,
                    "ACME needs `state_dir`, where the gateway stores keys and certificates",
                )
                .help("add `state_dir: /var/lib/tidegate` at the top level");
            return None;
        };
        Some(self.sources.folder(written.span).join(&written.value))
    }
}
