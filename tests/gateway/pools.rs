//! Several endpoints behind one name: who is busy, slow, unwell or gone is spared.

use crate::support::{
    Config, Gateway, Handshake, Response, Upstream, free_port, get, next, ok, replace_file,
    respond, switch, until, within,
};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// A configuration whose upstream `both` has these endpoints and these further lines.
fn pool(endpoints: &[&Upstream], lines: &[&str]) -> Config {
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address()).collect();
    let config = Config::new().upstream("both", &addresses);
    let config = lines.iter().fold(config, |config, line| config.speaking(line));
    config.route("all", "path_prefix: /", "both")
}

/// The bodies of so many answers, one after the other.
async fn said(gateway: &Gateway, count: usize, fields: &[&str]) -> String {
    let mut said = String::new();
    for _ in 0..count {
        said += &gateway.get("/", fields).await.text();
    }
    said
}

/// An upstream that says its name, with a status that can be changed.
async fn moody(name: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let mood = Arc::clone(&status);
    let upstream = Upstream::answering(move |_| {
        let status = mood.load(Ordering::Relaxed);
        respond(&format!("{status} Mood"), &[], name)
    })
    .await;
    (upstream, status)
}

#[tokio::test]
async fn least_requests_spares_who_is_busy_with_requests_or_sessions() {
    let (busy, idle) = (Upstream::echo().await, Upstream::saying("b").await);
    let gateway = pool(&[&busy, &idle], &["balance: least_requests"]).start().await;
    let mut sockets = Vec::new();
    while sockets.is_empty() {
        // Only `busy` knows WebSockets.
        let mut wire = gateway.connect().await;
        wire.send(Handshake::to("/ws").bytes()).await;
        if wire.head().await.status() == Some(101) {
            sockets.push(wire);
        }
    }
    // A request counts until a little after its answer has been read. Did the session not count,
    // both would take turns for ever.
    until("the idle one to get all", || async { said(&gateway, 6, &[]).await == "bbbbbb" }).await;
}

#[tokio::test]
async fn peak_ewma_spares_who_is_slow() {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let slow = Upstream::scripted(move |mut wire, _| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_head().await.is_some() {
                gate.notified().await;
                wire.send(ok("s")).await;
            }
        }
    })
    .await;
    let fast = Upstream::saying("f").await;
    let gateway = pool(&[&slow, &fast], &["balance: peak_ewma"]).start().await;
    let one = tokio::spawn({
        let address = gateway.address();
        async move {
            let mut wire = crate::support::Wire::connect(address).await;
            let mut said = String::new();
            // Until the slow one has it.
            while said != "s" {
                wire.send(get("/", &[])).await;
                said = wire.response().await.text();
            }
        }
    });
    until("the slow one to have a request", || async {
        slow.connections() > 0 && said(&gateway, 1, &[]).await == "f"
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    release.notify_one();
    within("the slow answer", one).await.expect("an answer");
    assert_eq!(said(&gateway, 8, &[]).await, "ffffffff");
}

#[tokio::test]
async fn the_same_user_goes_to_the_same_endpoint() {
    let names = ["a", "b", "c"];
    let upstreams = join_all(names.map(Upstream::saying)).await;
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let hash = "balance: {hash: {header: x-user}}";
    let gateway = pool(&all, &[hash]).start().await;
    let mut before = Vec::new();
    for user in 0..30 {
        let field = format!("X-User: {user}");
        let said = said(&gateway, 3, &[&field]).await;
        assert!(names.iter().any(|name| said == name.repeat(3)), "{said}");
        before.push(said[..1].to_owned());
    }
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "all have users: {before:?}");
    let without = said(&gateway, 3, &[]).await;
    assert_eq!(without.chars().collect::<BTreeSet<_>>().len(), 3, "in turn: {without}");

    // One endpoint less: only its users move.
    let mark = gateway.mark();
    gateway.rewrite(&pool(&all[..2], &[hash]));
    gateway.says(mark, "configuration reloaded").await;
    for (user, endpoint) in before.iter().enumerate() {
        let now = said(&gateway, 1, &[&format!("X-User: {user}")]).await;
        assert!(endpoint == "c" || now == *endpoint, "user {user}: {endpoint}, now {now}");
    }
}

#[tokio::test]
async fn a_sticky_cookie_leads_back() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let gateway = pool(&[&a, &b], &["balance: {sticky_cookie: seat}"]).start().await;
    let first = gateway.get("/", &[]).await;
    let set = first.head.only("set-cookie").expect("a cookie");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = format!("Cookie: {}", set.split(';').next().expect("a pair"));
    for _ in 0..4 {
        let again = gateway.get("/", &[&cookie]).await;
        assert_eq!(again.text(), first.text());
        assert_eq!(again.head.only("set-cookie"), None, "it has one");
    }
    let unknown = gateway.get("/", &["Cookie: seat=elsewhere"]).await;
    assert!(unknown.head.only("set-cookie").is_some(), "an endpoint that is gone");
}

