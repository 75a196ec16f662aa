//! Slow readers of files and cached responses, and stalled mirrors, use little memory. `slow_readers` tests encoders.

use crate::slow_readers::{
    HEAD, ask_over_http2, assert_little, connect, deaf, endless, settled, text,
};
use tempfile::TempDir;
use tidegate_testing::{Config, Gateway, Upstream, get, respond};

/// Asks so many times over HTTP/1.1, then two hundred times over HTTP/2, and reads nothing.
async fn assert_slow_readers_cost_little(gateway: &Gateway, path: &str) {
    let mut held = Vec::new();
    let mut before = 0;
    // What the first few make the process load and keep is not theirs.
    for count in [4, 60] {
        before = gateway.peak_memory();
        for _ in 0..count {
            let mut wire = connect(gateway).await;
            wire.send(get(path, &[])).await;
            let stream = wire.into_stream();
            assert_eq!(stream.peek(&mut [0; 9]).await.expect("the beginning of a response"), 9);
            held.push(stream);
        }
        settled("the gateway holds all that it will", || gateway.peak_memory()).await;
    }
    assert_little(gateway, before, 60, "HTTP/1.1");
    let before = gateway.peak_memory();
    let _streams = ask_over_http2(gateway, path, 2).await;
    settled("the gateway holds all that it will", || gateway.peak_memory()).await;
    assert_little(gateway, before, 200, "HTTP/2");
}

#[tokio::test]
async fn slow_reader_of_a_file_uses_little_memory() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("big.txt"), text().repeat(8)).expect("a file");
    let files = format!("files: {{root: {:?}}}", folder.path());
    let gateway = Config::new()
        .answer("files", "path_prefix: /", &files)
        .listening("protocols: [h1, h2c]")
        .top("access_log: off")
        .start()
        .await;
    assert_slow_readers_cost_little(&gateway, "/big.txt").await;
}

#[tokio::test]
async fn slow_reader_of_a_cached_response_uses_little_memory() {
    let upstream = Upstream::answering(|_| {
        let fields = ["Content-Type: text/plain", "Cache-Control: max-age=600"];
        let body = text().repeat(10);
        respond("200 OK", &fields, &String::from_utf8_lossy(&body))
    })
    .await;
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .listening("protocols: [h1, h2c]")
        .top("access_log: off")
        .start()
        .await;
    for _ in 0..2 {
        let answer = gateway.get("/big", &[]).await;
        assert_eq!((answer.status(), answer.body.len()), (200, text().len() * 10));
    }
    let asked = upstream.requests().len();
    assert_slow_readers_cost_little(&gateway, "/big").await;
    assert_eq!(upstream.requests().len(), asked, "all of it comes from the cache");
}

#[tokio::test]
async fn stalled_or_endless_mirror_uses_little_memory() {
    let (endless, _) = endless(HEAD, text()).await;
    for shadow in [deaf().await, endless] {
        let service = Upstream::saying("ok").await;
        let gateway = Config::to(&service)
            .upstream("shadow", &[shadow.address()])
            .with("mirror: {upstream: shadow, timeout: 60s}")
            .top("access_log: off")
            .start()
            .await;
        let post = get("/", &["Content-Length: 65536"]).replacen("GET", "POST", 1);
        let request = [post.into_bytes(), vec![b'x'; 65_536]].concat();
        let mut before = 0;
        for count in [4, 60] {
            before = gateway.peak_memory();
            for _ in 0..count {
                assert_eq!(gateway.send(&request).await.status(), 200);
            }
            settled("the gateway holds all that it will", || gateway.peak_memory()).await;
        }
        assert_little(&gateway, before, 60, "copies");
    }
}
