//! Each configuration version has a number, and a rollback can return to it.

use futures_util::SinkExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tidegate_testing::{
    Admin, Config, Gateway, Handshake, Upstream, free_port, next, ok, replace_file, respond, within,
};
use tokio_tungstenite::tungstenite::Message;

/// What answers on which paths, and at what version of the configuration.
fn version(upstream: &Upstream, admin: &Admin, number: u32) -> Config {
    Config::to(upstream).with(&format!("rewrite: {{prefix: /v{number}}}")).top(&admin.section())
}

async fn echoing() -> Upstream {
    Upstream::answering(|request| ok(request.head.target())).await
}

async fn said(gateway: &Gateway) -> String {
    gateway.get("/", &[]).await.text()
}

/// Edits the file, and waits for the version.
async fn edit(gateway: &Gateway, config: &Config) {
    let mark = gateway.mark();
    gateway.rewrite(config);
    gateway.says(mark, "configuration reloaded").await;
}

#[tokio::test]
async fn each_edit_is_a_version_with_its_cause_and_changes() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let gateway = version(&upstream, &admin, 1).start().await;
    edit(&gateway, &version(&upstream, &admin, 2)).await;
    let history = admin.get("/history").await;
    let versions = history["versions"].as_array().expect("a list");
    assert_eq!(versions.len(), 2, "{history:#}");
    assert_eq!((&versions[0]["version"], &versions[0]["cause"]), (&2.into(), &"edit".into()));
    assert_eq!((&versions[1]["version"], &versions[1]["cause"]), (&1.into(), &"start".into()));
    let change = &versions[0]["difference"]["changed"]["all"][0];
    assert_eq!(change["what"], "rewrite");
    assert_eq!(
        (&change["before"], &change["after"]),
        (&"prefix \"/v1\"".into(), &"prefix \"/v2\"".into())
    );
    let told = admin.cli(gateway.folder(), &["history"]).await;
    assert!(
        told.stdout.contains("*    2  ") && told.stdout.contains("rewrite: "),
        "{}",
        told.all()
    );
}

#[tokio::test]
async fn invalid_edit_is_no_version_and_is_reported_until_fixed() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let gateway = version(&upstream, &admin, 1).start().await;
    let mark = gateway.mark();
    gateway.rewrite(&version(&upstream, &admin, 1).with("timeouts: {raed: 5s}"));
    gateway.says(mark, "configuration not reloaded").await;
    let history = admin.get("/history").await;
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(1));
    let problems = history["refused"]["problems"].as_str().expect("problems");
    assert!(problems.contains("did you mean `read`?"), "{problems}");
    let mark = gateway.mark();
    gateway.rewrite(&version(&upstream, &admin, 1));
    gateway.says(mark, "configuration reloaded: version 1").await;
    assert!(admin.get("/history").await["refused"].is_null());
}

