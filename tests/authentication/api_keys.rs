//! API keys admit who has one: from every place, over every protocol, until they expire or leave their file.

use crate::side_files::{check, replace, start_with};
use futures_util::SinkExt;
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Gateway, Handshake, Socket, Upstream, next};
use tokio_tungstenite::tungstenite::Message;

const REPORTS: &str = "reports-key-0123456789";
const SLOW: &str = "slow-key-0123456789abcdef";
const EXPIRED: &str = "old-key-0123456789abcd";
const NEW: &str = "new-key-0123456789abcd";

const KEYS: &str = "\
keys:
  - name: reports
    hash: sha256:713926e4a54bad0364af17bc75c1f09ac9fec38a4f73019c3b3385539739482f
    scopes: [orders:read, orders:write]
  - {name: old, hash: \"sha256:EEDF94123687B00C473C756DF3246F8C92A79047806CB277B49152FE37A074F3\",
     expires: \"2020-01-01T00:00:00Z\"}
  - name: slow
    hash: $2b$04$abcdefghijklmnopqrstuuBJdcI3I48glhWPOIb8qAhe/u20FcAmC
    expires: 2100-01-01T00:00:00Z
";

/// A file with the new key alone.
const NEW_KEYS: &str = "\
keys:
  - {name: new, hash: \"sha256:c0da6016df07a64abb1c4b55b00bb0ddab3aba07239cbcb3a09f0ca7278f07b9\"}
";

fn config(upstream: &Upstream, settings: &str) -> Config {
    Config::to(upstream)
        .top(&format!("authentication: {{partners: {{api_keys: {{file: keys.yaml{settings}}}}}}}"))
        .top("identity: {user_id: [{claim: sub}]}")
        .with("require: partners")
        .answer("open", "path: /open", "respond: {status: 200, body: open}")
}

async fn status(gateway: &Gateway, target: &str, headers: &[&str]) -> (u16, String) {
    let answer = gateway.get(target, headers).await;
    let error =
        if answer.status() == 200 { String::new() } else { answer.error()["error"].to_string() };
    (answer.status(), error.trim_matches('"').to_owned())
}

#[tokio::test]
async fn only_valid_keys_are_admitted_and_none_reaches_the_upstream() {
    let upstream = Upstream::echo().await;
    let listening = config(&upstream, "").listening("protocols: [h1, h2c]");
    let gateway = start_with(&listening, &[("keys.yaml", KEYS)]).await;
    for (number, (key, expected, reason)) in [
        (Some(REPORTS), 200, None),
        (Some(SLOW), 200, None),
        (Some(EXPIRED), 401, Some("expired")),
        (Some("reports-key-012345678"), 401, Some("invalid")),
        (Some("reports-key-01234567890"), 401, Some("invalid")),
        (Some("x"), 401, Some("invalid")),
        (Some(""), 401, Some("missing")),
        (None, 401, Some("missing")),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/http1/{number}");
        let header = key.map(|key| format!("X-API-Key: {key}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        let answer = gateway.get(&target, &headers).await;
        assert_eq!(answer.status(), expected, "{key:?}");
        if expected == 401 {
            assert_eq!(answer.head.only("www-authenticate"), Some("ApiKey header=\"x-api-key\""));
            let code = if reason == Some("missing") {
                "authentication_required"
            } else {
                "authentication_failed"
            };
            assert_eq!(answer.error()["error"], code, "{key:?}");
        }
        let line = gateway.access_of(&target).await;
        assert_eq!(line["auth.reason"].as_str(), reason, "{line}");
        let result = match (expected, reason) {
            (200, _) => "verified",
            (_, Some("missing")) => "missing",
            _ => "refused",
        };
        assert_eq!(line["auth.result"], result, "{line}");

        let target = format!("/http2/{number}");
        let headers: Vec<(&str, &str)> = key.iter().map(|key| ("x-api-key", *key)).collect();
        let answer = get_over_http2(&gateway, &target, &headers).await;
        assert_eq!(answer.status, expected, "{key:?}");

        let mut handshake = Handshake::to("/ws");
        if let Some(key) = key {
            handshake = handshake.set("X-API-Key", key);
        }
        if expected == 200 {
            let (_, mut socket) = handshake.open(&gateway).await;
            socket.send(Message::text("hello")).await.expect("sent");
            assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
        } else {
            assert_eq!(gateway.refused(&handshake).await.status(), 401, "{key:?}");
        }
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 6, "the upstream sees only admitted requests");
    assert!(seen.iter().all(|request| request.head.get("x-api-key").is_none()));
    let line = gateway.access_of("/http1/0").await;
    assert_eq!((&line["auth.scheme"], &line["user.id"]), (&"partners".into(), &"reports".into()));
    let logged = [gateway.access_lines(), gateway.log_lines()].concat().join("\n");
    for secret in [REPORTS, SLOW, EXPIRED] {
        assert!(!logged.contains(secret), "a key in the log");
    }
}

#[tokio::test]
async fn key_is_read_from_each_place_and_only_once() {
    let upstream = Upstream::echo().await;
    let from = ", from: [{header: authorization}, {subprotocol: key.}, {cookie: k}, {query: key}]";
    let gateway = start_with(&config(&upstream, from), &[("keys.yaml", KEYS)]).await;
    let bearer = format!("Authorization: Bearer {REPORTS}");
    let cookie = format!("Cookie: a=1; k={REPORTS}");
    let query = format!("/?a=1&key={REPORTS}");
    let subprotocol = format!("Sec-WebSocket-Protocol: chat, key.{REPORTS}");
    for (target, header) in
        [("/", &*bearer), ("/", &*cookie), (&*query, "X-A: 1"), ("/", &*subprotocol)]
    {
        assert_eq!(status(&gateway, target, &[header]).await.0, 200, "{target} {header}");
    }
    let text = upstream.requests().iter().map(|it| it.head.text.clone()).collect::<String>();
    assert!(!text.contains(REPORTS), "{text}");
    assert!(text.contains("Cookie: a=1\r\n") || text.contains("cookie: a=1\r\n"), "{text}");
    assert!(text.contains("GET /?a=1 HTTP"), "{text}");

    // The first place decides, whatever is in another.
    let wrong = "Authorization: Bearer nobody-has-this-key";
    assert_eq!(status(&gateway, "/", &[wrong, &cookie]).await.0, 401);
    assert_eq!(status(&gateway, "/", &[&bearer, "Cookie: k=nobody-has-this-key"]).await.0, 200);
    let last = upstream.requests().pop().expect("a request").head;
    assert!(!last.text.contains("nobody-has-this-key"), "{}", last.text);
    // Several in one place: an upstream might read another one.
    for (target, headers) in [
        ("/", vec![&*bearer, &*bearer]),
        ("/", vec![&*cookie, "Cookie: k=other"]),
        (&*format!("{query}&key=other"), vec![]),
        (&*format!("{query}&%6bey=other"), vec![]),
    ] {
        let answer = gateway.get(target, &headers).await;
        assert_eq!(answer.status(), 401, "{target} {headers:?}");
        let message = "the request has several credentials in one place";
        assert_eq!(answer.error()["message"], message);
    }
    let challenge = gateway.get("/", &[]).await;
    assert_eq!(challenge.head.only("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn forward_passes_the_key_on() {
    let upstream = Upstream::echo().await;
    let gateway = start_with(&config(&upstream, ", forward: on"), &[("keys.yaml", KEYS)]).await;
    let header = format!("X-API-Key: {REPORTS}");
    assert_eq!(status(&gateway, "/", &[&header]).await.0, 200);
    assert_eq!(upstream.only_request().await.head.get("x-api-key"), Some(REPORTS));
}

#[tokio::test]
async fn hostile_keys_are_refused() {
    let upstream = Upstream::echo().await;
    let from = ", from: [{query: key}, {header: x-api-key}]";
    let gateway = start_with(&config(&upstream, from), &[("keys.yaml", KEYS)]).await;
    let long = format!("X-API-Key: {}", "k".repeat(513));
    let edge = format!("X-API-Key: {}", "k".repeat(512));
    for (target, header, message) in [
        ("/", &*long, "the API key is too long, or has control characters"),
        ("/", &*edge, "the API key is not valid"),
        ("/?key=%00", "X-A: 1", "the API key is too long, or has control characters"),
        ("/?key=a%0d%0ab", "X-A: 1", "the API key is too long, or has control characters"),
        ("/?key=%ff%fe", "X-A: 1", "the API key is not valid"),
        (
            "/?key=sha256:713926e4a54bad0364af17bc75c1f09ac9fec38a4f73019c3b3385539739482f",
            "X-A: 1",
            "the API key is not valid",
        ),
    ] {
        let answer = gateway.get(target, &[header]).await;
        assert_eq!(answer.status(), 401, "{target}");
        assert_eq!(answer.error()["message"], message, "{target}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn key_in_a_place_of_any_name_is_in_no_log() {
    let upstream = Upstream::echo().await;
    let from = ", from: [{query: k}, {header: x-partner}]";
    for log in ["access_log: on", "access_log: {redact_query: [nothing]}"] {
        let config = config(&upstream, from).top(log);
        let gateway = start_with(&config, &[("keys.yaml", KEYS)]).await;
        // One that is refused, and so is not removed from the request.
        assert_eq!(status(&gateway, "/logged?a=1&k=nearly-the-key", &[]).await.0, 401);
        let line = gateway.access_of("/logged").await;
        let query = line["url.query"].as_str().expect("a query");
        assert!(query.starts_with("a=1&k=") && !query.contains("nearly"), "{query}");
    }
    let logged = config(&upstream, from).top("access_log: {fields: {request: [X-Partner]}}");
    let run = check(&logged, &[("keys.yaml", KEYS)]).await;
    let expected = "access_log.fields.request[0]: this header carries secrets and is never logged";
    assert!(run.code == Some(78) && run.stderr.contains(expected), "{}", run.all());
}

#[tokio::test]
async fn edit_of_the_file_takes_effect_and_a_broken_one_does_not() {
    let upstream = Upstream::echo().await;
    let gateway = start_with(&config(&upstream, ""), &[("keys.yaml", KEYS)]).await;
    let (old, new) = (format!("X-API-Key: {REPORTS}"), format!("X-API-Key: {NEW}"));
    assert_eq!(status(&gateway, "/", &[&old]).await.0, 200);
    assert_eq!(status(&gateway, "/", &[&new]).await.0, 401);
    let (_, mut reports) = Handshake::to("/ws").set("X-API-Key", REPORTS).open(&gateway).await;
    let (_, mut slow) = Handshake::to("/ws").set("X-API-Key", SLOW).open(&gateway).await;

    let mark = gateway.mark();
    replace(&gateway, "keys.yaml", "keys:\n  - {name: new, hsah: oops}\n");
    let told = gateway.says(mark, "keys[0].hsah: unknown key").await;
    assert!(told.contains("keys.yaml:2:"), "{told}");
    assert_eq!(status(&gateway, "/", &[&old]).await.0, 200, "the keys in force stay in force");

    // Another scope ends nothing; one less ends the sessions of its key.
    let more = KEYS.replace("orders:write]", "orders:write, more]");
    let less = KEYS.replace(", orders:write]", "]");
    for (keys, ends) in [(&*more, false), (&*less, true)] {
        let mark = gateway.mark();
        replace(&gateway, "keys.yaml", keys);
        gateway.says(mark, "configuration reloaded").await;
        if ends {
            assert_closed(&mut reports).await;
        } else {
            assert_alive(&mut reports).await;
        }
        assert_alive(&mut slow).await;
    }

    let mark = gateway.mark();
    replace(&gateway, "keys.yaml", NEW_KEYS);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(status(&gateway, "/", &[&old]).await.0, 401);
    assert_eq!(status(&gateway, "/", &[&new]).await.0, 200);
    assert_closed(&mut slow).await;
}

async fn assert_alive(socket: &mut Socket) {
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(socket).await, Some(Message::text("still here")));
}

/// The gateway has closed the session as it does when a credential expires.
async fn assert_closed(socket: &mut Socket) {
    let Some(Message::Close(Some(frame))) = next(socket).await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 3000);
}

#[tokio::test]
async fn scopes_are_claims_that_a_route_can_require() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "")
        .route("write", "path: /write", "service")
        .with("require: {any: [partners], claims: {scope: {contains: \"orders:write\"}}}");
    let gateway = start_with(&config, &[("keys.yaml", KEYS)]).await;
    let (reports, slow) = (format!("X-API-Key: {REPORTS}"), format!("X-API-Key: {SLOW}"));
    assert_eq!(status(&gateway, "/write", &[&reports]).await, (200, String::new()));
    assert_eq!(status(&gateway, "/write", &[&slow]).await, (403, "not_permitted".into()));
    assert_eq!(status(&gateway, "/", &[&slow]).await.0, 200);
}

#[tokio::test]
async fn rate_limit_by_user_id_counts_each_key() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "").top("rate_limits: [{requests: 2, per: 1h, by: user_id}]");
    let gateway = start_with(&config, &[("keys.yaml", KEYS)]).await;
    let (reports, slow) = (format!("X-API-Key: {REPORTS}"), format!("X-API-Key: {SLOW}"));
    let mut statuses = Vec::new();
    for header in [&reports, &reports, &reports, &slow, &slow, &slow] {
        statuses.push(status(&gateway, "/", &[header]).await.0);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
}

#[tokio::test]
async fn errors_of_the_file_have_their_place_and_never_the_hash() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "");
    for (keys, expected) in [
        (
            "keys:\n  - {name: a, hash: sha256:00}\n",
            "keys.yaml:2:21: error: keys[0].hash: `sha256:` must be followed by 64 hexadecimal digits\n\
             1 problem in tidegate.yaml\n",
        ),
        (
            "keys:\n  - name: a\n    hsah: secret-hash\n",
            "keys.yaml:3:5: error: keys[0].hsah: unknown key\n      \
             help: did you mean `hash`?\n\
             1 problem in tidegate.yaml\n",
        ),
        (
            "keys:\n  - {name: a, hash: my-secret-key}\n",
            "keys.yaml:2:21: error: keys[0].hash: not a hash that the gateway knows; a plain secret is \
             not accepted\n      \
             help: write a hash: `tidegate hash --key` reads the key and prints one\n\
             1 problem in tidegate.yaml\n",
        ),
        (
            "keys:\n  - {name: a, hash: \"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\"}\n",
            "keys.yaml:2:21: error: keys[0].hash: SHA-1 (`{SHA}`) is not accepted: it is so fast that \
             most passwords can be guessed\n      \
             help: a hash cannot be converted without the password: set the password again with \
             `tidegate hash` (Argon2) or `htpasswd -B` (bcrypt)\n\
             1 problem in tidegate.yaml\n",
        ),
        (
            "keys:\n  - {name: a, hash: $2b$04$short, expires: tomorrow, scopes: [a b]}\n  - {name: a, \
             hash: $2b$31$abcdefghijklmnopqrstuuBJdcI3I48glhWPOIb8qAhe/u20FcAmC}\n",
            "keys.yaml:2:21: error: keys[0].hash: not a complete bcrypt hash of 60 characters\n\
             keys.yaml:2:44: error: keys[0].expires: not a time in RFC 3339 and UTC\n      \
             help: write it like `2027-01-01T00:00:00Z`\n\
             keys.yaml:2:63: error: keys[0].scopes[0]: a scope is one word of visible ASCII characters, \
             without `\"` and `\\` (RFC 6749, section 3.3)\n\
             keys.yaml:3:12: error: keys[1].name: the key of line 2 is named `a` already\n\
             keys.yaml:3:21: error: keys[1].hash: this hash is too slow: its cost is 31, at most 15 is \
             allowed\n\
             5 problems in tidegate.yaml\n",
        ),
        (
            "",
            "keys.yaml:1:1: error: the file has no keys\n      \
             help: write the list `keys`; `keys: []` admits nobody\n\
             1 problem in tidegate.yaml\n",
        ),
    ] {
        let run = check(&config, &[("keys.yaml", keys)]).await;
        assert_eq!((run.code, &*run.stderr), (Some(78), expected), "{keys}");
    }
    let run = check(&config, &[("keys.yaml", "keys: []\n")]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let run = check(&config, &[]).await;
    let expected = "authentication.partners.api_keys.file: cannot read the API keys `keys.yaml`";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
}

#[tokio::test]
async fn keys_with_slow_hashes_are_few() {
    let upstream = Upstream::echo().await;
    let hash = "$2b$04$abcdefghijklmnopqrstuuBJdcI3I48glhWPOIb8qAhe/u20FcAmC";
    let keys = |count: usize| -> String {
        let key = |number| format!("  - {{name: k{number}, hash: {hash}}}\n");
        format!("keys:\n{}", (0..count).map(key).collect::<String>())
    };
    let config = config(&upstream, "");
    let run = check(&config, &[("keys.yaml", &keys(8))]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let run = check(&config, &[("keys.yaml", &keys(9))]).await;
    let expected = "keys.yaml:10:22: error: keys[8].hash: a file can have at most 8 keys with Argon2 or \
                    bcrypt, for an unknown key is tried against each\n      \
                    help: give random keys a fast hash: `tidegate hash --key`\n\
                    1 problem in tidegate.yaml\n";
    assert_eq!((run.code, &*run.stderr), (Some(78), expected));
}
