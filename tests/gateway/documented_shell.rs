//! Other commands in the documentation (jq, curl, logrotate, make, the benchmarks) are run against a running gateway;
//! those that can't be run are listed here, with the reason.

use crate::documents::{Block, HERE, bash, blocks, pages};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tidegate_testing::{Admin, Config, Gateway, Handshake, TOKEN, Upstream, free_port, until};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// By page and how a command begins: the test that runs it.
const RUN: [(&str, &str, &str); 10] = [
    ("", "tidegate ", "documented_commands"),
    ("README.md", "curl ", "readme"),
    ("", "make ", "every_documented_make_target_exists"),
    ("docs/access-log.md", "jq ", "documented_jq_queries_read_the_access_log"),
    ("docs/admin.md", "curl ", "documented_curl_commands_query_the_admin_endpoint"),
    ("docs/explain.md", "curl ", "documented_curl_command_gets_an_explanation"),
    ("docs/conformance.md", "tests/autobahn/run ", "documented_program_options_are_in_their_help"),
    ("benches/README.md", "benches/run ", "documented_benchmark_options_are_accepted"),
    ("benches/README.md", "benches/soak", "documented_program_options_are_in_their_help"),
    ("benches/README.md", "benches/reload_sockets", "documented_program_options_are_in_their_help"),
];

/// What is not run, by page and how it begins, and why.
const NOT_RUN: [(&str, &str, &str); 3] = [
    (
        "docs/scaling.md",
        "for pod in $(kubectl ",
        "a cluster; documented_commands has the inner one",
    ),
    ("docs/scaling.md", "helm install ", "a cluster; docker/kubernetes/check renders it instead"),
    ("docs/scaling.md", "helm test ", "a cluster"),
];

/// What stands in comments of docker/ and conf/systemd, by how it begins, and why it is not run.
const COMMENTED: [(&str, &str); 9] = [
    ("docker build ", "an engine; docker/check --build runs what it would"),
    ("docker run ", "an engine"),
    ("docker compose ", "an engine; docker/check reads the files"),
    ("kubectl apply ", "a cluster; docker/kubernetes/check renders the folder"),
    ("kubectl -n edge create secret ", "a cluster"),
    ("kubectl --namespace ", "a cluster; Helm's notes, which docker/kubernetes/check renders"),
    ("kubectl get --raw ", "a cluster; Helm's notes, which docker/kubernetes/check renders"),
    ("helm test ", "a cluster; Helm's notes, which docker/kubernetes/check renders"),
    ("systemctl ", "systemd; service_manager.rs speaks its protocol"),
];

/// Every command of the pages, with its page.
fn commands() -> Vec<(String, String)> {
    let of = |block: Block| {
        let typed = block.commands();
        typed.into_iter().map(move |it| (block.page.clone(), it)).collect::<Vec<_>>()
    };
    blocks().into_iter().flat_map(of).collect()
}

/// Those that a test has to run.
fn commands_run_by(test: &str) -> Vec<String> {
    let mine = |(page, command): &(String, String)| {
        RUN.iter().any(|(of, start, by)| *by == test && is_it(page, command, of, start))
    };
    let found: Vec<_> = commands().into_iter().filter(mine).map(|it| it.1).collect();
    assert!(!found.is_empty(), "{test} has nothing to run");
    found
}

fn is_it(page: &str, command: &str, of: &str, start: &str) -> bool {
    (of.is_empty() || of == page) && command.starts_with(start)
}

#[test]
fn every_documented_shell_command_is_run_or_excused() {
    let all = commands();
    assert!(all.len() > 50, "{all:#?}");
    for (page, command) in &all {
        let count =
            RUN.iter().chain(&NOT_RUN).filter(|it| is_it(page, command, it.0, it.1)).count();
        assert_eq!(count, 1, "{page}: nothing, or more than one thing, takes care of\n{command}");
    }
    for (of, start, _) in RUN.iter().chain(&NOT_RUN) {
        let is_there = all.iter().any(|(page, command)| is_it(page, command, of, start));
        assert!(is_there, "{of}: no command begins with {start}");
    }
}

