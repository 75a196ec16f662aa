//! An issuer of tokens: signs any claims, and serves its keys and its discovery document over HTTP. It does not know how
//! a gateway verifies.

mod signing_key;

use super::wire::Wire;
use super::{Upstream, free_port, respond};
use serde_json::{Value, json};
use signing_key::{SigningKey, base64url};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// An issuer of tokens with keys for `ES256`, `RS256` and `EdDSA`.
pub struct IdentityProvider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: Option<Upstream>,
    requests: Vec<String>,
}

struct State {
    keys: Vec<SigningKey>,
    generation: usize,
    key_set: Value,
    discovery: Value,
}

impl IdentityProvider {
    /// Starts an issuer on a free port of this machine.
    pub async fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let issuer = format!("http://{address}");
        let keys = SigningKey::generation(1);
        let discovery = json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/jwks.json"),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
        });
        let state = State { key_set: published(&keys), keys, generation: 1, discovery };
        let state = Arc::new(Mutex::new(state));
        let mut this = Self { address, state, server: None, requests: Vec::new() };
        this.come_back().await;
        this
    }

    /// Its name: the claim `iss`, and the URL below which its discovery document is.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of its key set.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks.json", self.issuer())
    }

    /// The section `authentication` with a scheme of this name that takes its tokens for the audience `chat`; `more` are
    /// further keys, each after a comma.
    pub fn authentication(&self, scheme: &str, more: &str) -> String {
        format!(
            "authentication: {{{scheme}: {{jwt: {{issuer: \"{}\", audience: [chat], keys: {{url: \"{}\"}}{more}}}}}}}",
            self.issuer(),
            self.jwks_url()
        )
    }

    /// A token by `ES256` for `alice` and the audience `chat`, valid for an hour, with these claims in addition or
    /// instead; a claim of `null` is left out.
    pub fn token(&self, claims: Value) -> String {
        self.token_by("ES256", claims)
    }

    /// The same with another algorithm: `ES256`, `RS256` or `EdDSA`.
    pub fn token_by(&self, algorithm: &str, claims: Value) -> String {
        self.sign(self.header(algorithm), &self.claims(claims))
    }

    /// A logout token (OpenID Connect Back-Channel Logout 1.0) for the audience `chat`, with these claims in addition or
    /// instead; a claim of `null` is left out.
    pub fn logout_token(&self, claims: Value) -> String {
        let mut all = json!({
            "jti": base64url(&ring_random()),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            "sub": null,
        });
        merge(&mut all, claims);
        let mut header = self.header("ES256");
        header["typ"] = json!("logout+jwt");
        self.sign(header, &self.claims(all))
    }

    /// The header of a token that the newest key of the algorithm signs.
    pub fn header(&self, algorithm: &str) -> Value {
        json!({"alg": algorithm, "typ": "JWT", "kid": self.state().key(algorithm).id})
    }

    /// The claims of [`Self::token`].
    pub fn claims(&self, claims: Value) -> Value {
        let now = now();
        let mut all = json!({
            "iss": self.issuer(), "aud": "chat", "sub": "alice", "iat": now, "exp": now + 3600,
        });
        merge(&mut all, claims);
        if let Some(members) = all.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        all
    }

    /// A token of exactly this header and these claims, signed by the newest key for `alg` in the header.
    pub fn sign(&self, header: Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().expect("alg").to_owned();
        self.sign_text(&algorithm, &header.to_string(), &claims.to_string())
    }

    /// A token of exactly these texts, signed by the newest key of an algorithm.
    pub fn sign_text(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature = self.signature(algorithm, &message);
        format!("{message}.{signature}")
    }

    /// The signature of a message by the newest key of an algorithm, in base64url.
    pub fn signature(&self, algorithm: &str, message: &str) -> String {
        base64url(&self.state().key(algorithm).sign(message.as_bytes()))
    }

    /// The newest public key of an algorithm, as a JSON Web Key.
    pub fn jwk(&self, algorithm: &str) -> Value {
        self.state().key(algorithm).jwk.clone()
    }

    /// The same in PEM.
    pub fn public_pem(&self, algorithm: &str) -> String {
        self.state().key(algorithm).public_pem()
    }

    /// The key set as it is served.
    pub fn key_set(&self) -> Value {
        self.state().key_set.clone()
    }

    /// Serves this key set instead.
    pub fn set_key_set(&self, key_set: Value) {
        self.state().key_set = key_set;
    }

    /// Serves this discovery document instead.
    pub fn set_discovery(&self, discovery: Value) {
        self.state().discovery = discovery;
    }

    /// The discovery document as it is served.
    pub fn discovery(&self) -> Value {
        self.state().discovery.clone()
    }

    /// Makes new keys, which sign from now on, and serves them together with the previous ones.
    pub fn rotate(&self) {
        let mut state = self.state();
        state.generation += 1;
        let mut keys = SigningKey::generation(state.generation);
        let previous = std::mem::take(&mut state.keys);
        keys.extend(previous.into_iter().take(keys.len()));
        state.key_set = published(&keys);
        state.keys = keys;
    }

    /// Makes new keys, which sign from now on, and serves only them.
    pub fn replace_keys(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.keys = SigningKey::generation(state.generation);
        state.key_set = published(&state.keys);
    }

    /// Closes its port and all its connections.
    pub async fn go_away(&mut self) {
        if let Some(server) = self.server.take() {
            self.requests.extend(targets(&server));
            drop(server);
            // The task ends at its next poll, and frees the port then.
            while TcpListener::bind(self.address).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Opens its port again.
    pub async fn come_back(&mut self) {
        if self.server.is_some() {
            return;
        }
        let state = Arc::clone(&self.state);
        let server = Upstream::scripted_at(self.address, move |wire, recorder| {
            let state = Arc::clone(&state);
            async move { serve(wire, &state, |head| recorder.record(head)).await }
        });
        self.server = Some(server.await);
    }

    /// How often the key set has been fetched.
    pub fn fetches(&self) -> usize {
        self.targets().iter().filter(|target| *target == "/jwks.json").count()
    }

    /// The targets of all requests so far.
    pub fn targets(&self) -> Vec<String> {
        let mut all = self.requests.clone();
        all.extend(self.server.iter().flat_map(targets));
        all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the issuer's state")
    }
}

impl State {
    fn key(&self, algorithm: &str) -> &SigningKey {
        let key = self.keys.iter().find(|key| key.algorithm == algorithm);
        key.unwrap_or_else(|| panic!("no key for {algorithm}"))
    }
}

async fn serve(mut wire: Wire, state: &Mutex<State>, record: impl Fn(&super::Head) + Send) {
    while let Some(head) = wire.try_head().await {
        record(&head);
        let document = {
            let state = state.lock().expect("the issuer's state");
            match head.target() {
                "/jwks.json" => Some(state.key_set.to_string()),
                "/.well-known/openid-configuration" => Some(state.discovery.to_string()),
                _ => None,
            }
        };
        let response = match document {
            Some(document) => respond("200 OK", &["Content-Type: application/json"], &document),
            None => respond("404 Not Found", &[], ""),
        };
        if wire.try_send(response).await.is_err() {
            return;
        }
    }
}

fn published(keys: &[SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>()})
}

