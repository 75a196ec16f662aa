//! `tidegate check` warns about unwise settings, with name, position and page.

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_testing::{Authority, Cli, cli};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn check(yaml: &str) -> Cli {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
    cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await
}

/// The names of the warnings, each with its line and column.
fn warnings(run: &Cli) -> Vec<(String, String)> {
    let lines = run.stderr.lines().filter_map(|line| {
        let (place, rest) = line.split_once(": warning[")?;
        let (name, _) = rest.split_once(']')?;
        Some((name.to_owned(), place.strip_prefix("t.yaml:")?.to_owned()))
    });
    lines.collect()
}

const TOP: &str = "listeners: [{address: \"127.0.0.1:3000\"}]\nupstreams: {used: {endpoints: [\"127.0.0.1:1\"]}}\n";

const ROUTE: &str = "routes: [{name: all, upstream: used}]\n";

#[tokio::test]
async fn unwise_settings_are_warned_about_with_name_position_and_page() {
    let page = std::fs::read_to_string(root().join("docs/warnings.md")).expect("the page");
    let cors = |policy: &str| format!("{TOP}{ROUTE}cors: {{{policy}}}\n");
    let more = |section: &str| format!("{TOP}{ROUTE}{section}\n");
    for (name, yaml, at) in [
        ("any-origin", cors("allow_origins: [\"*\"]"), "4:24"),
        ("null-origin", cors("allow_origins: [\"null\"]"), "4:24"),
        ("no-such-origin", cors("allow_origins: [\"wss://app.example\"]"), "4:24"),
        (
            "insecure-origin",
            cors("allow_origins: [\"http://app.example\"], allow_credentials: true"),
            "4:24",
        ),
        (
            "any-origin",
            format!("{TOP}routes: [{{name: all, upstream: used, websocket: {{origins: any}}}}]\n"),
            "3:59",
        ),
        (
            "null-origin",
            format!(
                "{TOP}routes: [{{name: all, upstream: used, websocket: {{origins: [\"null\"]}}}}]\n"
            ),
            "3:60",
        ),
        (
            "unverified-users",
            format!(
                "{TOP}routes: [{{name: all, upstream: used, websocket: {{max_sessions_per_user: 1}}}}]\nidentity: {{user_id: [{{query: userId}}]}}\n"
            ),
            "3:49",
        ),
        (
            "unused-scheme",
            more("authentication: {a: {jwt: {issuer: \"https://id.test\", audience: [x]}}}"),
            "4:21",
        ),
        ("nameless-users", more("identity: {user_id: [{claim: sub}]}"), "3:10"),
        (
            "readable-password",
            more(&format!(
                "require: staff\nauthentication: {{staff: {{basic: {{file: {:?}}}}}}}",
                root().join("conf/examples/authentication/users.htpasswd")
            ))
            .replace("127.0.0.1:3000", "0.0.0.0:3000"),
            "1:23",
        ),
        (
            "cors-off-websockets",
            format!("{TOP}routes: [{{name: all, upstream: used, cors: off}}]\n"),
            "3:44",
        ),
        ("cors-off-websockets", more("cors: off"), "4:7"),
        ("public-suffix-origin", cors("allow_origins: [\"https://*.com\"]"), "4:24"),
        ("public-suffix-origin", cors("allow_origins: [\"https://*.co.uk:8443\"]"), "4:24"),
        ("public-suffix-origin", cors("allow_origins: [\"https://*.GitHub.io\"]"), "4:24"),
        ("public-suffix-origin", cors("allow_origins: [\"https://*.kawasaki.jp\"]"), "4:24"),
        ("public-suffix-origin", cors("allow_origins: [\"https://*.bd\"]"), "4:24"),
        ("cors-star", cors("allow_methods: [\"*\"]"), "4:24"),
        ("cors-star", cors("expose_headers: [\"*\"], allow_credentials: true"), "4:25"),
        ("cors-unheeded", cors("allow_methods: [TRACK]"), "4:24"),
        ("cors-unheeded", cors("expose_headers: [set-cookie]"), "4:25"),
        ("cors-unheeded", cors("max_age: 2days"), "4:17"),
        ("trusts-everybody", more("trusted_proxies: [10.0.0.0/8, \"::/0\"]"), "4:31"),
        (
            "trusts-everybody",
            more("").replace("3000\"", "3000\", proxy_protocol: {from: [0.0.0.0/0]}"),
            "1:65",
        ),
        ("strangers-sample", more("tracing: {sample: {ratio: 0.1}}"), "4:27"),
        ("strangers-sample", more("tracing: {sample: {ratio: 1, parent: on}}"), "4:38"),
        ("drain-beyond-grace", more("drain: {spread: 1m}"), "4:17"),
        (
            "not-preloadable",
            more("").replace("3000\"", "3000\", tls: {self_signed: true, hsts: {preload: true}}"),
            "1:46",
        ),
        (
            "logs-messages",
            more("").replace("upstream: used}", "upstream: used, websocket: {log_frames: text}}"),
            "3:49",
        ),
        ("nameless-users", more("rate_limits: [{requests: 1, by: user_id}]"), "4:15"),
        (
            "nameless-users",
            more("").replace("used}", "used, rate_limits: [{requests: 1, by: user_id}]}"),
            "3:52",
        ),
        ("nameless-users", more("").replace(":1\"]", ":1\"], balance: {hash: user_id}"), "2:19"),
        (
            "nameless-users",
            more("").replace("used}", "used, websocket: {max_sessions_per_user: 1}}"),
            "3:49",
        ),
        (
            "unverified-upstream",
            more("").replace(":1\"]", ":1\"], tls: {insecure_skip_verify: true}"),
            "2:53",
        ),
        (
            "unused-upstream",
            more("").replace("used: {", "idle: {endpoints: [\"x:2\"]}, used: {"),
            "2:19",
        ),
    ] {
        let run = check(&yaml).await;
        assert_eq!(run.code, Some(0), "{name}: {}", run.all());
        assert_eq!(warnings(&run), [(name.to_owned(), at.to_owned())], "{}", run.all());
        assert!(page.contains(&format!("## {name}\n")), "{name} is explained");
    }
    // Each that the page explains is one, but for those of routes, which stand below.
    for heading in page.lines().filter_map(|line| line.strip_prefix("## ")) {
        let source = ["cors", "files", "mod", "risks", "shadows", "users"].map(|name| {
            let file = root().join(format!("src/explain/review/{name}.rs"));
            std::fs::read_to_string(file).expect("the source")
        });
        assert!(source.iter().any(|it| it.contains(&format!("\"{heading}\""))), "{heading}");
    }
}

