//! A logout ends every session and refuses every token of the login, at all gateways, and nothing else.

use crate::session_support::{closed, config, handshake, open, post};
use futures_util::SinkExt;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::time::Instant;
use tidegate_testing::{
    Admin, Config, Gateway, IdentityProvider, Redis, Response, Socket, TOKEN, Upstream, cli, next,
    until, within,
};
use tokio_tungstenite::tungstenite::Message;

const PATH: &str = "/.tidegate/logout";

const SECTION: &str = "revocation: {back_channel_logout: /.tidegate/logout}";

/// A POST of a logout token by the issuer.
async fn log_out(gateway: &Gateway, token: &str) -> Response {
    let form = format!("logout_token={token}");
    let fields = ["Content-Type: application/x-www-form-urlencoded"];
    post(gateway, PATH, &fields, &form).await
}

/// The status of a request with this token.
async fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/", &[&format!("Authorization: Bearer {token}")]).await.status()
}

async fn echoes(socket: &mut Socket) {
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(socket).await, Some(Message::text("still here")));
}

/// An upstream that answers requests, and echoes in sockets.
async fn service() -> (Upstream, Upstream) {
    (Upstream::saying("ok").await, Upstream::echo().await)
}

fn with_service(issuer: &IdentityProvider, (plain, echo): &(Upstream, Upstream)) -> Config {
    Config::new()
        .upstream("plain", &[plain.address()])
        .upstream("echo", &[echo.address()])
        .route("ws", "path_prefix: /ws", "echo")
        .with("require: accounts")
        .route("all", "path_prefix: /", "plain")
        .with("require: accounts")
        .top(&issuer.authentication("accounts", ""))
        .top("identity: {user_id: [{claim: sub}]}")
        .top(SECTION)
}

const REVOKED: (u16, &str) = (3000, "the login was revoked");

async fn is_revoked(socket: &mut Socket) {
    let (code, reason) = closed(socket).await;
    assert_eq!((code, &*reason), REVOKED);
}

#[tokio::test]
async fn logout_ends_the_sessions_and_tokens_of_that_login_alone() {
    let (issuer, service) = (IdentityProvider::start().await, service().await);
    let config = with_service(&issuer, &service);
    let gateway = config.start().await;
    let token = |sub: &str, sid: &str| issuer.token(json!({"sub": sub, "sid": sid}));
    let phone = token("alice", "phone");
    let mut sockets = Vec::new();
    for token in [&phone, &token("alice", "laptop"), &token("bob", "desk")] {
        sockets.push(open(&gateway, token).await);
    }
    assert_eq!(status(&gateway, &phone).await, 200);
    let answer =
        log_out(&gateway, &issuer.logout_token(json!({"sid": "phone", "sub": "alice"}))).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.head.get("cache-control"), Some("no-store"));
    is_revoked(&mut sockets[0]).await;
    let line = gateway.access("the end", |line| line["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "expiry");
    echoes(&mut sockets[1]).await;
    echoes(&mut sockets[2]).await;
    // Also a token of the login session that is issued later.
    for refused in [&phone, &issuer.token(json!({"sub": "alice", "sid": "phone", "jti": "later"}))]
    {
        let answer = gateway.get("/", &[&format!("Authorization: Bearer {refused}")]).await;
        assert_eq!(answer.status(), 401);
        let line = gateway.access("the refusal", |line| line["auth.reason"] == "revoked").await;
        assert_eq!(
            (&line["auth.scheme"], &line["auth.result"]),
            (&json!("accounts"), &json!("refused"))
        );
        assert_eq!(gateway.refused(&handshake(refused)).await.status(), 401);
    }
    // A reload forgets nothing.
    let mark = gateway.mark();
    gateway.rewrite(&config.clone().top("proxy_status: off"));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(status(&gateway, &phone).await, 401);
    // Without `sid`, all of the user's.
    let all = issuer.logout_token(json!({"sub": "alice"}));
    assert_eq!(log_out(&gateway, &all).await.status(), 200);
    is_revoked(&mut sockets[1]).await;
    echoes(&mut sockets[2]).await;
    assert_eq!(status(&gateway, &token("bob", "desk")).await, 200);
    // A login of the user after that is accepted.
    let later = issuer.claims(json!({}))["iat"].as_u64().expect("seconds") + 2;
    let later = issuer.token(json!({"sub": "alice", "sid": "new", "iat": later}));
    assert_eq!(status(&gateway, &later).await, 200);
    assert_eq!(log_out(&gateway, &all).await.status(), 400, "the same token again");
    let before_the_reload = issuer.logout_token(json!({"sid": "other"}));
    assert_eq!(log_out(&gateway, &before_the_reload).await.status(), 200);
    let mark = gateway.mark();
    gateway.rewrite(&config);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(log_out(&gateway, &before_the_reload).await.status(), 400, "it counts once");
}

#[tokio::test]
async fn what_is_no_logout_token_of_a_trusted_issuer_is_refused_and_ends_nothing() {
    let (issuer, service) = (IdentityProvider::start().await, service().await);
    let stranger = IdentityProvider::start().await;
    let gateway = with_service(&issuer, &service).start().await;
    let mut socket = open(&gateway, &issuer.token(json!({"sid": "s"}))).await;
    let good = json!({"sid": "s"});
    let with = |more: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("more").clone());
        issuer.logout_token(claims)
    };
    let forged = stranger.logout_token(json!({"sid": "s", "iss": issuer.issuer()}));
    let now = issuer.claims(json!({}))["iat"].as_u64().expect("seconds");
    for (what, token) in [
        ("an access token", issuer.token(json!({"sid": "s", "jti": "1"}))),
        ("another issuer's", stranger.logout_token(good.clone())),
        ("a forged one", forged),
        ("for another audience", with(json!({"aud": "mail"}))),
        ("an old one", with(json!({"iat": now - 3600}))),
        ("with a nonce", with(json!({"nonce": "n"}))),
        ("without an event", with(json!({"events": {}}))),
        ("without an id", with(json!({"jti": null}))),
        ("of nobody", issuer.logout_token(json!({}))),
        ("no token", "x".to_owned()),
        ("nothing", String::new()),
    ] {
        let answer = log_out(&gateway, &token).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["error"], "invalid_request", "{what}");
        assert!(token.is_empty() || !answer.text().contains(&token), "{what}");
    }
    let twice = format!("logout_token={0}&logout_token={0}", with(json!({})));
    assert_eq!(post(&gateway, PATH, &[], &twice).await.status(), 400);
    assert_eq!(gateway.get(PATH, &[]).await.status(), 405);
    echoes(&mut socket).await;
}

