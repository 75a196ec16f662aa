//! The issuer of `tidegate demo --auth`: signs short tokens for three users with a key made at its start, and publishes
//! the key. It asks for no password, so it must listen on a loopback address only; it does not know the gateway.

use std::{
    io,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The users; the page offers them.
pub(crate) const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// The path of the key set.
pub(crate) const KEY_SET_PATH: &str = "/.well-known/jwks.json";
/// The service that the tokens are for.
const AUDIENCE: &str = "notifications";
/// Maximum size of a request's body in bytes.
const MAX_REQUEST_BODY_BYTES: usize = 1024;

/// An issuer of tokens with one key.
pub(crate) struct Issuer {
    name: String,
    token_ttl: Duration,
    key_id: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// An issuer with a new key, whose tokens have `name` as `iss` and are valid for `token_ttl`.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub(crate) fn new(name: String, token_ttl: Duration) -> io::Result<Self> {
        let failed = |_| io::Error::other("the system made no key for the demo's issuer");
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .map_err(|_| io::Error::other("the demo's issuer could not read its key"))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref());
        let key_id = BASE64_URL_SAFE_NO_PAD.encode(digest);
        Ok(Self { name, token_ttl, key_id, key, random })
    }

    /// The key set (RFC 7517), and tokens by POST.
    pub(super) fn router(self) -> Router {
        let key_set = self.key_set();
        Router::new()
            .route(KEY_SET_PATH, get(async move || Json(key_set)))
            .route("/token", post(issue))
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BODY_BYTES))
            .with_state(Arc::new(self))
    }

    fn key_set(&self) -> Value {
        // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let [x, y] = [x, y].map(|it| BASE64_URL_SAFE_NO_PAD.encode(it));
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.key_id, "x": x, "y": y,
        }]})
    }

    /// A token for this user (RFC 7519).
    fn token(&self, user: &str, now: SystemTime) -> io::Result<String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.name, "aud": AUDIENCE, "sub": user,
            "iat": now, "exp": now.saturating_add(self.token_ttl.as_secs()),
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&self.random, message.as_bytes());
        let signature = signature.map_err(|_| io::Error::other("no signature was made"))?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Answers `{"user": …}` with a token.
async fn issue(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, body: Bytes) -> Response {
    // A page of another site can make its own name lead to this address, and would then be of the same origin.
    if !is_loopback(&headers) {
        return refuse("the issuer answers only at localhost");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let user = body.get("user").and_then(Value::as_str).unwrap_or_default();
    if !USERS.contains(&user) {
        return refuse("there is no such user");
    }
    match issuer.token(user, SystemTime::now()) {
        Ok(token) => {
            let answer = json!({
                "access_token": token, "token_type": "Bearer", "expires_in": issuer.token_ttl.as_secs(),
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the request names this machine by its loopback name or address.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(authority) = host.parse::<Uri>() else { return false };
    let name = authority.host().unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn refuse(message: &str) -> Response {
    let body = json!({"error": "invalid_request", "message": message});
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn issuer() -> Issuer {
        let name = "http://localhost:5173".to_owned();
        Issuer::new(name, Duration::from_secs(60)).expect("a key")
    }

    fn headers(host: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, host.parse().expect("a header"))])
    }

    fn decode(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
    }

    #[test]
    fn published_key_verifies_a_token_of_a_minute() {
        let issuer = issuer();
        let token = issuer.token("alice", UNIX_EPOCH + Duration::from_secs(1000)).expect("a token");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let set = issuer.key_set();
        let coordinate = |name| decode(set["keys"][0][name].as_str().expect("a coordinate"));
        let key = [vec![4], coordinate("x"), coordinate("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(message.as_bytes(), &decode(signature))
            .expect("a valid signature");
        let claims = message.split_once('.').expect("two parts").1;
        let claims: Value = serde_json::from_slice(&decode(claims)).expect("JSON");
        assert_eq!(claims["sub"], "alice");
        assert_eq!([&claims["iat"], &claims["exp"]], [1000, 1060]);
    }

    #[tokio::test]
    async fn tokens_are_for_known_users_at_loopback_names_only() {
        let issuer = Arc::new(issuer());
        for (host, body, expected) in [
            ("localhost:5173", r#"{"user":"alice"}"#, StatusCode::OK),
            ("127.0.0.1:5173", r#"{"user":"bob"}"#, StatusCode::OK),
            ("[::1]:5173", r#"{"user":"carol"}"#, StatusCode::OK),
            ("evil.example:5173", r#"{"user":"alice"}"#, StatusCode::FORBIDDEN),
            ("localhost.evil.example", r#"{"user":"alice"}"#, StatusCode::FORBIDDEN),
            ("localhost:5173", r#"{"user":"mallory"}"#, StatusCode::FORBIDDEN),
            ("localhost:5173", "alice", StatusCode::FORBIDDEN),
        ] {
            let response = issue(State(Arc::clone(&issuer)), headers(host), body.into()).await;
            assert_eq!(response.status(), expected, "{host} {body}");
        }
    }
}
