//! `tidegate explain` predicts what the proxy does: random requests to gateways with random tables, each response
//! compared with the prediction. The behaviour is observed only from outside, in the response and at the upstream.

mod made_up;

use made_up::{Dice, Sent, table};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tidegate::Config as Library;
use tidegate::explain::{Decision, Explainer, Explanation, RequestToExplain};
use tidegate_testing::{TOKEN, WAIT_TIMEOUT, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUTE_TABLES: usize = 8;
const CONCURRENT_CLIENTS: usize = 8;

/// So many requests in all: `TIDEGATE_EXPLAIN_REQUESTS` (`.ci/run` has 100,000), or what takes a few
/// seconds.
fn requests() -> usize {
    let written = std::env::var("TIDEGATE_EXPLAIN_REQUESTS").ok();
    written.and_then(|written| written.parse().ok()).unwrap_or(20_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanation_matches_behaviour_for_random_requests_and_tables() {
    let seed = std::env::var("TIDEGATE_EXPLAIN_SEED").ok().and_then(|it| it.parse().ok());
    let base: u64 = seed.unwrap_or(7);
    let each = requests().div_ceil(ROUTE_TABLES * CONCURRENT_CLIENTS);
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..ROUTE_TABLES {
        let seed = base.wrapping_mul(1_000).wrapping_add(number as u64);
        let upstreams = [upstream("one").await, upstream("two").await];
        let config = table(&mut Dice::from_seed(seed), number, &upstreams);
        let config = config
            .top(&format!("admin: {{address: \"127.0.0.1:{}\", token: {TOKEN}}}", free_port()));
        let gateway = config.start().await;
        let explainer = Library::from_file(gateway.file()).explainer().expect("a good file");
        let explainer = Arc::new(explainer);
        let clients = (0..CONCURRENT_CLIENTS).map(|client| {
            let (explainer, address) = (Arc::clone(&explainer), gateway.address());
            let dice = Dice::from_seed(seed.wrapping_mul(100).wrapping_add(client as u64));
            let what = format!("TIDEGATE_EXPLAIN_SEED={base}, table {number}, client {client}");
            tokio::spawn(compare(explainer, address, dice, each, what))
        });
        for client in clients.collect::<Vec<_>>() {
            for (kind, count) in client.await.expect("what was said") {
                *seen.entry(kind).or_default() += count;
            }
        }
    }
    // Each class has been there, so that none passes for being left out.
    for class in [
        "forwarded",
        "200 answered",
        "301 answered",
        "308 redirected",
        "404 no_route",
        "405 method_not_allowed",
        "503 answered",
        "403 answered",
        "204 answered",
        "400 refused",
        "405 refused",
        "413 refused",
        "414 refused",
        "417 refused",
        "426 refused",
        "431 refused",
        "cors allowed",
        "cors refused",
        "cors upstream",
        "handshake",
        "elsewhere",
        "told",
    ] {
        assert!(seen.contains_key(class), "{class} never came: {seen:?}");
    }
}

/// Sends requests, one after the other; how many there were of each kind.
async fn compare(
    explainer: Arc<Explainer>,
    address: SocketAddr,
    mut dice: Dice,
    count: usize,
    what: String,
) -> std::collections::BTreeMap<String, usize> {
    let mut seen = std::collections::BTreeMap::new();
    let mut client = Client::connect(address).await;
    for number in 0..count {
        let mut sent = Sent::roll(&mut dice, address.port());
        let asked = RequestToExplain::new(&sent.url, &sent.method, &sent.fields);
        let asked = asked.unwrap_or_else(|reason| panic!("{}: {reason}", sent.url));
        let asked = asked.from_client(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let told = explainer.explain(&asked).await;
        let is_told = dice.below(8) == 0 && sent.has_room();
        if is_told {
            sent.tail += &format!("X-Tidegate-Explain: {TOKEN}\r\n");
        }
        let answer = client.ask(&sent).await;
        let case = Case { told: &told, sent: &sent, answer: &answer, what: &what, number };
        for kind in check(&case) {
            *seen.entry(kind).or_default() += 1;
        }
        if is_told {
            check_field(&case);
            *seen.entry("told".to_owned()).or_default() += 1;
        }
    }
    seen
}

/// What was said of a request, and what came of it.
struct Case<'c> {
    told: &'c Explanation,
    sent: &'c Sent,
    answer: &'c Answer,
    what: &'c str,
    number: usize,
}

/// All that is needed to have it again; written when something is wrong alone.
impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { told, sent, answer, what, number } = self;
        write!(f, "{what}, request {number}: {sent:?}\n{told}\n{}", answer.head)
    }
}

/// Compares what was said with what has been seen; the kinds of which it is.
fn check(what: &Case<'_>) -> Vec<String> {
    let Case { told, sent, answer, .. } = what;
    let status = told.status().unwrap_or(200);
    assert_eq!(status, answer.status, "the status\n{what}");
    let (mut seen, mut location, mut allow) = (None, None, None);
    let mut kinds = Vec::new();
    match &told.decision {
        Decision::Forwarded(way) => {
            seen = Some(format!("{} {} {}", way.upstream, way.host, way.target));
            kinds.push("forwarded".to_owned());
            if way.upstream != answer.field("x-main").unwrap_or_default() {
                kinds.push("elsewhere".to_owned());
            }
        }
        Decision::Answered { location: to, .. } => {
            location = to.clone();
            kinds.push(format!("{status} answered"));
        }
        Decision::Redirected { location: to } => {
            location = Some(to.clone());
            kinds.push("308 redirected".to_owned());
        }
        Decision::NoRoute => kinds.push("404 no_route".to_owned()),
        Decision::MethodNotAllowed { allowed } => {
            allow = Some(allowed.join(", "));
            kinds.push("405 method_not_allowed".to_owned());
        }
        Decision::Refused { .. } => kinds.push(format!("{status} refused")),
        other => panic!("a decision of a new kind: {other:?}\n{what}"),
    }
    if seen.is_some() && sent.is_handshake() {
        kinds.push("handshake".to_owned());
    }
    assert_eq!(seen.as_deref(), answer.field("x-seen"), "what the upstream saw\n{what}");
    assert_eq!(location.as_deref(), answer.field("location"), "where to\n{what}");
    if let Some(allow) = allow {
        assert_eq!(Some(&*allow), answer.field("allow"), "{what}");
    }
    if !is_unreadable(what) {
        assert_eq!(
            told.route().unwrap_or("none"),
            answer.field("x-route").unwrap_or("none"),
            "{what}"
        );
        let cors = told.cors.as_deref();
        match cors {
            None => assert_eq!(sent.origin(), None, "{what}"),
            Some("upstream") => {
                let theirs = Some("https://theirs.test");
                assert_eq!(answer.field("access-control-allow-origin"), theirs, "{what}");
            }
            Some(verdict) => assert_eq!(verdict, browser(sent, answer), "CORS\n{what}"),
        }
        kinds.extend(cors.map(|cors| format!("cors {cors}")));
    }
    kinds
}

/// Whether the head could not be read: what is answered then no route, filter or explanation has seen.
fn is_unreadable(what: &Case<'_>) -> bool {
    let is_refused = matches!(what.told.decision, Decision::Refused { .. });
    is_refused
        && what.answer.status == 400
        && what.answer.field("x-tidegate-explain").is_none()
        && what.answer.field("connection") == Some("close")
        && what.answer.field("vary").is_none()
}

/// What a browser makes of the answer (Fetch, "CORS check" and "CORS-preflight fetch"); what it
/// can't make out of a WebSocket, the gateway has to.
fn browser(sent: &Sent, answer: &Answer) -> &'static str {
    let verdict = |is_allowed| if is_allowed { "allowed" } else { "refused" };
    let is_judged = [200, 301, 307, 403, 404, 503].contains(&answer.status)
        || ["bad_websocket_handshake", "body_too_large"].iter().any(|it| answer.body.contains(it));
    if sent.is_handshake() && is_judged {
        return verdict(!answer.body.contains("origin_not_allowed"));
    }
    let Some(allowed) = answer.field("access-control-allow-origin") else { return "refused" };
    let is_origin = allowed == "*" || Some(allowed) == sent.origin();
    let Some(method) = sent.asked_method() else { return verdict(is_origin) };
    let lists = |name: &str, wanted: &str| {
        let listed = answer.field(name).unwrap_or_default();
        listed.split(',').any(|it| it.trim().eq_ignore_ascii_case(wanted))
    };
    let takes_method =
        ["GET", "HEAD", "POST"].contains(&method) || lists("access-control-allow-methods", method);
    let takes_header =
        sent.asked_header().is_none_or(|name| lists("access-control-allow-headers", name));
    verdict(is_origin && answer.status / 100 == 2 && takes_method && takes_header)
}

