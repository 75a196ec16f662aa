//! Faulty settings of forward authentication are refused where they are written, and `explain` asks nobody.

use crate::forward::{admitting, asking};
use tempfile::TempDir;
use tidegate_testing::{Upstream, cli};

#[tokio::test]
async fn faulty_settings_are_refused_at_their_line() {
    let text = r#"listeners: [{address: "127.0.0.1:3000"}]
authentication:
  ftp: {forward: {url: "ftp://auth.test/"}}
  relative: {forward: {url: /check}}
  password: {forward: {url: "http://u:hidden@auth.test/"}}
  plain: {forward: {url: "http://auth.test/", ca: missing.pem}}
  names:
    forward:
      url: https://auth.test/
      send: [cookie, host, X-Forwarded-For]
      take: [x-user-id, connection, x-request-id]
      user: x-user
      expires: x-user_id
      timeout: 0s
  word: {forward: {url: "http://auth.test/", cache_by: [paht]}}
routes:
  - {name: all, match: {path_prefix: /}, respond: {status: 204}, require: names}
"#;
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("t.yaml"), text).unwrap();
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    let told = run.all();
    assert_eq!(run.code, Some(78), "{told}");
    assert!(!told.contains("hidden"), "{told}");
    for expected in [
        (
            "t.yaml:3:24",
            "authentication.ftp.forward.url",
            "must be a URL that begins with http:// or https://",
        ),
        ("t.yaml:4:29", "authentication.relative.forward.url", "must be a URL"),
        ("t.yaml:5:29", "authentication.password.forward.url", "must not contain a user name"),
        (
            "t.yaml:6:51",
            "authentication.plain.forward.ca",
            "needs a `url` that begins with https://",
        ),
        ("t.yaml:6:51", "authentication.plain.forward.ca", "missing.pem"),
        (
            "t.yaml:10:22",
            "authentication.names.forward.send[1]",
            "sets or removes the header `host`",
        ),
        ("t.yaml:10:28", "authentication.names.forward.send[2]", "`x-forwarded-for`"),
        ("t.yaml:11:25", "authentication.names.forward.take[1]", "`connection`"),
        ("t.yaml:11:37", "authentication.names.forward.take[2]", "`x-request-id`"),
        (
            "t.yaml:12:13",
            "authentication.names.forward.user",
            "the header `x-user` is not in `take`",
        ),
        ("t.yaml:13:16", "authentication.names.forward.expires", "did you mean `x-user-id`?"),
        ("t.yaml:14:16", "authentication.names.forward.timeout", "must be at least"),
        ("t.yaml:15:57", "authentication.word.forward.cache_by[0]", "paht"),
    ] {
        let (place, key, reason) = expected;
        for part in [place, key, reason] {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }
}

#[tokio::test]
async fn explain_asks_nobody_and_says_so() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let folder = TempDir::new().unwrap();
    let config = asking(service.address(), &upstream, ", cache: 10s, on_error: allow");
    std::fs::write(folder.path().join("t.yaml"), config.yaml(3000)).unwrap();
    let arguments = ["explain", "--config", "t.yaml", "http://localhost:3000/a"];
    let run = cli(folder.path(), &arguments, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let (service_address, told) = (service.address(), &run.stdout);
    for part in [
        "route     all",
        &format!(
            "require: legacy (forward: GET http://{service_address}/check, sends authorization cookie"
        ),
        "takes x-user-id x_groups, cached 10s",
        "an outage ADMITS",
        "asks nobody",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!told.contains("from=gateway"), "{told}");
    assert_eq!((service.connections(), upstream.connections()), (0, 0));
}

#[cfg(not(feature = "ext-authz"))]
#[tokio::test]
async fn build_without_grpc_refuses_ext_authz_at_its_line() {
    let text = "listeners: [{address: \"127.0.0.1:3000\"}]\nauthentication:\n  \
                opa: {ext_authz: {url: \"http://127.0.0.1:9191\"}}\n";
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("t.yaml"), text).unwrap();
    let told = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await.all();
    let expected = "t.yaml:3:26: error: authentication.opa.ext_authz: this binary was built without `ext_authz`";
    assert!(told.contains(expected), "{told}");
}
