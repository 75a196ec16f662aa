//! No request of a client may become two for the upstream: a corpus of raw requests, an upstream that records every
//! byte, and the same corpus through nginx and HAProxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod case;
mod corpus;
mod exchange;
mod http2;
mod judge;
mod reader;
mod record;
mod report;

use case::Case;
use exchange::{Lane, Pace, Protocol, Seen};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::peers::{self, Peer};

/// Number of concurrent lanes, each with its own proxy and upstream.
const LANES: usize = 4;

/// The result of each case, in the order of the corpus.
async fn observe(proxy: Option<&'static Peer>, protocol: Protocol, pace: Pace) -> Vec<Seen> {
    let cases: Arc<Vec<Case>> = Arc::new(corpus_of(protocol));
    let next = Arc::new(AtomicUsize::new(0));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        let (cases, next) = (Arc::clone(&cases), Arc::clone(&next));
        lanes.spawn(async move {
            let lane = Lane::start(proxy, protocol).await;
            let mut seen = Vec::new();
            while let Some((number, case)) = pick(&cases, &next) {
                seen.push((number, lane.run(case, pace).await));
            }
            seen
        });
    }
    let mut all: Vec<(usize, Seen)> = lanes.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, seen)| seen).collect()
}

fn corpus_of(protocol: Protocol) -> Vec<Case> {
    match protocol {
        Protocol::Http1 => corpus::all(),
        Protocol::Http2 => corpus::http2(),
    }
}

fn pick<'c>(cases: &'c [Case], next: &AtomicUsize) -> Option<(usize, &'c Case)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, cases.get(number)?))
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{} {what}:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

#[test]
fn corpus_is_large_and_cites_rfcs() {
    let http2 = corpus::http2();
    assert!(http2.len() >= 80, "{} cases over HTTP/2", http2.len());
    let cases: Vec<Case> = corpus::all().into_iter().chain(http2).collect();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let names: HashSet<_> = cases.iter().map(|case| (case.kind, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    for (number, case) in cases.iter().enumerate() {
        let same = cases[..number].iter().find(|other| other.bytes == case.bytes);
        let other = same.map(|other| (other.kind, other.name));
        assert_eq!(other, None, "sends the same as {:?}", case.name);
    }
    for case in &cases {
        let is_known = ["9110 ", "9112 ", "9113 "].iter().any(|rfc| case.rfc.starts_with(rfc));
        assert!(is_known, "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_passes_the_corpus() {
    holds(Protocol::Http1, Pace::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_passes_the_corpus_in_pieces() {
    holds(Protocol::Http1, Pace::InPieces).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_passes_the_http2_corpus() {
    holds(Protocol::Http2, Pace::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_passes_the_http2_corpus_in_pieces() {
    holds(Protocol::Http2, Pace::InPieces).await;
}

async fn holds(protocol: Protocol, pace: Pace) {
    let seen = observe(None, protocol, pace).await;
    let cases = corpus_of(protocol);
    let judged = cases.iter().zip(&seen).filter_map(|(case, seen)| judge::fault(case, seen));
    assert_none("cases fail", &judged.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_and_haproxy_confirm_the_verdicts() {
    let absent: Vec<&str> = peers::REQUEST_PEERS
        .iter()
        .filter(|peer| peer.version().is_none())
        .map(|peer| peer.name)
        .collect();
    if !absent.is_empty() {
        let said = format!("not installed, so nothing is compared: {}", absent.join(", "));
        assert!(std::env::var_os("CI").is_none(), "{said}; run scripts/install-deps test");
        eprintln!("{said}");
        return;
    }
    let pace = Pace::AtOnce;
    let (mut cases, mut seen) = (Vec::new(), Vec::new());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (ours, nginx, haproxy) = tokio::join!(
            observe(None, protocol, pace),
            observe(Some(&peers::NGINX), protocol, pace),
            observe(Some(&peers::HAPROXY), protocol, pace)
        );
        cases.extend(corpus_of(protocol));
        seen.extend(ours.into_iter().zip(nginx.into_iter().zip(haproxy)));
    }
    let rows: Vec<report::Row<'_>> = cases
        .iter()
        .zip(&seen)
        .map(|(case, (ours, (nginx, haproxy)))| report::Row { case, ours, nginx, haproxy })
        .collect();
    let faults: Vec<String> = rows.iter().filter_map(judge::insane).collect();
    assert_none("verdicts are doubtful", &faults);
    report::check(&rows);
}
