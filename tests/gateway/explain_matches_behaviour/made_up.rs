//! Random routing tables and requests.

use std::net::SocketAddr;
use tidegate_testing::Config;

/// SplitMix64, from a seed of its own: a failure can be had again.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn one_of<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }

    /// One in so many.
    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A configuration; every fourth redirects what did not come by HTTPS.
pub(super) fn table(dice: &mut Dice, number: usize, upstreams: &[SocketAddr; 2]) -> Config {
    let [one, two] = upstreams;
    let mut config = Config::new()
        .top("access_log: off")
        .top("limits: {uri_size: 160B, header_count: 16, header_size: 2KiB}")
        .top("identity: {user_id: [{query: u}]}")
        .upstream("one", &[one])
        .upstream("two", &[two]);
    if number.is_multiple_of(2) {
        config = config.top("trusted_proxies: [127.0.0.0/8]");
    }
    if number % 4 == 2 {
        config = config.listening("redirect_to_https: on");
    }
    if !number.is_multiple_of(3) {
        let methods = dice.one_of(&["", ", allow_methods: [GET, PUT]"]);
        let headers = dice.one_of(&["", ", allow_headers: [x-a]"]);
        let more = format!("{methods}{headers}");
        config = config.cors(&["https://page.test", "https://*.pages.test"], &more);
    }
    if number % 8 == 5 {
        config = config.top("maintenance: {allow: [127.0.0.0/8]}");
    }
    let mut seen = std::collections::HashSet::new();
    for route in 0..30 {
        let kind = dice.one_of(&["path", "path_prefix", "path_prefix"]);
        let count = dice.below(4);
        let path = (0..count)
            .fold(String::new(), |path, _| path + "/" + dice.one_of(&["a", "b", "ab", "api"]));
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut rule = format!("{kind}: {path}");
        rule += dice.one_of(&["", "", "", ", hosts: [a.test]", ", hosts: [\"*.test\"]"]);
        rule += dice.one_of(&["", "", ", methods: [GET]", ", methods: [POST, PUT]"]);
        rule +=
            dice.one_of(&["", "", ", headers: {x-v: \"1\"}", ", headers: {x-v: {present: true}}"]);
        rule += dice.one_of(&["", "", ", query: {q: \"1\"}"]);
        if seen.insert(rule.clone()) {
            config = leading(dice, config, &format!("r{route}"), &rule, kind);
        }
    }
    config
}

/// One more route, to somewhere.
fn leading(dice: &mut Dice, config: Config, name: &str, rule: &str, kind: &str) -> Config {
    let answer = match dice.below(10) {
        0 => Some("redirect: {to: \"https://new.test{target}\", status: 301}"),
        1 => Some("redirect: {to: \"/moved?{query}\"}"),
        2 => Some("respond: {status: 200, body: here}"),
        _ => None,
    };
    let main = dice.one_of(&["one", "two"]);
    let mut config = match answer {
        Some(answer) => config.answer(name, rule, answer),
        None => config.route(name, rule, main),
    };
    let set = format!("X-Route: {name}, X-Main: {main}");
    config = config.with(&format!("headers: {{response: {{set: {{{set}}}}}}}"));
    let cors = dice.one_of(&["", "", "", "cors: off", "cors: {allow_origins: [\"*\"]}"]);
    let maintenance = dice.one_of(&["", "", "", "", "", "maintenance: {allow: [10.0.0.0/8]}"]);
    let size = dice.one_of(&["", "", "", "max_body_size: 4B"]);
    let path = dice.one_of(&[
        "",
        "",
        "path: raw",
        "path: {encoded_slash: keep}",
        "path: {encoded_slash: decode, dot_segments: keep}",
        "path: {duplicate_slashes: keep}",
    ]);
    for line in [cors, maintenance, size, path] {
        if !line.is_empty() {
            config = config.with(line);
        }
    }
    if answer.is_some() {
        return config;
    }
    let prefix = match kind {
        "path" => "",
        _ => dice.one_of(&["", "", "prefix: /", "prefix: /to/v2"]),
    };
    let host = dice.one_of(&["", "", "host: upstream", "host: \"named.test:81\""]);
    let both: Vec<&str> = [prefix, host].into_iter().filter(|it| !it.is_empty()).collect();
    if !both.is_empty() {
        config = config.with(&format!("rewrite: {{{}}}", both.join(", ")));
    }
    let split = "split: [{upstream: two, headers: {x-w: \"1\"}}, {upstream: one, percent: 30}]";
    for (many, line) in [(4, "websocket: off"), (4, split)] {
        if dice.one_in(many) {
            config = config.with(line);
        }
    }
    config
}

