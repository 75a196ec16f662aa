//! Sessions can be listed, closed and drained from outside; a dry run reports a configuration's impact on them; their
//! frames can be logged.

use futures_util::SinkExt;
use serde_json::Value;
use tidegate_testing::{Cli, Config, Gateway, TOKEN, Upstream, cli, free_port, next, until};
use tokio_tungstenite::tungstenite::Message;

/// A gateway with an admin endpoint.
struct Managed {
    gateway: Gateway,
    admin: String,
}

impl Managed {
    async fn start(config: Config) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let config = config
            .top(&format!("admin: {{address: \"{admin}\", token: {TOKEN}}}"))
            .top("identity: {user_id: [{query: userId}]}");
        Self { gateway: config.start().await, admin }
    }

    async fn tidegate(&self, arguments: &[&str]) -> Cli {
        let environment =
            [("TIDEGATE_ADMIN", self.admin.as_str()), ("TIDEGATE_ADMIN_TOKEN", TOKEN)];
        cli(self.gateway.folder(), arguments, &environment).await
    }

    async fn sessions(&self, arguments: &[&str]) -> Value {
        let cli = self.tidegate(&[&["sessions", "--json"], arguments].concat()).await;
        assert_eq!(cli.code, Some(0), "{}", cli.all());
        serde_json::from_str(&cli.stdout).expect("JSON")
    }

    async fn count(&self) -> u64 {
        self.sessions(&[]).await["total"].as_u64().expect("a number")
    }

    async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        reqwest::get(url).await.expect("an answer").text().await.expect("text")
    }
}

fn code(message: Option<Message>) -> Option<(u16, String)> {
    match message {
        Some(Message::Close(Some(frame))) => Some((frame.code.into(), frame.reason.to_string())),
        _ => None,
    }
}

