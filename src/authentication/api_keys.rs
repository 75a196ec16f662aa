//! API keys, verified against the hashes of a file. Reads no file.

use super::password::SlowHash;
use super::verifier::{Attempt, PasswordVerifier, Verification};
use super::{Credentials, Refusal, Scheme, TokenSource, Verdict, quoted_challenge};
use crate::identity::{SchemeKind, VerifiedIdentity};
use async_trait::async_trait;
use http::HeaderValue;
use pingora::http::RequestHeader;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_config::HashFormat;

/// Maximum length of a key, in bytes.
const MAX_KEY_BYTES: usize = 512;

/// A SHA-256 hash.
pub(crate) type Sha256 = [u8; 32];

/// The keys of a file.
pub(crate) struct ApiKeyScheme {
    name: Arc<str>,
    /// The file, as written.
    file: String,
    sources: Box<[TokenSource]>,
    /// Keys by their SHA-256 hashes.
    ///
    /// The time of a look-up depends on the hash of what the client sends, and on nothing else that is secret. Even a
    /// client that learnt a whole stored hash from it would still need a key with this hash, and keys are random and
    /// long. The map has a random hash function of its own, so that no client can choose which entries are compared.
    by_digest: HashMap<Sha256, Arc<VerifiedIdentity>>,
    /// Keys with slow hashes, each of which an unknown key is tried against.
    slow: Box<[Arc<SlowHash>]>,
    /// Their identities, in the same order.
    slow_identities: Box<[Arc<VerifiedIdentity>]>,
    /// All identities, by the names of their keys.
    by_name: HashMap<Box<str>, Arc<VerifiedIdentity>>,
    forwards: bool,
    challenge: HeaderValue,
}

/// A key's hash.
pub(crate) enum KeyHash {
    /// SHA-256.
    Digest(Sha256),
    /// A slow one.
    Slow(Arc<SlowHash>),
}

impl fmt::Debug for ApiKeyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyScheme").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ApiKeyScheme {
    /// The scheme of this name, with the keys of a file.
    pub(crate) fn new(
        name: Arc<str>,
        file: String,
        sources: Vec<TokenSource>,
        keys: impl IntoIterator<Item = (KeyHash, VerifiedIdentity)>,
        forwards: bool,
    ) -> Self {
        let mut by_digest = HashMap::new();
        let (mut slow, mut slow_identities) = (Vec::new(), Vec::new());
        let mut by_name = HashMap::new();
        for (hash, identity) in keys {
            let identity = Arc::new(identity);
            by_name.extend(identity.subject().map(|name| (name.into(), Arc::clone(&identity))));
            match hash {
                KeyHash::Digest(digest) => {
                    by_digest.insert(digest, identity);
                }
                KeyHash::Slow(hash) => {
                    slow.push(hash);
                    slow_identities.push(identity);
                }
            }
        }
        let challenge = challenge(&sources);
        let (sources, slow) = (sources.into(), slow.into());
        let slow_identities = slow_identities.into();
        Self { name, file, sources, by_digest, slow, slow_identities, by_name, forwards, challenge }
    }
}

#[async_trait]
impl Scheme for ApiKeyScheme {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn kind(&self) -> SchemeKind {
        SchemeKind::ApiKey
    }

    fn describe(&self) -> String {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        let count = self.by_digest.len() + self.slow.len();
        format!("{count} keys in {}, from {}", self.file, sources.join(" or "))
    }

    async fn verify(&self, credentials: Credentials<'_>) -> Verdict {
        let Credentials { head, exchange } = credentials;
        let mut found = None;
        for source in &self.sources {
            match source.find(head) {
                Ok(None) => {}
                Ok(Some(key)) => {
                    found = Some(key);
                    break;
                }
                Err(_) => return Verdict::Refused(Refusal::several_credentials()),
            }
        }
        let Some(key) = found else { return Verdict::Missing };
        if key.len() > MAX_KEY_BYTES || key.iter().any(u8::is_ascii_control) {
            let message = "the API key is too long, or has control characters";
            return Verdict::Refused(Refusal::new("malformed", message));
        }
        if let Some(identity) = self.by_digest.get(digest(&SHA256, &key).as_ref()) {
            return admit(identity);
        }
        let attempt = Attempt {
            client: exchange.client_address(),
            secret: &key,
            hashes: &self.slow,
            is_decoy: false,
            is_dry_run: exchange.is_dry_run(),
        };
        let verification = match self.slow.is_empty() {
            true => Verification::Wrong,
            false => PasswordVerifier::shared().verify(attempt).await,
        };
        match verification {
            Verification::Right(index) => self.slow_identities.get(index).map_or_else(wrong, admit),
            Verification::Wrong => wrong(),
            Verification::Busy(busy) => Verdict::Unavailable(busy.refusal()),
        }
    }

    fn challenge(&self, _: Option<&Refusal>) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }

    fn still_admits(&self, identity: &VerifiedIdentity) -> bool {
        let now = identity.subject().and_then(|name| self.by_name.get(name));
        now.is_some_and(|now| is_at_least(now, identity))
    }

    fn sanitize(&self, head: &mut RequestHeader) {
        if !self.forwards {
            self.sources.iter().for_each(|source| source.remove(head));
        }
    }
}

/// The hash of a key, as a file has it.
pub(crate) fn sha256_text(key: &[u8]) -> String {
    let mut text = HashFormat::SHA256_PREFIX.to_owned();
    for byte in digest(&SHA256, key).as_ref() {
        // A `String` takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Admits a key, unless it has expired.
fn admit(identity: &Arc<VerifiedIdentity>) -> Verdict {
    if identity.expires_at().is_some_and(|end| end <= SystemTime::now()) {
        return Verdict::Refused(Refusal::new("expired", "the API key has expired"));
    }
    Verdict::Verified(Arc::clone(identity), Vec::new())
}

/// Whether a key has all scopes that it had, and is valid for as long.
fn is_at_least(now: &VerifiedIdentity, before: &VerifiedIdentity) -> bool {
    let (scopes_now, scopes_before) = (now.claim("scope"), before.claim("scope"));
    let has = |scope: &str| scopes_now.iter().flat_map(|it| it.split(' ')).any(|it| it == scope);
    let is_as_long = match (now.expires_at(), before.expires_at()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(now), Some(before)) => now >= before,
    };
    is_as_long && scopes_before.iter().flat_map(|it| it.split(' ')).all(has)
}

fn wrong() -> Verdict {
    Verdict::Refused(Refusal::new("invalid", "the API key is not valid"))
}

/// `Bearer` where keys are read like that (RFC 6750). No RFC defines a scheme for other places; `ApiKey` names the first.
fn challenge(sources: &[TokenSource]) -> HeaderValue {
    let bearer = HeaderValue::from_static("Bearer");
    let (place, name) = match sources.first() {
        None | Some(TokenSource::Authorization(_)) => return bearer,
        Some(TokenSource::Header(name)) => ("header", name.as_str()),
        Some(TokenSource::Subprotocol(prefix)) => ("subprotocol", prefix.as_str()),
        Some(TokenSource::Cookie(name)) => ("cookie", name.as_str()),
        Some(TokenSource::Query(name)) => ("query", name.as_str()),
    };
    quoted_challenge("ApiKey", place, name)
        .and_then(|challenge| challenge.parse().ok())
        .unwrap_or_else(|| HeaderValue::from_static("ApiKey"))
}
