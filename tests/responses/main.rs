//! No upstream response may become two, or be readable in two ways: a corpus of responses, a strict reader on the
//! client's side, and the same corpus through nginx, HAProxy and Caddy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod case;
mod corpus;
mod exchange;
mod judge;
mod reader;
mod report;

use case::Case;
use exchange::{Lane, Seen};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::peers::{self, Peer};

/// Number of concurrent lanes, each with its own proxy and upstream.
const LANES: usize = 4;

/// The result of each case, in the order of the corpus.
async fn observe(proxy: Option<&'static Peer>) -> Vec<Seen> {
    let cases: Arc<Vec<Case>> = Arc::new(corpus::all());
    let next = Arc::new(AtomicUsize::new(0));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        let (cases, next) = (Arc::clone(&cases), Arc::clone(&next));
        lanes.spawn(async move {
            let lane = Lane::start(proxy).await;
            let mut seen = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(number) else { return seen };
                seen.push((number, lane.run(case).await));
            }
        });
    }
    let mut all: Vec<(usize, Seen)> = lanes.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, seen)| seen).collect()
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{} {what}:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

#[test]
fn corpus_is_large_and_cites_rfcs() {
    let cases = corpus::all();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let names: HashSet<_> = cases.iter().map(|case| (case.kind, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    for (number, case) in cases.iter().enumerate() {
        let same = cases[..number].iter().find(|other| {
            (&other.answer, &other.request, other.closes)
                == (&case.answer, &case.request, case.closes)
        });
        let other = same.map(|other| (other.kind, other.name));
        assert_eq!(other, None, "answers the same as {:?}", case.name);
    }
    for case in &cases {
        assert!(case.rfc.starts_with("9110 ") || case.rfc.starts_with("9112 "), "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_passes_the_corpus() {
    let seen = observe(None).await;
    let cases = corpus::all();
    let judged = cases.iter().zip(&seen).filter_map(|(case, seen)| judge::fault(case, seen));
    assert_none("cases fail", &judged.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_haproxy_and_caddy_confirm_the_verdicts() {
    let all = peers::RESPONSE_PEERS;
    let absent: Vec<&str> =
        all.iter().filter(|peer| peer.version().is_none()).map(|peer| peer.name).collect();
    if !absent.is_empty() {
        let said = format!("not installed, so nothing is compared: {}", absent.join(", "));
        assert!(std::env::var_os("CI").is_none(), "{said}; run scripts/install-deps test");
        eprintln!("{said}");
        return;
    }
    // A peer may lose a race with itself now and then (Caddy does under load).
    for is_last in [false, false, true] {
        if compare(is_last).await {
            return;
        }
    }
}

/// Puts the corpus to all of them. `false` when it is to be done again.
async fn compare(is_last: bool) -> bool {
    let [nginx, haproxy, caddy] = peers::RESPONSE_PEERS;
    let (ours, nginx, haproxy, caddy) = tokio::join!(
        observe(None),
        observe(Some(nginx)),
        observe(Some(haproxy)),
        observe(Some(caddy))
    );
    let cases = corpus::all();
    let rows: Vec<report::Row<'_>> = (0..cases.len())
        .map(|n| report::Row {
            case: &cases[n],
            ours: &ours[n],
            peers: [&nginx[n], &haproxy[n], &caddy[n]],
        })
        .collect();
    let faults: Vec<String> = rows.iter().filter_map(judge::insane).collect();
    assert_none("verdicts are doubtful", &faults);
    if !is_last && !report::is_as_written(&rows) {
        return false;
    }
    report::check(&rows);
    true
}
