//! `tidegate explain` and filters that see bodies: it names them, and shows an empty body to those that want the whole.

use crate::body_hooks::{Passing, Signed, Signing};
use tidegate::Gateway;
use tidegate::explain::{Decision, Explanation, RequestToExplain};
use tidegate::filter::BodyAccess;
use tidegate_testing::Config;

async fn explain(
    filters: impl FnOnce(Gateway) -> Gateway,
    method: &str,
    url: &str,
    headers: &[&str],
) -> Explanation {
    let config = Config::to_address("127.0.0.1:9");
    let gateway = Gateway::from_config(tidegate::Config::from_yaml(&config.yaml(8080)));
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    let request = RequestToExplain::new(url, method, &headers).expect("a request");
    let explainer = filters(gateway).explainer().expect("a good configuration");
    explainer.explain(&request).await
}

fn lines(explanation: &Explanation) -> Vec<String> {
    explanation.bodies.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn explanation_names_the_filters_that_see_bodies_and_how() {
    let filters = |gateway: Gateway| {
        gateway
            .filter(Passing(BodyAccess::None))
            .filter(Passing(BodyAccess::Observe))
            .filter(Signed { max: 1 << 20 })
            .filter(Signing(BodyAccess::Chunks))
            .filter(Signing(BodyAccess::Whole { max: 512 }))
    };
    let url = "http://localhost:8080/hook";
    let explained = explain(filters, "POST", url, &["Content-Length: 5"]).await;
    let expected = [
        "request, observe: Passing",
        "request, whole up to 1.0 MiB: Signed",
        "response, whole up to 512 B: Signing",
        "response, chunks: Signing",
    ];
    assert_eq!(lines(&explained), expected);
    let text = explained.to_string();
    assert!(text.contains("\nbodies    request, observe: Passing\n"), "{text}");
    let json = serde_json::to_value(&explained).expect("JSON");
    let whole = serde_json::json!({
        "body": "request", "access": "whole", "max": 1 << 20, "filter": "Signed"
    });
    assert_eq!(json["bodies"][1], whole);

    let none = |gateway: Gateway| gateway.filter(Passing(BodyAccess::None));
    let explained = explain(none, "POST", url, &["Content-Length: 5"]).await;
    assert!(!explained.to_string().contains("bodies"));
    assert_eq!(serde_json::to_value(&explained).expect("JSON").get("bodies"), None);
}

#[tokio::test]
async fn explanation_leaves_out_bodies_that_filters_never_see() {
    let filters = |gateway: Gateway| {
        gateway.filter(Passing(BodyAccess::Chunks)).filter(Signing(BodyAccess::Chunks))
    };
    let url = "http://localhost:8080/hook";
    let expected = ["request, chunks: Passing"];
    assert_eq!(lines(&explain(filters, "HEAD", url, &[]).await), expected);
    let url = "ws://localhost:8080/hook";
    let handshake = explain(filters, "GET", url, &["Origin: http://localhost:8080"]).await;
    assert!(matches!(handshake.decision, Decision::Forwarded(_)), "{handshake}");
    assert_eq!(lines(&handshake), [""; 0]);
}

#[tokio::test]
async fn request_without_a_body_is_explained_as_filters_that_want_the_whole_answer_it() {
    let filters = |gateway: Gateway| gateway.filter(Signed { max: 1 << 20 });
    for (url, headers, status) in [
        ("http://localhost:8080/hook", &[][..], Some(401)),
        ("http://localhost:8080/hook", &["Content-Length: 0"], Some(401)),
        ("ws://localhost:8080/hook", &["Origin: http://localhost:8080"], Some(401)),
        ("http://localhost:8080/hook", &["Content-Length: 5"], None),
        ("http://localhost:8080/hook", &["Transfer-Encoding: chunked"], None),
    ] {
        let method = if url.starts_with("ws") { "GET" } else { "POST" };
        let explained = explain(filters, method, url, headers).await;
        assert_eq!(explained.status(), status, "{url} {headers:?}: {explained}");
        assert_eq!(explained.bodies.len(), usize::from(status.is_none()));
        assert_eq!(explained.filters, ["Signed"]);
    }
}