#[tokio::test]
async fn kick_can_revoke_the_logins_that_a_user_has() {
    let (issuer, service) = (IdentityProvider::start().await, service().await);
    let admin = Admin::new();
    let gateway = with_service(&issuer, &service).top(&admin.section()).start().await;
    let [alice, bob] = ["alice", "bob"].map(|sub| issuer.token(json!({"sub": sub})));
    let (mut hers, mut his) = (open(&gateway, &alice).await, open(&gateway, &bob).await);
    let address = admin.address();
    let environment = [("TIDEGATE_ADMIN", address.as_str()), ("TIDEGATE_ADMIN_TOKEN", TOKEN)];
    let kick = ["kick", "--user", "alice", "--revoke"];
    let run = cli(gateway.folder(), &kick, &environment).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    assert!(run.stdout.contains("refused"), "{}", run.all());
    assert_eq!(closed(&mut hers).await.0, 4001);
    assert_eq!((status(&gateway, &alice).await, status(&gateway, &bob).await), (401, 200));
    echoes(&mut his).await;
    let whom = ["kick", "--session", "x", "--revoke"];
    assert_eq!(cli(gateway.folder(), &whom, &environment).await.code, Some(2));
}

/// Sessions that end, and when the last of them did.
async fn ends(sockets: Vec<Socket>) -> (usize, Instant) {
    let ended = join_all(sockets.into_iter().map(|mut socket| async move {
        let (code, reason) = closed(&mut socket).await;
        ((code, &*reason) == REVOKED, Instant::now())
    }));
    let ended = within("all ends", ended).await;
    let last = ended.iter().map(|(_, at)| *at).max().expect("sessions");
    (ended.iter().filter(|(is_revoked, _)| *is_revoked).count(), last)
}

/// The sessions of the logout, and all.
const SESSIONS: (usize, usize) = (500, 2000);

