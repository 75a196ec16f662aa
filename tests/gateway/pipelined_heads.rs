//! Each head on a connection is checked alike: first or later, in one packet with others or byte by byte.

use serde_json::Value;
use std::collections::HashMap;
use tidegate_testing::{
    Config, Gateway, Handshake, Response, Upstream, Wire, get, next, ok, within,
};
use tokio::sync::watch;

/// Heads that are refused, and heads that pass, some of them in an unusual spelling.
const HEADS: [&str; 42] = [
    "GET /head HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n",
    "DELETE /head?a=b HTTP/1.1\r\nhost:a\r\nX: y\r\n\r\n",
    "\r\n\r\nGET /after-empty-lines HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /line-feeds HTTP/1.1\nHost: a\n\n",
    "GET /mixed HTTP/1.1\r\nHost: a\n\r\n",
    "GET /\"quoted\"?<a> HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/absolute HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://A:80/spelt HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/other HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET /refused",
    "GET /refused\r\n\r\n",
    "GET /refused HTTP/1.1 x\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /refused\t HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /refused HTTP/3.0\r\nHost: a\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHo st: a\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\n folded: a\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "POST /refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "POST /refused HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET http://u@a/refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "get /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n",
    "TRACE /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /refused HTTP/1.1\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\nExpect: the moon\r\n\r\n",
];

const POST: &str = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// Behind chunks no request is taken: readers disagree on the end of some.
const CHUNKS: &str = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5;x=\"y\"\r\nhello\r\n0\r\nA: b\r\n\r\n";

async fn echo() -> Upstream {
    Upstream::answering(|request| {
        let text = match request.head.line.starts_with("HEAD") {
            true => String::new(),
            false => format!("{} {}", request.head.line, request.body.len()),
        };
        ok(&text)
    })
    .await
}

/// What a client reads of the answer to a head, and by which id the log has it.
async fn answer<S>(wire: &mut Wire<S>, request: &str) -> (Response, String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let response = match request.starts_with("HEAD") {
        true => Response { head: wire.head().await, body: Vec::new() },
        false => wire.response().await,
    };
    let id = response.head.only("x-request-id").unwrap_or_default().to_owned();
    (response, id)
}

/// An answer without what differs from one to the next.
fn essence(response: &Response, id: &str) -> (u16, String) {
    let text = response.text();
    (response.status(), if id.is_empty() { text } else { text.replace(id, "") })
}

/// A log line without what differs from one to the next.
fn essence_of_line(line: &Value) -> Value {
    let mut line = line.clone();
    let Some(fields) = line.as_object_mut() else { return line };
    fields.retain(|key, _| {
        ["http.request.method", "url.path", "http.response.status_code", "error.message"]
            .contains(&key.as_str())
            || ["client.address", "network.protocol.version", "http.route"].contains(&key.as_str())
    });
    line
}

/// Where a head was sent, and what came of it.
struct Sent {
    head: usize,
    place: String,
    essence: (u16, String),
    id: String,
}

/// All that was sent, beside what the first of each head came to.
async fn compare(gateway: &Gateway, sent: Vec<Sent>) {
    let last = sent.last().map(|sent| sent.id.clone()).unwrap_or_default();
    gateway.access("the last", |line| line["http.request.id"] == last).await;
    let find = |id: &str| {
        let lines = gateway.access_lines();
        let mut lines = lines.iter().filter(|line| line.contains(id));
        serde_json::from_str(lines.next()?).ok()
    };
    let lines: HashMap<String, Value> = {
        let all = gateway.access_lines();
        let parsed = all.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed
            .filter_map(|line| Some((line["http.request.id"].as_str()?.to_owned(), line)))
            .collect()
    };
    let mut expected: HashMap<usize, ((u16, String), Value)> = HashMap::new();
    for Sent { head, place, essence, id } in sent {
        let line = lines.get(&id).cloned().or_else(|| find(&id));
        let line = line.unwrap_or_else(|| panic!("{:?} {place}: no line", HEADS[head]));
        let got = (essence, essence_of_line(&line));
        let first = expected.entry(head).or_insert_with(|| got.clone());
        assert_eq!(&got, first, "{:?} {place}", HEADS[head]);
    }
}