#[tokio::test]
async fn rollback_applies_at_once_keeps_sockets_and_ignores_the_file() {
    let admin = Admin::new();
    let upstream = Upstream::echo().await;
    let config = |number: u32| {
        let route = format!("respond: {{status: 200, body: v{number}}}");
        Config::to(&upstream).answer("version", "path: /version", &route).top(&admin.section())
    };
    let gateway = config(1).start().await;
    let at = async || gateway.get("/version", &[]).await.text();
    let mut socket = gateway.websocket("/ws").await;
    edit(&gateway, &config(2)).await;
    assert_eq!(at().await, "v2");
    let done = admin.cli(gateway.folder(), &["rollback"]).await;
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(
        done.stdout.contains("version 3 is in force, routes: changed version"),
        "{}",
        done.all()
    );
    assert_eq!(at().await, "v1");
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
    let history = admin.get("/history").await;
    assert_eq!(history["versions"][0]["cause"], "rollback to 1");

    // Back and forth between the last two.
    admin.cli(gateway.folder(), &["rollback"]).await;
    assert_eq!(at().await, "v2");
    admin.cli(gateway.folder(), &["rollback", "1"]).await;
    assert_eq!(at().await, "v1");
    let missing = admin.cli(gateway.folder(), &["rollback", "77"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("there is no version 77 of the configuration, only 1, 2, 3, 4, 5"),
        "{}",
        missing.all()
    );

    let mark = gateway.mark();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.says(mark, "configuration reloaded: version 6").await;
    assert_eq!(at().await, "v2", "what the file says");
}

/// A configuration whose endpoints and error page are in files beside it, which starts with the first
/// upstream.
struct Beside {
    gateway: Gateway,
    admin: Admin,
    upstreams: [Upstream; 2],
}

impl Beside {
    async fn start(admin: Admin) -> Self {
        let upstreams = [Upstream::saying("first").await, Upstream::saying("second").await];
        let folder = tempfile::TempDir::new().expect("a folder");
        let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
        std::fs::write(folder.path().join("page.html"), "old page").expect("written");
        let endpoints = upstreams[0].address().to_string();
        std::fs::write(folder.path().join("endpoints.txt"), endpoints).expect("written");
        std::fs::write(&file, Self::config(&admin, "good").yaml(port)).expect("written");
        Self { gateway: Gateway::run(folder, file, port).await, admin, upstreams }
    }

    fn config(admin: &Admin, version: &str) -> Config {
        Config::new()
            .upstream("service", &["-"])
            .route("all", "path: /", "service")
            .replacing("endpoints: [\"-\"]", "endpoints_file: endpoints.txt")
            .answer("version", "path: /version", &format!("respond: {{body: {version}}}"))
            .top("error_pages: {pages: {\"404\": page.html}}")
            .top(&admin.section())
    }

    fn write(&self, name: &str, text: &str) {
        replace_file(&self.gateway.folder().join(name), text);
    }

    async fn get(&self, path: &str) -> String {
        self.gateway.get(path, &[]).await.text()
    }

    /// Changes both files; when they are in use, the version is still this one.
    async fn changes(&self, endpoint: usize, page: &str, version: &str) {
        let said = ["first", "second"][endpoint];
        self.write("endpoints.txt", &self.upstreams[endpoint].address().to_string());
        tidegate_testing::until("the other endpoint", async || self.get("/").await == said).await;
        self.write("page.html", page);
        assert_eq!(self.get("/version").await, version);
    }
}

#[tokio::test]
async fn changed_error_page_does_not_undo_a_rollback() {
    let beside = Beside::start(Admin::new()).await;
    edit(&beside.gateway, &Beside::config(&beside.admin, "bad")).await;
    assert_eq!(beside.get("/version").await, "bad");
    let done = beside.admin.cli(beside.gateway.folder(), &["rollback"]).await;
    assert_eq!(done.code, Some(0), "{}", done.all());
    beside.changes(1, "new page", "good").await;
    let causes = beside.admin.get("/history").await;
    assert_eq!(causes["versions"][0]["cause"], "rollback to 1", "{causes}");
    let mark = beside.gateway.mark();
    beside.gateway.signal(nix::sys::signal::Signal::SIGHUP);
    beside.gateway.says(mark, "configuration reloaded: version 4").await;
    assert_eq!(beside.get("/version").await, "bad", "what the file says");
    beside.changes(0, "newer page", "bad").await;
}

#[tokio::test]
async fn rollback_restores_the_error_page_until_the_next_edit() {
    let beside = Beside::start(Admin::new()).await;
    let (gateway, admin) = (&beside.gateway, &beside.admin);
    beside.write("other.html", "other page");
    let page = || async {
        let answer = gateway.get("/none", &["Accept: text/html"]).await;
        answer.text()
    };
    let edited = Beside::config(admin, "good").yaml(gateway.port());
    let edited = edited.replace("page.html", "other.html");
    assert_eq!(page().await, "old page");
    let mark = gateway.mark();
    replace_file(gateway.file(), &edited);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(page().await, "other page");
    let done = admin.cli(gateway.folder(), &["rollback"]).await;
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert_eq!(page().await, "old page");
    // The file is written anew with the same text, and the page of the version that was left changes.
    let mark = gateway.mark();
    replace_file(gateway.file(), &edited);
    beside.write("other.html", "other page, changed");
    beside.write("page.html", "old page, changed");
    gateway.says(mark, "names were reloaded, the configuration file itself was not").await;
    assert_eq!(page().await, "old page, changed");
    let history = admin.get("/history").await;
    assert_eq!(history["versions"][0]["cause"], "rollback to 1", "{history}");
    let mark = gateway.mark();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.says(mark, "configuration reloaded: version 4").await;
    assert_eq!(page().await, "other page, changed", "what the file says");
}

#[tokio::test]
async fn rollback_restores_included_files_policies_and_folders() {
    let (folder, admin, port) =
        (tempfile::TempDir::new().expect("a folder"), Admin::new(), free_port());
    for name in ["one", "two", "conf.d"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
        std::fs::write(folder.path().join(name).join("file.txt"), name).expect("written");
    }
    std::fs::write(folder.path().join("page.html"), "page").expect("written");
    let main = |which: &str| {
        Config::new()
            .answer("files", "path_prefix: /files", &format!("files: {{root: {which}}}"))
            .with("rewrite: {prefix: /}")
            .top("include: [conf.d/*.yaml]")
            .top(&format!("cors: {{allow_origins: [\"https://{which}.test\"]}}"))
            .top("error_pages: {pages: {\"404\": page.html}}")
            .top(&admin.section())
            .yaml(port)
    };
    let included = |which: &str| {
        format!("routes: [{{name: more, match: {{path: /more}}, respond: {{body: {which}}}}}]\n")
    };
    let (file, more) =
        (folder.path().join("tidegate.yaml"), folder.path().join("conf.d/more.yaml"));
    std::fs::write(&file, main("one")).expect("written");
    std::fs::write(&more, included("one")).expect("written");
    let gateway = Gateway::run(folder, file, port).await;
    let holds = async |which: &str| {
        let origin = format!("Origin: https://{which}.test");
        let answer = gateway.get("/more", &[&origin]).await;
        assert!(answer.head.get("access-control-allow-origin").is_some(), "{which}");
        assert_eq!(answer.text(), which);
        assert_eq!(gateway.get("/files/file.txt", &[]).await.text(), which);
    };
    holds("one").await;
    for (path, text) in [(more.as_path(), included("two")), (gateway.file(), main("two"))] {
        let mark = gateway.mark();
        replace_file(path, &text);
        gateway.says(mark, "configuration reloaded").await;
    }
    holds("two").await;
    let done = admin.cli(gateway.folder(), &["rollback", "1"]).await;
    assert_eq!(done.code, Some(0), "{}", done.all());
    holds("one").await;
    // The same text in new files, and something that shows when they have been looked at.
    let mark = gateway.mark();
    replace_file(&more, &included("two"));
    replace_file(gateway.file(), &main("two"));
    replace_file(&gateway.folder().join("page.html"), "another page");
    gateway.says(mark, "names were reloaded, the configuration file itself was not").await;
    holds("one").await;
}

#[tokio::test]
async fn changed_error_page_is_used_beside_a_refused_configuration() {
    let beside = Beside::start(Admin::new()).await;
    let good = Beside::config(&beside.admin, "other").yaml(beside.gateway.port());
    let broken = [
        format!("{good} - ["),
        format!("{good}state_dir: \"${{TIDEGATE_TEST_UNSET}}\"\n"),
        good.replace("{\"404\": page.html}", "{\"404\": page.html, \"5xx\": gone.html}"),
    ];
    for (number, broken) in broken.into_iter().enumerate() {
        let mark = beside.gateway.mark();
        replace_file(beside.gateway.file(), &broken);
        beside.gateway.says(mark, "configuration not reloaded").await;
        beside.changes((number + 1) % 2, &format!("page {number}"), "good").await;
        assert!(!beside.admin.get("/history").await["refused"].is_null(), "still refused");
    }
    // SIGHUP does no less.
    let mark = beside.gateway.mark();
    beside.write("page.html", "page by SIGHUP");
    beside.gateway.signal(nix::sys::signal::Signal::SIGHUP);
    beside.gateway.says(mark, "configuration not reloaded").await;
    beside.changes(0, "last page", "good").await;
    let mark = beside.gateway.mark();
    beside.write("gone.html", "there");
    replace_file(beside.gateway.file(), &good);
    beside.gateway.says(mark, "configuration reloaded: version 2").await;
    assert_eq!(beside.get("/version").await, "other");
}

#[tokio::test]
async fn versions_survive_a_restart_with_a_state_dir() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let state = tempfile::tempdir().expect("a folder");
    let version = |number| {
        let place = format!("state_dir: {}", state.path().join("state").display());
        version(&upstream, &admin, number).top(&place)
    };
    let file = state.path().join("tidegate.yaml");
    let run = async |config: &Config| {
        let (folder, port) = (tempfile::TempDir::new().expect("a folder"), free_port());
        std::fs::write(&file, config.yaml(port)).expect("written");
        Gateway::run(folder, file.clone(), port).await
    };
    let gateway = run(&version(1)).await;
    edit(&gateway, &version(2)).await;
    drop(gateway);
    let gateway = run(&version(2)).await;
    let numbers = async || -> Vec<u64> {
        let history = admin.get("/history").await;
        let versions = history["versions"].as_array().expect("a list");
        versions.iter().filter_map(|version| version["version"].as_u64()).collect()
    };
    // The port is another one, so what the file says is another version.
    assert_eq!(numbers().await, [3, 2, 1]);
    assert_eq!(said(&gateway).await, "/v2/");
    let mark = gateway.mark();
    // It would listen at the other port, which takes a restart; its routes are in force.
    admin.cli(gateway.folder(), &["rollback", "1"]).await;
    gateway.says(mark, "rolled back to the configuration of version 1: version 4").await;
    assert_eq!(said(&gateway).await, "/v1/");
    assert_eq!(numbers().await, [4, 3, 2, 1]);
    let mut folders = std::fs::read_dir(state.path().join("state/history")).expect("a folder");
    let kept = folders.next().expect("one").expect("an entry").path().join("4.json");
    assert!(folders.next().is_none(), "one file, one history");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&kept.metadata().expect("kept").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn gateways_that_share_a_state_dir_do_not_share_a_history() {
    let state = tempfile::tempdir().expect("a folder");
    let (one, two) = (Admin::new(), Admin::new());
    let config = |admin: &Admin, text: &str| {
        Config::new()
            .answer("all", "path_prefix: /", &format!("respond: {{body: {text}}}"))
            .top(&format!("state_dir: {}", state.path().display()))
            .top(&admin.section())
    };
    let first = config(&one, "one-1").start().await;
    let second = config(&two, "two-1").start().await;
    for number in 2..=3 {
        edit(&first, &config(&one, &format!("one-{number}"))).await;
        edit(&second, &config(&two, &format!("two-{number}"))).await;
    }
    assert_eq!(one.cli(first.folder(), &["rollback"]).await.code, Some(0));
    assert_eq!((said(&first).await, said(&second).await), ("one-2".into(), "two-3".into()));
    // With the same file it can't be told apart.
    let file = first.file().to_owned();
    let yaml = std::fs::read_to_string(&file).expect("read");
    let port = free_port();
    let yaml = yaml.replace(&first.port().to_string(), &port.to_string());
    std::fs::write(&file, yaml.replace(&one.address(), &Admin::new().address())).expect("written");
    let folder = tempfile::TempDir::new().expect("a folder");
    let third = Gateway::run(folder, file, port).await;
    third.says(0, "another running gateway uses the same configuration file").await;
}

#[tokio::test]
async fn history_is_not_written_to_a_folder_writable_by_others() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let state = tempfile::tempdir().expect("a folder");
    let history = state.path().join("history");
    let precious = state.path().join("precious");
    std::fs::create_dir(&history).expect("made");
    std::fs::set_permissions(&history, std::fs::Permissions::from_mode(0o777)).expect("opened");
    std::fs::write(&precious, "precious").expect("written");
    let config = |text: &str| {
        Config::new()
            .answer("all", "path_prefix: /", &format!("respond: {{body: {text}}}"))
            .top(&format!("state_dir: {}", state.path().display()))
    };
    let gateway = config("one").start().await;
    gateway.says(0, "is writable by other users").await;
    for number in 1..=3 {
        symlink(&precious, history.join(format!("{number}.{}", gateway.process())))
            .expect("a link");
        symlink(&precious, history.join(format!("{number}.json"))).expect("a link");
    }
    edit(&gateway, &config("two")).await;
    assert_eq!(said(&gateway).await, "two");
    assert_eq!(std::fs::read_to_string(&precious).expect("read"), "precious");
}

