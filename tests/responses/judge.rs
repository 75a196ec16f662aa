//! Compares the recorded result of a case with the demanded one. Sends nothing.

use crate::case::{Case, Verdict};
use crate::exchange::{Got, Seen};
use crate::report::Row;

/// What is wrong with the gateway's handling of a case.
pub(crate) fn fault(case: &Case, seen: &Seen) -> Option<String> {
    let why = reasons(case, seen);
    (!why.is_empty()).then(|| tell(case, seen, &why.join("; ")))
}

fn reasons(case: &Case, seen: &Seen) -> Vec<String> {
    let mut why: Vec<String> = seen.disorder.clone().into_iter().collect();
    match (&case.verdict, &seen.got) {
        (Verdict::CutOff, Got::CutOff) => {}
        (Verdict::Refused, Got::Whole(answer)) if is_refusal(seen) => {
            let is_marked = answer.all("x-request-id").len() == 1;
            let is_told = case.is_head() || !answer.body.is_empty();
            if !is_marked || !is_told {
                why.push("the refusal has no request id, or no reason".to_owned());
            }
        }
        (Verdict::Passed(status, body), Got::Whole(answer)) => {
            if answer.status != *status || answer.body != body.as_bytes() {
                let got = String::from_utf8_lossy(&answer.body);
                why.push(format!("{} {got:?} and not {status} {body:?}", answer.status));
            }
            for name in case.absent.iter().filter(|name| !answer.all(name).is_empty()) {
                why.push(format!("{name} passed on"));
            }
            for (name, value) in &case.present {
                if answer.all(name) != [*value] {
                    why.push(format!("{name} is {:?}", answer.all(name)));
                }
            }
        }
        (verdict, Got::Broken(how)) => why.push(format!("malformed ({how}) and not {verdict:?}")),
        (verdict, _) => why.push(format!("{} and not {verdict:?}", verdict_of(seen))),
    }
    why
}

/// Whether the proxy answered itself instead of forwarding.
fn is_refusal(seen: &Seen) -> bool {
    matches!(&seen.got, Got::Whole(answer) if answer.status == 502 || answer.status == 504)
}

/// The verdict in one word, for the report.
pub(crate) fn verdict_of(seen: &Seen) -> &'static str {
    match &seen.got {
        _ if seen.disorder.is_some() => "passed on, and spoils another answer",
        Got::Whole(_) if is_refusal(seen) => "refused",
        Got::Whole(_) => "passed on",
        Got::CutOff => "cut off",
        Got::Broken(_) => "passed on as it came",
        Got::Hangs => "hangs",
    }
}

/// Whether the client got nothing that could count as a complete response.
pub(crate) fn is_stopped(seen: &Seen) -> bool {
    matches!(verdict_of(seen), "refused" | "cut off")
}

/// Why the results of the other proxies cast doubt on the gateway's verdict.
pub(crate) fn insane(row: &Row<'_>) -> Option<String> {
    let is_more = !is_stopped(row.ours) && row.peers.iter().all(|peer| is_stopped(peer));
    is_more.then(|| tell(row.case, row.ours, "passed on, though all of the peers refuse it"))
}

fn tell(case: &Case, seen: &Seen, why: &str) -> String {
    let sent = &case.answer[..case.answer.len().min(400)];
    let got = &seen.bytes[..seen.bytes.len().min(600)];
    format!(
        "{}: {} (RFC {}): {why}\n  upstream {}\n  client   {}",
        case.kind,
        case.name,
        case.rfc,
        sent.escape_ascii(),
        got.escape_ascii()
    )
}