/// A head without its end is followed by the end of the client's side.
async fn end(wire: &mut Wire, head: &str) {
    if !head.ends_with("\n\r\n") && !head.ends_with("\n\n") {
        wire.finish().await;
    }
}

#[tokio::test]
async fn pipelined_head_is_checked_like_a_first_one() {
    let upstream = echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut sent = Vec::new();
    for (number, head) in HEADS.into_iter().enumerate() {
        let mut note = |place: &str, (response, id): (Response, String)| {
            let (essence, place) = (essence(&response, &id), place.to_owned());
            sent.push(Sent { head: number, place, essence, id });
        };
        let text = head.trim_start_matches(['\r', '\n']);
        let mut wire = gateway.connect().await;
        wire.send(head).await;
        end(&mut wire, head).await;
        note("first", answer(&mut wire, text).await);
        let mut wire = gateway.connect().await;
        for byte in head.as_bytes() {
            let _ = wire.try_send([*byte]).await;
        }
        end(&mut wire, head).await;
        note("first, byte by byte", answer(&mut wire, text).await);
        for (place, before) in [("behind GET", get("/first", &[])), ("behind POST", POST.into())] {
            let mut wire = gateway.connect().await;
            wire.send(format!("{before}{head}")).await;
            end(&mut wire, head).await;
            assert_eq!(wire.response().await.status(), 200, "{head:?} {place}");
            note(place, answer(&mut wire, text).await);
            let mut wire = gateway.connect().await;
            wire.send(&before).await;
            assert_eq!(wire.response().await.status(), 200, "{head:?} {place}");
            wire.send(head).await;
            end(&mut wire, head).await;
            note(&format!("{place}, later"), answer(&mut wire, text).await);
        }
        let mut wire = gateway.connect().await;
        wire.send(format!("{CHUNKS}{head}")).await;
        let response = wire.response().await;
        assert_eq!(response.status(), 200, "{head:?} behind chunks");
        assert_eq!(response.head.list("connection"), ["close"], "{head:?} behind chunks");
        let _ = wire.read_to_end().await;
    }
    compare(&gateway, sent).await;
}

#[tokio::test]
async fn pipelined_head_is_checked_alike_under_every_split() {
    let upstream = echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut sent = Vec::new();
    for (number, head) in HEADS.into_iter().enumerate() {
        let text = head.trim_start_matches(['\r', '\n']);
        for at in 0..=head.len() {
            let (begin, rest) = head.split_at(at);
            let mut wire = gateway.connect().await;
            wire.send(format!("{}{begin}", get("/first", &[]))).await;
            assert_eq!(wire.response().await.status(), 200, "{head:?} at {at}");
            // It may be refused before it is whole.
            let _ = wire.try_send(rest).await;
            end(&mut wire, head).await;
            let (response, id) = answer(&mut wire, text).await;
            let (essence, place) = (essence(&response, &id), format!("split at {at}"));
            sent.push(Sent { head: number, place, essence, id });
        }
    }
    compare(&gateway, sent).await;
}

