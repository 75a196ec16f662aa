//! Several gateways share counters in Redis, and each counts alone while Redis is unreachable.

use futures_util::SinkExt;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tidegate_testing::{
    Admin, Authority, Config, Gateway, Handshake, Redis, Upstream, Wire, next, until, within,
};
use tokio_tungstenite::tungstenite::Message;

/// Gateways of one configuration, each with an admin endpoint.
struct Replicas {
    gateways: Vec<Gateway>,
    admins: Vec<Admin>,
}

impl Replicas {
    async fn start(count: usize, config: &Config, redis: &Redis, more: &str) -> Self {
        Self::apart(count, config, &redis.section(more)).await.together().await
    }

    async fn apart(count: usize, config: &Config, section: &str) -> Self {
        let (mut gateways, mut admins) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let admin = Admin::new();
            let config = config.clone().top(section).top(&admin.section());
            gateways.push(config.start().await);
            admins.push(admin);
        }
        Self { gateways, admins }
    }

    async fn together(self) -> Self {
        self.wait(true).await;
        self
    }

    /// Waits until all of them count together, or alone.
    async fn wait(&self, together: bool) {
        for admin in &self.admins {
            until("the counters", async || {
                let up = admin.metrics().await.value("tidegate_shared_counters_up", &[]);
                (up > 0.5) == together
            })
            .await;
        }
    }
}

fn code(message: Option<Message>) -> Option<u16> {
    match message {
        Some(Message::Close(Some(frame))) => Some(frame.code.into()),
        _ => None,
    }
}

/// The status that answers a handshake, and the connection.
async fn answer(gateway: &Gateway, handshake: &Handshake) -> (u16, Wire) {
    let mut wire = gateway.connect().await;
    wire.send(handshake.bytes()).await;
    let head = wire.head().await;
    (head.status().expect("a status"), wire)
}

