//! Compares the recorded result of a case with the demanded one. Sends nothing.

use crate::case::{Case, Verdict};
use crate::exchange::{Pace, Seen};
use crate::reader::Request;
use crate::report::Row;

/// What is wrong with the gateway's handling of a case.
pub(crate) fn fault(case: &Case, seen: &Seen) -> Option<String> {
    let why = reasons(case, seen);
    (!why.is_empty()).then(|| tell(case, seen, &why.join("; ")))
}

fn reasons(case: &Case, seen: &Seen) -> Vec<String> {
    let mut why = Vec::new();
    why.extend(seen.disorder.clone());
    why.extend(seen.broken.as_ref().map(|broken| format!("malformed upstream: {broken}")));
    let strict = targets(&seen.strict);
    if strict != targets(&seen.chunked_first) || strict != targets(&seen.length_first) {
        why.push("readers disagree on what the upstream was sent".to_owned());
    }
    if seen.strict.iter().any(|request| request.all("x-request-id").len() != 1) {
        why.push("a request went by the gateway unseen".to_owned());
    }
    match &case.verdict {
        Verdict::Refused(range) => {
            if !seen.upstream.iter().all(|stretch| is_own(&stretch.bytes)) {
                why.push(format!("{:?} passed on", targets_or_begun(seen)));
            }
            if seen.statuses.first().is_some_and(|status| !range.contains(status)) {
                why.push(format!("answered {:?} and not {range:?}", seen.statuses));
            }
        }
        Verdict::CutOff => {
            if !strict.is_empty() || seen.begun > 1 {
                why.push(format!("{strict:?} passed on, {} begun", seen.begun));
            }
            let is_early = case.bytes.starts_with(b"POST /early");
            if !is_early && seen.statuses.first().is_some_and(|status| *status < 400) {
                why.push(format!("answered {:?}", seen.statuses));
            }
        }
        Verdict::Forwarded(asked) => {
            let first = asked.first();
            let mut asked = asked.clone();
            asked.sort_unstable();
            if strict != asked {
                why.push(format!("{strict:?} passed on and not {asked:?}"));
            }
            if seen.begun > 0 {
                why.push(format!("{} more begun", seen.begun));
            }
            let answered = seen.statuses.iter().filter(|status| **status == 200).count();
            // A proxy that closes while pieces still come may take its answer back by a reset.
            if seen.pace == Pace::AtOnce && answered != asked.len() {
                why.push(format!("answered {:?}", seen.statuses));
            }
            let first = seen.strict.iter().find(|request| Some(&&*request.target) == first);
            why.extend(first.into_iter().flat_map(|request| fields(case, request)));
        }
    }
    why
}

fn fields(case: &Case, request: &Request) -> Vec<String> {
    let mut why = Vec::new();
    for name in &case.absent {
        if !request.all(name).is_empty() {
            why.push(format!("{name} passed on"));
        }
    }
    for (name, value) in &case.present {
        if request.all(name) != [*value] {
            why.push(format!("{name} is {:?} upstream", request.all(name)));
        }
    }
    if case.body.is_some_and(|body| body.as_bytes() != request.body) {
        why.push(format!("another body: {:?}", String::from_utf8_lossy(&request.body)));
    }
    why
}

/// Whether the bytes contain only the test's own requests.
fn is_own(bytes: &[u8]) -> bool {
    let reading = crate::reader::Reader::Strict.read(bytes);
    let is_own = |request: &Request| ["/probe", "/barrier"].contains(&request.target.as_str());
    reading.used == bytes.len() && reading.whole.iter().all(is_own)
}

/// The targets, sorted: the gateway may use several connections, and these have no order.
fn targets(requests: &[Request]) -> Vec<&str> {
    let mut all: Vec<&str> = requests.iter().map(|request| request.target.as_str()).collect();
    all.sort_unstable();
    all
}

fn targets_or_begun(seen: &Seen) -> Vec<&str> {
    let mut all = targets(&seen.strict);
    if seen.begun > 0 {
        all.push("one begun");
    }
    all
}

/// Why the results of nginx and HAProxy cast doubt on the gateway's verdict.
pub(crate) fn insane(row: &Row<'_>) -> Option<String> {
    let (ours, nginx, haproxy) =
        (row.ours.forwarded(), row.nginx.forwarded(), row.haproxy.forwarded());
    let is_excused = row.case.excuse.is_some();
    let is_more = ours > nginx.max(haproxy);
    let why = match (is_more, is_excused) {
        (true, false) => format!("{ours} passed on, nginx {nginx}, HAProxy {haproxy}"),
        (false, true) => "the excuse is not needed".to_owned(),
        _ => return None,
    };
    Some(tell(row.case, row.ours, &why))
}

fn tell(case: &Case, seen: &Seen, why: &str) -> String {
    let mut text = format!("{} (RFC {}): {why}\n", case.name, case.rfc);
    let sent = &case.bytes[..case.bytes.len().min(400)];
    text.push_str(&format!("  sent {}\n  answered {:?}", sent.escape_ascii(), seen.statuses));
    for stretch in &seen.upstream {
        let bytes = &stretch.bytes[..stretch.bytes.len().min(600)];
        text.push_str(&format!("\n  upstream {}", bytes.escape_ascii()));
    }
    text
}
