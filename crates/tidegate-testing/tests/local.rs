//! A gateway in the process of the test.
#![cfg(feature = "filters")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tidegate::async_trait;
use tidegate::filter::{self, Filter, Flow, Request};
use tidegate_testing::{Config, LocalGateway, Upstream, next, until};
use tokio_tungstenite::tungstenite::Message;

struct Tag(&'static str);

#[async_trait]
impl Filter for Tag {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        request.head_mut().insert_header("x-tag", self.0)?;
        Ok(Flow::Continue)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_in_one_process_run_their_own_filters_and_reload() {
    let (upstream, echo) = (Upstream::saying("hello").await, Upstream::echo().await);
    let config = Config::to(&upstream);
    let first = LocalGateway::start(&config, |gateway| gateway.filter(Tag("first"))).await;
    let second = LocalGateway::start(&config, |gateway| gateway.filter(Tag("second"))).await;
    for (gateway, tag) in [(&first, "first"), (&second, "second")] {
        assert_eq!(gateway.get("/", &[]).await.text(), "hello");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.head.get("x-tag"), Some(tag));
    }
    first.rewrite(&Config::to(&echo));
    until("the new upstream", async || first.get("/", &[]).await.text() == "polled").await;
    let mut socket = first.websocket("/ws").await;
    futures_util::SinkExt::send(&mut socket, Message::text("hi")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("hi")));
    drop(socket);
    first.stop().await;
    assert_eq!(second.get("/", &[]).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "routes[0].upstream")]
async fn invalid_configuration_panics_with_its_errors() {
    let config = Config::new().route("all", "path_prefix: /", "nowhere");
    let _ = LocalGateway::start(&config, |gateway| gateway).await;
}