#[tokio::test]
async fn sound_settings_cause_no_warning() {
    for section in [
        "cors: {allow_origins: [\"http://localhost:5173\", \"http://127.0.0.1:1\"], allow_credentials: true}",
        "cors: {allow_origins: [\"http://app.example\"], expose_headers: [\"*\"], max_age: 24h}",
        "cors: {allow_origins: [\"https://app.example\"], allow_headers: [\"*\"], allow_credentials: true}",
        "cors: {allow_origins: [\"https://*.example.com\", \"https://*.corp\"]}",
        "trusted_proxies: [10.0.0.0/8, unix]",
        "cors: {}",
        "tracing: {sample: {ratio: 0.1, parent: trusted}}",
        "tracing: on",
        "drain: {spread: 30s}",
        "shutdown: {grace: 5s}",
        "rate_limits: [{requests: 1, by: user_id}]\nidentity: {user_id: [{cookie: uid}]}",
        "rate_limits: [{requests: 1, by: client_address}]",
    ] {
        let run = check(&format!("{TOP}{ROUTE}{section}\n")).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{section}");
    }
}

/// Each route by its match; `never` is the one that gets nothing.
async fn shadowed_route_warnings(matches: &[(&str, &str)]) -> Vec<String> {
    let routes = matches
        .iter()
        .map(|(name, rule)| format!("  - {{name: {name}, match: {{{rule}}}, upstream: used}}\n"));
    let run = check(&format!("{TOP}routes:\n{}", routes.collect::<String>())).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let reasons = run.stderr.lines().filter(|line| line.contains("warning[shadowed-route]"));
    reasons.map(|line| line.rsplit_once("]: ").map_or(line, |(_, it)| it).to_owned()).collect()
}

