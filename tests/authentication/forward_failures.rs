//! A service that is away, slow, or answers nonsense admits nobody, unless `on_error: allow` says so, and then loudly.

use crate::forward::asking;
use tempfile::TempDir;
use tidegate_testing::{Authority, Config, Handshake, TlsService, Upstream, free_port, respond};

#[tokio::test]
async fn outage_is_answered_503_with_retry_after() {
    let upstream = Upstream::saying("ok").await;
    let gateway = asking(format!("127.0.0.1:{}", free_port()), &upstream, "").start().await;
    for answer in [gateway.get("/a", &[]).await, gateway.refused(&Handshake::to("/ws")).await] {
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.error()["error"], "authentication_unavailable");
        assert_eq!(answer.head.only("retry-after"), Some("1"));
    }
    let line = gateway.access_of("/a").await;
    assert_eq!(
        (&line["auth.scheme"], &line["auth.result"], &line["auth.reason"]),
        (&"legacy".into(), &"unavailable".into(), &"unreachable".into())
    );
    let warning = gateway.says(0, "is unreachable").await;
    assert!(warning.contains("authentication.legacy: GET http://127.0.0.1:"), "{warning}");
    assert!(!warning.contains("from=gateway"), "a query may be secret: {warning}");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn outage_admits_without_a_user_where_the_operator_says_so_and_the_log_says_it() {
    let upstream = Upstream::saying("ok").await;
    let gateway = asking(format!("127.0.0.1:{}", free_port()), &upstream, ", on_error: allow")
        .route("claims", "path_prefix: /claims", "service")
        .with("require: {any: [legacy], claims: {x_groups: {contains: a}}}")
        .route("own", "path_prefix: /own", "service")
        .with("require: {any: [legacy], user_matches: {query: user}}")
        .route("named", "path_prefix: /named", "service")
        .with("require: legacy")
        .start()
        .await;
    let answer = gateway.get("/a", &["X-User-Id: root", "X_Groups: root", "X_User_Id: root"]).await;
    assert_eq!(answer.status(), 200);
    let sent = upstream.only_request().await.head;
    for name in ["x-user-id", "x_groups", "x_user_id", "x-groups"] {
        assert_eq!(sent.get(name), None, "{name}");
    }
    let line = gateway.access_of("/a").await;
    assert_eq!((&line["auth.result"], line.get("user.id")), (&"unverified".into(), None));
    gateway.says(0, "ADMITS requests without a user").await;
    // What is required of a user does not hold for none.
    for target in ["/claims", "/own?user=ann"] {
        assert_eq!(gateway.get(target, &[]).await.status(), 503, "{target}");
    }
    for _ in 0..20 {
        assert_eq!(gateway.get("/a", &[]).await.status(), 200);
    }
    let lines = gateway.log_lines();
    let loud = lines.iter().filter(|line| line.contains("ADMITS")).count();
    assert_eq!(loud, 1, "at most once a minute");
}

#[tokio::test]
async fn slow_service_is_an_outage() {
    for (more, status) in [(", timeout: 50ms", 503), (", timeout: 50ms, on_error: allow", 200)] {
        let service = Upstream::scripted(|mut wire, recorder| async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
            }
        })
        .await;
        let upstream = Upstream::saying("ok").await;
        let gateway = asking(service.address(), &upstream, more).start().await;
        assert_eq!(gateway.get("/a", &[]).await.status(), status, "{more}");
    }
}

/// A head that is too large for the service, for instance.
#[tokio::test]
async fn client_whose_question_gets_no_answer_is_not_admitted_while_others_get_theirs() {
    let service = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.get("cookie").is_some_and(|cookie| cookie.contains("large")) {
                return;
            }
            wire.send(respond("403 Forbidden", &[], "")).await;
        }
    })
    .await;
    let upstream = Upstream::saying("ok").await;
    let more = ", send: [cookie], on_error: allow";
    let gateway = asking(service.address(), &upstream, more).start().await;
    assert_eq!(gateway.get("/a", &[]).await.status(), 403);
    assert_eq!(gateway.get("/b", &["Cookie: a=large"]).await.status(), 503);
    assert_eq!(gateway.access_of("/b").await["auth.reason"], "no_answer");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn denial_that_cannot_be_passed_on_admits_nobody() {
    let huge = respond("403 Forbidden", &[], &"x".repeat(2 * 1024 * 1024));
    let unending = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\npart".to_vec();
    let switching =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec();
    let several = respond("200 OK", &["X-User-Id: ann", "X-User-Id: bob"], "");
    for (what, answer) in [
        ("huge", huge),
        ("unending", unending),
        ("switching", switching),
        ("several users", several),
    ] {
        let service = Upstream::answering(move |_| answer.clone()).await;
        let upstream = Upstream::saying("ok").await;
        let more = ", timeout: 2s, on_error: allow, cache: 1h";
        let gateway = asking(service.address(), &upstream, more).start().await;
        let answer = gateway.get("/a", &[]).await;
        assert_eq!(answer.status(), 503, "{what}");
        assert_eq!(gateway.access_of("/a").await["auth.reason"], "bad_answer", "{what}");
        assert_eq!(upstream.connections(), 0, "{what}");
    }
}

#[tokio::test]
async fn authority_of_the_service_is_the_one_in_the_file_and_is_read_again() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.issue(folder.path(), "service", &["localhost"], 2049);
    authority.write(&folder.path().join("ca.pem"));
    let service = TlsService::start(folder.path(), "service", None, &[]).await;
    let upstream = Upstream::saying("ok").await;
    let ca = folder.path().join("ca.pem");
    let gateway = Config::to(&upstream)
        .with("require: legacy")
        .top(&format!(
            "authentication: {{legacy: {{forward: {{url: \"https://localhost:{}/check\", ca: \"{}\"}}}}}}",
            service.address().port(),
            ca.display()
        ))
        .start()
        .await;
    assert_eq!(gateway.get("/a", &[]).await.status(), 200);
    assert_eq!(service.heads()[0].target(), "/check");
    let mark = gateway.mark();
    Authority::new().write(&ca);
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(gateway.get("/b", &[]).await.status(), 503, "another authority");
    gateway.says(mark, "is unreachable").await;
}
