//! A new configuration takes effect while open connections stay open.

use futures_util::SinkExt;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tidegate_testing::{
    Config, Gateway, Socket, Upstream, free_port, get, next, ok, replace_file, until,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// A configuration with a route for `/new`, which its response shows.
fn with_new(upstream: &Upstream) -> Config {
    Config::new()
        .upstream("service", &[upstream.address()])
        .route("old", "path_prefix: /old", "service")
        .route("new", "path_prefix: /new", "service")
}

fn without_new(upstream: &Upstream) -> Config {
    Config::new().upstream("service", &[upstream.address()]).route(
        "old",
        "path_prefix: /old",
        "service",
    )
}

async fn status(gateway: &Gateway, target: &str) -> u16 {
    gateway.get(target, &[]).await.status()
}

/// Waits until `/new` is answered with this status.
async fn wait_for_status_of_new(gateway: &Gateway, expected: u16) {
    until("the new configuration", || async { status(gateway, "/new").await == expected }).await;
}

#[tokio::test]
async fn edit_in_place_takes_effect() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).start().await;
    assert_eq!(status(&gateway, "/new").await, 404);
    fs::write(gateway.file(), with_new(&upstream).yaml(gateway.port())).expect("written");
    wait_for_status_of_new(&gateway, 200).await;
    fs::write(gateway.file(), without_new(&upstream).yaml(gateway.port())).expect("written");
    wait_for_status_of_new(&gateway, 404).await;
    assert_eq!(status(&gateway, "/old").await, 200);
}

#[tokio::test]
async fn edit_during_the_start_takes_effect() {
    let upstream = Upstream::saying("ok").await;
    // The gateway accepts connections by now; whether it watches its file, nobody can see.
    let gateway = without_new(&upstream).start().await;
    gateway.rewrite(&with_new(&upstream));
    wait_for_status_of_new(&gateway, 200).await;
}

#[tokio::test]
async fn replacing_the_file_by_rename_takes_effect() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).start().await;
    gateway.rewrite(&with_new(&upstream));
    wait_for_status_of_new(&gateway, 200).await;
    // Others move the old file away first.
    fs::rename(gateway.file(), gateway.file().with_extension("yaml~")).expect("moved away");
    fs::write(gateway.file(), without_new(&upstream).yaml(gateway.port())).expect("written");
    wait_for_status_of_new(&gateway, 404).await;
}

#[tokio::test]
async fn edit_that_keeps_size_and_time_takes_effect() {
    let upstream = Upstream::saying("ok").await;
    let gateway = with_new(&upstream).start().await;
    let time = fs::metadata(gateway.file()).and_then(|file| file.modified()).expect("a time");
    let text = with_new(&upstream).yaml(gateway.port()).replace("/new", "/nah");
    fs::write(gateway.file(), text).expect("written");
    let file = fs::File::options().write(true).open(gateway.file()).expect("the file");
    file.set_modified(time).expect("the old time");
    wait_for_status_of_new(&gateway, 404).await;
}

#[tokio::test]
async fn config_map_swap_takes_effect() {
    let upstream = Upstream::saying("ok").await;
    let port = free_port();
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // As the kubelet does it: a folder a version, `..data` swapped by a rename.
    let publish = |root: &Path, version: &str, config: &Config| {
        fs::create_dir(root.join(version)).expect("a folder");
        fs::write(root.join(version).join("tidegate.yaml"), config.yaml(port)).expect("a file");
        symlink(version, root.join("..data_tmp")).expect("a link");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
    };
    publish(folder.path(), "..v1", &without_new(&upstream));
    symlink("..data/tidegate.yaml", at("tidegate.yaml")).expect("a link");
    let file = at("tidegate.yaml");
    let gateway = Gateway::run(folder, file, port).await;
    assert_eq!(status(&gateway, "/new").await, 404);
    publish(gateway.folder(), "..v2", &with_new(&upstream));
    fs::remove_dir_all(gateway.folder().join("..v1")).expect("the old version removed");
    wait_for_status_of_new(&gateway, 200).await;
}

#[tokio::test]
async fn included_file_is_watched() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).top("include: [conf.d/*.yaml]").start().await;
    let conf = gateway.folder().join("conf.d");
    fs::create_dir(&conf).expect("a folder");
    let route = "routes:\n  - name: new\n    match: {path_prefix: /new}\n    upstream: service\n";
    fs::write(conf.join("a.yaml"), route).expect("a new file");
    wait_for_status_of_new(&gateway, 200).await;
    fs::write(conf.join("a.yaml"), route.replace("/new", "/other")).expect("an edit");
    wait_for_status_of_new(&gateway, 404).await;
    assert_eq!(status(&gateway, "/other").await, 200);
    fs::remove_file(conf.join("a.yaml")).expect("removed");
    until("the route gone", || async { status(&gateway, "/other").await == 404 }).await;
    assert_eq!(status(&gateway, "/old").await, 200);
}

#[tokio::test]
async fn sighup_reloads_the_configuration() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).start().await;
    let mark = gateway.mark();
    gateway.rewrite(&with_new(&upstream));
    gateway.signal(Signal::SIGHUP);
    let line = gateway.says(mark, "configuration reloaded").await;
    assert!(line.contains("new"), "what changed is said: {line}");
    assert_eq!(status(&gateway, "/new").await, 200);
}

