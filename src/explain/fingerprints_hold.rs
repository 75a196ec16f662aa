//! Tests that fingerprints of routes are the same in every process and version, so that `tidegate diff` can compare
//! with another process. They know nothing of requests.

use crate::gateway::Config;
use serde_json::Value;

const HEAD: &str = "listeners: [{address: \"127.0.0.1:3000\"}]
upstreams: {u: {endpoints: [\"app.internal:8080\"]}, v: {endpoints: [\"10.0.0.2:80\"]}}
routes:
";

/// The fingerprint of a route, and of its sessions.
fn fingerprints(route: &str) -> (u64, u64) {
    let yaml = format!("{HEAD}  - {route}\n");
    let outline = Config::from_yaml(&yaml).explainer().expect("a good configuration").outline();
    let outline: Value = serde_json::from_str(&outline).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a fingerprint");
    let sessions = outline["plan"]["routes"].as_object().expect("routes").values().next();
    let sessions = &sessions.expect("a route")["fingerprint"];
    (number(&outline["routes"][0]["fingerprint"]), number(sessions))
}

const FULL: &str = "{name: r, match: {path_prefix: /a, hosts: [\"*.example.com\"], methods: [GET],
    headers: {x-a: b}, query: {q: {present: true}}}, upstream: u, rewrite: {prefix: /b, host: upstream},
    split: [{upstream: v, percent: 5, cookies: {beta: yes}}], mirror: {upstream: v, percent: 1},
    headers: {request: {set: {X-Path: \"{path}\"}, remove: [X-B]}}, cors: {allow_origins: [\"https://example.com\"]},
    rate_limits: [{requests: 10, per: 1s, by: client_address}], maintenance: {retry_after: 10s, allow: [10.0.0.0/8]},
    compression: {min_size: 1KiB}, cache: {default_ttl: 1s}, retry: {attempts: 3},
    websocket: {idle_timeout: 60s, ping: {interval: 20s}, origins: [\"https://example.com\"]}}";

/// Another value means that `tidegate diff` between two versions lists each route.
#[test]
fn known_fingerprints_stay() {
    let routes = [
        "{name: r, upstream: u}",
        "{name: r, respond: {status: 204}}",
        "{name: r, redirect: {to: \"https://{host}{target}\"}}",
        FULL,
    ];
    let known = [
        (8_423_822_713_504_680_828, 432_972_882_006_967_876),
        (3_809_315_203_077_876_860, 7_918_566_454_774_308_611),
        (7_665_010_398_286_213_680, 4_571_393_795_167_020_148),
        (14_603_912_956_829_387_408, 11_176_739_369_201_996_983),
    ];
    assert_eq!(routes.map(fingerprints), known);
}

#[test]
fn each_setting_counts_and_a_default_written_out_does_not() {
    let plain = fingerprints("{name: r, upstream: u}");
    assert_eq!(
        fingerprints("{name: r, upstream: u, timeouts: {connect: 3s}, websocket: true}"),
        plain
    );
    for other in [
        "{name: r, upstream: v}",
        "{name: r, upstream: u, match: {path_prefix: /a}}",
        "{name: r, upstream: u, timeouts: {read: 3s}}",
        "{name: r, upstream: u, websocket: false}",
        "{name: r, upstream: u, websocket: {idle_timeout: 3s}}",
        "{name: r, upstream: u, rewrite: {host: upstream}}",
        "{name: r, upstream: u, headers: {response: {set: {X-A: b}}}}",
        "{name: r, upstream: u, max_body_size: 1KiB}",
        "{name: r, upstream: u, rate_limits: [{requests: 1, per: 1s, by: all}]}",
    ] {
        let (route, sessions) = fingerprints(other);
        assert_ne!(route, plain.0, "{other}");
        assert_ne!(sessions, plain.1, "{other}");
    }
    // What sessions do not see.
    for other in
        ["{name: r, upstream: u, retry: {attempts: 5}}", "{name: r, upstream: u, cache: true}"]
    {
        let (route, sessions) = fingerprints(other);
        assert_ne!(route, plain.0, "{other}");
        assert_eq!(sessions, plain.1, "{other}");
    }
}
