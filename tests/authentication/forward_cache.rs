//! Admissions of another service are reused as far as the settings and the service allow, and concurrent questions that
//! are the same are asked once.

use crate::forward::{admitting, asking};
use std::time::Duration;
use tidegate_testing::{Gateway, Upstream, ok, respond, within};
use tokio::sync::watch;

async fn asked_by(gateway: &Gateway, service: &Upstream, requests: &[(&str, &str)]) -> usize {
    let before = service.requests().len();
    for (target, cookie) in requests {
        let cookie = format!("Cookie: {cookie}");
        assert_eq!(gateway.get(target, &[&cookie]).await.status(), 200, "{target}");
    }
    service.requests().len() - before
}

#[tokio::test]
async fn admission_is_reused_for_the_same_question_alone() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let config = asking(service.address(), &upstream, ", cache: 1h");
    let gateway = config.start().await;
    let same = [("/a?q=1", "s=1"); 5];
    assert_eq!(asked_by(&gateway, &service, &same).await, 1);
    let others = [("/a?q=2", "s=1"), ("/b?q=1", "s=1"), ("/a?q=1", "s=2"), ("/a", "s=1")];
    assert_eq!(asked_by(&gateway, &service, &others).await, 4);
    assert_eq!(gateway.get("/a?q=1", &["Cookie: s=1", "Host: other"]).await.status(), 200);
    let head =
        "HEAD /a?q=1 HTTP/1.1\r\nHost: localhost\r\nCookie: s=1\r\nConnection: close\r\n\r\n";
    let mut wire = gateway.connect().await;
    wire.send(head).await;
    assert_eq!(wire.head().await.status(), Some(200));
    assert_eq!(service.requests().len(), 7, "host and method belong to the question");
    // The upstream gets the headers of a reused admission too, and forged ones go.
    let forged = ["Cookie: s=1", "X-User-Id: root"];
    assert_eq!(gateway.get("/a?q=1", &forged).await.status(), 200);
    let last = upstream.requests().pop().unwrap().head;
    assert_eq!((last.only("x-user-id"), service.requests().len()), (Some("ann"), 7));

    // A reload that does not change the scheme keeps what it knows.
    let mark = gateway.mark();
    gateway.rewrite(&config.clone().answer("new", "path: /new", "respond: {status: 204}"));
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(asked_by(&gateway, &service, &same).await, 0);
}

#[tokio::test]
async fn key_of_the_cache_has_the_parts_that_the_operator_names() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let more = ", cache: 1h, send: [cookie], cache_by: []";
    let gateway = asking(service.address(), &upstream, more).start().await;
    let requests = [("/a", "s=1"), ("/b?q", "s=1"), ("/a", "s=2"), ("/c", "s=2")];
    assert_eq!(asked_by(&gateway, &service, &requests).await, 2, "the cookies alone");
    let more = ", cache: 1h, send: [cookie], cache_by: [path]";
    let gateway = asking(service.address(), &upstream, more).start().await;
    let requests = [("/a", "s=1"), ("/a?q", "s=1"), ("/b", "s=1"), ("/b", "s=2")];
    assert_eq!(asked_by(&gateway, &service, &requests).await, 3, "the path and the cookies");
}

#[tokio::test]
async fn admission_is_asked_for_anew_where_the_settings_or_the_service_say_so() {
    let cases = [
        ("", ""),
        (", cache: 1h", "Cache-Control: no-store"),
        (", cache: 1h", "Cache-Control: max-age=0"),
    ];
    for (more, field) in cases {
        let service = Upstream::answering(move |_| match field {
            "" => ok(""),
            field => respond("204 No Content", &[field], ""),
        })
        .await;
        let upstream = Upstream::saying("ok").await;
        let gateway = asking(service.address(), &upstream, more).start().await;
        assert_eq!(asked_by(&gateway, &service, &[("/a", "s=1"); 3]).await, 3, "{more} {field}");
    }
}

#[tokio::test]
async fn concurrent_requests_with_the_same_question_ask_once() {
    let (release, released) = watch::channel(false);
    let service = Upstream::scripted(move |mut wire, recorder| {
        let mut released = released.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if released.wait_for(|is| *is).await.is_err()
                    || wire.try_send(ok("")).await.is_err()
                {
                    return;
                }
            }
        }
    })
    .await;
    let upstream = Upstream::saying("ok").await;
    let gateway = asking(service.address(), &upstream, ", cache: 1h, timeout: 60s")
        .answer("open", "path: /open", "respond: {status: 204}")
        .start()
        .await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = gateway.connect().await;
        wire.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        wires.push(wire);
    }
    service.request(0).await;
    // So that most of them have come; whether they have or not, one question is enough for all.
    assert_eq!(gateway.get("/open", &[]).await.status(), 204);
    tokio::time::sleep(Duration::from_millis(50)).await;
    release.send(true).unwrap();
    for mut wire in wires {
        assert_eq!(within("an answer", wire.response()).await.status(), 200);
    }
    assert_eq!(service.requests().len(), 1);
}
