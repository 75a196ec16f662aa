//! User name and password (RFC 7617), verified against the hashes of a file. Reads no file.

use super::password::SlowHash;
use super::verifier::{Attempt, PasswordVerifier, Verification};
use super::{Credentials, Refusal, Scheme, TokenSource, Verdict};
use crate::identity::{SchemeKind, VerifiedIdentity};
use async_trait::async_trait;
use http::HeaderValue;
use pingora::http::RequestHeader;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tidegate_http::basic_credentials::{BasicCredentials, BasicCredentialsError};

/// Where user names and passwords are.
const SOURCE: TokenSource = TokenSource::Authorization("Basic");

/// The users of a file.
pub(crate) struct BasicScheme {
    name: Arc<str>,
    /// The file, as written.
    file: String,
    users: HashMap<Box<str>, User>,
    /// Hashes of the users, for names that no user has.
    decoys: Box<[Arc<SlowHash>]>,
    /// Chooses among them, by a key that nobody knows.
    decoy_hasher: RandomState,
    forwards: bool,
    challenge: HeaderValue,
}

struct User {
    /// The hash, alone in a list.
    hash: [Arc<SlowHash>; 1],
    identity: Arc<VerifiedIdentity>,
}

impl fmt::Debug for BasicScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicScheme").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BasicScheme {
    /// The scheme of this name, with the users of a file.
    pub(crate) fn new(
        name: Arc<str>,
        file: String,
        users: impl IntoIterator<Item = (String, SlowHash)>,
        forwards: bool,
        challenge: HeaderValue,
    ) -> Self {
        let user = |(user, hash): (String, SlowHash)| {
            let mut claims = Map::new();
            claims.insert("sub".to_owned(), Value::from(user.as_str()));
            let kind = SchemeKind::Basic;
            let identity = Arc::new(VerifiedIdentity::new(Arc::clone(&name), kind, claims, None));
            (user.into_boxed_str(), User { hash: [Arc::new(hash)], identity })
        };
        let users: HashMap<Box<str>, User> = users.into_iter().map(user).collect();
        let decoys = users.values().flat_map(|user| user.hash.iter().cloned()).collect();
        let decoy_hasher = RandomState::new();
        Self { name, file, users, decoys, decoy_hasher, forwards, challenge }
    }

    /// What a name that no user has is verified against: always the same hash for the same name. So unknown names take
    /// as long as known ones, in files with hashes of several costs too.
    fn decoy(&self, user: &str) -> Option<&[Arc<SlowHash>]> {
        let count = u64::try_from(self.decoys.len()).ok().filter(|count| *count > 0)?;
        let index = usize::try_from(self.decoy_hasher.hash_one(user) % count).ok()?;
        self.decoys.get(index).map(std::slice::from_ref)
    }
}

#[async_trait]
impl Scheme for BasicScheme {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn kind(&self) -> SchemeKind {
        SchemeKind::Basic
    }

    fn describe(&self) -> String {
        format!("{} users in {}", self.users.len(), self.file)
    }

    async fn verify(&self, credentials: Credentials<'_>) -> Verdict {
        let Credentials { head, exchange } = credentials;
        let encoded = match SOURCE.find(head) {
            Ok(Some(encoded)) => encoded,
            Ok(None) => return Verdict::Missing,
            Err(_) => return Verdict::Refused(Refusal::several_credentials()),
        };
        let pair = match BasicCredentials::parse(&encoded) {
            Ok(pair) => pair,
            Err(error) => return Verdict::Refused(malformed(error)),
        };
        let known = self.users.get(pair.user());
        let hashes = known.map(|user| &user.hash[..]).or_else(|| self.decoy(pair.user()));
        let attempt = Attempt {
            client: exchange.client_address(),
            secret: pair.password().as_bytes(),
            // A file without users has no names to hide.
            hashes: hashes.unwrap_or_default(),
            is_decoy: known.is_none(),
            is_dry_run: exchange.is_dry_run(),
        };
        match (PasswordVerifier::shared().verify(attempt).await, known) {
            (Verification::Right(_), Some(user)) => {
                Verdict::Verified(Arc::clone(&user.identity), Vec::new())
            }
            (Verification::Busy(busy), _) => Verdict::Unavailable(busy.refusal()),
            (Verification::Wrong | Verification::Right(_), _) => {
                Verdict::Refused(Refusal::new("invalid", "user name or password is wrong"))
            }
        }
    }

    fn challenge(&self, _: Option<&Refusal>) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }

    fn still_admits(&self, identity: &VerifiedIdentity) -> bool {
        identity.subject().is_some_and(|user| self.users.contains_key(user))
    }

    fn sanitize(&self, head: &mut RequestHeader) {
        if !self.forwards {
            SOURCE.remove(head);
        }
    }
}

fn malformed(error: BasicCredentialsError) -> Refusal {
    let message = match error {
        BasicCredentialsError::TooLong => "user name and password are too long",
        BasicCredentialsError::Base64 => "user name and password are not valid base64",
        BasicCredentialsError::Utf8 => "user name and password are not UTF-8",
        BasicCredentialsError::NoColon => "no colon is between user name and password",
        BasicCredentialsError::ControlCharacter => {
            "a control character is in user name or password"
        }
    };
    Refusal::new("malformed", message)
}