/// Sends so many requests over one connection; how many were not too many.
async fn admitted(gateway: &Gateway, target: &str, count: usize) -> usize {
    let mut wire = gateway.connect().await;
    let mut admitted = 0;
    for _ in 0..count {
        wire.send(tidegate_testing::get(target, &[])).await;
        match wire.response().await.status() {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
    }
    admitted
}

#[tokio::test]
async fn rate_limit_holds_across_three_gateways() {
    let (redis, upstream) = (Redis::start().await, Upstream::saying("ok").await);
    let config = Config::to(&upstream).with("rate_limits: [{requests: 300, per: 1d, by: all}]");
    let replicas = Replicas::start(3, &config, &redis, ", timeout: 5s").await;
    let counts = replicas.gateways.iter().map(|gateway| admitted(gateway, "/", 200));
    let counts = join_all(counts).await;
    // One more comes in each 288 seconds.
    let total: usize = counts.iter().sum();
    assert!((300..=302).contains(&total), "{counts:?}");
    let keys = redis.ask(&["--raw", "KEYS", "*"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test]
async fn shared_rate_is_exact_within_two_percent() {
    let (redis, upstream) = (Redis::start().await, Upstream::saying("ok").await);
    let limits = "rate_limits: [{requests: 100, burst: 50, by: user_id}]";
    let config = Config::to(&upstream).with(limits).top("identity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(3, &config, &redis, ", timeout: 5s").await;
    let began = Instant::now();
    let hammer = async |gateway: &Gateway| {
        let mut total = 0;
        while began.elapsed() < Duration::from_secs(3) {
            total += admitted(gateway, "/?u=user-1", 1).await;
        }
        total
    };
    let counts = join_all(replicas.gateways.iter().map(hammer)).await;
    let total: usize = counts.iter().sum();
    let expected = 50.0 + 100.0 * began.elapsed().as_secs_f64();
    let ratio = total as f64 / expected;
    assert!((0.98..=1.02).contains(&ratio), "{counts:?} of {expected}");
    assert!(!redis.ask(&["--raw", "KEYS", "*"]).join(" ").contains("user-1"), "no names there");
}

#[tokio::test]
async fn locally_limited_request_is_not_sent_to_redis() {
    let (redis, upstream) = (Redis::start().await, Upstream::saying("ok").await);
    let config = Config::to(&upstream).with("rate_limits: [{requests: 10, per: 1d}]");
    let replicas = Replicas::start(1, &config, &redis, ", timeout: 5s").await;
    assert_eq!(admitted(&replicas.gateways[0], "/", 100).await, 10);
    let metrics = replicas.admins[0].metrics().await;
    let asked =
        metrics.value("tidegate_shared_counters_requests_total", &[("outcome", "answered")]);
    assert!((asked - 10.0).abs() < f64::EPSILON, "{asked}");
}

#[tokio::test]
async fn redis_restart_loses_no_request() {
    let (mut redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("rate_limits: [{requests: 1000000, by: all}]")
        .with("websocket: {max_sessions_per_user: 3}")
        .top("identity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(3, &config, &redis, "").await;
    let mut sockets = Vec::new();
    for gateway in &replicas.gateways {
        sockets.push(gateway.websocket("/ws?u=user-1").await);
    }
    let marks: Vec<usize> = replicas.gateways.iter().map(Gateway::mark).collect();
    let (done, stop) = tokio::sync::watch::channel(false);
    let traffic = replicas.gateways.iter().map(|gateway| {
        let stop = stop.clone();
        async move {
            let mut count = 0;
            while !*stop.borrow() {
                assert_eq!(gateway.get("/", &[]).await.status(), 200);
                count += 1;
            }
            count
        }
    });
    let trouble = async {
        redis.kill();
        replicas.wait(false).await;
        for (gateway, mark) in replicas.gateways.iter().zip(marks) {
            gateway.says(mark, "counts requests and sessions by itself").await;
        }
        redis.run().await;
        replicas.wait(true).await;
        // It had forgotten all sessions, and is told of them again.
        until("the sessions", async || redis.sessions() == 3).await;
        done.send(true).expect("somebody listens");
    };
    let (counts, ()) = tokio::join!(join_all(traffic), trouble);
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    for socket in &mut sockets {
        socket.send(Message::text("still here")).await.expect("sent");
        assert_eq!(next(socket).await, Some(Message::text("still here")));
    }
    let handshake = Handshake::to("/ws?u=user-1");
    assert_eq!(replicas.gateways[1].refused(&handshake).await.status(), 429);
}

#[tokio::test]
async fn silent_redis_delays_no_request() {
    let (redis, upstream) = (Redis::start().await, Upstream::saying("ok").await);
    let config = Config::to(&upstream).with("rate_limits: [{requests: 20, per: 1d}]");
    let replicas = Replicas::start(2, &config, &redis, ", timeout: 100ms").await;
    redis.freeze(true);
    let counts = join_all(replicas.gateways.iter().map(|it| admitted(it, "/", 30))).await;
    assert_eq!(counts, [20, 20], "each counts alone");
    redis.freeze(false);
    replicas.wait(true).await;
}

#[tokio::test]
async fn session_limit_of_a_user_holds_across_gateways() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 3}")
        .top("identity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(3, &config, &redis, ", timeout: 5s").await;
    let mut sockets = Vec::new();
    for gateway in &replicas.gateways {
        sockets.push(gateway.websocket("/ws?u=user-1").await);
    }
    let handshake = Handshake::to("/ws?u=user-1");
    for gateway in &replicas.gateways {
        let refused = gateway.refused(&handshake).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.error()["error"], "too_many_sessions");
    }
    let _other = replicas.gateways[0].websocket("/ws?u=user-2").await;
    let name = "tidegate_websocket_refused_total";
    let refused = replicas.admins[0].metrics().await.value(name, &[("route", "all")]);
    assert!((refused - 1.0).abs() < f64::EPSILON);
    // A place that is free at one gateway is free at all.
    sockets[1].close(None).await.expect("closed");
    until("the place", async || redis.sessions() == 3).await;
    let _again = replicas.gateways[2].websocket("/ws?u=user-1").await;
    assert_eq!(replicas.gateways[0].refused(&handshake).await.status(), 429);
}

#[tokio::test]
async fn concurrent_handshakes_do_not_exceed_the_shared_limit() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 7}")
        .top("identity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(3, &config, &redis, ", timeout: 5s").await;
    let handshake = Handshake::to("/ws?u=user-1");
    let all = replicas.gateways.iter().flat_map(|gateway| std::iter::repeat_n(gateway, 10));
    let answers = join_all(all.map(|gateway| answer(gateway, &handshake))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 101).count(), 7);
}

#[tokio::test]
async fn sessions_with_the_same_request_id_count_separately() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 2}")
        .top("trusted_proxies: [127.0.0.0/8]\nidentity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(2, &config, &redis, ", timeout: 5s").await;
    let handshake = Handshake::to("/ws?u=user-1").set("X-Request-Id", "the-same");
    let mut open = Vec::new();
    for (gateway, status) in [(0, 101), (1, 101), (0, 429), (1, 429)] {
        let (answered, socket) = answer(&replicas.gateways[gateway], &handshake).await;
        assert_eq!(answered, status);
        open.push(socket);
    }
    assert_eq!(redis.sessions(), 2);
}

#[tokio::test]
async fn evicted_session_leaves_others_with_its_request_id() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 1, evict: oldest}")
        .top("trusted_proxies: [127.0.0.0/8]\nidentity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(1, &config, &redis, ", timeout: 5s").await;
    let handshake = Handshake::to("/ws?u=user-1").set("X-Request-Id", "the-same");
    let gateway = &replicas.gateways[0];
    let mut first = handshake.open(gateway).await.1;
    let mut second = handshake.open(gateway).await.1;
    assert_eq!(code(within("the close frame", next(&mut first)).await), Some(1008));
    second.send(Message::text("here")).await.expect("sent");
    assert_eq!(next(&mut second).await, Some(Message::text("here")));
}

