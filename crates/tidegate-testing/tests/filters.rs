//! Filters run without sockets as they run in the gateway.
#![cfg(feature = "filters")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::IpAddr;
use std::sync::Mutex;
use tidegate::async_trait;
use tidegate::filter::{
    self, BodyAccess, Filter, Flow, Outcome, Reply, Request, RequestBody, Response, ResponseBody,
    UpstreamRequest,
};
use tidegate::http::StatusCode;
use tidegate_testing::{request, response};

/// Writes its name into each head and each value that it sees; answers or fails where the path says so.
struct Trail(&'static str, Mutex<Vec<String>>);

impl Trail {
    fn named(name: &'static str) -> Self {
        Self(name, Mutex::default())
    }

    fn ends(&self) -> Vec<String> {
        self.1.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl Filter for Trail {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        request.head_mut().append_header("x-request-trail", self.0)?;
        if request.path() == format!("/answer/{}", self.0) {
            let reply = Reply::error(StatusCode::IM_A_TEAPOT, "tea", "no coffee here");
            return Ok(Flow::Respond(reply));
        }
        if request.path() == format!("/fail/{}", self.0) {
            return Err("it is broken".into());
        }
        Ok(Flow::Continue)
    }

    fn on_forward(&self, request: &mut UpstreamRequest<'_>) -> Result<(), filter::Error> {
        if request.client_head().uri.path() == "/fail-forward" {
            return Err("it is broken".into());
        }
        request.head_mut().append_header("x-forward-trail", self.0)?;
        Ok(())
    }

    async fn on_response(&self, response: &mut Response<'_>) -> Result<(), filter::Error> {
        response.head_mut().append_header("x-response-trail", self.0)?;
        match response.request().uri.path() {
            "/fail-response" => Err("it is broken".into()),
            _ => Ok(()),
        }
    }

    fn on_open(&self, outcome: &Outcome<'_>) {
        self.1.lock().expect("no panic").push(format!("open {}", outcome.status));
    }

    fn on_end(&self, outcome: &Outcome<'_>) {
        let error = outcome.error.unwrap_or("good");
        self.1.lock().expect("no panic").push(format!("end {}: {error}", outcome.status));
    }
}

fn all<'h>(headers: &'h tidegate::http::HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test]
async fn filters_run_in_order_and_in_reverse_over_the_response() {
    let (a, b) = (Trail::named("a"), Trail::named("b"));
    let answer = response(201).header("location", "/7").body("made");
    let run = request("POST /orders?x=1").body("order").upstream(answer).run_all(&[&a, &b]).await;
    let forwarded = run.forwarded().expect("forwarded");
    assert_eq!(all(&forwarded.headers, "x-request-trail"), ["a", "b"]);
    assert_eq!(all(&forwarded.headers, "x-forward-trail"), ["a", "b"]);
    assert_eq!(
        (forwarded.method.as_str(), forwarded.uri.to_string()),
        ("POST", "/orders?x=1".into())
    );
    assert_eq!(
        (run.forwarded_header("host"), &run.forwarded_body()[..]),
        (Some("localhost"), &b"order"[..])
    );
    assert_eq!((run.status().as_u16(), run.header("location")), (201, Some("/7")));
    assert_eq!(all(run.headers(), "x-response-trail"), ["b", "a"]);
    assert_eq!((&run.body()[..], run.error_code()), (&b"made"[..], None));
    assert_eq!((a.ends(), b.ends()), (vec!["end 201: good".into()], vec!["end 201: good".into()]));
}

#[tokio::test]
async fn answer_of_a_filter_ends_the_walk_and_passes_the_filters_in_reverse() {
    let (a, b) = (Trail::named("a"), Trail::named("b"));
    let run = request("GET /answer/a").request_id("id-7").run_all(&[&a, &b]).await;
    assert!(run.forwarded().is_none() && run.forwarded_body().is_empty());
    assert_eq!((run.status().as_u16(), run.error_code()), (418, Some("tea")));
    assert_eq!(all(run.headers(), "x-response-trail"), ["b", "a"]);
    assert_eq!(run.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(run.body()).expect("JSON");
    assert_eq!((&json["error"], &json["request_id"]), (&"tea".into(), &"id-7".into()));

    let run = request("GET /answer/b").header("accept", "text/plain").run_all(&[&a, &b]).await;
    assert!(run.body().starts_with(b"tea: no coffee here\n"), "{run:?}");
}

#[tokio::test]
async fn failing_filter_becomes_500_with_its_error_for_the_log() {
    let a = Trail::named("a");
    for target in ["/fail/a", "/fail-forward", "/fail-response"] {
        let run = request(&format!("GET {target}")).run(&a).await;
        assert_eq!(run.forwarded().is_some(), target == "/fail-response");
        assert_eq!((run.status().as_u16(), run.error_code()), (500, Some("internal_error")));
        assert_eq!(run.error().expect("an error").to_string(), "it is broken");
    }
    assert_eq!(a.ends(), ["end 500: it is broken"; 3]);
}

/// Reports in headers what it knows of the exchange.
struct Report;

#[async_trait]
impl Filter for Report {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let exchange = request.exchange();
        let user = exchange.user_id().map(|id| format!("{} {}", id.as_str(), id.is_verified()));
        let known = format!(
            "{} {} {} {:?} {:?} {} {} {}",
            exchange.route(),
            exchange.request_id(),
            exchange.scheme(),
            exchange.client_address().map(|it| it.to_string()).unwrap_or_default(),
            exchange.store().get::<u32>(),
            exchange.is_websocket(),
            exchange.is_dry_run(),
            request.path(),
        );
        request.head_mut().insert_header("x-known", known)?;
        request.head_mut().insert_header("x-known-user", user.unwrap_or_default())?;
        if request.path() == "/old" {
            request.set_path("/new")?;
        }
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn request_carries_what_the_gateway_would_know() {
    let run = request("GET /").run(&Report).await;
    let known = run.forwarded_header("x-known");
    assert_eq!(known, Some("test test http \"127.0.0.1\" None false false /"));

    let address: IpAddr = "192.0.2.7".parse().expect("an address");
    let request = request("GET /a/../b%41")
        .route("api")
        .client_address(address)
        .verified_user("shop")
        .stored(7_u32)
        .dry_run();
    let run = request.run(&Report).await;
    let known = run.forwarded_header("x-known");
    assert_eq!(known, Some("api test http \"192.0.2.7\" Some(7) false true /bA"));
    assert_eq!(run.forwarded_header("x-known-user"), Some("shop true"));
}

#[tokio::test]
async fn claimed_user_is_not_verified_and_a_new_path_reaches_the_upstream() {
    let run = request("GET /old?x=1").claimed_user("mallory").run(&Report).await;
    assert_eq!(run.forwarded_header("x-known-user"), Some("mallory false"));
    assert_eq!(run.forwarded().expect("forwarded").uri.to_string(), "/new?x=1");
}

#[tokio::test]
async fn websocket_opens_and_ends() {
    let a = Trail::named("a");
    let run = request("GET /ws").websocket().run(&a).await;
    assert_eq!((run.status().as_u16(), run.forwarded_header("upgrade")), (101, Some("websocket")));
    assert_eq!(a.ends(), ["open 101", "end 101: good"]);
    let refused = Trail::named("a");
    let run = request("GET /answer/a").websocket().run(&refused).await;
    assert_eq!(run.status(), 418);
    assert_eq!(refused.ends(), ["end 418: good"]);
}

#[tokio::test]
#[should_panic(expected = "this test's request is malformed: the header `x y`")]
async fn malformed_request_panics_with_the_reason() {
    let _ = request("GET /").header("x y", "1").run(&Report).await;
}

/// Writes each part that it sees of a body, and how, in front of it; refuses parts that say so.
struct Parts(BodyAccess);

#[async_trait]
impl Filter for Parts {
    fn request_body(&self) -> BodyAccess {
        self.0
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        let text = String::from_utf8_lossy(body.bytes()).into_owned();
        if text == "refuse" {
            return Err(filter::Error::status(StatusCode::CONFLICT, "not this").code("conflict"));
        }
        body.replace(format!("[{} {} {text}]", body.offset(), body.is_end()));
        Ok(Flow::Continue)
    }

    fn response_body(&self) -> BodyAccess {
        self.0
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        let text = String::from_utf8_lossy(body.bytes()).into_owned();
        if text == "refuse" {
            return Err("it is broken".into());
        }
        body.replace(format!("[{} {} {text}]", body.offset(), body.is_end()));
        Ok(())
    }
}

#[tokio::test]
async fn bodies_are_shown_in_parts_or_whole_as_filters_want_them() {
    let parts = [
        (BodyAccess::None, "onetwo"),
        (BodyAccess::Observe, "onetwo"),
        (BodyAccess::Chunks, "[0 false one][3 true two]"),
        (BodyAccess::Whole { max: 6 }, "[0 true onetwo]"),
    ];
    for (access, wanted) in parts {
        let upstream = response(200).body("one").body("two");
        let run = request("POST /").body("one").body("two").upstream(upstream);
        let run = run.run(&Parts(access)).await;
        assert_eq!(run.forwarded_body(), wanted, "{access:?}");
        assert_eq!(run.body(), wanted, "{access:?}");
    }
}

#[tokio::test]
async fn whole_body_above_the_bound_is_refused_both_ways() {
    let filter = Parts(BodyAccess::Whole { max: 2 });
    let run = request("POST /").body("one").run(&filter).await;
    assert!(run.forwarded().is_none());
    assert_eq!((run.status().as_u16(), run.error_code()), (413, Some("body_too_large")));
    let run = request("GET /").upstream(response(200).body("one")).run(&filter).await;
    assert_eq!((run.status().as_u16(), run.error_code()), (502, Some("filter_failed")));
}

#[tokio::test]
async fn refused_body_gets_the_status_of_the_filter() {
    for access in [BodyAccess::Chunks, BodyAccess::Whole { max: 9 }] {
        let run = request("POST /").body("refuse").run(&Parts(access)).await;
        assert!(run.forwarded().is_none());
        assert_eq!((run.status().as_u16(), run.error_code()), (409, Some("conflict")));
        assert_eq!(run.error().expect("an error").to_string(), "not this");
        let run = request("GET /").upstream(response(200).body("refuse")).run(&Parts(access)).await;
        assert_eq!((run.status().as_u16(), run.body().len()), (200, 0), "broken off");
        assert_eq!(run.error().expect("an error").to_string(), "it is broken");
    }
}
