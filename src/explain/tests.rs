//! Runs the `tests` of a configuration against its own snapshot. Sends nothing, and knows nothing of files.

use super::{Decision, Explanation, RequestToExplain, explain};
use crate::snapshot::Snapshot;
use tidegate_config::{self as config, ProblemCollector, Problems, Sources, Span, Test};

/// Asks a snapshot about each of the configuration's tests; what is otherwise than expected is a
/// problem.
pub(crate) fn verify(
    snapshot: &Snapshot,
    tests: &[Test],
    sources: Sources,
) -> Result<(), Problems> {
    if tests.is_empty() {
        return Ok(());
    }
    // Filters are asked too, and may want a runtime; this may be called in one already.
    let explanation = std::thread::scope(|scope| scope.spawn(|| ask(snapshot, tests)).join());
    let mut problems = ProblemCollector::new(sources);
    match explanation {
        Ok(Ok(explanation)) => {
            for (index, (test, explanation)) in tests.iter().zip(explanation).enumerate() {
                let at = format!("tests[{index}]");
                match explanation {
                    Ok(explanation) => compare(snapshot, test, &explanation, &at, &mut problems),
                    Err(reason) => {
                        let at = format!("{at}.request");
                        problems.add(test.request.url.span, at, reason);
                    }
                }
            }
        }
        _ => {
            problems.add(Span::default(), "tests", "they can't be run: no thread is to be had");
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_problems()) }
}

type Explanations = Vec<Result<Explanation, String>>;

fn ask(snapshot: &Snapshot, tests: &[Test]) -> std::io::Result<Explanations> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(async {
        let mut explanation = Vec::new();
        for test in tests {
            let config::TestRequest { url, method, headers } = &test.request;
            let fields: Vec<String> =
                headers.iter().map(|(name, value)| format!("{}: {value}", name.as_str())).collect();
            let asked = RequestToExplain::new(
                url,
                method.as_deref().unwrap_or(config::defaults::test_request::METHOD),
                &fields,
            );
            explanation.push(match asked {
                Ok(asked) => Ok(explain(snapshot, &asked).await),
                Err(error) => Err(error.to_string()),
            });
        }
        explanation
    }))
}

fn compare(
    snapshot: &Snapshot,
    test: &Test,
    explanation: &Explanation,
    at: &str,
    problems: &mut ProblemCollector,
) {
    let expect = &test.expect;
    let way = match &explanation.decision {
        Decision::Forwarded(way) => Some(way),
        _ => None,
    };
    let or_none = |found: Option<&str>| found.unwrap_or("none").to_owned();
    let status = explanation.status().map(|status| status.to_string());
    let cors = expect.cors.as_ref().map(|cors| match cors.value {
        config::CorsVerdict::Allowed => "allowed",
        config::CorsVerdict::Refused => "refused",
    });
    let text = |it: &Option<config::Spanned<String>>| it.as_ref().map(|it| it.value.clone());
    let span = |it: &Option<config::Spanned<String>>| it.as_ref().map(|it| it.span);
    let all = [
        ("route", span(&expect.route), text(&expect.route), or_none(explanation.route())),
        (
            "upstream",
            span(&expect.upstream),
            text(&expect.upstream),
            or_none(way.map(|way| way.upstream.as_str())),
        ),
        (
            "upstream_path",
            span(&expect.upstream_path),
            text(&expect.upstream_path),
            or_none(way.map(|way| way.target.as_str())),
        ),
        (
            "status",
            expect.status.as_ref().map(|it| it.span),
            expect.status.as_ref().map(|it| it.value.to_string()),
            or_none(status.as_deref()),
        ),
        (
            "cors",
            expect.cors.as_ref().map(|it| it.span),
            cors.map(str::to_owned),
            or_none(explanation.cors.as_deref()),
        ),
    ];
    for (key, span, expected, found) in all {
        let (Some(span), Some(expected)) = (span, expected) else { continue };
        if expected == found {
            continue;
        }
        let reason = format!("`{expected}` is expected, and it is `{found}`");
        let problem = problems.add(span, format!("{at}.expect.{key}"), reason);
        if let Some(guess) = misspelt(snapshot, key, &expected) {
            problem.help(format!("did you mean `{guess}`?"));
        }
        let closest = explanation.others.iter().find(|it| key == "route" && it.route == expected);
        if let Some(closest) = closest {
            problem.help(format!("`{expected}`: {}", closest.ruled_out_by.join("; ")));
        }
    }
}

/// The name of a route or an upstream that is near to one that there is not.
fn misspelt<'g>(snapshot: &'g Snapshot, key: &str, expected: &str) -> Option<&'g str> {
    let names: Vec<&str> = match key {
        "route" => snapshot.table.iter().map(|(_, route)| &*route.name).collect(),
        "upstream" => snapshot.pools.keys().map(|name| &**name).collect(),
        _ => Vec::new(),
    };
    let is_known = expected == "none" || names.contains(&expected);
    (!is_known).then(|| config::did_you_mean(expected, names)).flatten()
}
