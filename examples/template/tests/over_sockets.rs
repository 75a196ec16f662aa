//! The program on a free port, with an upstream that records what it gets.

use tidegate_testing::{Config, Upstream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_{{project-name}}");

#[tokio::test]
async fn route_with_block_agents_refuses_bots() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream)
        .with("filters: [{block_agents: {words: [bot]}}]")
        .start_program(PROGRAM)
        .await;
    let refused = gateway.get("/a", &["User-Agent: ExampleBot/1.0"]).await;
    assert_eq!(refused.status(), 403);
    let answered = gateway.get("/b", &["User-Agent: curl/8.0"]).await;
    assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"));
    assert_eq!(upstream.only_request().await.head.target(), "/b");
}
