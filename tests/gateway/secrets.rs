//! No log and no endpoint shows secrets or terminal control characters.

use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use tidegate_testing::{Admin, Config, Handshake, Upstream, cli, free_port, replace_file, until};

#[tokio::test]
async fn secret_parameters_are_redacted_under_every_spelling() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let names = [
        "accessToken",
        "access-token",
        "refreshToken",
        "idToken",
        "authToken",
        "apiKey",
        "api-key",
        "x-api-key",
        "clientSecret",
        "session_token",
        "sessionId",
        "bearer",
        "jwtToken",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "user[password]",
        "tokens[]",
        "connect.sid",
        "tok%2565n",
        "tok%25%36%35n",
        "to%E2%80%8Bken",
        "%EF%BD%94oken",
    ];
    for name in names {
        let target = format!("/{}?userId=u&{name}=SECRETVALUE&page=2", name.len());
        drop(gateway.websocket(&target).await);
        drop(Handshake::to(&target).open(&gateway).await);
    }
    until("all lines", async || gateway.access_lines().len() >= names.len() * 4).await;
    let all = gateway.access_lines().join("\n") + &gateway.log_lines().join("\n");
    assert!(!all.contains("SECRETVALUE"), "{all}");
    assert!(all.contains("page=2") && all.contains("userId=u"), "{all}");
}

#[tokio::test]
async fn logging_a_secret_header_is_refused() {
    let folder = TempDir::new().expect("a folder");
    for (message, name, is_good) in [
        ("request", "Authorization", false),
        ("request", "Sec-WebSocket-Protocol", false),
        ("response", "Sec-WebSocket-Protocol", false),
        ("request", "X-AccessToken", false),
        ("request", "X-Api-Key", false),
        ("request", "X-Session", false),
        ("response", "Set-Cookie", false),
        ("request", "Idempotency-Key", true),
        ("request", "Referer", true),
    ] {
        let yaml = format!(
            "listeners: [{{address: \"127.0.0.1:1\"}}]\nroutes: [{{name: a, respond: {{body: x}}}}]\n\
             access_log: {{fields: {{{message}: [{name}]}}}}\n"
        );
        std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code == Some(0), is_good, "{message} {name}: {}", run.all());
    }
}

#[tokio::test]
async fn secrets_in_paths_nested_parameters_and_urls_are_redacted() {
    for format in ["json", "text"] {
        let upstream = Upstream::saying("ok").await;
        let config = Config::to(&upstream)
            .top(&format!("access_log: {{format: {format}, fields: {{request: [Referer]}}}}"));
        let gateway = config.start().await;
        let targets = [
            "/p;jsessionid=S3CR3T",
            "/p;token=S3CR3T/x",
            "/p?auth[user]=S3CR3T",
            "/p?a=1;token=S3CR3T",
            "/p?next=https://x/cb?token=S3CR3T",
            "/p?next=%2Fcb%3Ftoken%3DS3CR3T",
            "/p?next=%252Fcb%253Fcode%253DS3CR3T",
            "/p;tok%2565n=S3CR3T",
            "/p?next=https://u:S3CR3T@a.test/",
            "/p?next=https%3A%2F%2Fu%3AS3CR3T%40a.test%2F",
            "/p?user_pass=S3CR3T",
            "/p?otp=S3CR3T",
            "/p?SAMLResponse=S3CR3T",
        ];
        for target in targets {
            gateway.get(target, &[]).await;
        }
        let referers = ["https://u:S3CR3T@a.test/", "https://a.test/?tok%65n=S3CR3T"];
        for referer in referers {
            gateway.get("/referer", &[&format!("Referer: {referer}")]).await;
        }
        let count = targets.len() + referers.len();
        until("all lines", async || gateway.access_lines().len() >= count).await;
        let lines = gateway.access_lines().join("\n");
        assert!(!lines.contains("S3CR3T") && lines.contains("/p;jsessionid="), "{lines}");
    }
}

#[tokio::test]
async fn query_in_a_logged_header_is_redacted() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).top("access_log: {fields: {request: [Referer]}}");
    let gateway = config.start().await;
    gateway.get("/", &["Referer: https://a.test/x?accessToken=SECRETVALUE&b=1"]).await;
    let line = gateway.access_of("/").await;
    let referer = line["http.request.header.referer"].as_str().expect("a value");
    assert!(!referer.contains("SECRETVALUE") && referer.contains("b=1"), "{referer}");
}

