//! A filter that watches WebSocket sessions: who comes, what they say, how they go.
//!
//! `cargo run --example watch_messages -- conf/tidegate.yaml`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tidegate::filter::Outcome;
use tidegate::websocket::{Direction, LogFrames, Message, Session};
use tidegate::{Config, Filter, Gateway, async_trait};

struct Watch;

#[async_trait]
impl Filter for Watch {
    fn on_open(&self, outcome: &Outcome<'_>) {
        let user = outcome.exchange.user_id().map_or("somebody", |id| id.as_str());
        println!("{user} is here");
    }

    fn watches(&self) -> LogFrames {
        LogFrames::Text
    }

    fn on_message(&self, session: &Session, direction: Direction, message: &Message<'_>) {
        let user = session.identity.user.as_ref().map_or("somebody", |id| id.as_str());
        match direction {
            Direction::ClientToUpstream => println!("{user} says {:?}", message.text),
            Direction::UpstreamToClient => println!("{user} hears {:?}", message.text),
        }
    }

    fn on_end(&self, outcome: &Outcome<'_>) {
        if let Some(end) = outcome.websocket {
            let received = end.client_to_upstream.messages;
            println!("gone after {received} messages: {:?} {:?}", end.initiator, end.code);
        }
    }
}

fn main() -> std::process::ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "tidegate.yaml".to_owned());
    Gateway::from_config(Config::from_file(file)).filter(Watch).run_program()
}
