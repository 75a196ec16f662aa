//! User names and passwords admit the users of a file, over every protocol; wrong ones cost others nothing.

use crate::side_files::{check, check_with_mode, replace, start_on_one_thread, start_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::SinkExt;
use std::fmt::Write as _;
use std::sync::Arc;
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Gateway, Handshake, Upstream, next};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// `anna` with `open sesame`, `ben` with `pass:word`.
const USERS: &str = "\
# The staff.
anna:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy
ben:$2b$04$abcdefghijklmnopqrstuu7govE5p0NSk1WUEk5C2Qm3hpPC6VJ66:since 2024
";

/// `anna` with `new sesame`.
const NEW_USERS: &str = "anna:$2b$04$abcdefghijklmnopqrstuucOlviov0S9h9qOyTjWXvrsp7x9Jw9s.\n";

/// `cara` with `slow`, at the highest cost that is allowed: a second or more of optimised code.
const COSTLY_USER: &str = "cara:$2b$15$abcdefghijklmnopqrstuu2z.7KX2QuI3YRZ0qEe4q0sq47wMvv9W\n";

fn config(upstream: &Upstream, settings: &str) -> Config {
    Config::to(upstream)
        .top(&format!("authentication: {{staff: {{basic: {{file: users.htpasswd{settings}}}}}}}"))
        .top("identity: {user_id: [{claim: sub}]}")
        .with("require: staff")
        .answer("open", "path: /open", "respond: {status: 200, body: open}")
}

fn credentials(pair: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

fn header(pair: impl AsRef<[u8]>) -> String {
    format!("Authorization: {}", credentials(pair))
}

async fn status(gateway: &Gateway, pair: &str) -> u16 {
    gateway.get("/", &[&header(pair)]).await.status()
}

#[tokio::test]
async fn only_users_of_the_file_are_admitted_and_no_password_reaches_the_upstream() {
    let upstream = Upstream::echo().await;
    let listening = config(&upstream, ", realm: Staff \"A\"").listening("protocols: [h1, h2c]");
    let gateway = start_with(&listening, &[("users.htpasswd", USERS)]).await;
    for (number, (pair, expected, reason)) in [
        (Some("anna:open sesame"), 200, None),
        (Some("ben:pass:word"), 200, None),
        (Some("anna:pass:word"), 401, Some("invalid")),
        (Some("anna:"), 401, Some("invalid")),
        (Some("Anna:open sesame"), 401, Some("invalid")),
        (Some("nobody:open sesame"), 401, Some("invalid")),
        (Some(":"), 401, Some("invalid")),
        (None, 401, Some("missing")),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/http1/{number}");
        let authorization = pair.map(header);
        let headers: Vec<&str> = authorization.iter().map(String::as_str).collect();
        let answer = gateway.get(&target, &headers).await;
        assert_eq!(answer.status(), expected, "{pair:?}");
        if expected == 401 {
            let challenge = "Basic realm=\"Staff \\\"A\\\"\", charset=\"UTF-8\"";
            assert_eq!(answer.head.only("www-authenticate"), Some(challenge));
        }
        let line = gateway.access_of(&target).await;
        assert_eq!(line["auth.reason"].as_str(), reason, "{line}");

        let value = pair.map(credentials);
        let headers: Vec<(&str, &str)> = value.iter().map(|it| ("authorization", &**it)).collect();
        let answer = get_over_http2(&gateway, &format!("/http2/{number}"), &headers).await;
        assert_eq!(answer.status, expected, "{pair:?}");

        let mut handshake = Handshake::to("/ws");
        if let Some(value) = &value {
            handshake = handshake.set("Authorization", value);
        }
        if expected == 200 {
            let (_, mut socket) = handshake.open(&gateway).await;
            socket.send(Message::text("hello")).await.expect("sent");
            assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
        } else {
            assert_eq!(gateway.refused(&handshake).await.status(), 401, "{pair:?}");
        }
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 6, "the upstream sees only admitted requests");
    assert!(seen.iter().all(|request| request.head.get("authorization").is_none()));
    let line = gateway.access_of("/http1/0").await;
    assert_eq!(
        (&line["auth.scheme"], &line["auth.result"], &line["user.id"], &line["user.id.source"]),
        (&"staff".into(), &"verified".into(), &"anna".into(), &"claim".into())
    );
    let logged = [gateway.access_lines(), gateway.log_lines()].concat().join("\n");
    for secret in ["sesame", "pass:word", &STANDARD.encode("anna:open sesame"), "nobody"] {
        assert!(!logged.contains(secret), "{secret} in the log");
    }
}

#[tokio::test]
async fn forward_passes_the_password_on() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, ", forward: on");
    let gateway = start_with(&config, &[("users.htpasswd", USERS)]).await;
    assert_eq!(status(&gateway, "anna:open sesame").await, 200);
    let seen = upstream.only_request().await;
    assert_eq!(seen.head.get("authorization"), Some(&*credentials("anna:open sesame")));
}