#[tokio::test]
async fn monitor_rolls_back_when_errors_grow_and_logs_it() {
    let admin = Admin::new();
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/v2/" => respond("500 Internal Server Error", &[], ""),
        target => ok(target),
    })
    .await;
    let version = |number| version(&upstream, &admin, number).top("reload: {guard: {window: 60s}}");
    let gateway = version(1).start().await;
    assert_eq!(said(&gateway).await, "/v1/");
    edit(&gateway, &version(2)).await;
    let mark = gateway.mark();
    let back = async {
        gateway
            .says(mark, "reload.guard: rolled back to the configuration of version 1: version 3")
            .await
    };
    let asking = async {
        loop {
            gateway.get("/", &[]).await;
        }
    };
    within("the way back", async {
        tokio::select! {
            _ = back => {}
            () = asking => {}
        }
    })
    .await;
    assert_eq!(said(&gateway).await, "/v1/");
    let history = admin.get("/history").await;
    let cause = history["versions"][0]["cause"].as_str().expect("a cause");
    assert!(cause.starts_with("reload.guard rolled back to version 1: 100.0 % of "), "{cause}");
    // The file is as it was edited, and nobody touches it.
    let refusing = gateway.mark();
    replace_file(gateway.file(), &version(3).yaml(gateway.port()));
    gateway.says(refusing, "configuration reloaded: version 4").await;
    assert_eq!(said(&gateway).await, "/v3/");
}

