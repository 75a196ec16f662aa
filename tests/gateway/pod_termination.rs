//! A gateway with the pods' configuration stops as Kubernetes expects: it becomes unready, serves until the nodes know,
//! then drains its sessions and exits.

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tidegate_testing::{Gateway, Handshake, TOKEN, Upstream, WAIT_TIMEOUT, free_port, next, until};
use tokio_tungstenite::tungstenite::Message;

/// Read when it runs: docker's build context has the tests, and leaves these out.
fn configuration(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/kubernetes");
    std::fs::read_to_string(format!("{folder}/{name}/tidegate.yaml")).expect("a configuration")
}

/// The times that both have, and the same, five times shorter.
const TIMES: [(&str, &str); 2] = [
    ("shutdown: {delay: 10s, grace: 60s}", "shutdown: {delay: 2s, grace: 12s}"),
    ("drain: {spread: 45s}", "drain: {spread: 9s}"),
];

fn replaced(text: String, this: &str, by: &str) -> String {
    assert_eq!(text.matches(this).count(), 1, "{this}\n{text}");
    text.replace(this, by)
}

#[tokio::test]
async fn terminating_pod_serves_during_the_delay_and_then_drains() {
    let base = configuration("base");
    for (times, _) in TIMES {
        assert!(base.contains(times), "{times}: the base has others than the example");
    }
    let upstream = Upstream::echo().await;
    let (port, admin, folder) = (free_port(), free_port(), TempDir::new().expect("a folder"));
    let discovered = "discover: {host: \"notifications.edge.svc.cluster.local:4009\"}";
    let mut text =
        replaced(configuration("overlays/example"), "0.0.0.0:3000", &format!("127.0.0.1:{port}"));
    text = replaced(text, "127.0.0.1:9901", &format!("127.0.0.1:{admin}"));
    text = replaced(text, discovered, &format!("endpoints: [\"{}\"]", upstream.address()));
    for (times, scaled) in TIMES {
        text = replaced(text, times, scaled);
    }
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, text).expect("a file");
    let environment = [("TIDEGATE_ADMIN_TOKEN", TOKEN)];
    let mut gateway = Gateway::run_with(folder, file, port, &environment).await;
    let is_ready = async || {
        let answer = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await;
        answer.expect("the admin endpoint stays to the end").status() == 200
    };
    until("it is ready", is_ready).await;
    let target = "/api/notifications/ws?userId=user-1";
    let handshake = || Handshake::to(target).set("Origin", "https://app.example.com");
    let mut sockets = vec![handshake().open(&gateway).await.1];

    gateway.signal(Signal::SIGTERM);
    until("it says that it is not ready", async || !is_ready().await).await;
    // Nodes that have not heard of it send on: it serves, and cuts nobody.
    sockets.push(handshake().open(&gateway).await.1);
    gateway.says(0, "no new connections are accepted; 2 requests and sessions in flight").await;
    for mut socket in sockets {
        match next(&mut socket).await {
            Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1012),
            other => panic!("a session was cut: {other:?}"),
        }
        while next(&mut socket).await.is_some() {}
    }
    assert_eq!(gateway.exited(WAIT_TIMEOUT).await.code(), Some(0));
    let log = gateway.log_lines().join("\n");
    let said = ["new connections are accepted for another 2s", "no new connections", "stopped"];
    let places: Vec<_> = said.iter().map(|what| log.find(what).expect(what)).collect();
    assert!(places.is_sorted(), "{log}");
    assert!(!log.contains("cut off"), "{log}");
}
