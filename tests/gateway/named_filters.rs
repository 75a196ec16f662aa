//! Filters that the configuration uses by name, in a program that has every verb: `examples/api_keys.rs`.

use super::custom_filters::example;
use super::documents::{HERE, bash};
use std::path::Path;
use std::process::{Command, Output};
use tidegate_testing::{Ready, Upstream, free_port};

/// Runs a verb of the example's program.
fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(example("api_keys"))
        .args(arguments)
        .current_dir(folder)
        .env("API_KEY", "the-key-of-shop")
        .output()
        .expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// A file whose routes have these filters.
fn write(folder: &Path, name: &str, port: u16, upstream: &str, filters: &str, limits: &str) {
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}}}]\n\
         upstreams: {{u: {{endpoints: ['{upstream}']}}}}\n\
         routes:\n\
         - name: open\n  match: {{path_prefix: /open}}\n  upstream: u\n\
         - name: guarded\n  match: {{path_prefix: /guarded}}\n  upstream: u\n\
         \x20 filters: {filters}\n  rate_limits: {limits}\n"
    );
    std::fs::write(folder.join(name), yaml).expect("the file");
}

const KEYS: &str = "[{api_keys: {keys: [{key: '${API_KEY}', user: shop}, {key: b, user: bot}]}}]";

#[tokio::test]
async fn a_named_filter_guards_its_route_and_its_user_counts_for_rate_limits() {
    let upstream = Upstream::saying("hello").await;
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let address = upstream.address().to_string();
    let limits = "[{requests: 2, per: 1h, by: user_id}]";
    write(folder.path(), "t.yaml", port, &address, KEYS, limits);
    let mut program = Command::new(example("api_keys"));
    program.args(["run", "--config"]).arg(folder.path().join("t.yaml"));
    program.env("API_KEY", "the-key-of-shop");
    let _program = Ready::wait(program).await;

    let client = reqwest::Client::new();
    let get = async |path: &str, key: &str| {
        let request = client.get(format!("http://127.0.0.1:{port}{path}")).header("x-api-key", key);
        request.send().await.expect("an answer")
    };
    assert_eq!(get("/open", "").await.status(), 200);
    let refused = get("/guarded", "wrong").await;
    assert_eq!(refused.status(), 401);
    assert!(refused.text().await.expect("text").contains("no_api_key"));
    for (key, status) in [("the-key-of-shop", 200), ("b", 200), ("the-key-of-shop", 200)] {
        assert_eq!(get("/guarded", key).await.status(), status, "{key}");
    }
    assert_eq!(get("/guarded", "the-key-of-shop").await.status(), 429, "shop has used its two");
    assert_eq!(get("/guarded", "b").await.status(), 200, "bot has one of its own left");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 5);
    for request in requests.iter().filter(|it| it.head.line.contains("guarded")) {
        assert_eq!(request.head.get("x-api-key"), None, "the key goes no further");
    }
}

#[tokio::test]
async fn a_reload_changes_a_named_filter_and_a_wrong_one_changes_nothing() {
    let upstream = Upstream::saying("hello").await;
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let address = upstream.address().to_string();
    write(folder.path(), "t.yaml", port, &address, KEYS, "[]");
    let mut program = Command::new(example("api_keys"));
    program.args(["run", "--config"]).arg(folder.path().join("t.yaml"));
    program.env("API_KEY", "the-key-of-shop");
    let _program = Ready::wait(program).await;

    let client = reqwest::Client::new();
    let status = async |key: &str| {
        let url = format!("http://127.0.0.1:{port}/guarded");
        let answer = client.get(url).header("x-api-key", key).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!((status("b").await, status("c").await), (200, 401));
    let wrong = "[{api_keys: {keyz: []}}]";
    write(folder.path(), "t.yaml", port, &address, wrong, "[]");
    tidegate_testing::until("time passed", || async { status("b").await == 200 }).await;
    write(
        folder.path(),
        "t.yaml",
        port,
        &address,
        "[{api_keys: {keys: [{key: c, user: c}]}}]",
        "[]",
    );
    tidegate_testing::until("the new key", || async { status("c").await == 200 }).await;
    assert_eq!(status("b").await, 401);
}

#[test]
fn errors_of_named_filters_have_positions_and_suggestions() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |filters: &str| {
        write(folder.path(), "t.yaml", 1, "127.0.0.1:2", filters, "[]");
        let (status, _, stderr) = run(&["check", "--config", "t.yaml"], folder.path());
        assert_eq!(status, Some(78), "{stderr}");
        stderr
    };
    let at = "error: routes[1].filters[0].api_keys";
    let said = check("[{api_kyes: {keys: []}}]");
    assert!(
        said.contains("t.yaml:10:14: error: routes[1].filters[0].api_kyes: unknown key"),
        "{said}"
    );
    assert!(said.contains("did you mean `api_keys`?"), "{said}");
    let said = check("[{api_keys: {keyz: []}}]");
    assert!(said.contains(&format!("{at}.keyz: unknown key")), "{said}");
    assert!(said.contains("did you mean `keys`?"), "{said}");
    let said = check("[{api_keys: {keys: [{key: a, user: x}, {key: a, user: y}]}}]");
    assert!(
        said.contains(&format!("t.yaml:10:57: {at}.keys[1].key: the key is there already")),
        "{said}"
    );
    assert!(said.contains("give each user a key of its own"), "{said}");
    let said = check("[{api_keys: {keys: [], header: 'a b'}}]");
    assert!(said.contains(&format!("{at}.header: invalid HTTP header name")), "{said}");
}

