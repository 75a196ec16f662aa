//! A filter that tells upstreams which client's certificate has been shown.
//!
//! `cargo run --example tell_client -- conf/examples/certificates.yaml`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tidegate::filter::{self, Flow, Request};
use tidegate::{Config, Filter, Gateway, async_trait};

struct TellClient;

#[async_trait]
impl Filter for TellClient {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        // What a client says of itself is not what has been verified.
        for name in ["x-client-subject", "x-client-names"] {
            request.head_mut().remove_header(name);
        }
        let client = request.exchange().tls().and_then(|tls| tls.client.clone());
        if let Some(client) = client {
            let names = client.alternative_names.join(", ");
            request.head_mut().insert_header("x-client-subject", client.subject)?;
            request.head_mut().insert_header("x-client-names", names)?;
        }
        Ok(Flow::Continue)
    }
}

fn main() -> std::process::ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "tidegate.yaml".to_owned());
    Gateway::from_config(Config::from_file(file)).filter(TellClient).run_program()
}
