//! Compiles schemes that ask a service, and forward authentication. Verifies nothing, and asks no service.

use super::super::{Compiler, duration_or_default, header_name, refuse_shorter_duration};
use crate::authentication::{
    CacheKeyParts, ExternalSettings, ForwardScheme, ForwardService, Scheme, TakeSettings,
};
use crate::http_client::HttpClient;
use crate::tls::{self, Roots};
use http::{HeaderName, Uri, header};
use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::defaults::forward as defaults;
use tidegate_config::{self as config, Forward, OnError, RequestPart, Spanned, did_you_mean};
use tidegate_http::header_name::{
    HOP_BY_HOP, TRACEPARENT, TRACESTATE, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_METHOD,
    X_FORWARDED_PROTO, X_FORWARDED_URI, X_ORIGINAL_METHOD, X_ORIGINAL_URI, X_REQUEST_ID,
};

/// Headers that describe a request to the service; the gateway sets them itself.
static SET_FOR_SERVICE: [HeaderName; 10] = [
    X_ORIGINAL_METHOD,
    X_ORIGINAL_URI,
    X_FORWARDED_METHOD,
    X_FORWARDED_URI,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_FORWARDED_FOR,
    X_REQUEST_ID,
    TRACEPARENT,
    TRACESTATE,
];

/// Headers that describe the request to the upstream; no service may change them.
static SET_FOR_UPSTREAM: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::FORWARDED,
    header::VIA,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_FORWARDED_FOR,
    X_REQUEST_ID,
];