#[tokio::test]
async fn rollback_skips_versions_that_the_monitor_rolled_back() {
    let admin = Admin::new();
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/v2/" => respond("500 Internal Server Error", &[], ""),
        target => ok(target),
    })
    .await;
    let version = |number| version(&upstream, &admin, number).top("reload: {guard: {window: 60s}}");
    let gateway = version(1).start().await;
    edit(&gateway, &version(2)).await;
    let mark = gateway.mark();
    let asking = async {
        loop {
            gateway.get("/", &[]).await;
        }
    };
    within("the way back", async {
        tokio::select! {
            _ = gateway.says(mark, "rolled back to the configuration of version 1: version 3") => {}
            () = asking => {}
        }
    })
    .await;
    let done = admin.cli(gateway.folder(), &["rollback"]).await;
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(
        done.stdout.starts_with("rolled back to the configuration of version 1: version 4"),
        "{}",
        done.all()
    );
    assert_eq!(said(&gateway).await, "/v1/");
    // Whoever wants it can have it.
    let done = admin.cli(gateway.folder(), &["rollback", "2"]).await;
    assert!(
        done.stdout.starts_with("rolled back to the configuration of version 2"),
        "{}",
        done.all()
    );
    assert_eq!(gateway.get("/", &[]).await.status(), 500);
}