/// A command in a comment stands two spaces in, or more.
fn commented(text: &str) -> impl Iterator<Item = &str> {
    const PROGRAMS: [&str; 8] =
        ["docker ", "kubectl ", "helm ", "systemctl ", "tidegate ", "curl ", "make ", "jq "];
    let typed = text.lines().filter_map(|line| {
        let typed = line.strip_prefix("#   ").or_else(|| line.strip_prefix("  "))?.trim_start();
        PROGRAMS.iter().any(|program| typed.starts_with(program)).then_some(typed)
    });
    typed.map(|typed| typed.split("   ").next().unwrap_or(typed))
}

#[test]
fn commands_in_comments_name_existing_files() {
    let mut seen = BTreeSet::new();
    for pattern in ["docker/**/*", "conf/systemd/*"] {
        let files = glob::glob(&format!("{HERE}/{pattern}")).expect("a pattern");
        // The checks are programs, whose lines look like commands too.
        let is_read = |path: &PathBuf| path.is_file() && !path.ends_with("check");
        for path in files.filter_map(Result::ok).filter(is_read) {
            let text = std::fs::read_to_string(&path).expect("text");
            for command in commented(&text) {
                let place = path.display();
                if command.starts_with("tidegate upgrade")
                    || command.starts_with("tidegate sessions ")
                {
                    // upgrade.rs runs the one, documented_commands the other.
                    continue;
                }
                let excused = COMMENTED.iter().find(|(start, _)| command.starts_with(start));
                let (start, _) = excused.unwrap_or_else(|| panic!("{place}: who runs {command}?"));
                seen.insert(*start);
                let named = command.split_whitespace().filter(|word| word.starts_with("docker/"));
                for name in named.filter(|name| !name.contains(['*', '{'])) {
                    assert!(Path::new(HERE).join(name).exists(), "{place}: {name} is not there");
                }
            }
        }
    }
    assert_eq!(seen.len(), COMMENTED.len(), "of {COMMENTED:?} only {seen:?} is there");
}

#[tokio::test]
async fn every_documented_make_target_exists() {
    let shown = commands_run_by("every_documented_make_target_exists");
    let mut targets: BTreeSet<String> = shown.iter().map(|it| it["make ".len()..].into()).collect();
    for (_, text) in pages() {
        // Within a line, between backticks.
        let spans = text.split('`').skip(1).step_by(2).map(str::split_whitespace);
        let spans = spans.map(|words| words.collect::<Vec<_>>());
        let made = spans.filter(|words| words.len() > 1 && words[0] == "make");
        targets.extend(made.map(|words| words[1..].join(" ")));
    }
    for wanted in ["check", "newcomer", "soak", "docker-check"] {
        assert!(targets.contains(wanted), "no page speaks of `make {wanted}`: {targets:?}");
    }
    for target in targets {
        // `make` may be what runs this test, and has flags of its own in the environment.
        let command = format!("env -u MAKEFLAGS make --dry-run --no-print-directory {target}");
        let ended = bash(Path::new(HERE), &command, &[]).await;
        assert_eq!(ended.code, Some(0), "{command}\n{}", ended.stderr);
    }
}

#[tokio::test]
async fn files_named_in_contributing_exist() {
    let text = std::fs::read_to_string(format!("{HERE}/CONTRIBUTING.md")).expect("a page");
    let table = text.lines().filter(|line| line.starts_with("| `"));
    let first: Vec<&str> = table.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(first.len() > 10, "{first:?}");
    for command in first {
        let script = match command.strip_prefix("bash ").unwrap_or(command) {
            make if make.starts_with("make ") => continue,
            script => Path::new(HERE).join(script),
        };
        assert!(script.exists(), "{command}");
    }
    let browser = text.split("scripts/browser-tests ").nth(1).expect("the browser's tests");
    let file = browser.split('`').next().expect("a file");
    assert!(Path::new(HERE).join("tests/browser").join(file).is_file(), "{file}");
}

