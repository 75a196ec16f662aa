//! `tidegate diff` reports everything that an edit changes: settings, routes, requests, sessions.

use crate::shop::SHOP;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tidegate_testing::{Admin, Cli, Config, Upstream, cli, ok, within};

async fn diff(old: &str, new: &str, more: &[&str]) -> Cli {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("old.yaml"), old).expect("a file");
    std::fs::write(folder.path().join("new.yaml"), new).expect("a file");
    cli(folder.path(), &[&["diff", "old.yaml", "new.yaml"], more].concat(), &[]).await
}

async fn told(old: &str, new: &str) -> Value {
    let run = diff(old, new, &["--json"]).await;
    assert!(matches!(run.code, Some(0 | 1)), "{}", run.all());
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// The lines with their columns one space apart.
fn lines(run: &Cli) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    run.stdout.lines().map(words).collect()
}

#[tokio::test]
async fn diff_reports_only_observable_changes() {
    for same in [
        format!("# An edit that nobody notices.\n{SHOP}"),
        SHOP.replace("timeouts: {read: 5s}", "timeouts: {read: 5000ms, write: 1m}"),
        SHOP.replace("redirect_to_https: on", "redirect_to_https: true"),
        format!(
            "{SHOP}limits: {{header_size: 65536}}\nshutdown: {{grace: 30s}}\ncompression: off\n"
        ),
        SHOP.replace("    rewrite:", "    websocket: on\n    grpc_web: off\n    rewrite:"),
    ] {
        let run = diff(SHOP, &same, &[]).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), "no difference\n"), "{}", run.all());
    }
    let edited = SHOP
        .replace("timeouts: {read: 5s}", "timeouts: {read: 9s}")
        .replace("127.0.0.1:4003", "127.0.0.1:4009")
        .replace("name: gone", "name: moved")
        .replace("127.0.0.1:8080", "127.0.0.1:8081");
    let run = diff(SHOP, &edited, &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.all());
    let lines = lines(&run);
    for line in [
        "before after",
        "+ listener 127.0.0.1:8081",
        "- listener 127.0.0.1:8080",
        "+ route moved path is /old",
        "- route gone path is /old",
        "~ route users",
        "timeouts.read 5s 9s",
        "> GET http://localhost/old gone moved",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}\n{}", run.stdout);
    }
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
    let cors = SHOP.replace("https://shop.test", "https://shop.example");
    let told = told(SHOP, &cors).await;
    assert_eq!(told["changed"]["users"][0]["what"], "filters");
    assert_eq!(told["settings"][0]["what"], "cors.allow_origins");
    let run = diff(SHOP, "routes: [{nam: x}]", &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
}

/// What is not in what a route does, each with its path in the file.
#[tokio::test]
async fn diff_names_changed_settings_by_path() {
    let old = format!(
        "{SHOP}limits: {{uri_size: 8KiB}}\ntrusted_proxies: [10.0.0.0/8]\n\
         admin: {{address: \"127.0.0.1:9901\", token: 0123456789abcdef}}\n"
    );
    for (from, to, what) in [
        (
            "redirect_to_https: on",
            "redirect_to_https: off",
            "listeners[127.0.0.1:8080].redirect_to_https",
        ),
        ("3000\"}", "3000\", protocols: [h1, h2c]}", "listeners[127.0.0.1:3000].protocols"),
        (
            "3000\"}",
            "3000\", proxy_protocol: {from: [10.1.0.0/16]}}",
            "listeners[127.0.0.1:3000].proxy_protocol.from",
        ),
        ("uri_size: 8KiB", "uri_size: 4KiB", "limits.uri_size"),
        ("10.0.0.0/8", "10.0.0.0/9", "trusted_proxies"),
        ("127.0.0.1:9901", "127.0.0.1:9902", "admin.address"),
        ("0123456789abcdef", "0123456789abcdeX", "admin.token"),
        ("cors:", "error_pages: {intercept: true}\ncors:", "error_pages.intercept"),
        ("cors:", "access_log: off\ncors:", "access_log"),
        ("cors:", "tracing: on\ncors:", "tracing"),
        ("cors:", "cache: {max_size: 1MiB}\ncors:", "cache.max_size"),
        ("cors:", "drain: {spread: 3s}\ncors:", "drain.spread"),
        ("cors:", "shutdown: {grace: 3s}\ncors:", "shutdown.grace"),
        ("cors:", "reload: {guard: {}}\ncors:", "reload.guard"),
        ("cors:", "identity: {user_id: [{query: id}]}\ncors:", "identity.user_id"),
    ] {
        let new = old.replacen(from, to, 1);
        assert_ne!(new, old, "{from}");
        let told = told(&old, &new).await;
        let settings = told["settings"].as_array().expect("a list");
        let change = settings.iter().find(|change| change["what"] == what);
        let change = change.unwrap_or_else(|| panic!("{what}: {told:#}"));
        assert_ne!(change["before"], change["after"], "{told:#}");
        assert!(!told.to_string().contains("0123456789"), "a secret: {told:#}");
    }
}

