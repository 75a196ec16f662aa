//! Sends the same requests to the original program and to Tidegate with the imported configuration, and compares what
//! their services received.

mod nginx;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tidegate_testing::{Head, Response, Upstream, Wire, switch};

/// A request, and why it may fare differently.
struct Case {
    request: String,
    explained: Option<&'static str>,
}

fn case(request: impl Into<String>) -> Case {
    Case { request: request.into(), explained: None }
}

impl Case {
    /// It differs, for this reason; when it does not, the reason is wrong.
    fn differs(mut self, why: &'static str) -> Self {
        self.explained = Some(why);
        self
    }
}

/// A request with a body and its length.
fn with_body(line: &str, fields: &[&str], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        text.push_str("Host: shop.test\r\n");
    }
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n" + body
}

type Fields = BTreeMap<String, Vec<String>>;

/// What came of a request, as far as both have to agree.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    status: u16,
    fields: Fields,
    /// The body of the answer, unless it is an error of the one in the middle.
    body: Option<String>,
    asked: Option<Asked>,
}

/// What a service was asked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    service: String,
    line: String,
    fields: Fields,
    body: String,
}

/// A service that says in a field of its answer what it was asked.
async fn service(name: &'static str) -> Upstream {
    Upstream::scripted(move |mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            let body = wire.body(&head).await;
            // It goes back in a field.
            let body = match String::from_utf8_lossy(&body) {
                long if long.len() > 500 => format!("{} bytes", long.len()),
                short => short.into_owned(),
            };
            let asked = BASE64_STANDARD.encode(format!("{name}\n{}{body}", head.text));
            if head.get("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
                let _socket = switch(wire, &head, &format!("X-Asked: {asked}\r\n")).await;
                return;
            }
            let content = if head.line.starts_with("HEAD ") { "" } else { "served" };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\
                 X-Powered-By: {name}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 X-Asked: {asked}\r\n\r\n{content}"
            );
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Fields of a request that Tidegate tells a service by itself; see docs/import.md.
const TOLD: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "via",
];

/// Fields of an answer that are of no matter, or of the connection.
const OWN: [&str; 14] = [
    "accept-ranges",
    "alt-svc",
    "connection",
    "content-length",
    "date",
    "etag",
    "keep-alive",
    "proxy-status",
    "last-modified",
    "server",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-request-id",
];

fn fields(head: &Head) -> Fields {
    let mut fields = Fields::new();
    for line in head.text.lines().skip(1) {
        if let Some((name, value)) = line.split_once(':') {
            fields.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
    }
    fields
}

fn fate(address: SocketAddr, request: &str, response: &Response) -> Fate {
    let status = response.status();
    let mut told = fields(&response.head);
    let asked = told.remove("x-asked").map(|asked| {
        let asked = BASE64_STANDARD.decode(&asked[0]).expect("base64");
        let asked = String::from_utf8(asked).expect("text");
        let (name, rest) = asked.split_once('\n').expect("a name");
        let (head, body) = rest.split_once("\r\n\r\n").expect("a head");
        let head = Head::parse(&format!("{head}\r\n\r\n"));
        let mut fields = fields(&head);
        // How the body is framed and the connection kept is between the two.
        for own in ["connection", "keep-alive", "te", "transfer-encoding", "content-length"] {
            fields.remove(own);
        }
        let line = head.line.replace("HTTP/1.0", "HTTP/1.1");
        Asked { service: name.to_owned(), line, fields, body: body.to_owned() }
    });
    for own in OWN {
        told.remove(own);
    }
    // An error's page is the middle's own.
    let is_page = asked.is_none() && status >= 300;
    if asked.is_none() {
        // Tidegate says of files that they are to be asked for each time, as long as none says more.
        told.retain(|name, values| name != "cache-control" || *values != ["no-cache"]);
        // And how their text is coded.
        for value in told.get_mut("content-type").into_iter().flatten() {
            *value = value.trim_end_matches("; charset=utf-8").to_owned();
        }
    }
    if is_page {
        told.remove("content-type");
        told.remove("cache-control");
        told.remove("allow");
    }
    // nginx writes its own address before a path.
    let host = request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let own = [format!("http://{host}:{}", address.port()), format!("http://{host}")];
    for value in told.get_mut("location").into_iter().flatten() {
        if let Some(path) = own.iter().find_map(|own| value.strip_prefix(own.as_str())) {
            *value = path.to_owned();
        }
    }
    Fate { status, fields: told, body: (!is_page).then(|| response.text()), asked }
}

async fn ask(address: SocketAddr, request: &str) -> Fate {
    let mut wire = Wire::connect(address).await;
    // An answer may come before all of the body is sent.
    let _ = wire.try_send(request).await;
    let head = wire.head().await;
    let is_bodiless = request.starts_with("HEAD ") || head.status() == Some(101);
    let body = if is_bodiless { Vec::new() } else { wire.body(&head).await };
    fate(address, request, &Response { head, body })
}

/// Puts all to both; names each unexplained difference, and each explanation of none.
async fn agree(theirs: SocketAddr, ours: SocketAddr, cases: Vec<Case>) {
    assert!(cases.len() >= 60, "{} requests", cases.len());
    let mut wrong = Vec::new();
    let mut reached = 0;
    for Case { request, explained } in &cases {
        let before = ask(theirs, request).await;
        let mut after = ask(ours, request).await;
        reached += u32::from(before.asked.is_some());
        if let (Some(before), Some(after)) = (&before.asked, &mut after.asked) {
            let is_own = |name: &String| TOLD.contains(&name.as_str());
            after.fields.retain(|name, _| !is_own(name) || before.fields.contains_key(name));
        }
        match (before == after, explained) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(why)) => wrong.push(format!("{request:?} is the same, despite: {why}")),
            (false, None) => {
                wrong.push(format!("{request:?}\n  before: {before:?}\n  after:  {after:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(reached * 2 > u32::try_from(cases.len()).unwrap_or(0), "{reached} reached a service");
}
