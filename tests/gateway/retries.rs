//! Failed requests are retried where that is safe, within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{
    Gateway, Upstream, bodies, get, ok, pool, respond, until, with_changeable_status,
};

/// Statuses, and how many requests reached upstreams.
async fn statuses(gateway: &Gateway, method: &str, count: usize) -> Vec<Option<u16>> {
    let request =
        get("/", &[]).replace("GET", method).replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(Some(gateway.send(&request).await.status()));
    }
    statuses
}

#[tokio::test]
async fn listed_status_is_retried_at_another_endpoint() {
    let (a, b) = (with_changeable_status("a").await, Upstream::saying("b").await);
    a.1.store(503, Ordering::Relaxed);
    let gateway = pool(&[&a.0, &b], &[]).with("retry: {on: [\"503\"], backoff: 1ms}").start().await;
    assert_eq!(bodies(&gateway, 6, &[]).await, "bbbbbb");
    assert!(!a.0.requests().is_empty(), "some began there");
    // RFC 9110, section 9.2.2: a POST may have been done already.
    let posted = statuses(&gateway, "POST", 4).await;
    assert!(posted.contains(&Some(503)), "{posted:?}");
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_response_is_forwarded() {
    let (only, mood) = with_changeable_status("no").await;
    mood.store(503, Ordering::Relaxed);
    let retry = "retry: {on: [\"503\"], attempts: 4, backoff: 1ms}";
    let gateway = pool(&[&only], &[]).with(retry).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "no"));
    assert_eq!(only.requests().len(), 4);
}

#[tokio::test]
async fn retries_are_bounded_by_the_budget() {
    let (only, mood) = with_changeable_status("no").await;
    mood.store(503, Ordering::Relaxed);
    let retry = "retry: {on: [\"503\"], attempts: 2, backoff: 1ms}";
    let gateway = pool(&[&only], &["retry_percent: 0"]).with(retry).start().await;
    for _ in 0..30 {
        assert_eq!(gateway.get("/", &[]).await.status(), 503);
    }
    assert_eq!(only.requests().len(), 30 + 20, "twenty are saved up at the start");
}

#[tokio::test]
async fn reset_connection_is_retried_where_configured() {
    for (retry, expected) in [("retry: {on: [reset]}", 200), ("retry: off", 502)] {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let upstream = Upstream::scripted(move |mut wire, _| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = wire.try_head().await;
                match number {
                    0 => wire.reset(),
                    _ => wire.send(ok("at last")).await,
                }
            }
        })
        .await;
        let gateway = pool(&[&upstream], &[]).with(retry).start().await;
        assert_eq!(gateway.get("/", &[]).await.status(), expected, "{retry}");
    }
}

#[tokio::test]
async fn retry_off_never_sends_a_request_twice() {
    for (retry, status, is_repeated) in
        [("retry: off", 502, false), ("retry: {attempts: 1}", 502, false), ("retry: on", 200, true)]
    {
        let upstream = Upstream::scripted(|mut wire, recorder| async move {
            let mut is_first = true;
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if !is_first {
                    return;
                }
                is_first = false;
                wire.send(ok("hello")).await;
            }
        })
        .await;
        let gateway = pool(&[&upstream], &[]).with(retry).start().await;
        let request = get("/", &[]).replace("GET", "DELETE");
        until("a kept connection is used", async || {
            let (before, connections) = (upstream.requests().len(), upstream.connections());
            let answer = gateway.send(&request).await;
            let requests = upstream.requests();
            let is_kept = requests[before].connection <= connections;
            if is_kept {
                let result = (answer.status(), requests.len() - before > 1);
                assert_eq!(result, (status, is_repeated), "{retry}");
            }
            is_kept
        })
        .await;
    }
}

#[tokio::test]
async fn only_listed_statuses_are_retried() {
    let (a, b) = (with_changeable_status("a").await, Upstream::saying("b").await);
    let retry = "retry: {on: [\"502\", \"503\", \"504\", \"429\"], backoff: 1ms}";
    let gateway = pool(&[&a.0, &b], &["retry_percent: 100"]).with(retry).start().await;
    for (status, is_retried) in
        [(502, true), (503, true), (504, true), (429, true), (500, false), (404, false)]
    {
        a.1.store(status, Ordering::Relaxed);
        let before = a.0.requests().len();
        let answers = bodies(&gateway, 6, &[]).await;
        assert!(a.0.requests().len() > before, "{status}: some began there");
        assert_eq!(answers == "bbbbbb", is_retried, "{status}: {answers}");
    }
}

#[tokio::test]
async fn timeout_is_retried_where_configured() {
    let silent = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
        }
    })
    .await;
    let b = Upstream::saying("b").await;
    for (retry, is_retried) in [("retry: {on: [timeout]}", true), ("retry: {on: [reset]}", false)] {
        let lines = ["ejection: off", "retry_percent: 100"];
        let config = pool(&[&silent, &b], &lines).with("timeouts: {read: 100ms}").with(retry);
        let gateway = config.start().await;
        let before = silent.requests().len();
        let answers = statuses(&gateway, "GET", 4).await;
        assert!(silent.requests().len() > before, "some began there");
        assert_eq!(answers.contains(&Some(504)), !is_retried, "{retry}: {answers:?}");
        let posted = statuses(&gateway, "POST", 2).await;
        assert!(posted.contains(&Some(504)), "it may have been done: {posted:?}");
    }
}

#[tokio::test]
async fn post_is_not_retried_after_a_reset() {
    let broken = Upstream::scripted(|mut wire, recorder| async move {
        if let Some(head) = wire.try_head().await {
            recorder.record(&head);
        }
        wire.reset();
    })
    .await;
    let retry = "retry: {on: [reset], attempts: 3, backoff: 1ms}";
    let gateway = pool(&[&broken], &["retry_percent: 100"]).with(retry).start().await;
    assert_eq!(statuses(&gateway, "POST", 1).await, [Some(502)]);
    assert_eq!(broken.requests().len(), 1, "RFC 9110, section 9.2.2");
    assert_eq!(statuses(&gateway, "PUT", 1).await, [Some(502)]);
    assert_eq!(broken.requests().len(), 1 + 3);
}

#[tokio::test]
async fn body_is_resent_whole_or_not_at_all() {
    let a = Upstream::answering(|_| respond("503 No", &[], "a")).await;
    let b = Upstream::answering(|request| ok(&request.body.len().to_string())).await;
    let retry = "retry: {on: [\"503\"], backoff: 1ms}";
    let gateway = pool(&[&a, &b], &["retry_percent: 100"]).with(retry).start().await;
    for (size, is_repeated) in [(60 * 1024, true), (64 * 1024 + 1, false), (200 * 1024, false)] {
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        let request = [head.into_bytes(), vec![b'x'; size]].concat();
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(gateway.send(&request).await);
        }
        let passed_on = answers.iter().filter(|answer| answer.status() == 503).count();
        assert_eq!(passed_on == 0, is_repeated, "{size} bytes: {passed_on} of 4 refused");
        for answer in answers.iter().filter(|answer| answer.status() == 200) {
            assert_eq!(answer.text(), size.to_string(), "all of the body");
        }
    }
}
