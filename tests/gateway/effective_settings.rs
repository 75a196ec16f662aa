//! The gateway reports the settings in effect, and which written ones need a restart.

use tempfile::TempDir;
use tidegate_testing::{
    Admin, Authority, Config, Gateway, Upstream, free_port, replace_file, until,
};

async fn restart_needed(admin: &Admin) -> Vec<String> {
    let status = admin.get("/status").await;
    let keys = status["restart_needed"].as_array().expect("a list").iter();
    keys.map(|key| key.as_str().expect("a key").to_owned()).collect()
}

#[tokio::test]
async fn restart_needed_is_reported_until_the_edit_is_undone() {
    let (upstream, admin) = (Upstream::saying("ok").await, Admin::new());
    let folder = TempDir::new().expect("a folder");
    let socket = folder.path().join("http.sock");
    let port = free_port();
    let config = Config::to(&upstream)
        .listening("protocols: [h1]")
        .top(&admin.section())
        .yaml(port)
        .replace(
            "threads: 2",
            &format!("  - {{address: \"unix:{}\"}}\nthreads: 2", socket.display()),
        );
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, &config).expect("written");
    let gateway = Gateway::run(folder, file, port).await;
    assert_eq!(restart_needed(&admin).await, [""; 0]);

    let other = free_port();
    let edited = config
        .replace(&port.to_string(), &other.to_string())
        .replace("threads: 2", "threads: 3")
        .replace("http.sock\"}", "http.sock\", mode: \"0600\"}");
    let mark = gateway.mark();
    replace_file(gateway.file(), &edited);
    gateway.says(mark, "new value of `threads` takes effect only after a restart").await;
    // Another edit changes nothing of it.
    let mark = gateway.mark();
    replace_file(gateway.file(), &format!("{edited}maintenance: off\n"));
    gateway.says(mark, "configuration reloaded").await;
    let keys = ["listeners", "threads", "listeners[1].mode"];
    until("all to be told", async || restart_needed(&admin).await == keys).await;
    let status = admin.get("/status").await;
    let bound = [gateway.address().to_string(), format!("unix:{}", socket.display())];
    assert_eq!(status["listeners"], serde_json::json!(bound));
    assert_eq!(admin.get("/history").await["restart_needed"], serde_json::json!(keys));
    let said = admin.cli(gateway.folder(), &["status"]).await;
    assert!(said.stdout.contains(&format!("listening on {}", bound.join(", "))), "{}", said.all());
    assert!(
        said.stdout.contains("`listeners[1].mode` takes effect after a restart"),
        "{}",
        said.all()
    );
    let said = admin.cli(gateway.folder(), &["history"]).await;
    assert!(said.stdout.contains("`threads`, `listeners[1].mode`."), "{}", said.all());
    let metrics = admin.send(reqwest::Method::GET, "/metrics", None).await.text().await;
    let metrics = metrics.expect("metrics");
    assert!(metrics.contains("tidegate_config_restart_needed 3"), "{metrics}");

    let mark = gateway.mark();
    replace_file(gateway.file(), &config);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(restart_needed(&admin).await, [""; 0]);
}

#[tokio::test]
async fn port_chosen_by_the_system_is_reported() {
    let admin = Admin::new();
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let config = config.top(&admin.section());
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    let yaml =
        config.yaml(port).replace("threads: 2", "  - {address: \"127.0.0.1:0\"}\nthreads: 2");
    std::fs::write(&file, yaml).expect("written");
    let _gateway = Gateway::run(folder, file, port).await;
    let status = admin.get("/status").await;
    let chosen = status["listeners"][1].as_str().expect("an address").to_owned();
    assert!(!chosen.ends_with(":0"), "{chosen}");
    let answer = reqwest::get(format!("http://{chosen}/")).await.expect("an answer");
    assert_eq!(answer.text().await.expect("text"), "ok");
}

#[tokio::test]
async fn moved_listener_keeps_its_tls_until_the_restart() {
    let (upstream, authority) = (Upstream::saying("ok").await, Authority::new());
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let config =
        Config::to(&upstream).listening("tls: {certificates: [{cert: site.pem, key: site.key}]}");
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    std::fs::write(&file, config.yaml(port)).expect("written");
    let gateway = Gateway::run(folder, file, port).await;
    let client = authority.client();
    assert_eq!(client.get(&gateway, "site.test", "/").await.text(), "ok");
    for _ in 0..2 {
        let mark = gateway.mark();
        replace_file(gateway.file(), &config.yaml(free_port()));
        gateway.says(mark, "new value of `listeners` takes effect only").await;
        assert_eq!(client.get(&gateway, "site.test", "/").await.text(), "ok");
    }
}

#[tokio::test]
async fn token_can_be_checked_without_a_change() {
    let admin = Admin::new();
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let _gateway = config.top(&admin.section()).start().await;
    let of = async |token| admin.send(reqwest::Method::POST, "/token", token).await.status();
    assert_eq!(of(Some(tidegate_testing::TOKEN)).await, 200);
    assert_eq!(of(Some("another one")).await, 401);
    assert_eq!(of(None).await, 401);
}

#[tokio::test]
async fn reordered_listeners_need_no_restart() {
    let (upstream, admin) = (Upstream::saying("ok").await, Admin::new());
    let folder = TempDir::new().expect("a folder");
    let (port, other) = (free_port(), free_port());
    let yaml = |first: u16, second: u16| {
        let further = format!("  - {{address: \"127.0.0.1:{second}\"}}\nthreads: 2");
        Config::to(&upstream).top(&admin.section()).yaml(first).replace("threads: 2", &further)
    };
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, yaml(port, other)).expect("written");
    let gateway = Gateway::run(folder, file, port).await;
    let mark = gateway.mark();
    replace_file(gateway.file(), &yaml(other, port));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(restart_needed(&admin).await, [""; 0]);
    let mark = gateway.mark();
    replace_file(gateway.file(), &yaml(other, free_port()));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(restart_needed(&admin).await, ["listeners"]);
}

#[tokio::test]
async fn listeners_that_swap_addresses_need_no_restart() {
    let (authority, admin) = (Authority::new(), Admin::new());
    let upstream = Upstream::saying("ok").await;
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let (port, other) = (free_port(), free_port());
    let yaml = |plain: u16, secure: u16| {
        let secure = format!(
            "  - {{address: \"127.0.0.1:{secure}\", tls: {{certificates: [{{cert: site.pem, key: \
             site.key}}]}}}}\nthreads: 2"
        );
        Config::to(&upstream).top(&admin.section()).yaml(plain).replace("threads: 2", &secure)
    };
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, yaml(port, other)).expect("written");
    let gateway = Gateway::run(folder, file, port).await;
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    replace_file(&gateway.folder().join("swapped.yaml"), &yaml(other, port));
    let told = admin.cli(gateway.folder(), &["diff", "tidegate.yaml", "swapped.yaml"]).await;
    let expected = |address: u16| format!("listeners[127.0.0.1:{address}].tls");
    for address in [port, other] {
        assert!(told.stdout.contains(&expected(address)), "{}", told.all());
    }
    assert!(!told.stdout.contains("listener 127"), "none comes or goes: {}", told.all());
    let mark = gateway.mark();
    replace_file(gateway.file(), &yaml(other, port));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(restart_needed(&admin).await, [""; 0]);
    assert_eq!(authority.client().get(&gateway, "site.test", "/").await.text(), "ok");
    let plain = reqwest::get(format!("http://127.0.0.1:{other}/")).await.expect("an answer");
    assert_eq!(plain.text().await.expect("text"), "ok");
}
