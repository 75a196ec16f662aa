//! A filter of one's own: tells upstreams who is asking, and turns away one who may not.
//!
//! `cargo run --example tell_user -- conf/tidegate.yaml`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tidegate::filter::{self, Flow, Reply, Request};
use tidegate::http::StatusCode;
use tidegate::{Config, Filter, Gateway, async_trait};

struct TellUser;

#[async_trait]
impl Filter for TellUser {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let user = request.exchange().user_id().map(|id| id.as_str().to_owned());
        match user.as_deref() {
            Some("mallory") => {
                let refusal = Reply::error(StatusCode::FORBIDDEN, "banned", "you may not");
                return Ok(Flow::Respond(refusal));
            }
            Some(user) => request.head_mut().insert_header("x-claimed-user", user)?,
            None => {}
        }
        Ok(Flow::Continue)
    }
}

fn main() -> std::process::ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "tidegate.yaml".to_owned());
    Gateway::from_config(Config::from_file(file)).filter(TellUser).run_program()
}