#[tokio::test]
async fn documented_benchmark_options_are_accepted() {
    for command in commands_run_by("documented_benchmark_options_are_accepted") {
        // Nothing else is wrong with it when this is what is: the run itself takes minutes.
        let ended = bash(Path::new(HERE), &format!("{command} --rounds 0"), &[]).await;
        let told = "error: --rounds, --seconds and --tunnels are 1 or more";
        assert!(ended.code == Some(2) && ended.stderr.contains(told), "{command}\n{ended:?}");
    }
}

#[tokio::test]
async fn documented_program_options_are_in_their_help() {
    for command in commands_run_by("documented_program_options_are_in_their_help") {
        let program = command.split_whitespace().next().expect("a program");
        let help = bash(Path::new(HERE), &format!("{program} --help"), &[]).await;
        assert_eq!(help.code, Some(0), "{program}\n{}", help.stderr);
        for option in command.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.stdout.contains(option), "{program} has no {option}");
        }
    }
}

/// A gateway whose access log, a file, tells of requests and sessions of all kinds.
async fn logged() -> (Gateway, Upstream) {
    let upstream = Upstream::echo().await;
    let config = Config::new()
        .upstream("service", &[upstream.address()])
        .upstream("down", &[format!("127.0.0.1:{}", free_port())])
        .route("all", "path_prefix: /", "service")
        .route("down", "path_prefix: /down", "down")
        .top("identity: {user_id: [{query: userId}]}")
        .top("access_log: {format: json, path: access.log}");
    let gateway = config.start().await;
    for target in ["/one?userId=user-1", "/two?userId=user-2", "/down?userId=user-1"] {
        gateway.get(target, &[]).await;
    }
    let (_, mut socket) = Handshake::to("/ws?userId=user-1").open(&gateway).await;
    let done = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.close(Some(done)).await.expect("a close frame");
    while tidegate_testing::next(&mut socket).await.is_some() {}
    lines_of(&gateway, "access.log", 5).await;
    (gateway, upstream)
}

/// The lines of a log, when there are so many.
async fn lines_of(gateway: &Gateway, name: &str, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    until("the log has its lines", async || {
        let text = std::fs::read_to_string(gateway.folder().join(name)).unwrap_or_default();
        lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.len() >= count
    })
    .await;
    lines
}

#[tokio::test]
async fn documented_jq_queries_read_the_access_log() {
    let (gateway, _upstream) = logged().await;
    let mut told = Vec::new();
    for command in commands_run_by("documented_jq_queries_read_the_access_log") {
        let ended = bash(gateway.folder(), &command, &[]).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{command}");
        told.push(ended.stdout);
    }
    let [errors, slow, ends, users] = told.try_into().expect("four questions");
    assert!(errors.starts_with("down\tuser-1\t") && errors.lines().count() == 1, "{errors}");
    let slow: Vec<(f64, String)> =
        slow.lines().map(|line| serde_json::from_str(line).expect("a pair")).collect();
    let paths: BTreeSet<&str> = slow.iter().map(|(_, path)| &**path).collect();
    assert_eq!(paths, BTreeSet::from(["/down", "/one", "/two"]));
    assert!(slow.is_sorted_by(|a, b| a.0 >= b.0), "{slow:?}");
    assert_eq!(ends.split_whitespace().collect::<Vec<_>>(), ["1", "1000", "client"]);
    let users: Vec<Value> =
        users.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(users.len(), 4, "two requests, and a session's beginning and end");
    assert!(users.iter().all(|line| line["user.id"] == "user-1"), "{users:?}");
}