#[tokio::test]
async fn diff_names_the_keys_that_take_effect_after_a_restart() {
    let old = format!("{SHOP}admin: {{address: \"127.0.0.1:9901\"}}\n");
    for (new, keys) in [
        (format!("{old}limits: {{uri_size: 8KiB}}\n"), vec![]),
        (old.replace("127.0.0.1:8080", "127.0.0.1:8081"), vec!["listeners"]),
        (format!("{old}threads: 3\nstate_dir: kept\n"), vec!["state_dir", "threads"]),
        (old.replace("127.0.0.1:9901", "127.0.0.1:9902"), vec!["admin.address"]),
    ] {
        let told = told(&old, &new).await;
        assert_eq!(told["restart_needed"], serde_json::json!(keys), "{told:#}");
        let run = diff(&old, &new, &[]).await;
        for key in keys {
            let line = format!("! {key} takes effect after a restart");
            assert!(lines(&run).contains(&line), "{line}\n{}", run.stdout);
        }
    }
}

#[tokio::test]
async fn diff_lists_every_changed_setting_of_a_route() {
    let from = "timeouts: {read: 5s}";
    let new = SHOP
        .replace(
            from,
            "timeouts: {read: 9s}\n    retry: {on: [reset]}\n    websocket: {idle_timeout: 1h}",
        )
        .replace(
            "users: {endpoints: [\"127.0.0.1:4001\"]}",
            "users: {endpoints: [\"127.0.0.1:4001\"], balance: peak_ewma, limits: {requests: 7}}",
        );
    let told = told(SHOP, &new).await;
    let changes = told["changed"]["users"].as_array().expect("a list");
    let what: Vec<&str> = changes.iter().filter_map(|change| change["what"].as_str()).collect();
    for one in [
        "timeouts.read",
        "retry.on",
        "websocket.idle_timeout",
        "upstreams.users.balance",
        "upstreams.users.limits.requests",
    ] {
        assert!(what.contains(&one), "{one}: {told:#}");
    }
    assert_eq!(
        changes.iter().find(|it| it["what"] == "retry.on").expect("it")["before"],
        "connect_failure"
    );
}