#[tokio::test]
async fn oldest_session_is_evicted_on_any_gateway() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 2, evict: oldest}")
        .top("identity: {user_id: [{query: u}]}");
    let replicas = Replicas::start(3, &config, &redis, ", timeout: 5s").await;
    let [a, b, c] = &replicas.gateways[..] else { panic!("three") };
    let mut oldest = a.websocket("/ws?u=user-1").await;
    let mut second = b.websocket("/ws?u=user-1").await;
    let mut third = c.websocket("/ws?u=user-1").await;
    assert_eq!(code(within("the close frame", next(&mut oldest)).await), Some(1008));
    let ended = a.access("the end", |line| line["event"] == "websocket.close").await;
    assert_eq!(ended["websocket.close.initiator"], "limit");
    let mut fourth = c.websocket("/ws?u=user-1").await;
    assert_eq!(code(within("the close frame", next(&mut second)).await), Some(1008));
    for socket in [&mut third, &mut fourth] {
        socket.send(Message::text("here")).await.expect("sent");
        assert_eq!(next(socket).await, Some(Message::text("here")));
    }
}

#[tokio::test]
async fn sessions_of_a_dead_gateway_stop_counting() {
    let (redis, upstream) = (Redis::start().await, Upstream::echo().await);
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 1}")
        .top("identity: {user_id: [{query: u}]}");
    let mut replicas = Replicas::start(2, &config, &redis, ", timeout: 5s, lease: 1s").await;
    let handshake = Handshake::to("/ws?u=user-1");
    let _socket = replicas.gateways[0].websocket("/ws?u=user-1").await;
    assert_eq!(replicas.gateways[1].refused(&handshake).await.status(), 429);
    // Renewed, it outlives its lease.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(replicas.gateways[1].refused(&handshake).await.status(), 429);
    let gone = replicas.gateways.remove(0);
    gone.signal(Signal::SIGKILL);
    until("the place", async || answer(&replicas.gateways[0], &handshake).await.0 == 101).await;
}

#[tokio::test]
async fn gateway_starts_without_redis_and_joins_later() {
    let mut redis = Redis::start().await;
    let upstream = Upstream::saying("ok").await;
    redis.kill();
    let config = Config::to(&upstream).with("rate_limits: [{requests: 5, per: 1d}]");
    let replicas = Replicas::apart(1, &config, &redis.section("")).await;
    replicas.gateways[0].says(0, "cannot reach the server").await;
    assert_eq!(admitted(&replicas.gateways[0], "/", 9).await, 5);
    redis.run().await;
    replicas.wait(true).await;
    replicas.gateways[0].says(0, "counted together with the other gateways").await;
}

#[tokio::test]
async fn redis_password_and_tls_are_used() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).with("rate_limits: [{requests: 5, per: 1d}]");
    let guarded = Redis::with(&["--requirepass", "correct-horse"]).await;
    let wrong = Replicas::apart(1, &config, &guarded.section(", password: battery")).await;
    let line = wrong.gateways[0].says(0, "cannot reach the server").await;
    assert!(!line.contains("battery"), "{line}");
    Replicas::start(1, &config, &guarded, ", password: correct-horse").await;

    let authority = Authority::new();
    let redis = Redis::over_tls(&authority).await;
    let section = |ca: &str| {
        format!("shared_counters: {{url: \"rediss://localhost:{}\", ca: \"{ca}\"}}", redis.port())
    };
    let trusting = Replicas::apart(1, &config, &section(&redis.ca())).await.together().await;
    assert_eq!(admitted(&trusting.gateways[0], "/", 9).await, 5);
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = folder.path().join("ca.pem");
    Authority::new().write(&stranger);
    let wary = Replicas::apart(1, &config, &section(&stranger.display().to_string())).await;
    wary.gateways[0].says(0, "cannot reach the server").await;
    assert_eq!(admitted(&wary.gateways[0], "/", 9).await, 5);
}
