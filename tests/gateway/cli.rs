//! The command line reports every problem, with its position.

use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{Cli, Config, Gateway, Upstream, cli, free_port, until};

const GOOD: &str = "\
listeners:
  - address: 127.0.0.1:3000
upstreams:
  service:
    endpoints: [\"127.0.0.1:4009\"]
routes:
  - name: all
    match: {path_prefix: /}
    upstream: service
";

/// `tidegate check` of this text.
async fn check(text: &str) -> Cli {
    check_with(text, &[]).await
}

async fn check_with(text: &str, environment: &[(&str, &str)]) -> Cli {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("gate.yaml"), text).expect("a file");
    cli(folder.path(), &["check", "--config", "gate.yaml"], environment).await
}

/// That the text is refused, with this place and these words about it.
async fn refused(text: &str, place: &str, words: &[&str]) {
    let check = check(text).await;
    let said = check.all();
    assert_eq!(check.code, Some(78), "{text}\n{said}");
    assert!(said.contains(place), "{place} is not named for\n{text}\n{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said for\n{text}\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn check_accepts_a_valid_file() {
    let check = check(GOOD).await;
    assert_eq!(check.code, Some(0), "{}", check.all());
}

#[tokio::test]
async fn check_reports_all_problems_at_once_with_positions() {
    let bad = "\
listeners:
  - address: 127.0.0.1:3000
upstreams:
  service:
    endpoints: [\"127.0.0.1:4009\"]
route: []
routes:
  - name: one
    match: {path_prefix: api}
    upstream: service
  - name: two
    match: {path_prefix: /two}
    upstream: servise
  - name: two
    match: {path_prefix: /three}
    upstream: service
    timeouts: {read: soon}
  - name: four
    match: {path_prefix: /four}
    upstream: service
    webscket: off
";
    let check = check(bad).await;
    let said = check.all();
    assert_eq!(check.code, Some(78), "{said}");
    for (line, word) in [
        (6, "route"),
        (9, "path_prefix"),
        (13, "servise"),
        (14, "two"),
        (17, "read"),
        (21, "webscket"),
    ] {
        let place = format!("gate.yaml:{line}:");
        let told: Vec<_> = said.lines().filter(|said| said.contains(&place)).collect();
        assert!(!told.is_empty(), "{place} is not named:\n{said}");
        for line in told {
            let rest = line.split(&place).nth(1).unwrap_or_default();
            let column: String = rest.chars().take_while(char::is_ascii_digit).collect();
            assert!(column.parse::<usize>().is_ok_and(|column| column > 0), "{line}");
        }
        assert!(said.contains(word), "{word} is not named:\n{said}");
    }
    for right in ["routes", "service", "websocket"] {
        assert!(said.contains(right), "the right spelling {right} is not offered:\n{said}");
    }
}

#[tokio::test]
async fn one_mistake_gives_one_error() {
    let top = "listeners: [{address: 127.0.0.1:1}]\n\
               upstreams:\n  u: {endpoints: [\"127.0.0.1:1\"]}\n  v: {endpoints: [\"127.0.0.1:2\"]}\n\
               routes:\n  - {name: all, match: {path_prefix: /}, upstream: u}\n";
    let route = |text: &str| format!("{top}  - {{name: a, {text}}}\n");
    let good = route("match: {path_prefix: /a}, upstream: v");
    for yaml in [
        route("match: {path_prefix: api}, upstream: v"),
        route("match: {path_prefix: \"${NOWHERE_SET}\"}, upstream: v"),
        route("match: {hosts: [\"a:1:2\"]}, upstream: v"),
        route("match: {methods: [get]}, upstream: v"),
        route("match: {headers: {\"x y\": {present: true}}}, upstream: v"),
        route("rule: \"PathPrefix(`/a`)\", upstream: v"),
        route("match: {path_prefix: /a}, upstraem: v, cache: on"),
        route("match: {path_prefix: /a}, upstream: [v], split: [{upstream: v, percent: 5}]"),
        route("match: {path_prefix: /a}, upstream: v, split: [{upstream: u, percent: 110}]"),
        route(
            "match: {path_prefix: /a}, upstream: v, split: [{upstream: u, headers: {\"x y\": b}}]",
        ),
        route("match: {path_prefix: /a}, upstream: v, timeouts: {read: 5, first_byte: 90s}"),
        route("match: {path_prefix: /a}, redirect: {to: \"{nothing}\"}"),
        route("match: {path_prefix: /a}, upstream: \"${NOWHERE_SET}\""),
        route("match: {path_prefix: /a}, redirect: {to: \"${NOWHERE_SET}\"}"),
        route("match: {path_prefix: /a}, files: {root: \"${NOWHERE_SET}\"}"),
        good.replace("  u: {endpoints: [\"127.0.0.1:1\"]}\n  v: {", "  - {name: v, "),
        good.replace("upstreams:\n", "include: [\"${NOWHERE_SET}\"]\nupstreams:\n").replace("  v: {", "  w: {"),
        good.replace("upstreams:\n", "inclde: [a.yaml]\nupstreams:\n").replace("  v: {", "  w: {"),
        good.replace("upstreams:\n", "include: [nowhere.yaml]\nupstreams:\n").replace("  v: {", "  w: {"),
        format!("{good}tests: [{{request: {{path: /}}, expect: {{route: a}}}}]\n"),
        format!("{good}shared_counters: {{redis: \"redis://127.0.0.1\"}}\n"),
        good.replace("\"127.0.0.1:2\"", "\"http://127.0.0.1:2\""),
        good.replace("\"127.0.0.1:2\"", "\"${NOWHERE_SET}\""),
        good.replace("endpoints: [\"127.0.0.1:2\"]", "endpoint: [\"127.0.0.1:2\"]"),
        good.replace("endpoints: [\"127.0.0.1:2\"]", "discover: {host: nowhere}"),
        good.replace("\"127.0.0.1:2\"]", "\"127.0.0.1:2\"], protocols: [h2], tls: maybe"),
        good.replace("127.0.0.1:1}]", "127.0.0.1:1, protocols: [h2, h1], tls: [a]}]"),
        good.replace("127.0.0.1:1}]", "127.0.0.1}]"),
        good.replace("{address: 127.0.0.1:1}", "{addressx: 127.0.0.1:1}"),
        good.replace("{name: a, ", "{namex: a, "),
        good.replace("upstreams:", "upstreamsx:"),
        format!("{good}  - {{name: b, match: {{path_prefix: /b}}, upstream: v, mirror: {{upstream: v}}}}\n")
            .replace("  v: {", "  w: {"),
        good.replace("endpoints: [\"127.0.0.1:2\"]", "endpoints: [{addressx: \"127.0.0.1:2\"}]"),
        good.replace("\"127.0.0.1:2\"]", "{address: \"127.0.0.1:2\", backup: true}], discover: {host: [x]}"),
        good.replace("\"127.0.0.1:2\"]", "\"127.0.0.1:2\"], health: {checkx: tcp}"),
        route("match: {path_prefix: /a}, respond: {bodyx: b, content_type: text/plain}"),
        route("match: {path_prefix: /a}, upstream: v, rate_limits: [{requestsx: 5, per: 1m}]"),
        route("match: {path_prefix: /a}, upstream: v, split: [{upstreamx: u, percent: 5}]"),
        good.replace("127.0.0.1:1}]", "127.0.0.1:1, tls: {certificates: [{cert: a}]}}]"),
        format!(
            "{good}identity: {{user_id: [{{cookies: a}}]}}\nrate_limits: [{{requests: 1, by: user_id}}]\n"
        ),
        format!("{good}state_dir: [a]\n").replace(
            "127.0.0.1:1}]",
            "127.0.0.1:1, tls: {acme: {domains: [a.test], agree_to_terms: true}}}]",
        ),
    ] {
        let run = check(&yaml).await;
        let errors = run.stderr.lines().filter(|line| line.contains(": error: ")).count();
        assert_eq!((run.code, errors), (Some(78), 1), "{yaml}\n{}", run.all());
    }
    // What is no follow-on is still told at once.
    let two = route("match: {path_prefix: /a}, upstream: none, timeouts: {raed: 5s}");
    let run = check(&two).await;
    assert_eq!(run.stderr.lines().filter(|line| line.contains(": error: ")).count(), 2);
}

#[tokio::test]
async fn misspelt_value_gets_a_suggestion() {
    let upstream = |text: &str| {
        format!("listeners: [{{address: 127.0.0.1:1}}]\nroutes: []\nupstreams:\n  u: {{{text}}}\n")
    };
    let endpoints = "endpoints: [\"127.0.0.1:1\"]";
    for (yaml, place, words) in [
        (
            upstream(&format!("{endpoints}, health: {{check: htpp}}")),
            "gate.yaml:4:51: error: upstreams.u.health.check: ",
            "did you mean a mapping: `{http: …}`?",
        ),
        (
            upstream(&format!("{endpoints}, balance: {{hash: header}}")),
            "gate.yaml:4:51: error: upstreams.u.balance.hash: ",
            "did you mean a mapping: `{header: …}`?",
        ),
        (
            upstream("discover: {host: \"a.test:80\", srvs: \"_a._tcp.a.test\"}"),
            "gate.yaml:4:37: error: upstreams.u.discover.srvs: unknown key",
            "did you mean `srv`?",
        ),
        (
            upstream("endpoints: [{address: \"127.0.0.1:1\", backup: true}]"),
            "gate.yaml:4:19: error: upstreams.u.endpoints: all endpoints are backups",
            "",
        ),
        (
            format!("{}shared_counters: {{redis: a}}\n", upstream(endpoints)),
            "gate.yaml:5:19: error: shared_counters.redis: unknown key",
            "did you mean `url`? This required key is missing",
        ),
        (
            format!(
                "{}tests: [{{request: {{url: \"http://a.test/\"}}, expect: {{route: al}}}}]\n",
                upstream(endpoints).replace("routes: []", "routes: [{name: all, upstream: u}]")
            ),
            "gate.yaml:5:60: error: tests[0].expect.route: `al` is expected, and it is `all`",
            "did you mean `all`?",
        ),
        (
            format!("{}tracing: {{otlp: {{endpoint: \"a:1 b\"}}}}\n", upstream(endpoints)),
            "gate.yaml:5:28: error: tracing.otlp.endpoint: `a:1 b` is not the URL of a collector: ",
            "write a URL such as `http://127.0.0.1:4318`",
        ),
    ] {
        refused(&yaml, place, &[words]).await;
    }
}

#[tokio::test]
async fn name_used_in_two_files_is_reported_with_both_positions() {
    let folder = TempDir::new().expect("a folder");
    let main = "include: [more.yaml]\nlisteners: [{address: 127.0.0.1:1}]\n\
                upstreams:\n  u: {endpoints: [\"127.0.0.1:1\"]}\n\
                routes:\n  - {name: a, match: {path: /a}, upstream: u}\n";
    for (more, expected) in [
        (
            "upstreams:\n  u: {endpoints: [\"127.0.0.1:2\"]}\n",
            "more.yaml:2:3: error: upstreams.u: duplicate name `u`; it is already defined in line 4 of \
             gate.yaml",
        ),
        (
            "routes:\n  - {name: a, match: {path: /b}, upstream: u}\n",
            "more.yaml:2:12: error: routes[1].name: the route in line 6 of gate.yaml already has the name `a`",
        ),
        (
            "listeners: [{address: 127.0.0.1:1}]\n",
            "more.yaml:1:23: error: listeners[1].address: the listener in line 2 of gate.yaml already has the address",
        ),
        ("routes: [\n", "more.yaml:2:1: error: invalid YAML"),
    ] {
        // What an included file that can't be read declares is not missed as well.
        let main = match more.contains("routes: [") {
            true => main.replace("upstream: u", "upstream: of_the_other_file"),
            false => main.to_owned(),
        };
        std::fs::write(folder.path().join("gate.yaml"), main).expect("a file");
        std::fs::write(folder.path().join("more.yaml"), more).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "gate.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.all());
        assert_eq!(run.stderr.matches(": error: ").count(), 1, "{}", run.all());
    }
}

#[tokio::test]
async fn relative_paths_are_relative_to_the_configuration_file() {
    let folder = tempfile::TempDir::new().expect("a folder");
    for name in ["pages", "site", "logs"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    for (name, text) in
        [("pages/404.html", "lost"), ("site/index.html", "the page"), ("eps", "127.0.0.1:1\n")]
    {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let config = Config::new()
        .answer("site", "path_prefix: /site", "files: {root: site}")
        .with("rewrite: {prefix: /}")
        .top("upstreams: {u: {endpoints_file: eps}}")
        .top("error_pages: {pages: {404: pages/404.html}}")
        .top("access_log: {path: logs/a.log}");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("written");
    // In another folder.
    let elsewhere = tempfile::TempDir::new().expect("a folder");
    let path = file.to_str().expect("a path");
    let run = cli(elsewhere.path(), &["check", "--config", path], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    assert!(!folder.path().join("logs/a.log").exists(), "a check makes no file");
    let gateway = Gateway::run(elsewhere, file.clone(), port).await;
    assert_eq!(gateway.get("/site/", &[]).await.text(), "the page");
    assert_eq!(gateway.get("/nowhere", &["Accept: text/html"]).await.text(), "lost");
    let log = || std::fs::read_to_string(folder.path().join("logs/a.log")).unwrap_or_default();
    until("the log", async || log().contains("/nowhere")).await;
}

#[tokio::test]
async fn check_refuses_a_log_that_run_could_not_open() {
    for (path, reason) in [
        ("/no/such/folder/a.log", "No such file or directory"),
        ("/", "directory"),
        ("/proc/version/a.log", "Not a directory"),
    ] {
        let text = format!("{GOOD}access_log: {{path: {path}}}\n");
        let run = check(&text).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
        let place =
            format!("{}:20: error: access_log.path: cannot open {path}", text.lines().count());
        assert!(run.stderr.contains(&place) && run.stderr.contains(reason), "{}", run.all());
    }
}

#[tokio::test]
async fn error_column_points_at_the_mistake() {
    refused(&GOOD.replace("endpoints:", "endpoint:"), "gate.yaml:5:5", &["endpoint", "endpoints"])
        .await;
    refused(&format!("{GOOD}threads: many\n"), "gate.yaml:10:10", &["threads"]).await;
    refused(&format!("{GOOD}treads: 2\n"), "gate.yaml:10:1", &["treads", "threads"]).await;
    refused(
        &GOOD.replace("upstream: service", "upstream: sevrice"),
        "gate.yaml:9:15",
        &["sevrice", "service"],
    )
    .await;
}

#[tokio::test]
async fn nonsensical_settings_are_refused() {
    let same = "  - name: again\n    match: {path_prefix: /}\n    upstream: service\n";
    for (text, place, words) in [
        (GOOD.replace("127.0.0.1:3000", "127.0.0.1:99999"), "gate.yaml:2:", &["99999"][..]),
        (GOOD.replace("\"127.0.0.1:4009\"", ""), "gate.yaml:5:", &["endpoints"]),
        (format!("{GOOD}    upstream: service\n"), "gate.yaml:10:", &["upstream"]),
        (format!("{GOOD}{same}"), "gate.yaml:10:", &["again", "all"]),
        (format!("{GOOD}threads: 0\n"), "gate.yaml:10:", &["threads"]),
        (format!("{GOOD}threads: [1]\n"), "gate.yaml:10:", &["threads"]),
        (format!("{GOOD}    websocket: maybe\n"), "gate.yaml:10:", &["websocket"]),
        (format!("{GOOD}    websocket: {{idle_timeot: 1s}}\n"), "gate.yaml:10:", &["idle_timeout"]),
        (format!("{GOOD}    max_body_size: lots\n"), "gate.yaml:10:", &["max_body_size"]),
        (format!("{GOOD}shutdown: {{grace: -1s}}\n"), "gate.yaml:10:", &["grace"]),
        (
            format!("{GOOD}cors: {{allow_origins: [\"*\"], allow_credentials: true}}\n"),
            "gate.yaml:10:",
            &["allow_credentials", "*"],
        ),
        (
            format!("{GOOD}cors: {{allow_origins: [\"https://a.example/path\"]}}\n"),
            "gate.yaml:10:",
            &["https://a.example/path"],
        ),
        (format!("{GOOD}trusted_proxies: [10.0.0.0/40]\n"), "gate.yaml:10:", &["10.0.0.0/40"]),
        (format!("{GOOD}identity: {{user_id: [{{heder: a}}]}}\n"), "gate.yaml:10:", &["header"]),
        ("listeners: [".to_owned(), "gate.yaml:", &["YAML"]),
        ("just text".to_owned(), "gate.yaml:1:", &[]),
        (String::new(), "gate.yaml", &["listeners"]),
        ("routes: []\n".to_owned(), "gate.yaml", &["listeners"]),
    ] {
        refused(&text, place, words).await;
    }
}

#[tokio::test]
async fn rewrite_host_is_preserve_upstream_or_a_host_name() {
    let with = |host: &str| {
        format!(
            "listeners: [{{address: 127.0.0.1:1}}]\nupstreams: {{a: {{endpoints: [\"b:1\"]}}}}\n\
             routes: [{{name: a, upstream: a, rewrite: {{host: \"{host}\"}}}}]\n"
        )
    };
    for (host, meant) in [
        ("upstrem", "`upstream`"),
        ("Upstream", "`upstream`"),
        ("upstreams", "`upstream`"),
        ("perserve", "`preserve`"),
        ("PRESERVE", "`preserve`"),
    ] {
        let meant = format!("did you mean {meant}?");
        refused(&with(host), "routes[0].rewrite.host", &[host, &meant]).await;
    }
    for host in ["", "a b", "a/b", "user@host", "http://a", "a:b", "[::1"] {
        let words = ["expected `preserve`, `upstream` or a host name"];
        refused(&with(host), "routes[0].rewrite.host", &words).await;
    }
    for host in ["upstream", "preserve", "upstrem:80", "upstream.test", "a.test:8080", "[::1]"] {
        let check = check(&with(host)).await;
        assert_eq!(check.code, Some(0), "{host}: {}", check.all());
    }
}

#[tokio::test]
async fn variables_are_filled_in_and_missing_ones_are_reported() {
    let text = GOOD.replace("127.0.0.1:4009", "${NOTIFY_HOST:-127.0.0.1}:${NOTIFY_PORT}");
    let good = check_with(&text, &[("NOTIFY_PORT", "4009")]).await;
    assert_eq!(good.code, Some(0), "{}", good.all());
    refused(&text, "gate.yaml:5:", &["NOTIFY_PORT"]).await;
    let bad = check_with(&text, &[("NOTIFY_PORT", "4009"), ("NOTIFY_HOST", "a b")]).await;
    assert_eq!(bad.code, Some(78), "{}", bad.all());
}

#[tokio::test]
async fn variable_cannot_inject_yaml() {
    let text = GOOD.replace("upstream: service", "upstream: ${WHICH}");
    let good = check_with(&text, &[("WHICH", "service")]).await;
    assert_eq!(good.code, Some(0), "{}", good.all());
    let bad = check_with(&text, &[("WHICH", "service\n    websocket: off")]).await;
    assert_eq!(bad.code, Some(78), "{}", bad.all());
}

#[tokio::test]
async fn variables_are_filled_in_by_run() {
    let upstream = Upstream::saying("ok").await;
    // PATH is in everybody's environment.
    let gateway = Config::to(&upstream)
        .route("var", "path_prefix: \"${NO_SUCH_VARIABLE:-/from/default}\"", "service")
        .start()
        .await;
    gateway.get("/from/default/x", &[]).await;
    assert_eq!(gateway.access_of("/from/default/x").await["http.route"], "var");
}

#[tokio::test]
async fn included_files_are_merged_and_checked() {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("conf.d")).expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    write("gate.yaml", &format!("include: [conf.d/*.yaml]\n{GOOD}"));
    write("conf.d/a.yaml", "routes:\n  - name: a\n    match: {path_prefix: /a}\n    upstream: b\n");
    write("conf.d/b.yaml", "upstreams:\n  b: {endpoints: [\"127.0.0.1:1\"]}\n");
    let arguments = ["check", "--config", "gate.yaml"];
    let good = cli(folder.path(), &arguments, &[]).await;
    assert_eq!(good.code, Some(0), "{}", good.all());
    write("conf.d/b.yaml", "upstreams:\n  c: {endpoints: [\"127.0.0.1:1\"]}\n");
    let bad = cli(folder.path(), &arguments, &[]).await;
    assert_eq!(bad.code, Some(78), "{}", bad.all());
    assert!(bad.all().contains("a.yaml:4:15"), "{}", bad.all());
}

#[tokio::test]
async fn hostile_yaml_is_refused_in_bounded_time() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        let list = [before.as_str(); 10].join(", ");
        aliases += &format!("a{level}: &a{level} [{list}]\n");
    }
    for text in [
        aliases,
        "[".repeat(1 << 20),
        "{a: ".repeat(1 << 18),
        format!("listeners: {}", "- ".repeat(1 << 19)),
        "a:\n ".repeat(1 << 18),
        format!("a: {}", "x".repeat(1 << 20)),
        "\0".repeat(1 << 20),
    ] {
        let check = check(&text).await;
        assert_eq!(check.code, Some(78), "{}", &check.all().chars().take(2000).collect::<String>());
        assert!(!check.all().contains("panicked"));
    }
}

#[tokio::test]
async fn missing_configuration_file_is_named() {
    let folder = TempDir::new().expect("a folder");
    for verb in ["check", "run"] {
        let run = cli(folder.path(), &[verb, "--config", "none.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
        assert!(run.stderr.contains("none.yaml"), "{}", run.all());
    }
}

#[tokio::test]
async fn configuration_is_found_by_variable_or_in_the_current_folder() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("by-name.yaml"), GOOD).expect("a file");
    let found = cli(folder.path(), &["check"], &[("TIDEGATE_CONFIG", "by-name.yaml")]).await;
    assert_eq!(found.code, Some(0), "{}", found.all());
    let named = cli(folder.path(), &["check"], &[("TIDEGATE_CONFIG", "wrong.yaml")]).await;
    assert_eq!(named.code, Some(78), "{}", named.all());
    std::fs::write(folder.path().join("tidegate.yaml"), GOOD).expect("a file");
    let found = cli(folder.path(), &["check"], &[]).await;
    assert_eq!(found.code, Some(0), "{}", found.all());
    std::fs::write(folder.path().join("tidegate.yaml"), "nonsense: 1\n").expect("a file");
    let refused = cli(folder.path(), &["check"], &[]).await;
    assert_eq!(refused.code, Some(78), "{}", refused.all());
    assert!(refused.all().contains("tidegate.yaml:1:1"), "{}", refused.all());
}

#[tokio::test]
async fn without_a_file_the_searched_places_are_listed() {
    if Path::new("/etc/tidegate/tidegate.yaml").exists() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    for verb in ["run", "check"] {
        let run = cli(folder.path(), &[verb], &[]).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
        for place in ["--config", "TIDEGATE_CONFIG", "tidegate.yaml", "/etc/tidegate/tidegate.yaml"]
        {
            assert!(run.stderr.contains(place), "{place} is not named: {}", run.stderr);
        }
    }
}

#[tokio::test]
async fn run_refuses_an_invalid_file() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("tidegate.yaml"), format!("{GOOD}treads: 2\n"))
        .expect("a file");
    let run = cli(folder.path(), &["run"], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    assert!(run.stderr.contains("tidegate.yaml:10:1"), "{}", run.all());
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    let folder = TempDir::new().expect("a folder");
    for arguments in
        [&["rum"][..], &["run", "--confg", "x"], &["check", "--config"], &["schema", "x"]]
    {
        let run = cli(folder.path(), arguments, &[]).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.all());
        assert!(!run.stderr.is_empty());
        assert!(run.stdout.is_empty(), "errors go to stderr");
    }
}