const OVERLAP: &str = "\
listeners: [{address: \"127.0.0.1:3000\"}]
upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}, b: {endpoints: [\"127.0.0.1:2\"]}}
routes:
  - {name: a, match: {path_prefix: /x, headers: {x-a: \"1\"}}, upstream: a}
  - {name: b, match: {path_prefix: /x, query: {b: \"1\"}}, upstream: b}
";

#[tokio::test]
async fn diff_reports_reordered_routes_that_overlap() {
    let (before, routes) = OVERLAP.split_once("routes:\n").expect("routes");
    let swapped: Vec<&str> = routes.lines().rev().collect();
    let swapped = format!("{before}routes:\n{}\n", swapped.join("\n"));
    let told = told(OVERLAP, &swapped).await;
    let moved = told["moved"].as_array().expect("a list");
    assert_eq!(moved.len(), 1, "{told:#}");
    assert_eq!(moved[0]["request"], "GET http://localhost/x?b=1, x-a: 1");
    assert_eq!((&moved[0]["before"], &moved[0]["after"]), (&"a".into(), &"b".into()));
    // Routes that no request can choose between may stand as they like.
    let apart = OVERLAP.replace("query: {b: \"1\"}", "headers: {x-a: \"2\"}");
    let (before, routes) = apart.split_once("routes:\n").expect("routes");
    let turned: Vec<&str> = routes.lines().rev().collect();
    let turned = format!("{before}routes:\n{}\n", turned.join("\n"));
    assert_eq!(diff(&apart, &turned, &[]).await.code, Some(0));
}

#[tokio::test]
async fn diff_reports_requests_that_another_route_takes() {
    let fresh = "  - {name: c, match: {path_prefix: /api/v1/orders}, upstream: users}\n";
    let told_of = told(SHOP, &format!("{SHOP}{fresh}")).await;
    let moved = told_of["moved"].as_array().expect("a list");
    for (request, before) in [
        ("GET http://localhost/api/v1/orders", Value::Null),
        ("GET http://any.shop.test/api/v1/orders", "orders".into()),
    ] {
        let one = serde_json::json!({"request": request, "before": before, "after": "c"});
        assert!(moved.contains(&one), "{one}\n{told_of:#}");
    }
    // The other way, a route's requests go to another, or to nobody.
    let run = diff(&format!("{SHOP}{fresh}"), SHOP, &[]).await;
    let lines = lines(&run);
    for line in [
        "> GET http://localhost/api/v1/orders c no route",
        "> GET http://any.shop.test/api/v1/orders c orders",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}\n{}", run.stdout);
    }
}

#[tokio::test]
async fn diff_reports_the_impact_on_sessions() {
    let of = |route: &str, policy: &str| {
        format!(
            "  - {{name: {route}, match: {{path_prefix: /{route}}}, upstream: orders, \
             websocket: {{on_change: {policy}, idle_timeout: 1h}}}}\n"
        )
    };
    let kinds = [of("kept", "keep"), of("drained", "drain"), of("closed", "close")];
    let old = format!("{SHOP}{}", kinds.concat());
    let told_of = told(&old, &old.replace("idle_timeout: 1h", "idle_timeout: 2h")).await;
    for fate in ["kept", "drained", "closed"] {
        assert_eq!(told_of["sessions"][fate], serde_json::json!({"fate": fate}), "{told_of:#}");
    }
    // A route without WebSockets has none; one that is gone has said its last.
    assert!(told_of["sessions"].get("orders").is_none(), "{told_of:#}");
    let told_of = told(&old, SHOP).await;
    assert_eq!(told_of["sessions"]["closed"]["fate"], "closed", "{told_of:#}");
    // An endpoint that goes takes its own along.
    let run = diff(&old, &old.replace(", \"127.0.0.1:4003\"", ""), &[]).await;
    let line = "! sessions of drained live sessions at 127.0.0.1:4003 are drained";
    assert!(lines(&run).iter().any(|it| it == line), "{}", run.stdout);
}

#[tokio::test]
async fn diff_reads_included_files_and_variables() {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("conf.d")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    let top = "include: [NAME]\nlisteners: [{address: \"127.0.0.1:3000\"}]\n";
    let part = "upstreams: {a: {endpoints: [\"127.0.0.1:1\"], slow_start: 1s}}\n\
                routes: [{name: a, upstream: a, retry: {backoff: \"${BACKOFF:-5ms}\"}}]\n";
    for name in ["old", "new"] {
        write(&format!("{name}.yaml"), &top.replace("NAME", &format!("conf.d/{name}")))
            .expect("it");
    }
    write("conf.d/old", part).expect("a file");
    let run = async |new: &str, environment: &[(&str, &str)]| {
        write("conf.d/new", new).expect("a file");
        cli(folder.path(), &["diff", "old.yaml", "new.yaml"], environment).await
    };
    assert_eq!(run(part, &[]).await.code, Some(0));
    assert_eq!(run(&part.replace("${BACKOFF:-5ms}", "5ms"), &[]).await.code, Some(0));
    let other = run(&part.replace("1s", "2s"), &[]).await;
    assert!(other.stdout.contains("upstreams.a.slow_start"), "{}", other.all());
    let other = run(&part.replace("${BACKOFF:-5ms}", "5ms"), &[("BACKOFF", "9ms")]).await;
    assert_eq!(other.code, Some(1), "{}", other.all());
    assert!(other.stdout.contains("${BACKOFF:-5ms}"), "{}", other.all());
    assert!(!other.stdout.contains("9ms"), "what a variable holds is not shown: {}", other.all());
}

#[tokio::test]
async fn diff_running_counts_the_affected_sessions() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let config = Config::to(&upstream).top(&admin.section());
    let gateway = config.start().await;
    let _socket = gateway.websocket("/ws").await;
    let diff = async |config: &Config, more: &[&str]| {
        let file = gateway.folder().join("new.yaml");
        std::fs::write(&file, config.yaml(gateway.port())).expect("a file");
        let arguments = [&["diff", "--running", "new.yaml"], more].concat();
        admin.cli(gateway.folder(), &arguments).await
    };
    let same = diff(&config, &[]).await;
    assert_eq!(same.code, Some(0), "{}", same.all());
    assert!(same.stdout.contains("no difference"), "{}", same.all());
    let edited = config.clone().with("timeouts: {read: 7s}");
    let other = diff(&edited, &[]).await;
    assert_eq!(other.code, Some(1), "{}", other.all());
    for line in [
        "~ route all",
        "timeouts.read 1m 7s",
        "! sessions of all live kept with their previous settings",
    ] {
        assert!(lines(&other).iter().any(|it| it == line), "{line}\n{}", other.all());
    }
    assert!(
        other.stdout.contains("1 of 1 WebSocket sessions would be affected: 1 kept"),
        "{}",
        other.all()
    );
    let json = diff(&edited, &["--json"]).await;
    let told: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&told["live"]["kept"], &told["live"]["routes"]["all"]), (&1.into(), &1.into()));
    assert_eq!(told["sessions"]["all"]["fate"], "kept", "{told:#}");
}

#[tokio::test]
async fn every_version_in_the_history_lists_its_changes() {
    let upstream = Upstream::answering(|_| ok("")).await;
    let admin = Admin::new();
    let config = Config::to(&upstream).top(&admin.section());
    let gateway = config.start().await;
    let edits =
        ["limits: {uri_size: 4KiB}", "trusted_proxies: [10.0.0.0/8]", "drain: {spread: 3s}"];
    let mut edited = config.clone();
    for edit in edits {
        edited = edited.top(edit);
        let mark = gateway.mark();
        gateway.rewrite(&edited);
        gateway.says(mark, "configuration reloaded").await;
    }
    let history = admin.get("/history").await;
    let versions = history["versions"].as_array().expect("a list");
    assert_eq!(versions.len(), 4, "{history:#}");
    for (version, edit) in versions.iter().zip(edits.iter().rev()) {
        let what = version["difference"]["settings"][0]["what"].as_str().expect("a change");
        assert!(edit.starts_with(what.split('.').next().expect("a key")), "{what}: {edit}");
        assert!(version["text"].as_str().is_some_and(|text| text.contains(what)), "{version:#}");
    }
}

/// What the command writes to a terminal.
async fn on_a_terminal(folder: &Path, no_color: Option<&str>) -> String {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .current_dir(folder)
        .args(["diff", "old.yaml", "new.yaml"])
        .env_remove("NO_COLOR")
        .envs(no_color.map(|value| ("NO_COLOR", value)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(terminal.slave));
    let mut child = command.spawn().expect("the binary");
    // It holds the other end of the terminal, which has to be closed to come to an end.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut all, mut part) = (Vec::new(), [0; 1024]);
        let mut output = std::fs::File::from(terminal.master);
        // Linux ends it with an error.
        while let Ok(length @ 1..) = output.read(&mut part) {
            all.extend_from_slice(&part[..length]);
        }
        child.wait().expect("its end");
        String::from_utf8(all).expect("UTF-8")
    });
    within("what it writes", reading).await.expect("a thread")
}

#[tokio::test]
async fn diff_is_coloured_on_a_terminal_or_on_request() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("old.yaml"), SHOP).expect("a file");
    let new = SHOP.replace("read: 5s", "read: 9s");
    std::fs::write(folder.path().join("new.yaml"), new).expect("a file");
    let coloured = on_a_terminal(folder.path(), None).await;
    assert!(coloured.contains("\x1b[31m5s\x1b[0m"), "{coloured:?}");
    assert!(coloured.contains("\x1b[32m9s\x1b[0m"), "{coloured:?}");
    let plain = on_a_terminal(folder.path(), Some("1")).await;
    assert!(plain.contains("9s") && !plain.contains('\x1b'), "{plain:?}");
    let unset = on_a_terminal(folder.path(), Some("")).await;
    assert_eq!(unset, coloured);
    let piped = cli(folder.path(), &["diff", "old.yaml", "new.yaml"], &[("NO_COLOR", "")]).await;
    assert_eq!(piped.stdout, plain.replace("\r\n", "\n"));
}