#[tokio::test]
async fn shadowed_route_is_warned_about_with_the_others() {
    let by_one = shadowed_route_warnings(&[
        ("first", "path_prefix: /a, methods: [GET, POST]"),
        ("never", "path_prefix: /a, methods: [GET]"),
        ("other", "path_prefix: /a, methods: [PUT]"),
        ("deeper", "path_prefix: /a/b, methods: [GET]"),
    ])
    .await;
    assert_eq!(
        by_one,
        ["the route `first` matches every request that `never` would match, so `never` gets none"]
    );
    let by_two = "the routes `one`, `two` together match every request that `never` would match, so \
                  `never` gets none";
    for rules in [
        // By methods.
        [
            ("one", "path_prefix: /a, methods: [GET]"),
            ("two", "path_prefix: /a, methods: [POST]"),
            ("never", "path_prefix: /a, methods: [GET, POST]"),
        ],
        // With more conditions, that together are none.
        [
            ("one", "path: /a, headers: {x-v: {present: true}}"),
            ("never", "path: /a"),
            ("two", "path: /a, headers: {x-v: {present: false}}"),
        ],
        // Names below `test` are left.
        [
            ("one", "path_prefix: /a, hosts: [a.test]"),
            ("two", "path_prefix: /a, hosts: [b.test], headers: {x-v: {present: false}}"),
            ("never", "path_prefix: /a, hosts: [\"*.test\"]"),
        ],
    ] {
        let told = shadowed_route_warnings(&rules).await;
        let is_left_some = rules[2].1.contains("hosts");
        match is_left_some {
            true => assert_eq!(told, [""; 0], "{rules:?}"),
            false => assert_eq!(told, [by_two], "{rules:?}"),
        }
    }
    let by_hosts = shadowed_route_warnings(&[
        ("one", "path_prefix: /a, hosts: [a.test], query: {q: {present: true}}"),
        ("two", "path_prefix: /a, hosts: [a.test, b.test], query: {q: {present: false}}"),
        ("never", "path_prefix: /a, hosts: [a.test]"),
    ])
    .await;
    assert_eq!(by_hosts, [by_two]);
}

#[tokio::test]
async fn examples_cause_only_expected_warnings() {
    let mut files: Vec<PathBuf> =
        ["conf/tidegate.yaml", "docker/tidegate.yaml"].map(|it| root().join(it)).into();
    let entries = std::fs::read_dir(root().join("conf/examples")).expect("the examples");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    files.extend(paths.filter(|path| path.extension().is_some_and(|it| it == "yaml")));
    assert!(files.len() > 20, "{files:?}");
    // Where sockets are made, as systemd would say.
    let folder = TempDir::new().expect("a folder");
    let folder = [("RUNTIME_DIRECTORY", folder.path().to_str().expect("a path"))];
    for file in files {
        let path = file.to_str().expect("a path");
        let run = cli(root(), &["check", "--config", path], &folder).await;
        assert_eq!(run.code, Some(0), "{path}: {}", run.all());
        let codes = run.stderr.split("warning[").skip(1).filter_map(|it| it.split(']').next());
        // The keys of the examples are everybody's.
        let codes: Vec<&str> = codes.filter(|code| *code != "readable-key").collect();
        let apt: &[&str] = match file.file_name().and_then(|name| name.to_str()) {
            // A public API without cookies is for everybody.
            Some("cors.yaml") => &["any-origin"],
            // What it is an example of.
            Some("upstream-tls.yaml") => &["unverified-upstream"],
            // Their subjects are sessions and balance; those of authentication show the rest.
            Some("sessions.yaml" | "pools.yaml" | "rate-limits.yaml") => &["unverified-users"],
            _ => &[],
        };
        assert_eq!(codes, apt, "{path}: {}", run.all());
    }
}

#[tokio::test]
async fn files_readable_or_writable_by_others_are_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let allow = |name: &str, mode: u32| {
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    std::fs::create_dir(path("state")).expect("made");
    Authority::new().issue(folder.path(), "site", &["localhost"], 2080);
    let tls = ", tls: {certificates: [{cert: site.pem, key: site.key}]}}";
    let top = TOP.replacen("3000\"}", &format!("3000\"{tls}"), 1);
    let yaml = |admin: &str| format!("{top}{ROUTE}state_dir: state\n{admin}\n");
    let literal = yaml("admin: {address: \"127.0.0.1:1\", token: 0123456789abcdef}");
    let variable = yaml("admin: {address: \"127.0.0.1:1\", token: \"${T:-0123456789abcdef}\"}");
    let check = async |yaml: &str, modes: [u32; 3]| {
        std::fs::write(path("t.yaml"), yaml).expect("a file");
        for (name, mode) in ["t.yaml", "site.key", "state"].into_iter().zip(modes) {
            allow(name, mode);
        }
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(0), "{}", run.all());
        warnings(&run).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(check(&literal, [0o600, 0o600, 0o700]).await, [""; 0]);
    assert_eq!(check(&literal, [0o640, 0o640, 0o755]).await, [""; 0]);
    assert_eq!(check(&variable, [0o644, 0o600, 0o700]).await, [""; 0]);
    assert_eq!(check(&literal, [0o644, 0o600, 0o700]).await, ["readable-secret"]);
    assert_eq!(check(&variable, [0o666, 0o600, 0o700]).await, ["writable-configuration"]);
    assert_eq!(check(&variable, [0o600, 0o644, 0o700]).await, ["readable-key"]);
    assert_eq!(check(&variable, [0o600, 0o602, 0o700]).await, ["readable-key"]);
    assert_eq!(check(&variable, [0o600, 0o600, 0o777]).await, ["open-state-dir"]);
    allow("site.pem", 0o666);
    assert_eq!(check(&variable, [0o600, 0o600, 0o700]).await, ["writable-configuration"]);
    allow("site.pem", 0o644);
    // What clients are shown.
    std::fs::write(path("lost.html"), "\"lost\"").expect("a file");
    std::fs::create_dir(path("site")).expect("made");
    let shown = variable
        .replace("routes: [", "routes: [{name: site, match: {path: /s}, files: {root: site}}, ");
    assert_ne!(shown, variable);
    for kind in ["pages", "json"] {
        let shown = format!("{shown}error_pages: {{{kind}: {{\"404\": lost.html}}}}\n");
        for (page, site, count) in [
            (0o644, 0o755, 0),
            (0o666, 0o755, 1),
            (0o664, 0o777, 1),
            (0o644, 0o1777, 0),
            (0o606, 0o773, 2),
        ] {
            allow("lost.html", page);
            allow("site", site);
            let expected = vec!["writable-configuration"; count];
            assert_eq!(check(&shown, [0o600, 0o600, 0o700]).await, expected, "{page:o} {site:o}");
        }
    }
    // Whoever may write in the folder may put another file in the place of the configuration.
    allow(".", 0o777);
    assert_eq!(check(&variable, [0o600, 0o600, 0o700]).await, ["writable-configuration"]);
    allow(".", 0o700);
    // Only root can give a file away.
    if std::os::unix::fs::chown(path("site.key"), Some(65534), None).is_ok() {
        assert_eq!(check(&variable, [0o600, 0o600, 0o700]).await, ["foreign-file"]);
    }
}