#[tokio::test]
async fn hostile_credentials_are_refused() {
    let upstream = Upstream::echo().await;
    let gateway = start_with(&config(&upstream, ""), &[("users.htpasswd", USERS)]).await;
    let encoded = STANDARD.encode("anna:open sesame");
    let huge = header(format!("anna:{}", "x".repeat(1600)));
    let control = header("anna:open\0sesame");
    let no_colon = header("anna");
    let latin1 = header(b"anna:\xa3");
    let unpadded = format!("Authorization: Basic {}", header("anna:x").trim_end_matches('='));
    for (authorization, message) in [
        ("Authorization: Basic !!!!", "user name and password are not valid base64"),
        (
            &*format!("Authorization: Basic {encoded}{encoded}="),
            "user name and password are not valid base64",
        ),
        (
            &*format!("Authorization: Basic {encoded} {encoded}"),
            "user name and password are not valid base64",
        ),
        (&*unpadded, "user name and password are not valid base64"),
        (&*no_colon, "no colon is between user name and password"),
        (&*control, "a control character is in user name or password"),
        (&*latin1, "user name and password are not UTF-8"),
        (&*huge, "user name and password are too long"),
        ("Authorization: Basic", "this resource requires authentication"),
        ("Authorization: Basic ", "this resource requires authentication"),
        ("Authorization: Bearer x", "this resource requires authentication"),
        (&*format!("Authorization: Basic\t{encoded}"), "this resource requires authentication"),
    ] {
        let answer = gateway.get("/", &[authorization]).await;
        assert_eq!(answer.status(), 401, "{authorization}");
        assert_eq!(answer.error()["message"], message, "{authorization}");
    }
    let twice = header("anna:open sesame");
    let answer = gateway.get("/", &[&twice, &twice]).await;
    assert_eq!(answer.error()["message"], "the request has several credentials in one place");
    assert_eq!(upstream.requests().len(), 0);
    let spelt = format!("authorization: bAsIc   {encoded}");
    assert_eq!(gateway.get("/", &[&spelt]).await.status(), 200);
}

#[tokio::test]
async fn edit_of_the_file_takes_effect_and_a_broken_one_does_not() {
    let upstream = Upstream::echo().await;
    let gateway = start_with(&config(&upstream, ""), &[("users.htpasswd", USERS)]).await;
    assert_eq!(status(&gateway, "anna:open sesame").await, 200);

    let mark = gateway.mark();
    replace(&gateway, "users.htpasswd", "anna:$apr1$x$y\n");
    let told = gateway.says(mark, "MD5 (`$apr1$`) is not accepted").await;
    assert!(told.contains("users.htpasswd:1:6"), "{told}");
    assert_eq!(status(&gateway, "anna:open sesame").await, 200, "the users in force stay in force");

    let mark = gateway.mark();
    replace(&gateway, "users.htpasswd", NEW_USERS);
    gateway.says(mark, "configuration reloaded").await;
    // What was verified with the old content counts no longer.
    assert_eq!(status(&gateway, "anna:open sesame").await, 401);
    assert_eq!(status(&gateway, "anna:new sesame").await, 200);
    assert_eq!(status(&gateway, "ben:pass:word").await, 401);

    let mark = gateway.mark();
    replace(&gateway, "users.htpasswd", "");
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(
        status(&gateway, "anna:new sesame").await,
        401,
        "a file without users admits nobody"
    );
}

#[tokio::test]
async fn wrong_passwords_do_not_stall_other_requests() {
    let upstream = Upstream::echo().await;
    let users = format!("{USERS}{COSTLY_USER}");
    // With one thread for requests: what keeps it busy is felt by all.
    let files = [("users.htpasswd", &*users)];
    let gateway = Arc::new(start_on_one_thread(&config(&upstream, ""), &files).await);
    // From now on this one costs no hash.
    assert_eq!(status(&gateway, "anna:open sesame").await, 200);

    let mut attempts = JoinSet::new();
    for number in 0..200 {
        let gateway = Arc::clone(&gateway);
        attempts.spawn(async move {
            let wrong = header(format!("cara:wrong-{number}"));
            let answer = gateway.get("/", &[&wrong]).await;
            (answer.status(), answer.head.get("retry-after").map(str::to_owned))
        });
    }
    let mut others = 0;
    let mut statuses = Vec::new();
    while !attempts.is_empty() {
        assert_eq!(gateway.get("/open", &[]).await.status(), 200);
        assert_eq!(status(&gateway, "anna:open sesame").await, 200);
        others += 2;
        while let Some(attempt) = attempts.try_join_next() {
            statuses.push(attempt.expect("an answer"));
        }
    }
    let count = |wanted: u16| statuses.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!(count(401) + count(503), 200, "{statuses:?}");
    assert!(count(401) > 0 && count(503) > 0, "{statuses:?}");
    assert!(statuses.iter().all(|(status, after)| *status != 503 || after.is_some()));
    // On the thread for requests, a handful of hashes would leave time for a handful of them.
    assert!(others > 40, "only {others} other requests were answered meanwhile");
}

