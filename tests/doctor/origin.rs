//! Pages of another origin, and what their browser reports.

use crate::harness::{answering, examine, frame, plain_frame, switching, ws};
use tidegate_testing::{Config, Upstream, respond};

const PAGE: &str = "https://app.example";

/// A service whose answers, and whose answers to preflights, have these fields.
async fn http(fields: &'static [&'static str], preflight: &'static str) -> Upstream {
    Upstream::answering(move |request| match request.head.line.starts_with("OPTIONS") {
        true => respond(preflight, fields, ""),
        false => respond("200 OK", fields, "hello"),
    })
    .await
}

#[tokio::test]
async fn each_cors_fault_has_its_code() {
    for (fields, preflight, code) in [
        (&[][..], "204 No Content", "cors-missing"),
        (&["Access-Control-Allow-Origin: https://b.example"], "200 OK", "cors-other-origin"),
        (
            &["Access-Control-Allow-Origin: https://app.example", "Access-Control-Allow-Origin: *"],
            "200 OK",
            "cors-doubled",
        ),
        (&["Access-Control-Allow-Origin: https://app.example, *"], "200 OK", "cors-doubled"),
        (&["Access-Control-Allow-Origin: *"], "401 Unauthorized", "preflight-refused"),
    ] {
        let server = http(fields, preflight).await;
        let url = format!("http://{}/", server.address());
        let found = examine(&url, &["--origin", PAGE]).await;
        found.is(code);
        assert_eq!(found.outcome("origin"), "failed");
        examine(&url, &[]).await.is_healthy();
    }
    let server = http(&["Access-Control-Allow-Origin: *"], "200 OK").await;
    let found = examine(format!("http://{}/", server.address()), &["--origin", PAGE]).await;
    assert_eq!(found.is_healthy().outcome("origin"), "ok");
}

#[tokio::test]
async fn unlisted_origin_points_at_the_policy() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).cors(&["https://other.example"], "").start().await;
    let file = gateway.file();
    let config = ["--config", file.to_str().expect("a path"), "--origin", PAGE];
    let found = examine(ws(gateway.address()), &config).await;
    found.is("origin-refused").blames("gateway");
    found.points_at(file, "\"https://other.example\"").saw(PAGE);
    assert_eq!(found.outcome("upstream"), "ok");
    let found = examine(format!("http://{}/", gateway.address()), &config).await;
    found.is("origin-refused").points_at(file, "\"https://other.example\"");
}

#[tokio::test]
async fn policy_of_the_route_precedes_that_of_the_file() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service)
        .cors(&[PAGE], "")
        .with("cors: {allow_origins: [\"https://its-own.example\"]}")
        .start()
        .await;
    let file = gateway.file();
    let config = ["--config", file.to_str().expect("a path"), "--origin", PAGE];
    let found = examine(ws(gateway.address()), &config).await;
    found.is("origin-refused").points_at(file, "\"https://its-own.example\"");
}

#[tokio::test]
async fn service_that_refuses_the_origin_is_blamed() {
    let service = Upstream::scripted(|mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        if head.get("origin").is_some() {
            let _ = wire.try_send(respond("403 Forbidden", &[], "")).await;
            return;
        }
        wire.send(switching(&head, "")).await;
        let (_, payload) = frame(&mut wire).await;
        let _ = wire.try_send(plain_frame(10, &payload)).await;
    })
    .await;
    let upstream = service.address().to_string();
    let arguments = ["--origin", PAGE, "--upstream", &upstream];
    let found = examine(ws(service.address()), &arguments).await;
    found.is("origin-refused").blames("upstream");
    // One that forbids it to everybody is another matter.
    let service = answering(respond("403 Forbidden", &[], "")).await;
    examine(ws(service.address()), &["--origin", PAGE]).await.is("forbidden");
}