#[tokio::test]
async fn who_answers_its_checks_badly_gets_nothing_until_it_is_well() {
    let (a, b) = (Upstream::saying("a").await, moody("b").await);
    let lines = ["health: {check: {http: /health}, interval: 20ms, unhealthy_after: 2}"];
    let admin = free_port();
    let admin_at = format!("admin: {{address: \"127.0.0.1:{admin}\"}}");
    let gateway = pool(&[&a, &b.0], &lines).top(&admin_at).start().await;
    until("both in turn", || async { said(&gateway, 4, &[]).await.contains('b') }).await;
    let mark = gateway.mark();
    b.1.store(503, Ordering::Relaxed);
    gateway.says(mark, "is unwell").await;
    assert_eq!(said(&gateway, 4, &[]).await, "aaaa");
    let check = b.0.requests().iter().find(|it| it.head.target() == "/health").cloned();
    let head = check.expect("a check").head;
    assert_eq!(head.only("host"), Some(&*b.0.address().to_string()));

    let metrics = async || {
        let url = format!("http://127.0.0.1:{admin}/metrics");
        reqwest::get(url).await.expect("an answer").text().await.expect("text")
    };
    let healthy = |upstream: &Upstream, value: u8| {
        let endpoint = upstream.address();
        format!("endpoint_healthy{{upstream=\"both\",endpoint=\"{endpoint}\"}} {value}\n")
    };
    assert!(metrics().await.contains(&healthy(&a, 1)));
    assert!(metrics().await.contains(&healthy(&b.0, 0)));

    let mark = gateway.mark();
    b.1.store(200, Ordering::Relaxed);
    gateway.says(mark, "is well again").await;
    assert!(said(&gateway, 4, &[]).await.contains('b'));
}

#[tokio::test]
async fn checks_may_ask_for_a_connection_or_a_websocket() {
    for (check, is_well) in [("tcp", true), ("{websocket: /ws}", false)] {
        let plain = Upstream::saying("plain").await;
        let health = format!("health: {{check: {check}, interval: 20ms, unhealthy_after: 1}}");
        let gateway = pool(&[&plain], &[&health]).start().await;
        match is_well {
            true => until("a check", || async { plain.connections() > 2 }).await,
            false => drop(gateway.says(0, "did not upgrade").await),
        }
        assert_eq!(gateway.get("/", &[]).await.status(), 200, "the only one is used all the same");
    }
    let echo = Upstream::echo().await;
    let health = "health: {check: {websocket: /ws}, interval: 20ms, unhealthy_after: 1}";
    let gateway = pool(&[&echo], &[health]).start().await;
    until("checks", || async { echo.requests().len() > 2 }).await;
    assert!(!gateway.log_lines().iter().any(|line| line.contains("unwell")));
}

#[tokio::test]
async fn who_fails_requests_in_a_row_is_ejected_for_a_while() {
    let (a, b) = (Upstream::saying("a").await, moody("b").await);
    b.1.store(500, Ordering::Relaxed);
    let lines = ["ejection: {server_errors: 2, duration: 300ms}"];
    let gateway = pool(&[&a, &b.0], &lines).start().await;
    let mark = gateway.mark();
    let _ = said(&gateway, 4, &[]).await;
    gateway.says(mark, "is ejected for 300ms: too many responses in a row were errors").await;
    assert_eq!(said(&gateway, 4, &[]).await, "aaaa");
    b.1.store(200, Ordering::Relaxed);
    until("it to come back", || async { said(&gateway, 2, &[]).await.contains('b') }).await;
}

#[tokio::test]
async fn who_can_not_be_connected_to_is_ejected_at_no_requests_cost() {
    let alive = Upstream::saying("a").await;
    let dead = format!("127.0.0.1:{}", free_port());
    let gateway = Config::new()
        .upstream("both", &[dead, alive.address().to_string()])
        .route("all", "path_prefix: /", "both")
        .start()
        .await;
    assert_eq!(said(&gateway, 10, &[]).await, "aaaaaaaaaa");
    gateway.says(0, "is ejected for 10s: too many connections in a row").await;
}

