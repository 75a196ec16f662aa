//! Compiles a scheme of OpenID Connect and its endpoints. Verifies nothing.

use super::super::chain::FilterChain;
use super::super::{Compiler, duration_or_default, refuse_shorter_duration};
use crate::authentication::{OidcScheme, OidcSettings, Scheme, SchemeEndpoint};
use crate::filter::SchemeEndpointFilter;
use crate::http_client::{HttpClient, is_safe_url};
use crate::tls;
use http::Uri;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{AuthenticationScheme, Oidc, Path, Span, Spanned, defaults};

/// The scope that makes it OpenID Connect (OpenID Connect Core 1.0, section 3.1.2.1).
const OPENID: &str = "openid";

/// Minimum length of a key of the cookie, in characters.
const MIN_KEY_CHARS: usize = 32;

/// Maximum length of the cookie's name.
const MAX_NAME_CHARS: usize = 64;

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn oidc(
        &mut self,
        name: &str,
        written: &Oidc,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        let before = self.problems.iter().count();
        self.check_oidc(written, key_path);
        let (roots, ca) = match &written.ca {
            None => (None, None),
            Some(ca) => {
                let path = self.path(ca);
                match tls::roots(&path).and_then(|roots| Ok((roots, tls::certificates(&path)?))) {
                    Ok((roots, certificates)) => (Some(roots), Some(certificates)),
                    Err(reason) => {
                        self.problems.add(ca.span, format!("{key_path}.ca"), reason);
                        return None;
                    }
                }
            }
        };
        if self.problems.iter().count() > before {
            return None;
        }
        let http = match HttpClient::new(roots) {
            Ok(http) => http,
            Err(reason) => {
                self.problems.add(written.issuer.span, key_path, reason);
                return None;
            }
        };
        let ca = ca.iter().flatten().map(|certificate| certificate.as_ref());
        let ca = ring::digest::digest(&ring::digest::SHA256, &ca.collect::<Vec<_>>().concat());
        let serialised = format!("{} {ca:?}", Self::settings_of(written));
        let scheme = OidcScheme::new(name, settings(written), http);
        Some((Arc::new(scheme), serialised))
    }

    fn check_oidc(&mut self, written: &Oidc, key_path: &str) {
        let Oidc { issuer, client_id, cookie, .. } = written;
        if let Err(reason) = check_issuer(issuer) {
            self.problems.add(issuer.span, format!("{key_path}.issuer"), reason);
        }
        if client_id.is_empty() {
            let reason = "must not be empty";
            self.problems.add(client_id.span, format!("{key_path}.client_id"), reason);
        }
        for (index, scope) in written.scopes.iter().enumerate() {
            // RFC 6749, section 3.3.
            let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.is_empty() || !scope.bytes().all(is_allowed) {
                let reason = "not a scope; write each as an item of the list";
                self.problems.add(scope.span, format!("{key_path}.scopes[{index}]"), reason);
            }
        }
        let key_path = format!("{key_path}.cookie");
        for (index, key) in cookie.keys.iter().enumerate() {
            if key.chars().count() < MIN_KEY_CHARS {
                let reason = format!("a key needs at least {MIN_KEY_CHARS} characters");
                let problem =
                    self.problems.add(key.span, format!("{key_path}.keys[{index}]"), reason);
                problem.help("`openssl rand -base64 32` makes one");
            }
        }
        if let Some(name) = &cookie.name
            && !is_cookie_name(name)
        {
            let reason = format!(
                "not a name of a cookie: at most {MAX_NAME_CHARS} letters, digits, `-` and `_`"
            );
            self.problems.add(name.span, format!("{key_path}.name"), reason);
        }
        let shortest = Duration::from_secs(1);
        refuse_shorter_duration(
            cookie.ttl.as_ref(),
            shortest,
            self.problems,
            &format!("{key_path}.ttl"),
        );
    }

    /// Adds the endpoints of all schemes.
    pub(in super::super) fn scheme_endpoints(&mut self, defaults: &FilterChain) {
        let config = self.config;
        for (name, written) in &config.authentication {
            let AuthenticationScheme::Oidc(oidc) = &written.value else { continue };
            let Some(kept) = self.schemes.get(name) else { continue };
            let (scheme, serialised) = (Arc::clone(&kept.scheme), kept.serialised.clone());
            let endpoints = [
                (SchemeEndpoint::Callback, "callback", &oidc.callback, defaults::oidc::CALLBACK),
                (SchemeEndpoint::Logout, "logout", &oidc.logout, defaults::oidc::LOGOUT),
            ];
            for (endpoint, key, path, default) in endpoints {
                let key_path = format!("authentication.{name}.oidc.{key}");
                let Some(path) = path_or_default(path.as_ref(), default, written.span) else {
                    continue;
                };
                let scheme = Arc::clone(&scheme);
                let serialised = format!("{key} {serialised}");
                let sessions = Arc::clone(&self.sessions);
                let filter = SchemeEndpointFilter { scheme, endpoint, sessions, serialised };
                self.add_endpoint(&path, key_path, Vec::new(), defaults, filter);
            }
        }
    }
}

fn settings(written: &Oidc) -> OidcSettings {
    let Oidc { cookie, .. } = written;
    let mut scopes = vec![OPENID];
    let others = written.scopes.iter().map(|scope| scope.as_str());
    scopes.extend(others.filter(|scope| *scope != OPENID));
    let path = |path: Option<&Spanned<Path>>, default: &str| {
        path.map_or(default, |path| path.as_str()).to_owned()
    };
    OidcSettings {
        issuer: written.issuer.value.clone(),
        client_id: written.client_id.value.clone(),
        client_secret: written.client_secret.as_ref().map(|secret| secret.value.clone()),
        scope: scopes.join(" "),
        cookie: cookie
            .name
            .as_ref()
            .map_or(defaults::oidc_cookie::NAME, |name| name.as_str())
            .to_owned(),
        keys: cookie.keys.iter().map(|key| key.value.clone()).collect(),
        ttl: duration_or_default(cookie.ttl.as_ref(), defaults::oidc_cookie::TTL),
        same_site: cookie.same_site,
        callback: path(written.callback.as_ref(), defaults::oidc::CALLBACK),
        after_logout: path(written.after_logout.as_ref(), defaults::oidc::AFTER_LOGOUT),
        leeway: defaults::jwt::LEEWAY.0,
    }
}

fn path_or_default(
    written: Option<&Spanned<Path>>,
    default: &str,
    span: Span,
) -> Option<Spanned<Path>> {
    match written {
        Some(path) => Some(path.clone()),
        None => Some(Spanned { value: default.parse().ok()?, span }),
    }
}

/// Whether it is the URL of an issuer (OpenID Connect Discovery 1.0, section 2) that nobody on the network can forge.
fn check_issuer(written: &str) -> Result<(), String> {
    let url: Uri =
        written.parse().map_err(|_| "not a URL; write it like `https://id.example.com`")?;
    if url.query().is_some() || written.contains('#') {
        return Err("an issuer has no query and no fragment".to_owned());
    }
    match is_safe_url(&url) {
        true => Ok(()),
        false => Err("must be `https`, or `http` to a loopback address".to_owned()),
    }
}

/// Whether parts can be told from one another by what is added to the name.
fn is_cookie_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(is_allowed)
}