#[tokio::test]
async fn head_received_during_another_request_is_checked_alike() {
    let (sender, receiver) = watch::channel(0_usize);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let mut receiver = receiver.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                let body = wire.body(&head).await;
                receiver.mark_unchanged();
                recorder.record(&head);
                if head.target() == "/first" {
                    let _ = receiver.changed().await;
                }
                let text = match head.line.starts_with("HEAD") {
                    true => String::new(),
                    false => format!("{} {}", head.line, body.len()),
                };
                wire.send(ok(&text)).await;
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut sent = Vec::new();
    for (number, head) in HEADS.into_iter().enumerate() {
        let text = head.trim_start_matches(['\r', '\n']);
        if !head.ends_with("\n\r\n") && !head.ends_with("\n\n") {
            continue;
        }
        for (place, pieces) in [("first", 0), ("whole", head.len()), ("byte by byte", 1)] {
            let mut wire = gateway.connect().await;
            if pieces == 0 {
                wire.send(head).await;
            } else {
                let before = upstream.requests().len();
                wire.send(get("/first", &[])).await;
                within("the request", async {
                    while upstream.requests().len() == before {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
                for piece in head.as_bytes().chunks(pieces) {
                    wire.send(piece).await;
                }
                sender.send_modify(|count| *count += 1);
                assert_eq!(wire.response().await.status(), 200, "{head:?} {place}");
            }
            let (response, id) = answer(&mut wire, text).await;
            let (essence, place) = (essence(&response, &id), place.to_owned());
            sent.push(Sent { head: number, place, essence, id });
        }
    }
    compare(&gateway, sent).await;
}

#[tokio::test]
async fn many_pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answering(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        ok(&format!("{} {body}", request.head.target()))
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    for packet in [usize::MAX, 1000, 37] {
        let (mut requests, mut expected) = (String::new(), Vec::new());
        for number in 0..200 {
            let body = "x".repeat(number * 7 % 300);
            let target = format!("/{number}");
            let (head, text) = match number % 3 {
                0 => (get(&target, &[]), String::new()),
                1 => (
                    format!(
                        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                    body,
                ),
                _ => (get(&target, &[&format!("X: {}", "y".repeat(number * 20))]), String::new()),
            };
            requests.push_str(&head);
            expected.push(format!("{target} {text}"));
        }
        let (mut reader, mut writer) = {
            let (stream, _) = gateway.connect().await.into_parts();
            let (reader, writer) = stream.into_split();
            (Wire::over(tokio::io::join(reader, tokio::io::sink())), writer)
        };
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            for piece in requests.as_bytes().chunks(packet) {
                writer.write_all(piece).await.expect("sent");
            }
            writer
        });
        for text in expected {
            assert_eq!(reader.response().await.text(), text);
        }
        drop(within("the end", sending).await);
    }
}

#[tokio::test]
async fn truncated_second_head_is_answered_and_logged() {
    let upstream = echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mark = gateway.mark();
    for (number, is_later) in [false, true].into_iter().enumerate() {
        let mut wire = gateway.connect().await;
        let cut_off = format!("GET /cut-{number} HTTP/1.1\r\nHost: a\r\n");
        if is_later {
            wire.send(get("/first", &[])).await;
            assert_eq!(wire.response().await.status(), 200);
            wire.send(&cut_off).await;
        } else {
            wire.send(format!("{}{cut_off}", get("/first", &[]))).await;
            assert_eq!(wire.response().await.status(), 200);
        }
        wire.finish().await;
        let response = wire.response().await;
        assert_eq!(response.status(), 400, "{}", response.text());
        let _ = response.error();
        let line = gateway.access_of(&format!("/cut-{number}")).await;
        assert_eq!(line["http.response.status_code"], 400);
    }
    let told: Vec<String> = gateway.log_lines().split_off(mark);
    assert!(told.iter().all(|line| !line.contains("ERROR")), "{told:?}");
}

#[tokio::test]
async fn frames_sent_with_the_handshake_reach_the_session() {
    let upstream = Upstream::websocket(|mut socket, _| async move {
        while let Some(message) = next(&mut socket).await {
            if futures_util::SinkExt::send(&mut socket, message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    // `Hello`, masked (RFC 6455, section 5.7).
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let handshake = Handshake::to("/").bytes().into_bytes();
    for before in ["", "first"] {
        for at in [handshake.len(), handshake.len() + 1, handshake.len() + frame.len()] {
            let mut all = handshake.clone();
            all.extend_from_slice(frame);
            all.extend_from_slice(frame);
            let mut wire = gateway.connect().await;
            let (packet, rest) = all.split_at(at);
            if before.is_empty() {
                wire.send(packet).await;
            } else {
                wire.send([get("/first", &[]).as_bytes(), packet].concat()).await;
                assert_eq!(wire.response().await.text(), "polled");
            }
            wire.send(rest).await;
            let head = wire.head().await;
            assert_eq!(head.status(), Some(101), "{}", head.text);
            for _ in 0..2 {
                assert_eq!(wire.exactly(7).await, b"\x81\x05Hello");
            }
        }
    }
}

#[tokio::test]
async fn response_body_that_looks_like_a_101_is_ignored() {
    let upstream = Upstream::answering(|_| ok("HTTP/1.1 101 Switching Protocols\r\n\r\n")).await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    let asks = get("/", &["Connection: Upgrade", "Upgrade: h2c"]);
    wire.send(format!("{asks}{asks}GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    for status in [200, 200, 400] {
        let answer = wire.response().await;
        assert_eq!(answer.status(), status, "{}", answer.text());
    }
}
