//! What a build without a feature says of its keys.

use super::*;
use tidegate_config::{FilterSchemas, Variables, read_str_with};

/// The problems of a configuration with a listener, a route, and these lines first.
fn problems(lines: &str) -> String {
    let listeners = "listeners: [{address: 127.0.0.1:0}]";
    let routes = "routes: [{name: all, match: {path_prefix: /}, respond: {status: 204}}]";
    let yaml = format!("{lines}\n{listeners}\n{routes}\n");
    let read = read_str_with(&yaml, "test.yaml", &Variables::default(), &FilterSchemas::default());
    let compiled = compile(read, &CompileEnv::for_dry_run(&FilterRegistry::default()));
    compiled.err().map(|problems| problems.to_string()).unwrap_or_default()
}

#[test]
fn key_of_a_feature_that_the_build_lacks_is_refused_at_its_line() {
    for (is_compiled, feature, what, lines, line) in [
        (
            cfg!(feature = "discovery"),
            "discovery",
            "DNS discovery",
            "upstreams:\n  api:\n    discover: {host: \"api.internal:80\"}",
            3,
        ),
        (
            cfg!(feature = "valkey"),
            "valkey",
            "shared counters",
            "shared_counters:\n  url: redis://127.0.0.1:6379",
            2,
        ),
        (cfg!(feature = "opentelemetry"), "opentelemetry", "tracing", "tracing: on", 1),
    ] {
        let found = problems(lines);
        if is_compiled {
            assert_eq!(found, "", "{feature}");
        } else {
            let reason = format!(
                "this binary was built without {what}; build it with `--features {feature}`"
            );
            let start = format!("test.yaml:{line}:");
            let is_refusal = |it: &str| it.starts_with(&start) && it.ends_with(&reason);
            assert!(found.lines().any(is_refusal), "{found}");
        }
    }
}