#[tokio::test]
async fn monitor_rolls_back_when_handshakes_fail() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let guard = "reload: {guard: {window: 60s, max_handshake_failures: 3}}";
    let config =
        |websocket: &str| Config::to(&upstream).with(websocket).top(&admin.section()).top(guard);
    let gateway = config("websocket: on").start().await;
    edit(&gateway, &config("websocket: off")).await;
    let mark = gateway.mark();
    for _ in 0..4 {
        assert_eq!(gateway.refused(&Handshake::to("/ws")).await.status(), 403);
    }
    let line =
        gateway.says(mark, "reload.guard: version 2 causes more errors than version 1").await;
    assert!(
        line.contains("4 WebSocket handshakes failed since the edit, 0 in the same time before"),
        "{line}"
    );
    gateway
        .says(mark, "reload.guard: rolled back to the configuration of version 1: version 3")
        .await;
    gateway.websocket("/ws").await;
}

#[tokio::test]
async fn configured_error_responses_do_not_roll_back() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let guard = "reload: {guard: {window: 2s}}";
    let config = version(&upstream, &admin, 1).top(guard);
    let gateway = config.start().await;
    edit(&gateway, &config.clone().top("maintenance: on")).await;
    let mark = gateway.mark();
    let asking = async {
        loop {
            let answer = gateway.get("/", &[]).await;
            assert_eq!(answer.status(), 503);
        }
    };
    within("the end of the window", async {
        tokio::select! {
            _ = gateway.says(mark, "reload.guard: version 2 caused no more errors") => {}
            () = asking => {}
        }
    })
    .await;
}

