//! Compiles a scheme of API keys, and reads their file. Verifies nothing.

use super::super::Compiler;
use crate::authentication::{ApiKeyScheme, KeyHash, Scheme, SlowHash, TokenSource};
use crate::identity::{SchemeKind, VerifiedIdentity};
use http::HeaderName;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_config::{
    ApiKey, ApiKeyFile, ApiKeys, HashFormat, Span, Spanned, UnsupportedHash, defaults,
};
use tidegate_http::header_name::lower;

/// Maximum size of a file of keys, in bytes; about 30,000 keys.
const MAX_KEY_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum number of keys with slow hashes in a file: nothing tells which of them a client means, so that an unknown key
/// is tried against each.
const MAX_SLOW_KEYS: usize = 8;

/// The number of hexadecimal digits of SHA-256.
const SHA256_DIGITS: usize = 64;

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn api_keys(
        &mut self,
        name: &str,
        written: &ApiKeys,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.check_token_sources(&written.from, &format!("{key_path}.from"));
        let path = self.path(&written.file);
        let text = match tidegate_disk::read_text(&path, MAX_KEY_FILE_BYTES) {
            Ok(text) => text,
            Err(reason) => {
                let reason = format!("cannot read the API keys `{}`: {reason}", path.display());
                self.problems.add(written.file.span, format!("{key_path}.file"), reason);
                return None;
            }
        };
        let file = ApiKeyFile::read(&path, &text, self.problems)?;
        let name: Arc<str> = name.into();
        let mut keys = Vec::with_capacity(file.keys.len());
        let mut first_uses = FirstUses::default();
        for (index, key) in file.keys.iter().enumerate() {
            let key_path = format!("keys[{index}]");
            let hash = self.key_hash(&key.hash, &format!("{key_path}.hash"));
            let expires_at = self.expiry(key, &format!("{key_path}.expires"));
            self.key_name(key, &key_path, &mut first_uses);
            let claims = self.key_claims(key, &key_path);
            let Some(hash) = hash else { continue };
            if let KeyHash::Digest(digest) = &hash
                && let Some(first) = first_uses.digests.insert(*digest, key.hash.span)
            {
                let reason = format!("the same key is on line {} already", first.line);
                self.problems.add(key.hash.span, format!("{key_path}.hash"), reason);
            }
            if matches!(hash, KeyHash::Slow(_)) {
                first_uses.slow_keys += 1;
                if first_uses.slow_keys > MAX_SLOW_KEYS {
                    let reason = format!(
                        "a file can have at most {MAX_SLOW_KEYS} keys with Argon2 or bcrypt, for \
                         an unknown key is tried against each"
                    );
                    self.problems
                        .add(key.hash.span, format!("{key_path}.hash"), reason)
                        .help("give random keys a fast hash: `tidegate hash --key`");
                }
            }
            let scheme = Arc::clone(&name);
            let identity = VerifiedIdentity::new(scheme, SchemeKind::ApiKey, claims, expires_at);
            keys.push((hash, identity));
        }
        let sources = match written.from.as_slice() {
            [] => vec![TokenSource::Header(HeaderName::from_static(lower::X_API_KEY))],
            from => Self::token_sources(from),
        };
        let forwards = written.forward.unwrap_or(defaults::api_keys::FORWARD).0;
        let shown = written.file.value.clone();
        let scheme = ApiKeyScheme::new(name, shown, sources, keys, forwards);
        Some((Arc::new(scheme), Self::settings_with_file(written, &text)))
    }

    fn key_hash(&mut self, written: &Spanned<String>, key_path: &str) -> Option<KeyHash> {
        let hash = match HashFormat::of(written) {
            Ok(HashFormat::Sha256) => sha256(written).map(KeyHash::Digest),
            Ok(format) => {
                SlowHash::parse(format, written).map(|hash| KeyHash::Slow(Arc::new(hash)))
            }
            Err(unsupported) => {
                let help = match unsupported {
                    UnsupportedHash::Empty | UnsupportedHash::Plain => {
                        "write a hash: `tidegate hash --key` reads the key and prints one"
                    }
                    _ => unsupported.help(),
                };
                self.problems.add(written.span, key_path, unsupported.to_string()).help(help);
                return None;
            }
        };
        hash.map_err(|reason| {
            self.problems.add(written.span, key_path, reason);
        })
        .ok()
    }

    fn expiry(&mut self, key: &ApiKey, key_path: &str) -> Option<SystemTime> {
        let written = key.expires.as_ref()?;
        humantime::parse_rfc3339(written)
            .map_err(|_| {
                self.problems
                    .add(written.span, key_path, "not a time in RFC 3339 and UTC")
                    .help("write it like `2027-01-01T00:00:00Z`");
            })
            .ok()
    }

    fn key_name(&mut self, key: &ApiKey, key_path: &str, first_uses: &mut FirstUses) {
        let key_path = format!("{key_path}.name");
        let written = &key.name;
        if written.is_empty() || written.chars().any(char::is_control) {
            let reason = "a name must not be empty, or have control characters";
            self.problems.add(written.span, key_path, reason);
        } else if let Some(first) = first_uses.names.insert(written.value.clone(), written.span) {
            let reason =
                format!("the key of line {} is named `{}` already", first.line, written.value);
            self.problems.add(written.span, key_path, reason);
        }
    }

    fn key_claims(&mut self, key: &ApiKey, key_path: &str) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), Value::from(key.name.as_str()));
        let mut scopes = Vec::with_capacity(key.scopes.len());
        for (index, scope) in key.scopes.iter().enumerate() {
            if !is_scope(scope) {
                let reason = "a scope is one word of visible ASCII characters, without `\"` and \
                              `\\` (RFC 6749, section 3.3)";
                self.problems.add(scope.span, format!("{key_path}.scopes[{index}]"), reason);
            }
            scopes.push(scope.as_str());
        }
        if !scopes.is_empty() {
            claims.insert("scope".to_owned(), Value::from(scopes.join(" ")));
        }
        claims
    }
}

/// Where names and keys of a file were seen first.
#[derive(Default)]
struct FirstUses {
    names: HashMap<String, Span>,
    digests: HashMap<[u8; 32], Span>,
    slow_keys: usize,
}

fn sha256(written: &str) -> Result<[u8; 32], String> {
    let digits = written.strip_prefix(HashFormat::SHA256_PREFIX).unwrap_or_default();
    let mut hash = [0; SHA256_DIGITS / 2];
    let is_hex = digits.len() == SHA256_DIGITS && digits.bytes().all(|it| it.is_ascii_hexdigit());
    if is_hex {
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        return Ok(hash);
    }
    Err(format!(
        "`{}` must be followed by {SHA256_DIGITS} hexadecimal digits",
        HashFormat::SHA256_PREFIX
    ))
}

/// Whether it is a `scope-token` (RFC 6749, section 3.3).
fn is_scope(written: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !written.is_empty() && written.bytes().all(is_allowed)
}