#[tokio::test]
async fn not_all_are_ejected_and_the_last_is_used_whatever_it_does() {
    let (a, b) = (moody("a").await, moody("b").await);
    a.1.store(500, Ordering::Relaxed);
    b.1.store(500, Ordering::Relaxed);
    let gateway =
        pool(&[&a.0, &b.0], &["ejection: {server_errors: 1, duration: 1m}"]).start().await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).await.status(), 500);
    }
    let ejected = gateway.log_lines().iter().filter(|line| line.contains("is ejected")).count();
    assert_eq!(ejected, 1, "half of two");
}

#[tokio::test]
async fn backups_stand_in_when_too_few_are_well() {
    let (main, backup) = (moody("m").await, Upstream::saying("b").await);
    let text = format!(
        "  - {{address: \"{}\", backup: true}}\n      - \"{}\"",
        backup.address(),
        main.0.address()
    );
    let config = Config::new()
        .upstream("both", &[] as &[String])
        .replacing("endpoints: []", &format!("endpoints:\n    {text}"))
        .speaking("health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1, healthy_after: 1}")
        .route("all", "path_prefix: /", "both");
    let gateway = config.start().await;
    assert_eq!(said(&gateway, 4, &[]).await, "mmmm");
    let mark = gateway.mark();
    main.1.store(503, Ordering::Relaxed);
    gateway.says(mark, "is unwell").await;
    assert_eq!(said(&gateway, 4, &[]).await, "bbbb");
    let mark = gateway.mark();
    main.1.store(200, Ordering::Relaxed);
    gateway.says(mark, "is well again").await;
    assert_eq!(said(&gateway, 4, &[]).await, "mmmm");
}

#[tokio::test]
async fn what_is_known_of_an_endpoint_outlives_a_reload() {
    let (a, b) = (Upstream::saying("a").await, moody("b").await);
    b.1.store(500, Ordering::Relaxed);
    let lines = ["ejection: {server_errors: 1, duration: 1m}"];
    let gateway = pool(&[&a, &b.0], &lines).start().await;
    let _ = said(&gateway, 4, &[]).await;
    gateway.says(0, "is ejected").await;
    let third = Upstream::saying("c").await;
    let mark = gateway.mark();
    gateway.rewrite(&pool(&[&a, &b.0, &third], &lines));
    gateway.says(mark, "configuration reloaded").await;
    let said = said(&gateway, 6, &[]).await;
    assert!(!said.contains('b') && said.contains('c'), "{said}");
}

#[tokio::test]
async fn sessions_leave_an_endpoint_that_is_unwell_as_their_route_says() {
    for (policy, code) in [("close", Some(1012)), ("keep", None)] {
        let well = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&well);
        let upstream = Upstream::scripted(move |mut wire, recorder| {
            let state = Arc::clone(&state);
            async move {
                while let Some(head) = wire.try_head().await {
                    recorder.record(&head);
                    if head.get("upgrade").is_some() {
                        let mut socket = switch(wire, &head, "").await;
                        while let Some(Ok(_)) = socket.next().await {}
                        return;
                    }
                    let status = if state.load(Ordering::Relaxed) { "200 OK" } else { "503 Ill" };
                    let _ = wire.try_send(respond(status, &[], "")).await;
                }
            }
        })
        .await;
        let health = "health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1}";
        let websocket = format!("websocket: {{on_change: {policy}}}");
        let gateway = pool(&[&upstream], &[health]).with(&websocket).start().await;
        let mut socket = gateway.websocket("/ws").await;
        well.store(false, Ordering::Relaxed);
        gateway.says(0, "is unwell").await;
        match code {
            Some(code) => {
                let message = next(&mut socket).await.expect("a close frame");
                let Message::Close(Some(frame)) = message else { panic!("{message:?}") };
                assert_eq!(u16::from(frame.code), code);
                assert_eq!(&*frame.reason, "the endpoint behind the gateway is unwell");
            }
            None => {
                well.store(true, Ordering::Relaxed);
                gateway.says(0, "is well again").await;
                socket.send(Message::text("still here")).await.expect("sent");
            }
        }
    }
}

#[tokio::test]
async fn endpoints_may_come_and_go_in_a_file() {
    let (a, b) = (Upstream::saying("a").await, Upstream::echo().await);
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("both.endpoints");
    let write = |text: String| replace_file(&list, &text);
    write(format!("# by another program\n\n{}\n", b.address()));
    let config = Config::new()
        .upstream("both", &[] as &[String])
        .replacing("endpoints: []", "endpoints_file: both.endpoints")
        .route("all", "path_prefix: /", "both");
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let mut socket = gateway.websocket("/ws").await;

    let mark = gateway.mark();
    write(format!("{} weight=2 # new\n{} backup\n", a.address(), b.address()));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(said(&gateway, 4, &[]).await, "aaaa");
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));

    for (broken, told) in [
        ("nowhere", "both.endpoints:1: `nowhere`: not `host:port`"),
        ("h:1\nh:2 wieght=2", "both.endpoints:2: `wieght=2`: only `weight=N`"),
        ("h:1 weight=0", "a weight is a number from 1 to 1000"),
    ] {
        let mark = gateway.mark();
        write(broken.to_owned());
        gateway.says(mark, told).await;
        assert_eq!(said(&gateway, 2, &[]).await, "aa", "nothing has changed");
    }
}