/// What the response says of itself is what was said before, but for what only it can know.
fn check_field(what: &Case<'_>) {
    let Case { told, answer, .. } = what;
    let Some(field) = answer.field("x-tidegate-explain") else {
        assert!(is_unreadable(what), "nothing is told\n{what}");
        return;
    };
    let mut field: Value = serde_json::from_str(field).expect("JSON");
    let mut told = serde_json::to_value(told).expect("JSON");
    if told["cors"] == "upstream" {
        field["cors"] = told["cors"].clone();
    }
    // What is long is told without them.
    if field["others"].as_array().is_some_and(Vec::is_empty) {
        told["others"] = field["others"].clone();
    }
    assert_eq!(field, told, "X-Tidegate-Explain\n{what}");
}

/// A service that answers each request with what it saw of it.
async fn upstream(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, name));
        }
    });
    address
}

async fn answer_all(stream: TcpStream, name: &'static str) {
    let mut peer = Peer::new(stream);
    while let Some(head) = peer.head().await {
        let host = field(&head, "host").unwrap_or("none");
        let target = head.split(' ').nth(1).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Seen: {name} {host} {target}\r\n\
             Access-Control-Allow-Origin: https://theirs.test\r\n\r\n"
        );
        peer.body(&head).await;
        if peer.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A connection that is read by hand, for there are many requests.
struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    async fn fill(&mut self) -> bool {
        let read = tokio::time::timeout(WAIT_TIMEOUT, self.stream.read_buf(&mut self.buffer));
        matches!(read.await.expect("bytes in time"), Ok(read) if read > 0)
    }

    async fn until(&mut self, needle: &[u8]) -> Option<String> {
        loop {
            let at = self.buffer.windows(needle.len()).position(|window| window == needle);
            if let Some(at) = at {
                let bytes: Vec<u8> = self.buffer.drain(..at + needle.len()).collect();
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn head(&mut self) -> Option<String> {
        // Most come alone, and what is not optimised searches long.
        while !self.buffer.ends_with(b"\r\n\r\n") {
            if self.buffer.len() > 64 && self.buffer.windows(4).any(|window| window == b"\r\n\r\n")
            {
                break;
            }
            if !self.fill().await {
                return None;
            }
        }
        let lines = String::from_utf8_lossy(&self.buffer).into_owned();
        let end = lines.find("\r\n\r\n")? + 4;
        self.buffer.drain(..end);
        lines.get(..end).map(str::to_owned)
    }

    async fn body(&mut self, head: &str) -> String {
        if field(head, "transfer-encoding").is_some() {
            return self.until(b"0\r\n\r\n").await.unwrap_or_default();
        }
        let length = field(head, "content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            if !self.fill().await {
                break;
            }
        }
        let length = length.min(self.buffer.len());
        String::from_utf8_lossy(&self.buffer.drain(..length).collect::<Vec<_>>()).into_owned()
    }
}

/// The only value of a field.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut found = head.lines().skip(1).filter_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.eq_ignore_ascii_case(name).then_some(value.trim())
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{name} is doubled in\n{head}");
    first
}

struct Client {
    address: SocketAddr,
    peer: Peer,
}

struct Answer {
    head: String,
    status: u16,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self { address, peer: Peer::new(stream) }
    }

    async fn ask(&mut self, sent: &Sent) -> Answer {
        let text = sent.text();
        // What a connection that is about to close takes no more is sent again on another.
        for _ in 0..2 {
            let _ = self.peer.stream.write_all(text.as_bytes()).await;
            if let Some(head) = self.peer.head().await {
                let status = head.get(9..12).and_then(|it| it.parse().ok()).expect("a status");
                let body = match (sent.method.as_str(), status) {
                    ("HEAD", _) | (_, 204 | 304) => String::new(),
                    _ => self.peer.body(&head).await,
                };
                // A 426 names `Upgrade` in a line of its own beside what becomes of the connection.
                let closes = head.lines().any(|it| it.eq_ignore_ascii_case("connection: close"));
                if closes || field(&head, "x-request-id").is_none() {
                    *self = Self::connect(self.address).await;
                }
                return Answer { head, status, body };
            }
            *self = Self::connect(self.address).await;
        }
        panic!("no answer to {sent:?}");
    }
}
