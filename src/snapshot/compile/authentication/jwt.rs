//! Compiles a scheme of JSON Web Tokens. Verifies nothing, and fetches no key.

use super::super::{Compiler, duration_or_default};
use crate::authentication::jwt::{
    JwtScheme, KeyLocation, KeySet, KeyStore, RemoteKeys, TokenRules, VerificationKey,
    min_secret_length, name_of,
};
use crate::authentication::{Scheme, TokenSource};
use crate::http_client::{HttpClient, is_safe_url};
use crate::tls;
use http::Uri;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    Jwt, JwtAlgorithm, JwtKeys, Spanned,
    defaults::{jwt, jwt_keys},
};
use tidegate_http::jwt::media_type;

/// Maximum of `leeway`: more would make expired tokens valid for long.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Minimum of `refresh`.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum size of a file of keys in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn jwt(
        &mut self,
        name: &str,
        written: &Jwt,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        let problems_before = self.problems.iter().count();
        let algorithms = written.algorithms.iter().map(|it| it.value).collect::<Vec<_>>();
        let algorithms = match algorithms.is_empty() {
            true => jwt::ALGORITHMS.to_vec(),
            false => algorithms,
        };
        if let Some(leeway) = written.leeway.as_ref().filter(|it| it.value.0 > MAX_LEEWAY) {
            let reason = "must be at most 5m";
            self.problems.add(leeway.span, format!("{key_path}.leeway"), reason);
        }
        self.check_token_sources(&written.from, &format!("{key_path}.from"));
        let (keys, content) = self.jwt_keys(written, &algorithms, key_path)?;
        if self.problems.iter().count() > problems_before {
            return None;
        }
        let rules = TokenRules {
            issuer: written.issuer.value.clone(),
            audience: written.audience.iter().map(|it| it.value.clone()).collect(),
            algorithms: algorithms.into(),
            token_type: written.token_type.as_deref().map(media_type),
            leeway: duration_or_default(written.leeway.as_ref(), jwt::LEEWAY),
        };
        let sources = match written.from.is_empty() {
            true => vec![TokenSource::Authorization("Bearer")],
            false => Self::token_sources(&written.from),
        };
        let is_forwarded = written.forward.unwrap_or(jwt::FORWARD).0;
        let scheme = JwtScheme::new(name, rules, keys, sources, is_forwarded);
        let settings = Self::settings_of(written);
        Some((Arc::new(scheme), format!("{settings}\n{content}")))
    }

    /// The keys, and what of the files that they are made of distinguishes their versions.
    fn jwt_keys(
        &mut self,
        written: &Jwt,
        algorithms: &[JwtAlgorithm],
        key_path: &str,
    ) -> Option<(Arc<KeyStore>, String)> {
        let discovery = JwtKeys::default();
        let (keys, span) = match &written.keys {
            Some(keys) => (&keys.value, keys.span),
            None => (&discovery, written.issuer.span),
        };
        let keys_path = format!("{key_path}.keys");
        let by_secret = |algorithm: &JwtAlgorithm| min_secret_length(*algorithm) > 0;
        let misfit = algorithms.iter().find(|it| by_secret(it) != keys.secret.is_some());
        if let Some(misfit) = misfit {
            let (name, span) =
                (name_of(*misfit), written.algorithms.first().map_or(span, |it| it.span));
            let path = format!("{key_path}.algorithms");
            let problem = match keys.secret {
                Some(_) => {
                    self.problems.add(span, path, format!("{name} does not work with a secret"))
                }
                None => self.problems.add(span, path, format!("{name} needs `keys.secret`")),
            };
            if keys.secret.is_some() {
                problem.help("write `algorithms: [HS256]`");
            }
            return None;
        }
        match (&keys.url, &keys.file, &keys.secret) {
            (None, None, Some(secret)) => self.secret_keys(keys, secret, algorithms, &keys_path),
            (None, Some(file), None) => self.load_key_file(keys, file, &keys_path),
            (Some(url), None, None) => {
                let path = format!("{keys_path}.url");
                let location = self.safe_url(url, &path).map(KeyLocation::Url)?;
                self.remote_keys(keys, location, url, &keys_path)
            }
            (None, None, None) => {
                let path = format!("{key_path}.issuer");
                self.safe_url(&written.issuer, &path)?;
                let location = KeyLocation::of_issuer(&written.issuer)?;
                self.remote_keys(keys, location, &written.issuer, &keys_path)
            }
            _ => {
                let reason = "must have only one of `url`, `file` and `secret`";
                self.problems.add(span, keys_path, reason);
                None
            }
        }
    }

    fn secret_keys(
        &mut self,
        keys: &JwtKeys,
        secret: &Spanned<String>,
        algorithms: &[JwtAlgorithm],
        key_path: &str,
    ) -> Option<(Arc<KeyStore>, String)> {
        self.refuse_fetch_settings(keys, key_path);
        let needed = algorithms.iter().map(|it| (min_secret_length(*it), name_of(*it))).max();
        if let Some((length, name)) = needed.filter(|(length, _)| secret.len() < *length) {
            let reason = format!("the secret must have at least {length} characters for {name}");
            self.problems
                .add(secret.span, format!("{key_path}.secret"), reason)
                .help("make one with `openssl rand -hex 32`");
            return None;
        }
        let keys = KeySet::new(vec![VerificationKey::secret(secret)], Vec::new());
        Some((KeyStore::fixed(keys), String::new()))
    }

    fn load_key_file(
        &mut self,
        keys: &JwtKeys,
        file: &Spanned<String>,
        key_path: &str,
    ) -> Option<(Arc<KeyStore>, String)> {
        self.refuse_fetch_settings(keys, key_path);
        let path = self.path(file);
        let read = tidegate_disk::read(&path, MAX_KEY_FILE_BYTES).map_err(|it| it.to_string());
        let loaded = read.and_then(|text| Ok((key_set(&text)?, hash(&text))));
        match loaded {
            Ok((keys, hash)) => Some((KeyStore::fixed(keys), hash)),
            Err(reason) => {
                let reason = format!("no keys in {}: {reason}", path.display());
                self.problems.add(file.span, format!("{key_path}.file"), reason);
                None
            }
        }
    }

    fn remote_keys(
        &mut self,
        keys: &JwtKeys,
        location: KeyLocation,
        place: &Spanned<String>,
        key_path: &str,
    ) -> Option<(Arc<KeyStore>, String)> {
        let refresh = duration_or_default(keys.refresh.as_ref(), jwt_keys::REFRESH);
        let keep = duration_or_default(keys.keep.as_ref(), jwt_keys::KEEP);
        if let Some(written) = keys.refresh.as_ref().filter(|_| refresh < MIN_REFRESH_INTERVAL) {
            let reason = "must be at least 1s";
            self.problems.add(written.span, format!("{key_path}.refresh"), reason);
        }
        let span = keys.keep.as_ref().or(keys.refresh.as_ref()).map(|it| it.span);
        if let Some(span) = span.filter(|_| keep < refresh) {
            let reason = "must not be shorter than `refresh`, or keys end before the next fetch";
            self.problems.add(span, format!("{key_path}.keep"), reason);
        }
        let authorities = match &keys.ca {
            None => None,
            Some(ca) => {
                let path = self.path(ca);
                let read = tls::read_pem(&path).map_err(|error| error.to_string());
                match read.and_then(|pem| Ok((pem, tls::roots(&path)?))) {
                    Ok(read) => Some(read),
                    Err(reason) => {
                        self.problems.add(ca.span, format!("{key_path}.ca"), reason);
                        return None;
                    }
                }
            }
        };
        let (authorities, roots) = authorities.unzip();
        let content = authorities.as_deref().map(hash).unwrap_or_default();
        let settings = RemoteKeys { location, authorities, refresh, keep };
        match KeyStore::remote(settings, || HttpClient::new(roots)) {
            Ok(store) => Some((store, content)),
            Err(reason) => {
                self.problems.add(place.span, key_path, reason);
                None
            }
        }
    }

    /// The settings of fetches, where nothing is fetched.
    fn refuse_fetch_settings(&mut self, keys: &JwtKeys, key_path: &str) {
        let written = [
            ("refresh", keys.refresh.as_ref().map(|it| it.span)),
            ("keep", keys.keep.as_ref().map(|it| it.span)),
            ("ca", keys.ca.as_ref().map(|it| it.span)),
        ];
        for (name, span) in written {
            if let Some(span) = span {
                let reason = "is only for keys that are fetched";
                self.problems.add(span, format!("{key_path}.{name}"), reason);
            }
        }
    }

    fn safe_url(&mut self, written: &Spanned<String>, key_path: &str) -> Option<Uri> {
        let url = written.parse::<Uri>().ok().filter(is_safe_url);
        let has_user =
            url.as_ref().and_then(Uri::authority).is_some_and(|it| it.as_str().contains('@'));
        if url.is_none() || has_user {
            let reason = "must be a URL with `https`, or with `http` and a loopback address; without a \
                          user name";
            self.problems.add(written.span, key_path, reason);
            return None;
        }
        url
    }
}

/// The keys of a file: a JSON Web Key Set, or PEM. Every key of it must be usable.
fn key_set(text: &[u8]) -> Result<KeySet, String> {
    if text.trim_ascii_start().starts_with(b"{") {
        return match KeySet::from_json(text)? {
            (keys, None) => Ok(keys),
            (_, Some(fault)) => Err(fault),
        };
    }
    Ok(KeySet::new(VerificationKey::from_pem(text)?, text.to_vec()))
}

/// What distinguishes the versions of a file's content.
fn hash(text: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