#[tokio::test]
async fn documented_logrotate_configuration_loses_no_line() {
    let (gateway, _upstream) = logged().await;
    let mut rotations = blocks();
    rotations.retain(|block| block.text.contains("postrotate"));
    let [rotation] = &rotations[..] else { panic!("one page shows logrotate") };
    let place = |text: String, this: &str, by: &str| {
        assert_eq!(text.matches(this).count(), 1, "{this} in\n{text}");
        text.replace(this, by)
    };
    let folder = gateway.folder().display().to_string();
    let text = place(rotation.text.clone(), "/var/log/tidegate", &folder);
    // There is no service here: the same signal, to the same process.
    let service = "systemctl kill --kill-whom=main --signal=USR1 tidegate";
    let text = place(text, service, &format!("kill -USR1 {}", gateway.process()));
    std::fs::write(gateway.folder().join("rotation"), text).expect("a file");
    let program = "PATH=$PATH:/usr/sbin logrotate --force --state state rotation";
    let ended = bash(gateway.folder(), &format!("chmod 644 rotation && {program}"), &[]).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "logrotate");
    until("the file is there again", async || gateway.folder().join("access.log").exists()).await;
    gateway.get("/behind", &[]).await;
    let behind = lines_of(&gateway, "access.log", 1).await;
    assert_eq!((behind.len(), &behind[0]["url.path"]), (1, &Value::from("/behind")));
    assert_eq!(lines_of(&gateway, "access.log.1", 5).await.len(), 5);
}

#[tokio::test]
async fn documented_curl_commands_query_the_admin_endpoint() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let gateway = Config::to(&upstream).top(&admin.section()).start().await;
    gateway.get("/", &[]).await;
    until("it is counted", async || admin.get("/routes").await["routes"][0]["requests"] == 1).await;
    let mut told = Vec::new();
    for command in commands_run_by("documented_curl_commands_query_the_admin_endpoint") {
        let command = command.replace("127.0.0.1:9901", &admin.address());
        let ended = bash(gateway.folder(), &command, &[("TIDEGATE_ADMIN_TOKEN", TOKEN)]).await;
        assert_eq!(ended.code, Some(0), "{command}\n{}", ended.stderr);
        told.push(ended.stdout);
    }
    let [routes, level] = told.try_into().expect("a question and an order");
    let mut routes = serde_json::Deserializer::from_str(&routes).into_iter::<Value>();
    let expected = serde_json::json!({"name": "all", "requests": 1, "server_errors": 0});
    assert_eq!(routes.next().expect("a route").expect("JSON"), expected);
    assert!(level.contains("debug"), "{level}");
    assert_eq!(admin.get("/log-level").await["level"], "debug");
}

#[tokio::test]
async fn documented_curl_command_gets_an_explanation() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let gateway = Config::to(&upstream).top(&admin.section()).start().await;
    for command in commands_run_by("documented_curl_command_gets_an_explanation") {
        let command = command.replace("localhost:3000", &gateway.address().to_string());
        let ended = bash(gateway.folder(), &command, &[("TIDEGATE_ADMIN_TOKEN", TOKEN)]).await;
        let told = ended.stdout.trim().strip_prefix("x-tidegate-explain: ");
        let told: Value = serde_json::from_str(told.unwrap_or_default()).expect("JSON");
        assert_eq!(told["route"], "all", "{command}");
    }
}

#[tokio::test]
async fn systemd_unit_starts_and_reloads_the_gateway() {
    let unit = std::fs::read_to_string(format!("{HERE}/conf/systemd/tidegate.service"));
    let unit = unit.expect("a unit");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).expect(key);
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream);
    let gateway = config.start().await;
    let here = |command: &str| {
        command
            .replace("/usr/local/bin/tidegate", env!("CARGO_BIN_EXE_tidegate"))
            .replace("/etc/tidegate/tidegate.yaml", &gateway.file().display().to_string())
    };
    let ended = bash(gateway.folder(), &here(line("ExecStartPre=")), &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // That is how the gateway of this test was started.
    let start = "/usr/local/bin/tidegate run --config /etc/tidegate/tidegate.yaml";
    assert_eq!(line("ExecStart="), start);
    let mark = gateway.mark();
    let process = gateway.process().to_string();
    let reload = bash(gateway.folder(), line("ExecReload="), &[("MAINPID", &process)]).await;
    assert_eq!(reload.code, Some(0), "{}", reload.stderr);
    gateway.says(mark, "configuration").await;
}