/// What schemes have in common that ask a service.
pub(super) struct AskedService {
    /// Its URL.
    pub(super) url: Uri,
    /// The authorities that may sign its certificate, in PEM; `None` for those of the system.
    pub(super) authorities: Option<(Roots, Vec<u8>)>,
    /// How it is asked.
    pub(super) settings: ExternalSettings,
    /// The settings in a serialised form.
    pub(super) serialised: String,
}

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn forward(
        &mut self,
        name: &str,
        written: &Forward,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        let AskedService { url, authorities, settings, serialised } =
            self.asked_service(written, key_path)?;
        let roots = match (authorities, url.scheme_str()) {
            (Some((roots, _)), _) => Some(roots),
            (None, Some("https")) => None,
            // What the system trusts takes time to load, and nobody asks for it here.
            (None, _) => Some(Arc::new(RootCertStore::empty())),
        };
        match HttpClient::new(roots) {
            Ok(client) => {
                let service = ForwardService::new(client, url, settings.timeout);
                Some((Arc::new(ForwardScheme::new(name, settings, service)), serialised))
            }
            Err(reason) => {
                self.problems.add(written.url.span, key_path, reason);
                None
            }
        }
    }

    /// What is written of a service that is asked, and how.
    pub(super) fn asked_service(
        &mut self,
        written: &Forward,
        key_path: &str,
    ) -> Option<AskedService> {
        let problems_before = self.problems.iter().count();
        let url = self.service_url(&written.url, &format!("{key_path}.url"));
        let is_https = url.as_ref().is_some_and(|url| url.scheme_str() == Some("https"));
        let send = match &written.send {
            None => defaults::SEND.map(HeaderName::from_static).into(),
            Some(names) => self.names(names, &format!("{key_path}.send"), |name| {
                is_of_message(name) || SET_FOR_SERVICE.contains(name)
            }),
        };
        let headers = self.names(&written.take, &format!("{key_path}.take"), |name| {
            is_of_message(name) || SET_FOR_UPSTREAM.contains(name)
        });
        let user = self.taken(written.user.as_ref(), &written.take, &format!("{key_path}.user"));
        let expires = format!("{key_path}.expires");
        let expires = self.taken(written.expires.as_ref(), &written.take, &expires);
        let timeout = written.timeout.as_ref();
        refuse_shorter_duration(
            timeout,
            Duration::from_millis(1),
            self.problems,
            &format!("{key_path}.timeout"),
        );
        let mut serialised = Self::settings_of(written);
        let authorities = written.ca.as_ref().and_then(|ca| {
            let key_path = format!("{key_path}.ca");
            if url.is_some() && !is_https {
                self.problems.add(ca.span, &*key_path, "needs a `url` that begins with https://");
            }
            let path = self.path(ca);
            let read = tls::roots(&path).and_then(|roots| {
                Ok((roots, tls::read_pem(&path).map_err(|error| error.to_string())?))
            });
            read.map_err(|reason| self.problems.add(ca.span, key_path, reason)).ok()
        });
        if let Some((_, pem)) = &authorities {
            serialised.push_str(&format!("{:?}", digest(&SHA256, pem)));
        }
        if self.problems.iter().count() > problems_before {
            return None;
        }
        let settings = ExternalSettings {
            send,
            take: TakeSettings { headers, user, expires },
            cache: duration_or_default(written.cache.as_ref(), defaults::CACHE),
            cache_by: cache_key_parts(written.cache_by.as_deref()),
            timeout: duration_or_default(timeout, defaults::TIMEOUT),
            admits_on_error: written.on_error == OnError::Allow,
        };
        Some(AskedService { url: url?, authorities, settings, serialised })
    }

    /// The URL of a service, without anything secret.
    fn service_url(&mut self, written: &Spanned<String>, key_path: &str) -> Option<Uri> {
        let url = written.parse::<Uri>().ok();
        let scheme = url.as_ref().and_then(|url| url.scheme_str());
        let authority = url.as_ref().and_then(|url| url.authority());
        let reason = match (scheme, authority) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                "must not contain a user name or a password"
            }
            (Some("http" | "https"), Some(authority)) if !authority.host().is_empty() => {
                return url;
            }
            _ => "must be a URL that begins with http:// or https://",
        };
        let example = "for example `http://127.0.0.1:4010/check`";
        self.problems.add(written.span, key_path, reason).help(example);
        None
    }

    /// Names of headers, none of which may be forbidden.
    fn names(
        &mut self,
        written: &[Spanned<config::HeaderName>],
        key_path: &str,
        is_forbidden: impl Fn(&HeaderName) -> bool,
    ) -> Box<[HeaderName]> {
        let mut names = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let Some(name) = header_name(written) else { continue };
            if is_forbidden(&name) {
                let reason = format!("the gateway itself sets or removes the header `{name}`");
                self.problems.add(written.span, format!("{key_path}[{index}]"), reason);
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into()
    }

    /// A header that must be one of those in `take`.
    fn taken(
        &mut self,
        written: Option<&Spanned<config::HeaderName>>,
        take: &[Spanned<config::HeaderName>],
        key_path: &str,
    ) -> Option<HeaderName> {
        let written = written?;
        let name = header_name(written)?;
        let taken: Vec<HeaderName> = take.iter().filter_map(|name| header_name(name)).collect();
        if !taken.contains(&name) {
            let reason = format!("the header `{name}` is not in `take`");
            let problem = self.problems.add(written.span, key_path, reason);
            if let Some(guess) = did_you_mean(name.as_str(), taken.iter().map(HeaderName::as_str)) {
                problem.help(format!("did you mean `{guess}`?"));
            }
        }
        Some(name)
    }
}

/// Whether a header is of one message or connection alone.
fn is_of_message(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || *name == header::HOST || *name == header::CONTENT_LENGTH
}

/// What belongs to the key of the cache.
fn cache_key_parts(written: Option<&[Spanned<RequestPart>]>) -> CacheKeyParts {
    let mut parts = CacheKeyParts::default();
    let mut add = |part: RequestPart| match part {
        RequestPart::Method => parts.method = true,
        RequestPart::Scheme => parts.scheme = true,
        RequestPart::Host => parts.host = true,
        RequestPart::Path => parts.path = true,
        RequestPart::Query => parts.query = true,
        RequestPart::Client => parts.client = true,
    };
    match written {
        None => defaults::CACHE_BY.into_iter().for_each(add),
        Some(written) => written.iter().for_each(|part| add(part.value)),
    }
    parts
}