#[tokio::test]
async fn deny_warnings_makes_check_fail() {
    let folder = TempDir::new().expect("a folder");
    let yaml = format!("{TOP}{ROUTE}trusted_proxies: [0.0.0.0/0]\n");
    std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
    let run = cli(folder.path(), &["check", "--config", "t.yaml", "--deny-warnings"], &[]).await;
    assert_eq!(run.code, Some(78));
    assert!(run.stderr.contains("1 warning in t.yaml; docs/warnings.md"), "{}", run.stderr);
}

#[tokio::test]
async fn unusable_durations_are_refused() {
    let websocket = |settings: &str| {
        format!("{TOP}routes: [{{name: all, upstream: used, websocket: {{{settings}}}}}]\n")
    };
    let health = |settings: &str| {
        TOP.replace(
            "\"127.0.0.1:1\"]",
            &format!("\"127.0.0.1:1\"], health: {{check: tcp, {settings}}}"),
        ) + ROUTE
    };
    for (yaml, expected) in [
        (
            websocket("ping: {interval: 0s}"),
            "3:67: error: routes[0].websocket.ping.interval: must be at least 1s",
        ),
        (websocket("ping: {interval: 999ms}"), "websocket.ping.interval: must be at least 1s"),
        (
            websocket("ping: {interval: 25s, timeout: 0s}"),
            "websocket.ping.timeout: must be at least 1s",
        ),
        (websocket("idle_timeout: 0s"), "websocket.idle_timeout: must be more than 0s"),
        (websocket("max_lifetime: 0s"), "websocket.max_lifetime: must be more than 0s"),
        (health("interval: 0s"), "upstreams.used.health.interval: must be at least 10ms"),
        (health("timeout: 9ms"), "upstreams.used.health.timeout: must be at least 10ms"),
    ] {
        let run = check(&yaml).await;
        assert_eq!(run.code, Some(78), "{yaml}{}", run.all());
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.all());
        assert_eq!(run.stderr.matches("error: ").count(), 1, "{}", run.all());
    }
    for yaml in [
        websocket("ping: {interval: 1s, timeout: 1s}, idle_timeout: 1ms"),
        health("interval: 10ms"),
    ] {
        let run = check(&yaml).await;
        assert_eq!(run.code, Some(0), "{}", run.all());
    }
}

#[test]
fn warning_names_the_listener_and_route_by_their_indexes() {
    let yaml = "listeners:
  - {address: \"127.0.0.1:0\"}
  - {address: \"[::1]:0\", proxy_protocol: {from: [10.0.0.0/8, 0.0.0.0/0]}}
upstreams: {used: {endpoints: [\"127.0.0.1:1\"]}}
routes:
  - {name: a, match: {path_prefix: /a}, upstream: used}
  - {name: b, upstream: used, rate_limits: [{requests: 1}, {requests: 1, by: user_id}]}\n";
    let warnings = tidegate::Config::from_yaml(yaml).check().expect("valid").warnings.to_string();
    assert!(warnings.contains("listeners[1].proxy_protocol.from[1]"), "{warnings}");
    assert!(warnings.contains("routes[1].rate_limits[1].by"), "{warnings}");
}
