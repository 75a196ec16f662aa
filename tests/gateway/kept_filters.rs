//! A filter that the configuration uses by name lives as long as its settings.

use super::body_hooks::Running;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate::filter::{self, Filter, Flow, Reply, Request, SettingsError};
use tidegate::{Gateway, async_trait, http::StatusCode, schemars};
use tidegate_testing::{free_port, replace_file, until};

/// Greets, and counts.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Greet {
    /// What it says.
    word: String,
}

struct GreetFilter {
    word: String,
    seen: AtomicUsize,
}

#[async_trait]
impl Filter for GreetFilter {
    async fn on_request(&self, _: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Flow::Respond(Reply::new(StatusCode::OK).body(format!("{} {seen}", self.word))))
    }
}

fn build(built: &AtomicUsize, settings: Greet) -> Result<GreetFilter, SettingsError> {
    built.fetch_add(1, Ordering::Relaxed);
    match settings.word.as_str() {
        "wrong" => Err(SettingsError::at("word", "it is wrong")),
        _ => Ok(GreetFilter { word: settings.word, seen: AtomicUsize::new(0) }),
    }
}

/// A file with a route that greets, and another that answers with this status.
fn yaml(port: u16, word: &str, other: u16) -> String {
    format!(
        "listeners: [{{address: 127.0.0.1:{port}}}]\nshutdown: {{grace: 1s}}\nroutes:\n\
         - {{name: other, match: {{path: /other}}, respond: {{status: {other}}}}}\n\
         - {{name: greeting, respond: {{status: 204}}, filters: [{{greet: {{word: {word}}}}}]}}\n"
    )
}

#[tokio::test]
async fn reload_keeps_a_filter_whose_settings_stay_the_same() {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let file = folder.path().join("t.yaml");
    std::fs::write(&file, yaml(port, "hello", 201)).expect("the file");
    let built = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&built);
    let gateway = Gateway::from_config(tidegate::Config::from_file(&file))
        .register("greet", move |settings| build(&counts, settings));
    let gateway = Running::run(gateway, port).await;
    let get = async |path: &str| {
        let response = gateway.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        (response.status(), response.text())
    };
    assert_eq!(get("/").await.1, "hello 1");
    assert_eq!(built.load(Ordering::Relaxed), 1);

    replace_file(&file, &yaml(port, "hello", 202));
    until("the other route's status", || async { get("/other").await.0 == 202 }).await;
    assert_eq!(get("/").await.1, "hello 2", "the filter and its count are kept");
    assert_eq!(built.load(Ordering::Relaxed), 1);

    replace_file(&file, &yaml(port, "bye", 202));
    until("the new word", || async { get("/").await.1.starts_with("bye") }).await;
    assert_eq!(built.load(Ordering::Relaxed), 2);
}

#[test]
fn dry_run_reports_what_a_factory_refuses() {
    let built = AtomicUsize::new(0);
    let built = &*Box::leak(Box::new(built));
    let check = |word: &str| {
        Gateway::from_config(tidegate::Config::from_yaml(&yaml(1, word, 201)))
            .register("greet", move |settings| build(built, settings))
            .check()
    };
    assert!(check("hello").is_ok() && check("hello").is_ok());
    assert_eq!(built.load(Ordering::Relaxed), 2);
    let problems = check("wrong").expect_err("it is wrong").to_string();
    assert!(problems.contains("routes[1].filters[0].greet.word: it is wrong"), "{problems}");
}

#[test]
fn name_of_a_built_in_filter_is_refused() {
    for name in ["cors", "rate_limits", "headers", "respond"] {
        let problems = Gateway::from_config(tidegate::Config::from_yaml(&yaml(1, "hello", 201)))
            .register(name, |settings| build(&AtomicUsize::new(0), settings))
            .check()
            .expect_err("the name is taken")
            .to_string();
        assert!(
            problems.contains(&format!("`{name}`, which is the name of a built-in filter")),
            "{problems}"
        );
    }
}