/// Statuses, and how many requests reached upstreams.
async fn statuses(gateway: &Gateway, method: &str, count: usize) -> Vec<Option<u16>> {
    let request =
        get("/", &[]).replace("GET", method).replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(Some(gateway.send(&request).await.status()));
    }
    statuses
}

#[tokio::test]
async fn a_response_that_says_so_is_tried_again_elsewhere() {
    let (a, b) = (moody("a").await, Upstream::saying("b").await);
    a.1.store(503, Ordering::Relaxed);
    let gateway = pool(&[&a.0, &b], &[]).with("retry: {on: [\"503\"], backoff: 1ms}").start().await;
    assert_eq!(said(&gateway, 6, &[]).await, "bbbbbb");
    assert!(!a.0.requests().is_empty(), "some began there");
    // RFC 9110, section 9.2.2: a POST may have been done already.
    let posted = statuses(&gateway, "POST", 4).await;
    assert!(posted.contains(&Some(503)), "{posted:?}");
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_answer_is_passed_on() {
    let (only, mood) = moody("no").await;
    mood.store(503, Ordering::Relaxed);
    let retry = "retry: {on: [\"503\"], attempts: 4, backoff: 1ms}";
    let gateway = pool(&[&only], &[]).with(retry).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "no"));
    assert_eq!(only.requests().len(), 4);
}

#[tokio::test]
async fn retries_have_a_budget() {
    let (only, mood) = moody("no").await;
    mood.store(503, Ordering::Relaxed);
    let retry = "retry: {on: [\"503\"], attempts: 2, backoff: 1ms}";
    let gateway = pool(&[&only], &["retry_percent: 0"]).with(retry).start().await;
    for _ in 0..30 {
        assert_eq!(gateway.get("/", &[]).await.status(), 503);
    }
    assert_eq!(only.requests().len(), 30 + 20, "twenty are saved up at the start");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_where_that_is_wanted() {
    for (retry, expected) in [("retry: {on: [reset]}", 200), ("retry: off", 502)] {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let upstream = Upstream::scripted(move |mut wire, _| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = wire.try_head().await;
                match number {
                    0 => wire.reset(),
                    _ => wire.send(ok("at last")).await,
                }
            }
        })
        .await;
        let gateway = pool(&[&upstream], &[]).with(retry).start().await;
        assert_eq!(gateway.get("/", &[]).await.status(), expected, "{retry}");
    }
}

#[tokio::test]
async fn what_is_too_much_for_an_upstream_is_refused_at_once() {
    let (release, is_let_go) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (gate, flag) = (Arc::clone(&release), Arc::clone(&is_let_go));
    let slow = Upstream::scripted(move |mut wire, recorder| {
        let (gate, flag) = (Arc::clone(&gate), Arc::clone(&flag));
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if !flag.load(Ordering::Relaxed) {
                    gate.notified().await;
                }
                wire.send(ok("done")).await;
            }
        }
    })
    .await;
    let gateway = pool(&[&slow], &["limits: {requests: 1}"]).start().await;
    let mut first = gateway.connect().await;
    first.send(get("/first", &[])).await;
    slow.request(0).await;
    let refused: Response = gateway.get("/second", &[]).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error()["error"], "upstream_busy");
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    is_let_go.store(true, Ordering::Relaxed);
    release.notify_one();
    assert_eq!(first.response().await.status(), 200);
    until("its place to be free", || async { gateway.get("/third", &[]).await.status() == 200 })
        .await;
}

#[tokio::test]
async fn a_whole_request_may_be_bounded() {
    let dribbling = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while wire.try_send("1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let gateway = pool(&[&dribbling], &[]).with("timeouts: {request: 300ms}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/dribble", &[])).await;
    let all = wire.read_to_end().await;
    assert!(!all.ends_with(b"0\r\n\r\n"), "it is not whole, and says so");
    let line = gateway.access_of("/dribble").await;
    assert!(
        line["error.message"].as_str().is_some_and(|it| it.contains("timeouts.request")),
        "{line}"
    );

    let silent = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = pool(&[&silent], &[]).with("timeouts: {request: 100ms}").start().await;
    assert_eq!(gateway.get("/", &[]).await.status(), 504);
}