#[tokio::test]
async fn the_gateway_s_own_program_refuses_filters_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "t.yaml", 1, "127.0.0.1:2", KEYS, "[]");
    let check = tidegate_testing::cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    let said = check.stderr;
    assert!(said.contains("unknown filter: this program registers no filters"), "{said}");
}

#[test]
fn every_verb_knows_named_filters() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "old.yaml", 1, "127.0.0.1:2", KEYS, "[]");
    write(folder, "new.yaml", 1, "127.0.0.1:2", &KEYS.replace("key: b", "key: changed"), "[]");
    let (status, said, _) = run(&["check", "--config", "old.yaml"], folder);
    assert_eq!((status, said.contains("good")), (Some(0), true), "{said}");
    let (_, said, _) = run(&["explain", "http://a/guarded", "--config", "old.yaml"], folder);
    assert!(said.contains("api_keys: 2 keys in x-api-key"), "{said}");
    assert!(said.contains("401"), "{said}");
    let (status, said, _) = run(&["diff", "old.yaml", "old.yaml"], folder);
    assert_eq!((status, said.trim()), (Some(0), "no difference"));
    let (status, said, _) = run(&["diff", "old.yaml", "new.yaml"], folder);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("guarded") && said.contains("filters"), "{said}");
    assert!(!said.contains("changed") && !said.contains("the-key"), "keys are secrets: {said}");
    let (_, schema, _) = run(&["schema"], folder);
    assert!(schema.contains("\"The user that the request then speaks for.\""), "{schema}");
    let (_, reference, _) = run(&["schema", "--markdown"], folder);
    assert!(
        reference.contains("## `routes[].filters[].api_keys.keys[]`")
            || reference.contains("## `filters[].api_keys.keys[]`"),
        "{reference}"
    );
}

/// The commands of the example's head comment, and what it shows of their output.
fn head_comment() -> Vec<(String, String)> {
    let source = include_str!("../../examples/api_keys.rs");
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut is_block = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        match line.trim_start() {
            "```console" => is_block = true,
            "```" => is_block = false,
            line if is_block => match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), String::new())),
                None => commands.last_mut().expect("a command").1.push_str(line),
            },
            _ => {}
        }
    }
    commands
}

#[tokio::test]
async fn api_keys_example_does_what_its_head_comment_says() {
    let service = Upstream::saying("hello").await;
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let file = folder.path().join("api_keys.yaml");
    let staged = |text: &str| {
        let program = example("api_keys");
        text.replace("cargo run --example api_keys --", program.to_str().expect("a path"))
            .replace("examples/api_keys.yaml", file.to_str().expect("a path"))
            .replace("localhost:3000", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:4000", &service.address().to_string())
    };
    std::fs::write(&file, staged(include_str!("../../examples/api_keys.yaml"))).expect("the file");

    let (mut running, mut verbs) = (None, Vec::new());
    for (command, shown) in head_comment() {
        let staged = staged(&command);
        if command.contains(" run --config ") {
            let mut program = Command::new("sh");
            program.current_dir(HERE).args(["-c", &format!("exec {staged}")]);
            running = Some(Ready::wait(program).await);
            continue;
        }
        let ended = bash(Path::new(HERE), &staged, &[]).await;
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        assert!(ended.stdout.contains(&shown), "{command}: {ended:?}");
        verbs.push(command);
    }
    assert!(running.is_some(), "the head comment runs the program");
    assert!(verbs.iter().any(|it| it.contains(" check ")), "{verbs:?}");
    assert!(verbs.iter().any(|it| it.contains("X-Api-Key")), "{verbs:?}");
    assert_eq!(service.only_request().await.head.get("x-api-key"), None);
}
