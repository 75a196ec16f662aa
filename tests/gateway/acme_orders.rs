//! A certificate is ordered once, by one process, for the configured account.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{AcmeSite as Site, Admin, Gateway, Pebble, cli, free_port, until};

const KEY: &str = "b25seS1mb3ItdGVzdHMtMDEyMzQ1Njc4OWFiY2RlZg";
const OTHER_KEY: &str = "bm90LXRoYXQtb25lLTAxMjM0NTY3ODlhYmNkZWZnaA";

/// Orders that have led to a certificate, and that have failed.
async fn orders(admin: &Admin, name: &str) -> (f64, f64) {
    let metrics = admin.metrics().await;
    let of =
        |result| metrics.value("tidegate_acme_orders_total", &[("name", name), ("result", result)]);
    (of("issued"), of("failed"))
}

#[tokio::test]
async fn external_account_is_presented_to_the_authority() {
    let mut pebble = Pebble::new();
    pebble.accounts = vec![("customer-7", KEY)];
    let pebble = pebble.start().await;
    let account = |key: &str| {
        format!("domains: [a.test], external_account: {{key_id: customer-7, hmac_key: {key}}}")
    };
    let mut site = Site::new(pebble, "domains: [a.test]").await;
    let gateway = site.start().await;
    gateway.says(0, "certificate `a.test` was not issued").await;
    drop(gateway);
    site.acme = account(OTHER_KEY);
    let gateway = site.start().await;
    gateway.says(0, "certificate `a.test` was not issued").await;
    drop(gateway);
    site.acme = account(KEY);
    let gateway = site.start().await;
    site.first_serial(&gateway, "a.test").await;
    assert!(!gateway.log_lines().join("").contains(KEY), "the key is in no log");
}

#[tokio::test]
async fn orders_are_counted_by_result() {
    let mut site = Site::new(Pebble::new(), "domains: [a.test]").await;
    let admin = Admin::new();
    site.top = format!("{}\n", admin.section());
    let gateway = site.start().await;
    gateway.says(0, "certificate `a.test` was not issued").await;
    let (issued, failed) = orders(&admin, "a.test").await;
    assert!(issued == 0.0 && failed >= 1.0, "{issued} {failed}");
    site.pebble.run().await;
    site.first_serial(&gateway, "a.test").await;
    until("it is counted", async || orders(&admin, "a.test").await.0 == 1.0).await;
}

fn is_there(folder: &Path, extension: &str) -> bool {
    let Ok(listed) = std::fs::read_dir(folder) else { return false };
    listed.map(|entry| entry.expect("an entry").path()).any(|path| {
        path.extension().is_some_and(|it| it == extension) || is_there(&path, extension)
    })
}

#[tokio::test]
async fn processes_with_a_shared_state_dir_order_once() {
    let pebble = Pebble::new().start().await;
    let mut site = Site::new(pebble, "domains: [a.test]").await;
    let (first_admin, second_admin) = (Admin::new(), Admin::new());
    let state = TempDir::new().expect("a folder");
    let shared = format!("state_dir: {}\n", state.path().display());
    site.top = format!("{}\n", first_admin.section());
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let first_yaml = site.yaml().replace("state_dir: state\n", &shared);
    std::fs::write(&file, &first_yaml).expect("a file");
    let first = Gateway::run(folder, file, site.pebble.targets.1).await;
    // It has begun: nobody else may.
    until("the first orders", async || is_there(state.path(), "lock")).await;

    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let (http, tls) = (free_port(), free_port());
    let second_yaml = first_yaml
        .replace(&format!(":{}", site.pebble.targets.0), &format!(":{http}"))
        .replace(&format!(":{}", site.pebble.targets.1), &format!(":{tls}"))
        .replace(&first_admin.address(), &second_admin.address());
    std::fs::write(&file, second_yaml).expect("a file");
    let second = Gateway::run(folder, file, tls).await;

    let serial = site.first_serial(&first, "a.test").await;
    assert_eq!(site.first_serial(&second, "a.test").await, serial);
    assert_eq!(orders(&first_admin, "a.test").await, (1.0, 0.0));
    assert_eq!(orders(&second_admin, "a.test").await, (0.0, 0.0));
}

#[tokio::test]
async fn upgrade_orders_no_certificate() {
    let pebble = Pebble::new().start().await;
    let mut site = Site::new(pebble, "domains: [a.test]").await;
    let admin = Admin::new();
    site.top = format!("{}\nshutdown: {{grace: 2s}}\n", admin.section());
    let mut gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    assert_eq!(orders(&admin, "a.test").await, (1.0, 0.0));
    let file = gateway.file().to_str().expect("a path").to_owned();
    let run = cli(gateway.folder(), &["upgrade", "--config", &file], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let process = run.stdout.split("process ").nth(1).and_then(|it| it.split(' ').next());
    let process = Pid::from_raw(process.and_then(|it| it.parse().ok()).expect("a process"));
    gateway.exited(std::time::Duration::from_secs(20)).await;
    assert_eq!(site.serial(&gateway, "a.test").await, Some(serial), "the new one has it");
    assert_eq!(orders(&admin, "a.test").await, (0.0, 0.0), "of the new one");
    kill(process, Signal::SIGKILL).expect("it runs");
}
