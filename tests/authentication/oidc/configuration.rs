//! The keys of logins: mistakes are refused with their place, and no output has a secret.

use super::browser::{Browser, HTML};
use super::issuer::{Issuer, KEY, SECRET};
use tidegate_testing::{Admin, Config, Upstream, cli};

async fn check(text: &str) -> String {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("tidegate.yaml"), text).expect("written");
    let run = cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await;
    assert_ne!(run.code, Some(0), "{}", run.all());
    run.all()
}

#[tokio::test]
async fn mistakes_are_reported_with_their_places() {
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:8080}}]
authentication:
  browser:
    oidc:
      issuer: http://id.example.com
      client_id: \"\"
      scopes: [\"openid profile\"]
      cookie: {{name: \"a b\", ttl: 0s, keys: [short]}}
      ca: none.pem
  other:
    oidc: {{issuer: \"https://id.example.com?x\", client_id: c, cookie: {{keys: [{KEY}]}}}}
require: browser
routes:
  - {{name: all, match: {{path_prefix: /}}, respond: {{status: 200}}}}
"
    );
    let all = check(&yaml).await;
    for part in [
        "5:15",
        "must be `https`",
        "6:18",
        "must not be empty",
        "7:16",
        "not a scope",
        "8:22",
        "not a name of a cookie",
        "must be at least",
        "at least 32 characters",
        "9:11",
        "none.pem",
        "11:20",
        "no query",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("short"), "{all}");
}

#[tokio::test]
async fn two_endpoints_at_one_path_are_refused() {
    let scheme = |issuer: &str, more: &str| {
        format!(
            "{{oidc: {{issuer: \"https://{issuer}\", client_id: c, cookie: {{keys: [{KEY}]}}{more}}}}}"
        )
    };
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:8080}}]
authentication:
  one: {}
  two: {}
routes:
  - {{name: own, match: {{path: /out}}, respond: {{status: 200}}}}
",
        scheme("a.example", ", logout: /out"),
        scheme("b.example", "")
    );
    let all = check(&yaml).await;
    assert!(all.contains("the route `own` has the path `/out`"), "{all}");
    assert!(
        all.contains("another endpoint of the gateway has the path `/.tidegate/login/callback`"),
        "{all}"
    );
}

#[tokio::test]
async fn no_output_has_a_secret() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let admin = Admin::new();
    let gateway = issuer.config(&upstream).top(&admin.section()).start().await;
    Browser::logged_in(&gateway, &issuer, "alice").await;
    let file = gateway.file().to_str().expect("a path").to_owned();
    let mut outputs =
        vec![admin.get("/config").await.to_string(), admin.get("/status").await.to_string()];
    for arguments in [
        &["explain", "--config", &file, "http://localhost/", "-H", HTML][..],
        &["check", "--config", &file],
        &["diff", &file, &file],
    ] {
        outputs.push(cli(gateway.folder(), arguments, &[]).await.all());
    }
    outputs.extend(gateway.log_lines());
    for output in &outputs {
        assert!(!output.contains(KEY) && !output.contains(SECRET), "{output}");
    }
}

#[tokio::test]
async fn explain_asks_no_issuer() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let folder = tempfile::TempDir::new().expect("a folder");
    let yaml: Config = issuer.config(&upstream);
    std::fs::write(folder.path().join("tidegate.yaml"), yaml.yaml(8080)).expect("written");
    let arguments = ["explain", "--config", "tidegate.yaml", "http://localhost/"];
    let run = cli(folder.path(), &arguments, &[]).await;
    assert!(run.all().contains("401"), "{}", run.all());
    let run = cli(folder.path(), &[&arguments[..], &["-H", HTML]].concat(), &[]).await;
    assert!(run.all().contains(&issuer.provider.issuer()), "{}", run.all());
    assert!(issuer.provider.targets().is_empty() && issuer.token_requests().is_empty());
}
