//! Tests that routing, `explain` and guards agree about every path, in every form in which routes forward paths. They
//! send nothing.

use super::{Decision, Explainer, RequestToExplain};
use crate::gateway::Config;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A configuration with guards and with routes that pass paths on in this form.
fn explainer(slash: &str, slashes: &str, dots: &str) -> Explainer {
    let form =
        format!("{{encoded_slash: {slash}, duplicate_slashes: {slashes}, dot_segments: {dots}}}");
    let yaml = format!(
        "listeners: [{{address: \"127.0.0.1:3000\"}}]
upstreams: {{u: {{endpoints: [\"127.0.0.1:1\"]}}}}
routes:
  - {{name: guard, match: {{path_prefix: /g}}, respond: {{status: 403}}}}
  - {{name: below, match: {{path_prefix: /a/g}}, respond: {{status: 403}}}}
  - {{name: exact, match: {{path: /b}}, respond: {{status: 403}}}}
  - {{name: a, match: {{path_prefix: /a}}, upstream: u, path: {form}, rewrite: {{prefix: /new}}}}
  - {{name: all, upstream: u, path: {form}}}
"
    );
    Config::from_yaml(&yaml).explainer().expect("a good configuration")
}

/// The settings of each form, and a configuration with it.
static FORMS: LazyLock<Vec<([&str; 3], Explainer)>> = LazyLock::new(|| {
    let mut forms = Vec::new();
    for slash in ["reject", "keep", "decode"] {
        for slashes in ["merge", "keep"] {
            for dots in ["resolve", "keep"] {
                forms.push(([slash, slashes, dots], explainer(slash, slashes, dots)));
            }
        }
    }
    forms
});

/// How a service may read a path, written without a look at the gateway's own reader: each step is
/// taken or not.
fn read(path: &str, steps: u8) -> Vec<String> {
    let takes = |step: u8| steps & (1 << step) != 0;
    let strip = |path: &str| {
        let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        names.collect::<Vec<_>>().join("/")
    };
    let mut path = path.replace("%2e", ".").replace("%67", "g");
    if takes(0) {
        path = strip(&path);
    }
    if takes(1) {
        path = path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "/").replace('\\', "/");
    }
    if takes(2) {
        path = strip(&path);
    }
    let mut segments: Vec<String> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        // The last one is that of a folder: `/b/` is not `/b`.
        let is_last = rest.peek().is_none();
        match segment {
            "" if takes(3) && !is_last => {}
            "." | ".." if takes(4) => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push(String::new());
                }
            }
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

/// Whether a service that reads it so would do what a guard is there for.
fn is_guarded(segments: &[String]) -> bool {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    matches!(segments.as_slice(), ["g", ..] | ["a", "g", ..] | ["b"])
}

fn any_path() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "/", "/", "/", "g", "a", "b", "x", "%67", ".", "..", "%2e%2e", "%2F", "%2f", "%5C", "\\",
        ";", ";x", "/../", "/./", "//",
    ]);
    prop::collection::vec(pieces, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn routing_explanations_and_guards_agree_under_every_setting(
        path in any_path(),
        form in 0_usize..12,
    ) {
        let ([slash, slashes, dots], explainer) = &FORMS[form];
        let asked = RequestToExplain::new(&format!("http://localhost:3000{path}"), "GET", &[]);
        let asked = asked.expect("a URL");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let explanation = runtime.block_on(explainer.explain(&asked));
        match &explanation.decision {
            Decision::Forwarded(way) => {
                // The upstream gets what the gateway has matched: `/new` for what begins with `/a`.
                let (is_new, rest) = match way.target.strip_prefix("/new") {
                    Some(rest) if way.route == "a" => (true, rest),
                    _ => (false, way.target.as_str()),
                };
                prop_assert_eq!(is_new, way.route == "a");
                for steps in 0..32 {
                    let segments = read(&way.target, steps);
                    let is_kept = !is_new || segments.first().is_some_and(|first| first == "new");
                    prop_assert!(is_kept, "{} as {:?}", way.target, segments);
                }
                let passed = if is_new { format!("/a{rest}") } else { rest.to_owned() };
                for steps in 0..32 {
                    let segments = read(&passed, steps);
                    prop_assert!(!is_guarded(&segments), "{passed} as {segments:?}");
                    let is_below = segments.first().is_some_and(|first| first == "a");
                    prop_assert_eq!(is_below, is_new, "{} as {:?}", passed, segments);
                }
                if (*slash, *slashes, *dots) == ("keep", "keep", "keep") {
                    let spelt = path.len() - rest.len();
                    prop_assert_eq!(rest, path.get(if is_new { spelt } else { 0 }..).unwrap_or_default());
                }
            }
            Decision::Answered { status, route, .. } => {
                prop_assert_eq!(*status, 403);
                prop_assert!(matches!(route.as_str(), "guard" | "below" | "exact"), "{route}");
            }
            Decision::Refused { status, .. } => prop_assert_eq!(*status, 400),
            other => prop_assert!(false, "{other:?}"),
        }
        // A path without anything that can be read in several ways is never refused.
        let is_plain = !path.replace("%67", "g").contains(['%', ';', '\\']);
        if is_plain && (*slashes, *dots) == ("merge", "resolve") {
            let is_refused = matches!(explanation.decision, Decision::Refused { .. });
            prop_assert!(!is_refused, "{explanation}");
        }
    }
}