/// A request: what `explain` is asked about, and what goes over the wire.
#[derive(Debug)]
pub(super) struct Sent {
    pub url: String,
    pub method: String,
    /// The fields that both know, `Host` among them.
    pub fields: Vec<String>,
    /// Fields for the wire alone.
    pub tail: String,
    target: String,
    body: String,
}

impl Sent {
    pub(super) fn roll(dice: &mut Dice, port: u16) -> Self {
        let count = dice.below(5);
        let segments = ["a", "b", "ab", "api", "a", "api", "%61", "..", ".", "", "A", "b%20c"];
        let mut target =
            (0..count).fold(String::new(), |path, _| path + "/" + dice.one_of(&segments));
        target += dice.one_of(&["", "", "/"]);
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        if dice.one_in(30) {
            target += dice.one_of(&["/%2f", "/%zz", "/..;/a", "/%00", "/%", "/a;b"]);
        }
        if dice.one_in(10) {
            target += dice.one_of(&["%2Fa", "/..%2f", "//b", "/a;x", "/;x", "%5cab", "/%2e./a"]);
        }
        target += dice.one_of(&["", "", "?q=1", "?q=2", "?x&q=1", "?u=7", "?u=9", "?"]);
        if dice.one_in(40) {
            target += &"x".repeat(usize::try_from(100 + dice.below(100)).expect("few"));
        }
        let methods = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];
        let mut method = dice.one_of(&methods).to_owned();
        let hosts = ["a.test", "b.test", "A.TEST", "c.b.test", "localhost:81", "[::1]", "b.test."];
        let mut host = dice.one_of(&hosts);
        if dice.one_in(30) {
            host = dice.one_of(&["a b", "a@b", "a/b", "[x]", "a:b", "", "a,b", "a%2eb"]);
        }
        let mut sent = Self {
            url: String::new(),
            method: String::new(),
            fields: vec![format!("Host: {host}")],
            tail: String::new(),
            target: target.clone(),
            body: String::new(),
        };
        sent.add(dice.one_of(&["X-V: 1", "X-V: 2", "X-W: 1", "X-W: 0"]));
        if dice.one_in(3) {
            sent.add(dice.one_of(&["X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 192.0.2.7"]));
        }
        if dice.one_in(2) {
            sent.add(dice.one_of(&["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"]));
        }
        match dice.below(12) {
            0 | 1 => sent.come_from_a_page(dice),
            2 => method = sent.ask_before(dice),
            3 | 4 => sent.shake_hands(dice, &mut method),
            5 | 6 => sent.bring(dice, &mut method),
            7 if dice.one_in(2) => method = dice.one_of(&["TRACE", "BREW", "CONNECT"]).to_owned(),
            8 if dice.one_in(2) => {
                for number in 0..10 + dice.below(8) {
                    sent.add(&format!("X-Many: {number}"));
                }
            }
            8 if dice.one_in(2) => {
                let long = usize::try_from(1_700 + dice.below(400)).expect("few");
                sent.add(&format!("X-Long: {}", "x".repeat(long)));
            }
            9 if dice.one_in(2) => {
                sent.add(dice.one_of(&["Expect: tea", "Connection: keep-alive", "Accept: text/*"]));
            }
            _ => {}
        }
        if method == "CONNECT" {
            // The form that it has; what Host says may be another.
            sent.target = format!("127.0.0.1:{port}");
            if dice.one_in(2) {
                sent.fields[0] = format!("Host: 127.0.0.1:{port}");
            }
        }
        sent.url = format!("http://127.0.0.1:{port}{target}");
        sent.method = method;
        sent
    }

    fn add(&mut self, field: &str) {
        self.fields.push(field.to_owned());
    }

    fn come_from_a_page(&mut self, dice: &mut Dice) {
        let origins = [
            "https://page.test",
            "https://a.pages.test",
            "https://evil.test",
            "null",
            "http://a.test",
            "not an origin",
        ];
        let origin = dice.one_of(&origins);
        self.add(&format!("Origin: {origin}"));
    }

    /// As a preflight.
    fn ask_before(&mut self, dice: &mut Dice) -> String {
        self.come_from_a_page(dice);
        let method = dice.one_of(&["GET", "POST", "PUT", "DELETE", "PATCH"]);
        self.add(&format!("Access-Control-Request-Method: {method}"));
        if dice.one_in(2) {
            self.add(dice.one_of(&[
                "Access-Control-Request-Headers: x-a",
                "Access-Control-Request-Headers: x-b",
            ]));
        }
        "OPTIONS".to_owned()
    }

    /// As a WebSocket; one in a few with something wrong.
    fn shake_hands(&mut self, dice: &mut Dice, method: &mut String) {
        "GET".clone_into(method);
        let mut fields = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        match dice.below(12) {
            0 => fields[1] = "X-Not: there",
            1 => fields[1] = "Connection: keep-alive",
            2 => fields[2] = "Sec-WebSocket-Version: 8",
            3 => fields[2] = "X-Not: there",
            4 => fields[3] = "Sec-WebSocket-Key: short",
            5 => fields[3] = "X-Not: there",
            6 => "PUT".clone_into(method),
            7 => fields[0] = "Upgrade: h2c, WebSocket",
            8 => {
                self.add("Content-Length: 2");
                "{}".clone_into(&mut self.body);
            }
            _ => {}
        }
        for field in fields {
            self.add(field);
        }
        if dice.one_in(2) {
            self.come_from_a_page(dice);
        }
    }

    /// With a body; one in a few with an end that is in doubt.
    fn bring(&mut self, dice: &mut Dice, method: &mut String) {
        dice.one_of(&["POST", "PUT", "GET"]).clone_into(method);
        let length = usize::try_from(dice.below(9)).expect("few");
        let chunked = "2\r\n{}\r\n0\r\n\r\n";
        let (fields, body) = match dice.below(12) {
            0 | 1 => (vec!["Transfer-Encoding: chunked".to_owned()], chunked.to_owned()),
            2 => (vec!["Transfer-Encoding: gzip".to_owned()], String::new()),
            3 => (
                vec!["Content-Length: 2".to_owned(), "Transfer-Encoding: chunked".to_owned()],
                chunked.to_owned(),
            ),
            4 => (vec!["Content-Length: two".to_owned()], String::new()),
            5 => (vec!["Content-Length: 2, 2".to_owned()], "{}".to_owned()),
            _ => (vec![format!("Content-Length: {length}")], "x".repeat(length)),
        };
        self.fields.extend(fields);
        self.body = body;
    }

    /// Whether one more field makes no difference to the limits.
    pub(super) fn has_room(&self) -> bool {
        self.fields.len() < 10 && !self.fields.iter().any(|field| field.starts_with("X-Long"))
    }

    /// What goes over the wire.
    pub(super) fn text(&self) -> String {
        let fields: String = self.fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!(
            "{} {} HTTP/1.1\r\n{fields}{}\r\n{}",
            self.method, self.target, self.tail, self.body
        )
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn origin(&self) -> Option<&str> {
        self.field("Origin")
    }

    pub(super) fn is_handshake(&self) -> bool {
        self.field("Upgrade").is_some()
    }

    /// What a preflight asks for.
    pub(super) fn asked_method(&self) -> Option<&str> {
        self.field("Access-Control-Request-Method")
    }

    /// The field that a preflight asks for.
    pub(super) fn asked_header(&self) -> Option<&str> {
        self.field("Access-Control-Request-Headers")
    }
}
