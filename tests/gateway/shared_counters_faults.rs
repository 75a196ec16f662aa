//! A Redis with wrong or partial replies fails no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_testing::{Admin, Config, Gateway, Handshake, Redis, Upstream, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands before a Redis, and answers each batch of commands with this one among them in its place.
async fn answering(
    redis: &Redis,
    command: &'static str,
    answer: &'static str,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (behind, count) = (redis.port(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", behind)).await.expect("Redis");
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
                let answers_of_redis = sender.clone();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                        let _ = answers_of_redis.send(bytes[..count].to_vec());
                    }
                });
                tokio::spawn(async move {
                    while let Some(bytes) = answers.recv().await {
                        if to_client.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
                let mut bytes = vec![0; 65_536];
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    let asked = &bytes[..count];
                    if asked.windows(command.len()).any(|it| it == command.as_bytes()) {
                        counter.fetch_add(1, Ordering::Relaxed);
                        let _ = sender.send(answer.as_bytes().to_vec());
                    } else if to_server.write_all(asked).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, count)
}

struct Counting {
    redis: Redis,
    gateway: Gateway,
    admin: Admin,
    _upstream: Upstream,
}

impl Counting {
    /// A gateway that counts in a Redis of its own, by the user id that `u` names.
    async fn start(route: &str, section: &str) -> Self {
        let (redis, upstream, admin) = (Redis::start().await, Upstream::echo().await, Admin::new());
        let config = Config::to(&upstream)
            .with(route)
            .top("identity: {user_id: [{query: u}]}")
            .top(&redis.section(section))
            .top(&admin.section());
        let counting = Self { gateway: config.start().await, redis, admin, _upstream: upstream };
        counting.is_up(true).await;
        counting
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.admin.metrics().await.value(name, labels)
    }

    async fn is_up(&self, up: bool) {
        until("the counters", async || {
            (self.metric("tidegate_shared_counters_up", &[]).await > 0.5) == up
        })
        .await;
    }

    async fn failed(&self) -> f64 {
        let name = "tidegate_shared_counters_requests_total";
        self.metric(name, &[("outcome", "failed")]).await
    }

    async fn status(&self, target: &str) -> u16 {
        self.gateway.get(target, &[]).await.status()
    }

    fn key(&self, kind: &str) -> String {
        let keys = self.redis.ask(&["--raw", "KEYS", &format!("*:{kind}:*")]);
        keys.first().cloned().expect("a key")
    }

    /// How many connections it has accepted, those of the test included.
    fn connections(&self) -> u64 {
        let stats = self.redis.ask(&["INFO", "stats"]);
        let line = stats.iter().find_map(|it| it.strip_prefix("total_connections_received:"));
        line.and_then(|it| it.trim().parse().ok()).expect("a number")
    }
}

#[tokio::test]
async fn server_that_refuses_writes_is_retried_with_backoff() {
    let counting = Counting::start("websocket: {max_sessions_per_user: 3}", ", lease: 1s").await;
    let _socket = counting.gateway.websocket("/ws?u=user-1").await;
    for (refuse, accept) in [
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        (["CONFIG SET", "maxmemory", "1"], ["CONFIG SET", "maxmemory", "0"]),
    ] {
        let command = |words: [&str; 3]| {
            let words: Vec<_> = words.iter().flat_map(|it| it.split(' ')).collect();
            assert_eq!(counting.redis.ask(&words), ["OK"]);
        };
        command(refuse);
        counting.is_up(false).await;
        let (before, began, mark) =
            (counting.connections(), Instant::now(), counting.gateway.mark());
        assert_eq!(counting.status("/?u=user-1").await, 200);
        // Absence of a flood takes time to be seen.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let most = 15 + 10 * began.elapsed().as_secs();
        let made = counting.connections() - before;
        assert!(made <= most, "{made} connections while writes are refused");
        let lines = counting.gateway.log_lines();
        let told = lines.iter().skip(mark).filter(|it| it.contains("shared counters")).count();
        assert!(told <= 2, "{lines:#?}");
        command(accept);
        counting.is_up(true).await;
        until("the session is counted again", async || counting.redis.sessions() == 1).await;
    }
    let said = counting.gateway.says(0, "refuses commands").await;
    assert!(said.contains("read only replica"), "{said}");
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let limit = "rate_limits: [{requests: 2, per: 1d, by: user_id, burst: 2}]";
    let counting = Counting::start(limit, ", timeout: 5s").await;
    assert_eq!(counting.status("/?u=a").await, 200);
    assert_eq!(counting.redis.ask(&["SCRIPT", "FLUSH"]), ["OK"]);
    assert_eq!(counting.status("/?u=b").await, 200);
    assert!(counting.failed().await < 0.5);
    assert_eq!(counting.redis.ask(&["--raw", "KEYS", "*:rate:*"]).len(), 2);
}

#[tokio::test]
async fn broken_rate_key_is_replaced_and_other_keys_are_counted() {
    let limit = "rate_limits: [{requests: 3, per: 1d, by: user_id}]";
    let counting = Counting::start(limit, ", timeout: 5s").await;
    assert_eq!(counting.status("/?u=a").await, 200);
    let key = counting.key("rate");
    for broken in
        [["SET", "no number"], ["SET", "nan"], ["SET", "-inf"], ["LPUSH", "x"], ["SADD", "x"]]
    {
        counting.redis.ask(&["DEL", &key]);
        counting.redis.ask(&[broken[0], &key, broken[1]]);
        let user = broken.join("-").replace(' ', "-");
        assert_eq!(counting.status(&format!("/?u={user}")).await, 200);
        // The first user may be too many by now; the key is what counts.
        counting.status("/?u=a").await;
    }
    assert!(counting.failed().await < 0.5);
    counting.is_up(true).await;
}

#[tokio::test]
async fn broken_session_key_is_replaced_and_other_users_stay_counted() {
    let counting =
        Counting::start("websocket: {max_sessions_per_user: 1}", ", timeout: 5s, lease: 1s").await;
    let first = counting.gateway.websocket("/ws?u=a").await;
    let key = counting.key("sessions");
    let _second = counting.gateway.websocket("/ws?u=b").await;
    let mark = counting.gateway.mark();
    counting.redis.ask(&["SET", &key, "no hash"]);
    counting.gateway.says(mark, "a value of another type").await;
    counting.is_up(true).await;
    // The next handshake of that user replaces it; the other user's session is still renewed.
    drop(first);
    let handshake = Handshake::to("/ws?u=a");
    until("a hash again", async || {
        let mut wire = counting.gateway.connect().await;
        wire.send(handshake.bytes()).await;
        wire.head().await;
        counting.redis.ask(&["TYPE", &key]) == ["hash"]
    })
    .await;
    assert_eq!(counting.gateway.refused(&Handshake::to("/ws?u=b")).await.status(), 429);
    assert!(counting.failed().await < 0.5);
}

#[tokio::test]
async fn counter_written_by_a_fast_clock_is_cut_to_one_burst() {
    let limit = "rate_limits: [{requests: 20, per: 10m, by: user_id}]";
    let counting = Counting::start(limit, ", timeout: 5s").await;
    assert_eq!(counting.status("/?u=a").await, 200);
    let key = counting.key("rate");
    let micros = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let ahead = (micros() + 3_600_000_000).to_string();
    counting.redis.ask(&["SET", &key, &ahead, "PX", "4000000"]);
    let answer = counting.gateway.get("/?u=a", &[]).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.head.get("retry-after").expect("a time").parse().expect("seconds");
    assert!(wait <= 31, "{wait} s");
    // It is kept like that: the next request does not find it an hour ahead again.
    let kept: f64 = counting.redis.ask(&["--raw", "GET", &key])[0].parse().expect("a number");
    assert!(kept <= micros() as f64 + 600e6, "{kept}");
    let lives: i64 = counting.redis.ask(&["--raw", "PTTL", &key])[0].parse().expect("a number");
    assert!((0..=600_001).contains(&lives), "{lives} ms");
}

#[tokio::test]
async fn lease_written_by_a_fast_clock_expires() {
    let counting =
        Counting::start("websocket: {max_sessions_per_user: 1}", ", timeout: 5s, lease: 1s").await;
    let socket = counting.gateway.websocket("/ws?u=a").await;
    let key = counting.key("sessions");
    drop(socket);
    until("no session", async || counting.redis.sessions() == 0).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let lease = format!("{} {} gone", now + 3_600_000, now + 3_601_000);
    counting.redis.ask(&["HSET", &key, "left-behind", &lease]);
    let handshake = Handshake::to("/ws?u=a");
    assert_eq!(counting.gateway.refused(&handshake).await.status(), 429);
    until("there is room", async || {
        let mut wire = counting.gateway.connect().await;
        wire.send(handshake.bytes()).await;
        wire.head().await.status() == Some(101)
    })
    .await;
}

#[tokio::test]
async fn immediate_blpop_reply_is_followed_by_a_pause() {
    let of_nobody = "*2\r\n$4\r\nlist\r\n$6\r\nnobody\r\n";
    for answer in ["*-1\r\n", of_nobody, "+OK\r\n", "-ERR no\r\n"] {
        let redis = Redis::start().await;
        let (port, count) = answering(&redis, "BLPOP", answer).await;
        let upstream = Upstream::echo().await;
        let gateway = Config::to(&upstream)
            .with("websocket: {max_sessions_per_user: 3}")
            .top("identity: {user_id: [{query: u}]}")
            .top(&format!("shared_counters: {{url: \"redis://127.0.0.1:{port}\"}}"))
            .start()
            .await;
        gateway.says(0, "which sessions other gateways evict").await;
        let before = count.load(Ordering::Relaxed);
        // Absence of a flood takes time to be seen.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = count.load(Ordering::Relaxed) - before;
        assert!(asked <= 10, "{asked} times in 2 s, answered {answer:?}");
        let lines = gateway.log_lines();
        let told = lines
            .iter()
            .filter(|line| line.contains("which sessions other gateways evict"))
            .count();
        assert_eq!(told, 1, "{lines:#?}");
    }
}

#[tokio::test]
async fn denied_blpop_is_logged_without_reconnecting() {
    let redis = Redis::start().await;
    let user = ["ACL", "SETUSER", "gw", "on", ">pw", "~*", "+@all", "-blpop"];
    assert_eq!(redis.ask(&user), ["OK"]);
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 1, evict: oldest}")
        .top("identity: {user_id: [{query: u}]}")
        .top(&redis.section(", username: gw, password: pw"));
    let gateways = [config.start().await, config.start().await];
    for gateway in &gateways {
        let line = gateway.says(0, "which sessions other gateways evict").await;
        assert!(line.contains("blpop"), "{line}");
    }
}

#[tokio::test]
async fn implausible_reply_of_the_rate_script_is_ignored() {
    for answer in [":-1\r\n", ":9223372036854775807\r\n", "$-1\r\n", "*0\r\n"] {
        let redis = Redis::start().await;
        let (port, _) = answering(&redis, "EVALSHA", answer).await;
        let upstream = Upstream::saying("ok").await;
        let gateway = Config::to(&upstream)
            .with("rate_limits: [{requests: 2, per: 1d}]")
            .top(&format!("shared_counters: {{url: \"redis://127.0.0.1:{port}\"}}"))
            .start()
            .await;
        gateway.says(0, "does not answer like Valkey or Redis").await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(gateway.get("/", &[]).await.status());
        }
        assert_eq!(statuses, [200, 200, 429], "counted alone, answered {answer:?}");
    }
}