#[tokio::test]
async fn failures_of_one_client_concern_no_other() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "").top("trusted_proxies: [127.0.0.1]");
    let gateway = start_with(&config, &[("users.htpasswd", USERS)]).await;
    let attempt = async |client: &str, pair: &str| {
        let client = format!("X-Forwarded-For: {client}");
        gateway.get("/", &[&client, &header(pair)]).await.status()
    };
    let mut refused = 0;
    // One failure is forgotten every three seconds, which is far longer than one attempt takes.
    while attempt("192.0.2.1", &format!("anna:wrong-{refused}")).await == 401 {
        refused += 1;
        assert!(refused < 200, "nobody counts");
    }
    assert!(refused >= 20, "{refused}");
    assert_eq!(attempt("192.0.2.2", "anna:wrong").await, 401);
    assert_eq!(attempt("192.0.2.2", "anna:open sesame").await, 200);
    // What is known to be right needs no attempt.
    assert_eq!(attempt("192.0.2.1", "anna:open sesame").await, 200);
}

#[tokio::test]
async fn errors_of_the_file_have_their_line_and_never_the_hash() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "");
    let mut users = String::from("# users\nanna\n:$2y$04$x\n");
    for (user, hash) in [
        ("sha1", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
        ("md5", "$apr1$ZjTqBB3f$IF9gdYAGlMrs2fuINjHsz."),
        ("sha512", "$6$saltsalt$abc"),
        ("des", "rqXexS6ZhobKA"),
        ("plain", "open sesame"),
        ("damaged", "$2y$04$abc"),
        ("sha1", "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"),
        ("sha1", "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"),
    ] {
        let _ = writeln!(users, "{user}:{hash}");
    }
    let again = "      help: a hash cannot be converted without the password: set the password again with \
                 `tidegate hash` (Argon2) or `htpasswd -B` (bcrypt)\n";
    let write = "      help: write a hash: `tidegate hash` reads the password and prints one; `htpasswd -B` \
                 writes bcrypt\n";
    let form = "      help: write `name:hash`, one user per line\n";
    let fast = "it is so fast that most passwords can be guessed";
    let expected = format!(
        "users.htpasswd:2:1: error: the line has no colon between user name and hash\n{form}\
         users.htpasswd:3:1: error: the user name is missing\n{form}\
         users.htpasswd:4:6: error: SHA-1 (`{{SHA}}`) is not accepted: {fast}\n{again}\
         users.htpasswd:5:5: error: MD5 (`$apr1$`) is not accepted: {fast}\n{again}\
         users.htpasswd:6:8: error: this format of crypt is not accepted, only Argon2 and bcrypt are\n{again}\
         users.htpasswd:7:5: error: this looks like crypt with DES, which ignores all but eight characters \
         of a password; it is not accepted\n{again}\
         users.htpasswd:8:7: error: not a hash that the gateway knows; a plain secret is not accepted\n{write}\
         users.htpasswd:9:9: error: not a complete bcrypt hash of 60 characters\n\
         users.htpasswd:11:1: error: line 10 has the same user name already\n\
         9 problems in tidegate.yaml\n"
    );
    let run = check(&config, &[("users.htpasswd", &users)]).await;
    assert_eq!((run.code, &*run.stderr), (Some(78), &*expected));
    let run = check(&config, &[]).await;
    let expected = "authentication.staff.basic.file: cannot read the users `users.htpasswd`";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    let realm = self::config(&upstream, ", realm: Männer");
    let run = check(&realm, &[("users.htpasswd", USERS)]).await;
    let expected =
        "authentication.staff.basic.realm: a realm has only visible ASCII characters and spaces";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
}

#[tokio::test]
async fn check_warns_of_a_file_that_every_user_can_write() {
    let upstream = Upstream::echo().await;
    let config = config(&upstream, "");
    let users = [("users.htpasswd", USERS)];
    let expected =
        "authentication.staff.basic.file: every user of this machine can write to users.htpasswd";
    let run = check_with_mode(&config, &users, 0o666).await;
    assert!(run.code == Some(0) && run.all().contains(expected), "{}", run.all());
    let run = check_with_mode(&config, &users, 0o600).await;
    assert!(!run.all().contains("writable-configuration"), "{}", run.all());
}
