//! An issuer that logs in whoever a test says: gives codes, exchanges them for tokens, refreshes those. It does not know
//! the gateway.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_testing::{Config, IdentityProvider, Request, Upstream, respond};

pub(super) const CLIENT: &str = "tidegate-client";
pub(super) const SECRET: &str = "a secret: of the client";
pub(super) const KEY: &str = "cookie-key-of-more-than-32-characters-1";

/// The issuer.
pub(super) struct Issuer {
    pub(super) provider: Arc<IdentityProvider>,
    token_endpoint: Upstream,
    state: Arc<Mutex<State>>,
}

/// How it behaves, and what it has given.
#[derive(Default)]
pub(super) struct State {
    /// Claims of the ID tokens, in addition or instead.
    pub(super) claims: Value,
    /// Whether it gives refresh tokens, each for one use.
    pub(super) refreshes: bool,
    /// `expires_in` of its next tokens.
    pub(super) expires_in: Vec<u64>,
    /// Whether it refuses the gateway's secret.
    pub(super) refuses_client: bool,
    /// The status with which the token endpoint fails.
    pub(super) outage: Option<&'static str>,
    /// The ID token of the next answer, instead of one of its own.
    pub(super) id_token: Option<String>,
    codes: HashMap<String, Grant>,
    refresh_tokens: HashMap<String, Grant>,
    used: HashSet<String>,
    issued: usize,
}

#[derive(Clone)]
struct Grant {
    parameters: BTreeMap<String, String>,
    subject: String,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        let provider = Arc::new(IdentityProvider::start().await);
        let state = Arc::new(Mutex::new(State { claims: json!({}), ..State::default() }));
        let (signer, grants) = (Arc::clone(&provider), Arc::clone(&state));
        let token_endpoint = Upstream::answering(move |request| {
            answer(&signer, &mut grants.lock().expect("the state"), request)
        })
        .await;
        let mut discovery = provider.discovery();
        discovery["token_endpoint"] = json!(format!("http://{}/token", token_endpoint.address()));
        discovery["authorization_endpoint"] =
            json!(format!("{}/authorize?tenant=1", provider.issuer()));
        discovery["end_session_endpoint"] = json!(format!("{}/end", provider.issuer()));
        provider.set_discovery(discovery);
        Self { provider, token_endpoint, state }
    }

    /// How it behaves from now on.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state")
    }

    /// The requests at the token endpoint so far.
    pub(super) fn token_requests(&self) -> Vec<Request> {
        self.token_endpoint.requests()
    }

    /// The scheme `browser` that logs in here; `more` are further keys, each after a comma.
    pub(super) fn authentication(&self, cookie: &str, more: &str) -> String {
        format!(
            "authentication: {{browser: {{oidc: {{issuer: \"{}\", client_id: {CLIENT}, client_secret: \"{SECRET}\", \
             scopes: [profile], cookie: {{name: tg, keys: [{KEY}]{cookie}}}{more}}}}}}}",
            self.provider.issuer()
        )
    }

    /// A gateway in front of this upstream whose routes require the login.
    pub(super) fn config(&self, upstream: &Upstream) -> Config {
        Config::to(upstream).top(&self.authentication("", "")).top("require: browser")
    }

    /// The parameters of a redirect to its authorization endpoint.
    pub(super) fn parameters(&self, location: &str) -> BTreeMap<String, String> {
        let start = format!("{}/authorize?", self.provider.issuer());
        let query = location.strip_prefix(&start).unwrap_or_else(|| panic!("{location}"));
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Logs a user in: the target to which it sends the browser back.
    pub(super) fn log_in(&self, location: &str, subject: &str) -> String {
        let parameters = self.parameters(location);
        let target = parameters["redirect_uri"].splitn(4, '/').nth(3).expect("a path").to_owned();
        let state = parameters["state"].clone();
        let mut all = self.state();
        all.issued += 1;
        let code = format!("code-{}", all.issued);
        let grant = Grant { parameters, subject: subject.to_owned() };
        all.codes.insert(code.clone(), grant);
        format!("/{target}?code={code}&state={state}")
    }
}

fn answer(provider: &IdentityProvider, state: &mut State, request: &Request) -> Vec<u8> {
    if let Some(status) = state.outage {
        return respond(status, &[], "");
    }
    match tokens(provider, state, request) {
        Ok(tokens) => respond("200 OK", &["Content-Type: application/json"], &tokens.to_string()),
        Err(code) => respond("400 Bad Request", &[], &json!({"error": code}).to_string()),
    }
}

fn tokens(
    provider: &IdentityProvider,
    state: &mut State,
    request: &Request,
) -> Result<Value, &'static str> {
    let expected = format!("{CLIENT}:{}", SECRET.replace(' ', "+").replace(':', "%3A"));
    let expected = format!("Basic {}", STANDARD.encode(expected));
    if state.refuses_client || request.head.get("authorization") != Some(&*expected) {
        return Err("invalid_client");
    }
    let form: BTreeMap<String, String> =
        form_urlencoded::parse(&request.body).into_owned().collect();
    let (grant, is_first) = match form["grant_type"].as_str() {
        "authorization_code" => {
            let grant = state.codes.remove(&form["code"]).ok_or("invalid_grant")?;
            let challenge =
                URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
            let parameters = &grant.parameters;
            if parameters["code_challenge"] != challenge
                || parameters["redirect_uri"] != form["redirect_uri"]
            {
                return Err("invalid_grant");
            }
            (grant, true)
        }
        _ => {
            let token = &form["refresh_token"];
            if !state.used.insert(token.clone()) {
                // Somebody has stolen it: the whole login ends.
                state.refresh_tokens.clear();
                return Err("invalid_grant");
            }
            (state.refresh_tokens.get(token).cloned().ok_or("invalid_grant")?, false)
        }
    };
    let mut claims = json!({"aud": CLIENT, "sub": grant.subject});
    if is_first {
        claims["nonce"] = json!(grant.parameters["nonce"]);
    }
    let more = state.claims.as_object().expect("claims").clone();
    claims.as_object_mut().expect("claims").extend(more);
    let id_token = state.id_token.take().unwrap_or_else(|| provider.token(claims));
    let expires_in = if state.expires_in.is_empty() { 3600 } else { state.expires_in.remove(0) };
    let mut tokens =
        json!({"id_token": id_token, "access_token": "access", "token_type": "Bearer"});
    tokens["expires_in"] = json!(expires_in);
    if state.refreshes {
        state.issued += 1;
        let token = format!("refresh-{}", state.issued);
        tokens["refresh_token"] = json!(token);
        state.refresh_tokens.insert(token, grant);
    }
    Ok(tokens)
}

/// The seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