#[tokio::test]
async fn schema_is_json_and_has_every_section() {
    let folder = TempDir::new().expect("a folder");
    let run = cli(folder.path(), &["schema"], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let schema: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(schema["$schema"].is_string());
    assert_eq!(schema["additionalProperties"], false);
    for section in [
        "include",
        "listeners",
        "threads",
        "access_log",
        "log",
        "shutdown",
        "identity",
        "cors",
        "trusted_proxies",
        "limits",
        "upstreams",
        "routes",
    ] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[tokio::test]
async fn help_of_each_verb_has_an_example() {
    let folder = TempDir::new().expect("a folder");
    let all = cli(folder.path(), &["--help"], &[]).await;
    assert_eq!(all.code, Some(0));
    for verb in ["run", "check", "schema"] {
        assert!(all.stdout.contains(verb), "{verb} in {}", all.stdout);
        let help = cli(folder.path(), &[verb, "--help"], &[]).await;
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains("Example"), "{verb}: {}", help.stdout);
    }
    let run = cli(folder.path(), &["run", "--help"], &[]).await;
    for word in ["--config", "TIDEGATE_CONFIG", "SIGHUP", "SIGTERM", "SIGINT"] {
        assert!(run.stdout.contains(word), "{word} in {}", run.stdout);
    }
    let version = cli(folder.path(), &["--version"], &[]).await;
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stdout);
}