fn targets(server: &Upstream) -> Vec<String> {
    server.requests().iter().map(|request| request.head.target().to_owned()).collect()
}

fn merge(all: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("claims are a JSON object") };
    all.as_object_mut().expect("an object").extend(more);
}

fn ring_random() -> [u8; 16] {
    ring::rand::generate(&ring::rand::SystemRandom::new()).expect("random bytes").expose()
}

/// The seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn issuer_serves_its_keys_counts_fetches_goes_away_and_comes_back() {
        let mut issuer = IdentityProvider::start().await;
        let fetch = async |issuer: &IdentityProvider| {
            let mut wire = Wire::connect(issuer.address).await;
            wire.send(crate::get("/jwks.json", &[])).await;
            serde_json::from_slice::<Value>(&wire.response().await.body).expect("JSON")
        };
        assert_eq!(fetch(&issuer).await, issuer.key_set());
        issuer.go_away().await;
        assert!(tokio::net::TcpStream::connect(issuer.address).await.is_err());
        issuer.rotate();
        issuer.come_back().await;
        let keys = fetch(&issuer).await;
        let ids: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
        assert_eq!(ids, ["es256-2", "rs256-2", "eddsa-2", "es256-1", "rs256-1", "eddsa-1"]);
        assert_eq!(issuer.fetches(), 2);
        for algorithm in ["ES256", "RS256", "EdDSA"] {
            assert_eq!(issuer.token_by(algorithm, json!({"sub": null})).split('.').count(), 3);
            assert!(issuer.public_pem(algorithm).starts_with("-----BEGIN PUBLIC KEY-----"));
        }
    }
}