/// A configuration with a secret in each place that an endpoint shows.
fn with_secrets(admin: &Admin, more: &str) -> Config {
    Config::new()
        .top(&admin.section())
        .top("include: [conf.d/*.yaml]")
        .top(
            "headers: {request: {set: {Authorization: Basic s3cr3t-A, X-Signature: s3cr3t-B, \
             X-Access-Key: s3cr3t-C, X-Auth: s3cr3t-D}}}",
        )
        .answer(
            "a",
            "query: {key: s3cr3t-E}, headers: {X-Api-Key: s3cr3t-F}",
            "respond: {body: one}",
        )
        .answer("b", "path_prefix: /b", more)
}

#[tokio::test]
async fn no_admin_endpoint_shows_a_secret() {
    let admin = Admin::new();
    let gateway = with_secrets(&admin, "respond: {body: two}").start().await;
    let mark = gateway.mark();
    let edited = with_secrets(&admin, "respond: {body: three}").yaml(gateway.port());
    let edited = edited.replace("s3cr3t-E", "s3cr3t-G").replace("s3cr3t-B", "s3cr3t-H");
    replace_file(gateway.file(), &edited);
    gateway.says(mark, "configuration reloaded").await;
    let asked = format!("/explain?url=http://127.0.0.1:{}/?key=no", gateway.port());
    for target in ["/config", "/routes", "/history", &asked] {
        let shown = admin.get(target).await.to_string();
        assert!(!shown.contains("s3cr3t") && !shown.contains("0123456789abcdef"), "{shown}");
    }
    let log = gateway.log_lines().join("\n");
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[tokio::test]
async fn refused_edit_shows_no_secret_and_no_linked_file() {
    let admin = Admin::new();
    let gateway = with_secrets(&admin, "respond: {body: two}").start().await;
    let good = std::fs::read_to_string(gateway.file()).expect("the file");
    let token = "inl1ne-t0ken-0123456789";
    let refused = async |what: &str, secret: &str| {
        let shown = admin.get("/history").await["refused"].to_string();
        assert!(shown.contains("problem"), "{what}: {shown}");
        assert!(!shown.contains(secret), "{what}: {shown}");
        let log = gateway.log_lines().join("\n");
        assert!(!log.contains(secret), "{what}: {log}");
    };
    for section in [
        format!("admin: {{address: \"{}\", tokn: 1, token: {token}}}", admin.address()),
        format!("admin: {{address: \"{}\", tokn: {token}}}", admin.address()),
        format!("admin: {{address: \"{}\", token:{token}}}", admin.address()),
        format!("admin: {{address: \"{}\", token: [{token}]}}", admin.address()),
        format!("admin:\n  address: \"{}\"\n  token:\n    {token}: 1", admin.address()),
        format!("admin:\n  address: \"{}\"\n  token:\n    - {token}", admin.address()),
    ] {
        let mark = gateway.mark();
        replace_file(gateway.file(), &good.replace(&admin.section(), &section));
        gateway.says(mark, "not reloaded").await;
        refused(&section, token).await;
    }
    let mark = gateway.mark();
    replace_file(gateway.file(), &good);
    gateway.says(mark, "reloaded").await;
    let elsewhere = TempDir::new().expect("a folder");
    std::fs::create_dir(gateway.folder().join("conf.d")).expect("a folder");
    for (number, text) in [
        "root:$6$s3cr3t-L:20228\n",
        "routes: s3cr3t-L\n",
        "routes: [{name: x, upstream: s3cr3t-L}]\n",
        "upstreams: {u: {endpoints: [s3cr3t-L s3cr3t-L]}}\n",
        "{ s3cr3t-L\n",
    ]
    .into_iter()
    .enumerate()
    {
        let (file, mark) = (elsewhere.path().join(number.to_string()), gateway.mark());
        std::fs::write(&file, text).expect("written");
        let link = gateway.folder().join(format!("conf.d/{number}.yaml"));
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        gateway.says(mark, "not reloaded").await;
        refused(text, "s3cr3t-L").await;
        std::fs::remove_file(&link).expect("removed");
        gateway.says(mark, "reloaded").await;
    }
}

#[tokio::test]
async fn value_of_a_variable_is_never_shown() {
    let admin = Admin::new();
    let folder = TempDir::new().expect("a folder");
    let variables = [
        ("V_MATCH", "s3cr3t-match"),
        ("V_QUERY", "s3cr3t-query"),
        ("V_SET", "s3cr3t-set"),
        ("V_TO", "s3cr3t-to"),
        ("V_HOST", "s3cr3t-host"),
        ("V_SPLIT", "s3cr3t-split"),
        ("V_NAME", "s3cr3t-name"),
    ];
    let config = Config::new()
        .top(&admin.section())
        .upstream("u", &["127.0.0.1:1"])
        .route("a", "headers: {x-origin-verify: \"${V_MATCH}\"}, query: {q: \"${V_QUERY}\"}", "u")
        .with("headers: {request: {set: {X-Internal: \"${V_SET}\"}}}")
        .with("rewrite: {host: \"${V_HOST}.test\"}")
        .with("split: [{upstream: u, cookies: {c: \"${V_SPLIT}\"}}]")
        .answer("b", "path_prefix: /b", "redirect: {to: \"https://x.test/${V_TO}\"}");
    let write = |name: &str, yaml: String| {
        std::fs::write(folder.path().join(name), yaml).expect("a file");
    };
    let good = config.yaml(free_port());
    write("t.yaml", good.clone());
    write(
        "other.yaml",
        good.replace("x-origin-verify", "x-other").replace("X-Internal", "X-Inside"),
    );
    write("wrong.yaml", good.replace("upstream: u\n", "upstream: \"${V_NAME}\"\n"));
    for arguments in [
        &["explain", "--config", "t.yaml", "http://a.test/?q=1"][..],
        &["explain", "--config", "t.yaml", "--json", "http://a.test/b"],
        &["diff", "t.yaml", "other.yaml"],
        &["check", "--config", "wrong.yaml"],
    ] {
        let run = cli(folder.path(), arguments, &variables).await;
        assert!(!run.all().contains("s3cr3t"), "{arguments:?}: {}", run.all());
        assert!(run.all().contains("${V_"), "{arguments:?}: {}", run.all());
    }
}

#[tokio::test]
async fn content_of_an_endpoints_file_is_not_shown() {
    let admin = Admin::new();
    let config = Config::new()
        .top(&admin.section())
        .top("upstreams: {u: {endpoints_file: eps}}")
        .route("all", "path_prefix: /", "u");
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("eps"), "s3cr3t\n127.0.0.1:1 s3cr3t\nu:s3cr3t@h\n")
        .expect("a file");
    std::fs::write(folder.path().join("t.yaml"), config.yaml(free_port())).expect("a file");
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    assert!(run.code == Some(78) && run.all().contains("eps:3"), "{}", run.all());
    assert!(!run.all().contains("s3cr3t"), "{}", run.all());
}