#[tokio::test]
async fn each_request_sees_one_version() {
    // Where a version shows: the route's filters, the rewritten path, the upstream, the edge.
    let upstreams = [echoing().await, echoing().await];
    let upstreams: Vec<_> = upstreams.into_iter().map(Arc::new).collect();
    let config = |number: usize| {
        let upstream = &upstreams[number % 2];
        Config::new()
            .upstream("service", &[upstream.address()])
            .route("all", "path_prefix: /", "service")
            .with(&format!("rewrite: {{prefix: /v{number}}}"))
            .with(&format!("headers: {{response: {{set: {{X-Route: v{number}}}}}}}"))
            .top(&format!("headers: {{request: {{set: {{X-Edge: v{number}}}}}}}"))
    };
    let gateway = Arc::new(config(0).start().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (gateway, is_over) = (Arc::clone(&gateway), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                while !is_over.load(Relaxed) {
                    let answer = gateway.get("/", &[]).await;
                    assert_eq!(answer.status(), 200);
                    let version = answer.head.only("x-route").expect("its version").to_owned();
                    assert_eq!(answer.text(), format!("/{version}/"));
                    seen.insert(version);
                }
                seen.len()
            })
        })
        .collect();
    for number in 1..=20 {
        edit(&gateway, &config(number)).await;
    }
    is_over.store(true, Relaxed);
    for client in clients {
        assert!(client.await.expect("no mix") > 1, "it saw more than one");
    }
    for (index, upstream) in upstreams.iter().enumerate() {
        for request in upstream.requests() {
            let edge = request.head.only("x-edge").expect("the edge's version").to_owned();
            assert_eq!(request.head.target(), format!("/{edge}/"));
            let number: usize = edge.trim_start_matches('v').parse().expect("a number");
            assert_eq!(number % 2, index);
        }
    }
}

#[tokio::test]
async fn monitor_rolls_back_when_the_service_fails_handshakes() {
    let admin = Admin::new();
    let upstream = Upstream::answering(|_| respond("500 Internal Server Error", &[], "")).await;
    let guard = "reload: {guard: {window: 60s, max_handshake_failures: 3}}";
    let config = |number| version(&upstream, &admin, number).top(guard);
    let gateway = config(1).start().await;
    edit(&gateway, &config(2)).await;
    let mark = gateway.mark();
    for _ in 0..4 {
        assert_eq!(gateway.refused(&Handshake::to("/ws")).await.status(), 500);
    }
    gateway
        .says(mark, "reload.guard: rolled back to the configuration of version 1: version 3")
        .await;
}

#[tokio::test]
async fn failures_caused_by_clients_do_not_roll_back() {
    let admin = Admin::new();
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        if head.target().contains("good") {
            let mut socket = tidegate_testing::switch(wire, &head, "").await;
            while next(&mut socket).await.is_some() {}
        } else {
            wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let guard = "reload: {guard: {window: 2s, max_handshake_failures: 3}}";
    let config = |number| {
        let limit = "websocket: {max_sessions: 1}";
        version(&upstream, &admin, number).with(limit).top(guard)
    };
    let gateway = config(1).start().await;
    edit(&gateway, &config(2)).await;
    let mark = gateway.mark();
    let asking = async {
        for _ in 0..5 {
            let handshake = || Handshake::to("/ws");
            let without_key = handshake().set("Sec-WebSocket-Key", "x");
            assert_eq!(gateway.refused(&without_key).await.status(), 400);
            let foreign = handshake().set("Origin", "https://elsewhere.example");
            assert_eq!(gateway.refused(&foreign).await.status(), 403);
            assert_eq!(gateway.refused(&handshake()).await.status(), 401, "the service's own");
        }
        let _session = gateway.websocket("/good").await;
        for _ in 0..5 {
            assert_eq!(gateway.refused(&Handshake::to("/good")).await.status(), 429);
        }
        // A coding that nobody knows.
        for _ in 0..30 {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
            assert_eq!(gateway.send(head).await.status(), 501);
        }
        std::future::pending::<()>().await;
    };
    within("the end of the window", async {
        tokio::select! {
            _ = gateway.says(mark, "reload.guard: version 2 caused no more errors") => {}
            () = asking => {}
        }
    })
    .await;
}