#[tokio::test]
async fn reload_logs_what_it_changed() {
    let upstream = Upstream::saying("ok").await;
    let base = |prefix: &str, name: &str| {
        Config::new()
            .upstream("service", &[upstream.address()])
            .route("changing", &format!("path_prefix: {prefix}"), "service")
            .route(name, "path_prefix: /other", "service")
    };
    let gateway = base("/a", "leaving").start().await;
    let mark = gateway.mark();
    gateway.rewrite(&base("/b", "coming"));
    gateway.signal(Signal::SIGHUP);
    gateway.says(mark, "configuration reloaded").await;
    for name in ["changing", "leaving", "coming"] {
        gateway.says(mark, name).await;
    }
}

#[tokio::test]
async fn invalid_edit_changes_nothing_and_is_logged_once() {
    let upstream = Upstream::echo().await;
    let mut gateway = without_new(&upstream).start().await;
    let mut socket = gateway.websocket("/old").await;
    let mark = gateway.mark();
    let good = with_new(&upstream).yaml(gateway.port());
    let bad = format!("{good}treads: 2\n");
    let place = format!("tidegate.yaml:{}:1", bad.lines().count());
    replace_file(gateway.file(), &bad);
    gateway.says(mark, &place).await;
    assert_eq!(status(&gateway, "/new").await, 404);
    assert_eq!(status(&gateway, "/old").await, 200);
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
    // Time for a watcher to look again and again.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let told = gateway.log_lines().iter().filter(|line| line.contains(&place)).count();
    assert_eq!(told, 1, "told once:\n{}", gateway.log_lines().join("\n"));
    assert!(gateway.is_alive());
    replace_file(gateway.file(), &good);
    wait_for_status_of_new(&gateway, 200).await;
}

#[tokio::test]
async fn removed_file_changes_nothing() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).start().await;
    let mark = gateway.mark();
    fs::remove_file(gateway.file()).expect("removed");
    gateway.signal(Signal::SIGHUP);
    gateway.says(mark, "tidegate.yaml").await;
    assert_eq!(status(&gateway, "/old").await, 200);
    gateway.rewrite(&with_new(&upstream));
    wait_for_status_of_new(&gateway, 200).await;
}

#[tokio::test]
async fn reload_names_settings_that_need_a_restart() {
    let upstream = Upstream::saying("ok").await;
    let gateway = without_new(&upstream).start().await;
    let mark = gateway.mark();
    let other = free_port();
    replace_file(gateway.file(), &with_new(&upstream).yaml(other));
    gateway.signal(Signal::SIGHUP);
    let line = gateway.says(mark, "restart").await;
    assert!(line.contains("listener"), "{line}");
    assert_eq!(status(&gateway, "/old").await, 200, "the old listener stays");
}

#[tokio::test]
async fn request_in_flight_finishes_with_the_old_configuration() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let slow = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&opened);
        async move {
            let head = wire.head().await;
            recorder.record(&head);
            gate.notified().await;
            wire.send(ok("from the old")).await;
            wire.read_to_end().await;
        }
    })
    .await;
    let other = Upstream::saying("from the new").await;
    let gateway = Config::to(&slow).top("cors: {allow_origins: [\"http://a.test\"]}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &["Origin: http://a.test"])).await;
    slow.request(0).await;
    gateway.rewrite(&Config::to(&other));
    gateway.signal(Signal::SIGHUP);
    let is_new = || async { gateway.get("/", &[]).await.text() == "from the new" };
    // Before the reload, this very request would hang at the slow upstream.
    gateway.says(0, "configuration reloaded").await;
    assert!(is_new().await);
    gate.notify_waiters();
    gate.notify_one();
    let answer = wire.response().await;
    assert_eq!(answer.text(), "from the old");
    assert_eq!(answer.head.only("access-control-allow-origin"), Some("http://a.test"));
}

async fn echoes(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("sent");
    assert_eq!(next(socket).await, Some(Message::text(text)));
}

/// Asks without a pause on one kept connection until told to stop; counts the answers.
async fn ask_without_a_pause(
    gateway: Arc<Gateway>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) {
    let mut wire = gateway.connect().await;
    while !stop.load(Ordering::Relaxed) {
        wire.send(get("/steady?userId=user-1", &[])).await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "polled"));
        if answer.head.list("connection").contains(&"close".to_owned()) {
            wire = gateway.connect().await;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_survive_500_reloads() {
    let upstream = Upstream::echo().await;
    let turn = |number: usize| {
        Config::to(&upstream)
            .route(&format!("turn-{number}-"), &format!("path_prefix: /turn/{number}"), "service")
            .cors(&["http://localhost:5173"], "")
    };
    let gateway = Arc::new(turn(0).start().await);
    let mut sockets = Vec::new();
    for number in 0..200 {
        sockets.push(gateway.websocket(&format!("/ws?userId=user-{number}")).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        askers.spawn(ask_without_a_pause(
            Arc::clone(&gateway),
            Arc::clone(&stop),
            Arc::clone(&count),
        ));
    }
    for number in 1..=500 {
        let mark = gateway.mark();
        gateway.rewrite(&turn(number));
        gateway.signal(Signal::SIGHUP);
        gateway.says(mark, &format!("turn-{number}-")).await;
        let socket = number % sockets.len();
        echoes(&mut sockets[socket], &format!("turn {number}")).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(asked) = askers.join_next().await {
        asked.expect("every request was answered");
    }
    assert!(count.load(Ordering::Relaxed) > 500, "requests flowed meanwhile");
    for (number, socket) in sockets.iter_mut().enumerate() {
        echoes(socket, &format!("after all, {number}")).await;
    }
    let reloads =
        gateway.log_lines().iter().filter(|line| line.contains("configuration reloaded")).count();
    assert!(reloads >= 500, "{reloads} reloads");
    assert!(!gateway.access_lines().iter().any(|line| line.contains("websocket.close")));
    assert_eq!(upstream.requests().iter().filter(|r| r.head.get("upgrade").is_some()).count(), 200);
}