#[tokio::test]
async fn logs_escape_terminal_control_characters() {
    for format in ["text", "json"] {
        let config = Config::to_address(format!("127.0.0.1:{}", free_port()))
            .top(&format!("access_log: {{format: {format}, fields: {{request: [User-Agent]}}}}"))
            .top(&format!("log: {{format: {format}}}"))
            .top("identity: {user_id: [{query: u}]}");
        let gateway = config.start().await;
        for target in ["/\u{9b}31mred\u{202e}", "/q?x=\u{9b}31m\u{2028}", "/p?u=%C2%9B%E2%80%AE"] {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: \u{85}\u{2066}x\r\n\r\n");
            let status = gateway.send(request).await.status();
            assert!([400, 502].contains(&status), "{status}");
        }
        until("all lines", async || gateway.access_lines().len() >= 3).await;
        for line in gateway.access_lines().into_iter().chain(gateway.log_lines()) {
            let is_control = |c: char| {
                c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) || c == '\u{2066}'
            };
            assert!(!line.contains(is_control), "{format}: {line:?}");
        }
    }
}

#[tokio::test]
async fn value_with_spaces_cannot_forge_a_field_in_text_format() {
    let config = Config::new()
        .top("identity: {user_id: [{query: u}]}")
        .top("access_log: {format: text}")
        .answer("all", "path_prefix: /", "respond: {body: x}");
    let gateway = config.start().await;
    gateway.get("/p?u=a%20client%3d6.6.6.6%20id%3dx", &[]).await;
    until("a line", async || !gateway.access_lines().is_empty()).await;
    let line = gateway.access_lines().remove(0);
    assert!(line.contains("user=\"a client=6.6.6.6 id=x\" client=127.0.0.1"), "{line}");
}

#[tokio::test]
async fn access_log_file_is_not_readable_by_others() {
    let config = Config::new().top("access_log: {path: access.log}").answer(
        "all",
        "path_prefix: /",
        "respond: {body: x}",
    );
    let gateway = config.start().await;
    gateway.get("/", &[]).await;
    let mode = || std::fs::metadata(gateway.folder().join("access.log")).map(|it| it.permissions());
    until("the file", async || mode().is_ok()).await;
    assert_eq!(mode().expect("a file").mode() & 0o137, 0, "0640, less what the umask takes");
}
