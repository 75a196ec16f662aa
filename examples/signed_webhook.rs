//! Signed webhook: a request passes only if its body is signed with a shared secret, as GitHub signs its webhooks.
//!
//! `cargo run --example signed_webhook -- run --config examples/signed_webhook.yaml`

use ring::hmac;
use tidegate::filter::{self, BodyAccess, Filter, Flow, Reply, RequestBody, SettingsError};
use tidegate::http::StatusCode;
use tidegate::{async_trait, schemars};

/// Lets requests pass whose body is signed: `X-Hub-Signature-256: sha256=…`, an HMAC with SHA-256 in hexadecimal.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignedWebhook {
    /// The secret that sender and gateway share.
    secret: String,
    /// The largest body, in bytes; a larger one gets 413. Default: 1048576.
    max_bytes: Option<usize>,
}

struct SignedWebhookFilter {
    key: hmac::Key,
    max: usize,
}

impl SignedWebhookFilter {
    fn new(settings: SignedWebhook) -> Result<Self, SettingsError> {
        if settings.secret.is_empty() {
            return Err(SettingsError::at("secret", "the secret is empty"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, settings.secret.as_bytes());
        Ok(Self { key, max: settings.max_bytes.unwrap_or(1024 * 1024) })
    }
}

#[async_trait]
impl Filter for SignedWebhookFilter {
    fn describe(&self) -> String {
        format!("signed bodies of at most {} bytes", self.max)
    }

    /// The gateway collects the body before it selects an upstream.
    fn request_body(&self) -> BodyAccess {
        BodyAccess::Whole { max: self.max }
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        let written = body.head().headers.get("x-hub-signature-256");
        let written = written.and_then(|value| value.to_str().ok()?.strip_prefix("sha256="));
        let signature = written.and_then(from_hexadecimal).unwrap_or_default();
        // Takes the same time for every wrong signature.
        if hmac::verify(&self.key, body.bytes(), &signature).is_ok() {
            return Ok(Flow::Continue);
        }
        let message = "the signature of the body is missing or wrong";
        Ok(Flow::Respond(Reply::error(StatusCode::UNAUTHORIZED, "bad_signature", message)))
    }
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok());
    let digits = digits.collect::<Option<Vec<u8>>>()?;
    digits.chunks(2).map(|pair| Some(pair.first()? * 16 + pair.get(1)?)).collect()
}

fn main() -> std::process::ExitCode {
    tidegate::cli::main_with(|gateway| gateway.register("signed_webhook", SignedWebhookFilter::new))
}