#[tokio::test]
async fn sessions_are_listed_with_user_route_and_counters() {
    let upstream = Upstream::echo().await;
    let managed = Managed::start(Config::to(&upstream)).await;
    let mut socket = managed.gateway.websocket("/ws?userId=user-1&token=secret").await;
    let _other = managed.gateway.websocket("/ws?userId=user-2").await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));

    let listed = managed.sessions(&["--user", "user-1"]).await;
    assert_eq!((&listed["total"], &listed["matching"]), (&2.into(), &1.into()));
    let session = &listed["sessions"][0];
    assert_eq!(session["user.id"], "user-1");
    assert_eq!(session["http.route"], "all");
    assert_eq!(session["url.path"], "/ws");
    assert_eq!(session["client.address"], "127.0.0.1");
    assert_eq!(session["upstream.address"], upstream.address().to_string());
    assert_eq!(session["state"], "open");
    assert_eq!((&session["received"]["text"], &session["sent"]["text"]), (&1.into(), &1.into()));
    assert_eq!(session["received"]["bytes"], 2 + 4 + 5);
    assert_eq!(session["sent"]["bytes"], 2 + 5);
    assert!(!listed.to_string().contains("secret"));

    let table = managed.tidegate(&["sessions"]).await;
    for word in ["SESSION", "user-1", "user-2", "2 of 2 sessions"] {
        assert!(table.stdout.contains(word), "{}", table.all());
    }
    let metrics = managed.metrics().await;
    for line in [
        "tidegate_websocket_sessions{route=\"all\"} 2",
        "tidegate_websocket_opened_total{route=\"all\"} 2",
        "tidegate_websocket_frames_total{route=\"all\",direction=\"received\"} 1",
    ] {
        assert!(metrics.lines().any(|metric| metric == line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn kicked_user_gets_the_code_and_reason_and_may_reconnect() {
    let upstream = Upstream::echo().await;
    let managed = Managed::start(Config::to(&upstream)).await;
    let mut socket = managed.gateway.websocket("/ws?userId=user-1").await;
    let mut other = managed.gateway.websocket("/ws?userId=user-2").await;
    let kick = managed
        .tidegate(&["kick", "--user", "user-1", "--code", "4003", "--reason", "log in again"])
        .await;
    assert!(
        kick.stdout.contains("1 WebSocket sessions are closed with code 4003"),
        "{}",
        kick.all()
    );
    assert_eq!(code(next(&mut socket).await), Some((4003, "log in again".to_owned())));
    assert_eq!(next(&mut socket).await, None);
    let line = managed
        .gateway
        .access("the session's end", |line| line["event"] == "websocket.close")
        .await;
    assert_eq!(line["websocket.close.initiator"], "kick");
    assert_eq!(line["websocket.close.code"], 4003);
    assert_eq!(line["websocket.close.reason"], "log in again");
    assert_eq!(line["user.id"], "user-1");
    until("the session's place to be free", async || managed.count().await == 1).await;
    let metrics = managed.metrics().await;
    let closed =
        "tidegate_websocket_closed_total{route=\"all\",initiator=\"kick\",code=\"4003\"} 1";
    assert!(metrics.lines().any(|metric| metric == closed), "{metrics}");

    let _again = managed.gateway.websocket("/ws?userId=user-1").await;
    let id = managed.sessions(&["--user", "user-2"]).await["sessions"][0]["id"].clone();
    let kick = managed.tidegate(&["kick", "--session", id.as_str().expect("an id")]).await;
    assert_eq!(kick.code, Some(0), "{}", kick.all());
    assert_eq!(code(next(&mut other).await).map(|it| it.0), Some(4001));
}

#[tokio::test]
async fn kick_without_a_selector_or_with_a_reserved_code_is_refused() {
    let managed = Managed::start(Config::to(&Upstream::echo().await)).await;
    assert_eq!(managed.tidegate(&["kick"]).await.code, Some(2));
    // As chats name their groups.
    let kick = managed.tidegate(&["kick", "--user", "-100123"]).await;
    assert!(kick.stdout.contains("0 WebSocket sessions are closed"), "{}", kick.all());
    for code in ["1005", "1006", "1015", "999", "5000", "x"] {
        let kick = managed.tidegate(&["kick", "--user", "u", "--code", code]).await;
        assert_eq!(kick.code, Some(1), "{code}");
        assert!(kick.stderr.contains("a close code that may be sent"), "{}", kick.all());
    }
    let client = reqwest::Client::new();
    let url = format!("http://{}/sessions/close", managed.admin);
    let all = client.post(url).bearer_auth(TOKEN).send().await;
    assert_eq!(all.expect("an answer").status(), 400, "not all by a slip of the hand");
}

#[tokio::test]
async fn admin_refuses_requests_from_browser_pages() {
    let managed = Managed::start(Config::to(&Upstream::echo().await)).await;
    let url = format!("http://{}/sessions", managed.admin);
    for (name, value) in [("origin", "http://127.0.0.1:3000"), ("host", "evil.example.com")] {
        let request = reqwest::Client::new().get(&url).header(name, value);
        assert_eq!(request.send().await.expect("an answer").status(), 403, "{name}");
    }
    let refused = cli(managed.gateway.folder(), &["check", "--config", "other.yaml"], &[]);
    std::fs::write(
        managed.gateway.folder().join("other.yaml"),
        "listeners: [{address: 127.0.0.1:3000}]\nadmin: {address: 0.0.0.0:9901}\n",
    )
    .expect("a file");
    let refused = refused.await;
    assert_eq!(refused.code, Some(78));
    assert!(refused.all().contains("other.yaml:2:18"), "{}", refused.all());
}

#[tokio::test]
async fn drain_closes_sessions_and_refuses_new_ones_until_stopped() {
    let upstream = Upstream::echo().await;
    let managed =
        Managed::start(Config::to(&upstream).top("drain: {code: 1001, spread: 100ms}")).await;
    let mut socket = managed.gateway.websocket("/ws").await;
    let drain = managed.tidegate(&["drain"]).await;
    assert!(drain.stdout.contains("1 WebSocket sessions are closed"), "{}", drain.all());
    assert_eq!(code(next(&mut socket).await).map(|it| it.0), Some(1001));
    let handshake = tidegate_testing::Handshake::to("/ws");
    let refused = managed.gateway.refused(&handshake).await;
    assert_eq!(refused.head.status(), Some(503));
    assert_eq!(refused.head.get("retry-after"), Some("1"));
    assert_eq!(refused.error()["error"], "draining");
    assert_eq!(managed.tidegate(&["drain", "--stop"]).await.code, Some(0));
    let _welcome = managed.gateway.websocket("/ws").await;
}

#[tokio::test]
async fn dry_run_reports_the_impact_on_open_sessions() {
    let (first, second) = (Upstream::echo().await, Upstream::echo().await);
    let config = |changed: &str| {
        Config::new()
            .upstream("first", &[first.address()])
            .upstream("second", &[second.address()])
            .route("one", "path_prefix: /one", "first")
            .with("websocket: {on_change: close}")
            .route("two", "path_prefix: /two", changed)
            .with("websocket: {on_change: drain}")
    };
    let managed = Managed::start(config("first")).await;
    let _one = managed.gateway.websocket("/one").await;
    let _two = managed.gateway.websocket("/two").await;
    let text = std::fs::read_to_string(managed.gateway.file()).expect("the file");
    let (head, tail) = text.rsplit_once("upstream: first").expect("the last route");
    let changed = format!("{head}upstream: second{tail}");
    std::fs::write(managed.gateway.folder().join("new.yaml"), changed).expect("a file");
    let file = managed.gateway.file().display().to_string();
    let same = managed.tidegate(&["check", "--against-running", "--config", &file]).await;
    assert!(same.stdout.contains("0 of 2 WebSocket sessions would be affected"), "{}", same.all());
    let new = managed.tidegate(&["check", "--against-running", "--config", "new.yaml"]).await;
    assert!(
        new.stdout
            .contains("1 of 2 WebSocket sessions would be affected: 0 kept, 1 drained, 0 closed"),
        "{}",
        new.all()
    );
    assert!(new.stdout.contains("1 on the route two"), "{}", new.all());
}

#[tokio::test]
async fn frames_are_logged_where_configured_without_secrets() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).with("websocket: {log_frames: text}");
    let managed = Managed::start(config).await;
    let mut socket = managed.gateway.websocket("/ws?userId=user-1").await;
    socket.send(Message::text(r#"{"hello": 1, "token": "hush"}"#)).await.expect("sent");
    next(&mut socket).await;
    let line = managed
        .gateway
        .access("a message", |line| {
            line["event"] == "websocket.message" && line["network.io.direction"] == "transmit"
        })
        .await;
    assert_eq!(line["user.id"], "user-1");
    assert_eq!(line["websocket.message.text"], r#"{"hello": 1, "token": REDACTED}"#);
    let line = managed.gateway.access("a frame", |line| line["event"] == "websocket.frame").await;
    assert_eq!(line["websocket.frame.opcode"], "text");
    assert_eq!(line["websocket.frame.length"], 29);
    assert!(!managed.gateway.access_lines().iter().any(|line| line.contains("hush")));
}

#[tokio::test]
async fn frame_log_of_one_user_is_switched_during_the_session() {
    let upstream = Upstream::echo().await;
    let managed = Managed::start(Config::to(&upstream)).await;
    let mut socket = managed.gateway.websocket("/ws?userId=user-1").await;
    let mut echo = async |text: &str| {
        socket.send(Message::text(text)).await.expect("sent");
        assert_eq!(next(&mut socket).await, Some(Message::text(text)));
    };
    echo("before").await;
    let on = managed.tidegate(&["sessions", "--user", "user-1", "--log-frames", "text"]).await;
    assert!(
        on.stdout.contains("set frame logging of 1 WebSocket sessions to text"),
        "{}",
        on.all()
    );
    echo("between").await;
    managed.tidegate(&["sessions", "--user", "user-1", "--log-frames", "off"]).await;
    echo("behind").await;
    managed.gateway.access("the message", |line| line["websocket.message.text"] == "between").await;
    let lines = managed.gateway.access_lines().join("\n");
    assert!(!lines.contains("before") && !lines.contains("behind"), "{lines}");
}