#[tokio::test]
async fn logout_of_500_of_2000_sessions_ends_those_at_three_gateways() {
    let (issuer, redis) = (IdentityProvider::start().await, Redis::start().await);
    let upstream = Upstream::echo().await;
    let config = config(&issuer, &upstream, "").top(SECTION).top("access_log: off");
    let config = config.top(&redis.section(""));
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(config.start().await);
    }
    let leaving = issuer.token(json!({"sub": "alice", "sid": "leaving"}));
    let staying = issuer.token(json!({"sub": "alice", "sid": "staying"}));
    let (mut leave, mut stay) = (Vec::new(), Vec::new());
    for number in 0..SESSIONS.1 {
        let gateway = &gateways[number % 3];
        match number % (SESSIONS.1 / SESSIONS.0) {
            0 => leave.push(open(gateway, &leaving).await),
            _ => stay.push(open(gateway, &staying).await),
        }
    }
    assert_eq!((leave.len(), stay.len()), (SESSIONS.0, SESSIONS.1 - SESSIONS.0));
    let posted = Instant::now();
    let answer = log_out(&gateways[0], &issuer.logout_token(json!({"sid": "leaving"}))).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let (ended, last) = ends(leave).await;
    let took = last - posted;
    println!("{ended} sessions ended within {took:?}");
    assert_eq!(ended, SESSIONS.0);
    for gateway in &gateways {
        assert_eq!(gateway.refused(&handshake(&leaving)).await.status(), 401);
    }
    // The others live on: not one has a close frame, and each answers.
    for socket in &mut stay {
        echoes(socket).await;
    }
    drop(stay);
}

#[tokio::test]
async fn gateway_that_was_away_catches_up_with_logouts() {
    let (issuer, service) = (IdentityProvider::start().await, service().await);
    let mut redis = Redis::start().await;
    let config = with_service(&issuer, &service).top(&redis.section(""));
    let first = config.start().await;
    let token = |sid: &str| issuer.token(json!({"sid": sid}));
    let (one, two) = (token("one"), token("two"));
    let logout = issuer.logout_token(json!({"sid": "one"}));
    assert_eq!(log_out(&first, &logout).await.status(), 200);
    // A gateway that starts after the logout.
    let second = config.start().await;
    until("it knows", async || status(&second, &one).await == 401).await;
    // A logout while the server is away, which comes back without its data.
    redis.kill();
    let logout = issuer.logout_token(json!({"sid": "two"}));
    assert_eq!(log_out(&first, &logout).await.status(), 200, "it takes effect here");
    assert_eq!((status(&first, &two).await, status(&second, &two).await), (401, 200));
    let mut socket = open(&second, &two).await;
    redis.run().await;
    is_revoked(&mut socket).await;
    until("it knows", async || status(&second, &two).await == 401).await;
    let third = config.start().await;
    until("it knows both", async || {
        (status(&third, &one).await, status(&third, &two).await) == (401, 401)
    })
    .await;
    assert_eq!(status(&third, &token("three")).await, 200);
}

/// A process that ends with the test.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[tokio::test]
async fn gateway_that_takes_over_knows_what_was_revoked_before() {
    let (issuer, service) = (IdentityProvider::start().await, service().await);
    let gateway = with_service(&issuer, &service).start().await;
    gateway.says(0, "ready").await;
    let token = |sub: &str| issuer.token(json!({"sub": sub, "sid": sub}));
    let logout = issuer.logout_token(json!({"sid": "alice"}));
    assert_eq!(log_out(&gateway, &logout).await.status(), 200);
    let file = gateway.file().to_str().expect("a path");
    let run = cli(gateway.folder(), &["upgrade", "--config", file], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let process = run.stdout.split("process ").nth(1).and_then(|rest| rest.split(' ').next());
    let process = process.and_then(|process| process.parse().ok()).expect("a process");
    let _successor = Successor(Pid::from_raw(process));
    until("the keys of the issuer", async || status(&gateway, &token("bob")).await == 200).await;
    assert_eq!(status(&gateway, &token("alice")).await, 401);
}

#[tokio::test]
async fn settings_of_revocation_are_checked() {
    let folder = tempfile::TempDir::new().expect("a folder");
    for (section, reason) in [
        ("revocation: {back_channel_logout: /logout}", "needs a scheme `jwt` or `oidc`"),
        ("revocation: {remember: 0s}", "must be at least 1s"),
    ] {
        let text = Config::to_address("127.0.0.1:1").top(section).yaml(18080);
        std::fs::write(folder.path().join("tidegate.yaml"), &text).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await;
        assert!(run.code == Some(78) && run.all().contains(reason), "{section}: {}", run.all());
    }
}
