//! API keys: a filter that the configuration uses by name, in a program with every verb of `tidegate`.
//! docs/filters.md explains it step by step.
//!
//! ```console
//! $ cargo run --example api_keys -- check --config examples/api_keys.yaml
//! $ cargo run --example api_keys -- explain http://localhost:3000/api/orders --config examples/api_keys.yaml
//! $ cargo run --example api_keys -- run --config examples/api_keys.yaml
//! ```
//!
//! In another terminal, with a service on port 4000:
//!
//! ```console
//! $ curl -s -o /dev/null -w '%{http_code}' localhost:3000/api/orders
//! 401
//! $ curl -s -o /dev/null -w '%{http_code}' -H 'X-Api-Key: change-me' localhost:3000/api/orders
//! 200
//! ```

use std::collections::HashMap;
use tidegate::filter::{self, Flow, Phase, Reply, Request, SettingsError};
use tidegate::http::{HeaderName, StatusCode};
use tidegate::{Filter, async_trait, schemars};

/// Lets requests in that have one of these keys.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeys {
    /// The header that has the key. Default: `x-api-key`.
    header: Option<String>,
    /// The keys.
    keys: Vec<Key>,
}

/// A key, and whom it belongs to.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Key {
    /// The key; a variable is a good place for it.
    key: String,
    /// The user that the request then speaks for.
    user: String,
}

struct ApiKeyFilter {
    header: HeaderName,
    users: HashMap<String, String>,
}

impl ApiKeyFilter {
    fn new(settings: ApiKeys) -> Result<Self, SettingsError> {
        let header = settings.header.as_deref().unwrap_or("x-api-key");
        let header =
            HeaderName::try_from(header).map_err(|error| SettingsError::at("header", error))?;
        let mut users = HashMap::new();
        for (index, Key { key, user }) in settings.keys.into_iter().enumerate() {
            if users.insert(key, user).is_some() {
                let error =
                    SettingsError::at(format!("keys[{index}].key"), "the key is there already");
                return Err(error.help("give each user a key of its own"));
            }
        }
        Ok(Self { header, users })
    }
}

#[async_trait]
impl Filter for ApiKeyFilter {
    /// Rate limits by `user_id` then count by the user that is verified here.
    fn phase(&self) -> Phase {
        Phase::BeforeLimits
    }

    fn describe(&self) -> String {
        format!("{} keys in {}", self.users.len(), self.header)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let key = request.head_mut().remove_header(&self.header);
        match key.as_ref().and_then(|key| self.users.get(key.to_str().ok()?)) {
            Some(user) => {
                request.exchange_mut().set_verified_user(user);
                Ok(Flow::Continue)
            }
            None => {
                let reply = Reply::error(
                    StatusCode::UNAUTHORIZED,
                    "no_api_key",
                    "a valid API key is needed",
                );
                Ok(Flow::Respond(reply))
            }
        }
    }
}

fn main() -> std::process::ExitCode {
    tidegate::cli::main_with(|gateway| gateway.register("api_keys", ApiKeyFilter::new))
}
