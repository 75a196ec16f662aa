//! Certificates are selected by name, replaced without a restart, and warned about before they expire.

use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Https, SITES, Upstream, Wire, free_port, get, until,
};

#[tokio::test]
async fn certificate_is_selected_by_server_name() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    assert_eq!(client.shown(&https.gateway, "site.test").await, "site.test");
    assert_eq!(client.shown(&https.gateway, "a.star.test").await, "*.star.test");
    assert_eq!(client.shown(&https.gateway, "A.STAR.test").await, "*.star.test");
    let told = client.untrusted_error(&https.gateway, "other.test").await;
    assert!(told.contains("site.test"), "the first is shown to who asks for none: {told}");
    let told = client.untrusted_error(&https.gateway, "a.b.star.test").await;
    assert!(told.contains("site.test"), "RFC 6125: a wildcard stands for one label: {told}");
}

#[tokio::test]
async fn replaced_certificate_is_used_without_dropping_connections() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    let mut open = Wire::over(client.connect(&https.gateway, "site.test").await);
    open.send(get("/before", &[])).await;
    assert_eq!(open.response().await.status(), 200);

    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "site", &["new.test", "site.test"], 2090);
    https.gateway.says(mark, "configuration reloaded").await;
    assert_eq!(client.shown(&https.gateway, "site.test").await, "new.test");
    open.send(get("/after", &[])).await;
    assert_eq!(open.response().await.status(), 200, "the open connection goes on");
}

#[tokio::test]
async fn broken_key_pair_is_logged_and_the_old_one_stays() {
    let https = Https::new(SITES).await;
    let client = https.authority.client();
    let key = https.gateway.folder().join("site.key");
    let good = std::fs::read(&key).expect("the key");
    let other = std::fs::read(https.gateway.folder().join("star.key")).expect("another key");
    for (broken, told) in [
        (other.as_slice(), "the private key does not belong to the certificate"),
        (b"rubbish", "no private key"),
    ] {
        let mark = https.gateway.mark();
        std::fs::write(&key, broken).expect("written");
        https.gateway.says(mark, told).await;
        assert!(https.gateway.log_lines().iter().any(|line| line.contains("not reloaded")));
        assert_eq!(client.shown(&https.gateway, "site.test").await, "site.test");
    }
    let mark = https.gateway.mark();
    std::fs::write(&key, good).expect("written");
    https.gateway.says(mark, "configuration reloaded").await;
}

#[tokio::test]
async fn expired_certificate_is_logged_and_shown_in_metrics() {
    let admin = free_port();
    let admin_at = format!("admin: {{address: \"127.0.0.1:{admin}\"}}");
    let https = Https::with(SITES, |config| config.top(&admin_at)).await;
    let mark = https.gateway.mark();
    https.authority.issue(https.gateway.folder(), "site", &["site.test"], 2021);
    https.gateway.says(mark, "certificate `site.test` expired at 2021-01-01").await;
    until("the metric", || async {
        let metrics = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await;
        let metrics = metrics.expect("an answer").text().await.expect("text");
        metrics.contains("name=\"site.test\"} 1609459200\n")
    })
    .await;
}

#[tokio::test]
async fn exact_name_precedes_a_wildcard_in_any_order() {
    let (star, exact) = ("{cert: star.pem, key: star.key}", "{cert: exact.pem, key: exact.key}");
    for certificates in [format!("{star}, {exact}"), format!("{exact}, {star}")] {
        let (authority, folder) = (Authority::new(), TempDir::new().expect("a folder"));
        authority.issue(folder.path(), "star", &["*.star.test"], 2090);
        authority.issue(folder.path(), "exact", &["a.star.test"], 2090);
        let upstream = Upstream::saying("hello").await;
        let config =
            Config::to(&upstream).listening(&format!("tls: {{certificates: [{certificates}]}}"));
        let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
        std::fs::write(&file, config.yaml(port)).expect("a file");
        let gateway = Gateway::run(folder, file, port).await;
        let client = authority.client();
        assert_eq!(client.shown(&gateway, "a.star.test").await, "a.star.test", "{certificates}");
        assert_eq!(client.shown(&gateway, "b.star.test").await, "*.star.test", "{certificates}");
    }
}

#[tokio::test]
async fn hosts_replace_the_names_in_the_certificate() {
    let sites = "certificates: [{cert: site.pem, key: site.key}, \
                 {cert: star.pem, key: star.key, hosts: [a.star.test, \"*.b.star.test\"]}]";
    let https = Https::new(sites).await;
    let client = https.authority.client();
    assert_eq!(client.shown(&https.gateway, "a.star.test").await, "*.star.test");
    // It stands in the certificate, but not in `hosts`.
    let told = client.untrusted_error(&https.gateway, "c.star.test").await;
    assert!(told.contains("site.test"), "the first: {told}");
    // And this the other way round.
    let told = client.untrusted_error(&https.gateway, "x.b.star.test").await;
    assert!(told.contains("*.star.test"), "{told}");
}

#[tokio::test]
async fn client_without_server_name_gets_the_first_certificate() {
    for (first, second, shown) in [("site", "star", "site.test"), ("star", "site", "*.star.test")] {
        let one = |name: &str| format!("{{cert: {name}.pem, key: {name}.key}}");
        let https = Https::new(&format!("certificates: [{}, {}]", one(first), one(second))).await;
        let client = https.authority.client().without_name();
        let name = if first == "site" { "site.test" } else { "a.star.test" };
        assert_eq!(client.shown(&https.gateway, name).await, shown);
        let mut wire = Wire::over(client.connect(&https.gateway, name).await);
        wire.send(get("/nameless", &["Connection: close"])).await;
        assert_eq!(wire.response().await.status(), 200);
        let line = https.gateway.access_of("/nameless").await;
        assert!(line["tls.client.server_name"].is_null(), "{line}");
    }
}

#[tokio::test]
async fn certificate_is_warned_about_two_weeks_before_expiry() {
    let https = Https::new(SITES).await;
    let day = Duration::from_secs(24 * 60 * 60);
    for (days, is_warned_of) in [(20, false), (15, false), (13, true), (10, true)] {
        let mark = https.gateway.mark();
        // An hour more, for the seconds that the test takes.
        let left = day * days + Duration::from_secs(3600);
        https.authority.issue_for(https.gateway.folder(), "site", &["site.test"], left);
        https.gateway.says(mark, "configuration reloaded").await;
        let told = https.gateway.log_lines()[mark..].iter().find_map(|line| {
            line.contains("certificate `site.test` expires").then(|| line.clone())
        });
        match (told, is_warned_of) {
            (Some(told), true) => {
                assert!(
                    told.contains("WARN") && told.contains(&format!("in {days} days")),
                    "{told}"
                );
            }
            (None, false) => {}
            // It may be told a little after the reload.
            (None, true) => drop(https.gateway.says(mark, &format!("in {days} days")).await),
            (Some(told), false) => panic!("{days} days: {told}"),
        }
    }
}