#[tokio::test]
async fn fmt_reformats_a_file_and_keeps_its_comments() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("t.yaml");
    let crooked = "# Mine.\nlisteners:\n      - {address:   \"127.0.0.1:3000\"}   # here\n";
    std::fs::write(&file, crooked).expect("a file");
    let fmt = async |arguments: &[&str]| cli(folder.path(), arguments, &[]).await;
    let checked = fmt(&["fmt", "--check", "t.yaml"]).await;
    assert_eq!((checked.code, &*checked.stdout), (Some(1), "t.yaml\n"), "{}", checked.all());
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), crooked, "nothing is touched");
    assert_eq!(fmt(&["fmt", "t.yaml"]).await.code, Some(0));
    let laid_out = "# Mine.\nlisteners:\n  - {address: \"127.0.0.1:3000\"} # here\n";
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), laid_out);
    let again = fmt(&["fmt", "--check", "--config", "t.yaml"]).await;
    assert_eq!((again.code, &*again.stdout), (Some(0), ""), "{}", again.all());
    std::fs::write(&file, "a: [").expect("a file");
    let broken = fmt(&["fmt", "t.yaml"]).await;
    assert_eq!(broken.code, Some(78), "{}", broken.all());
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "a: [");
}

/// `tidegate explain … | head -1` ends quietly.
#[test]
fn closed_stdout_does_not_panic() {
    use std::process::{Command, Stdio};
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("gate.yaml"), GOOD).expect("a file");
    for arguments in [
        &["explain", "-c", "gate.yaml", "http://a.test/x"][..],
        &["explain", "--json", "-c", "gate.yaml", "http://a.test/x"],
        &["check", "-c", "gate.yaml"],
        &["diff", "gate.yaml", "gate.yaml"],
        &["schema"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .expect("the gateway's binary");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {said}");
    }
}
