//! What must hold for any bytes: for the fuzzer's (`fuzz_targets`), and for those that `cargo test`
//! makes up (`tests/properties`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod credentials;
mod tokens;

pub use credentials::credentials;
pub use tokens::tokens;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::path::Path;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use tidegate::filter::{self, BodyAccess, Filter, Flow, RequestBody, ResponseBody};
use tidegate_http::accept::Accept;
use tidegate_http::chunked::ChunkPosition;
use tidegate_http::conditional::{RequestedRange, Validators};
use tidegate_http::host::{HostPattern, is_authority, without_port};
use tidegate_http::origin::{Origin, OriginPattern};
use tidegate_http::path::normalize;
use tidegate_http::redact::redact;
use tidegate_http::template::Template;
use tidegate_http::trace_context::{self, TraceParent};
use tidegate_http::websocket::frame::{Direction, Event, Scanner};
use tidegate_http::websocket::response_head::{AfterHeads, ResponseHeads};
use tidegate_http::{cookie, encoding, forwarded, framing, head, query, raw_head};
use tidegate_import::{Format, import as import_file};

/// What holds of any bytes: it panics where it does not.
type Property = fn(&[u8]);

/// Each of them, by its target's name.
pub const ALL: [(&str, Property); 11] = [
    ("config", config),
    ("path", path),
    ("frames", frames),
    ("head", head_and_fields),
    ("values", values),
    ("websocket", websocket),
    ("redact", secrets),
    ("jwt", tokens),
    ("import", import),
    ("bodies", bodies),
    ("credentials", credentials),
];

/// The first byte, and what follows it.
fn split(bytes: &[u8]) -> (usize, &[u8]) {
    bytes.split_first().map_or((1, bytes), |(first, rest)| (usize::from(*first).max(1), rest))
}

/// Lines, each `Name: value`; those that no head can have are left out.
fn fields(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = HeaderValue::from_bytes(value[1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.trim_ascii()), value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Any text is either a good configuration or told to be a bad one.
pub fn config(bytes: &[u8]) {
    let Ok(yaml) = std::str::from_utf8(bytes) else { return };
    if let Err(problems) = tidegate::Config::from_yaml(yaml).check() {
        assert!(!problems.to_string().is_empty());
    }
}

/// A path that is let through is normal: no dot segments, no empty ones, and stays as it is.
pub fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    if let Ok(normal) = normalize(path) {
        assert!(normal.starts_with('/') && !normal.contains("//"));
        assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
        assert_eq!(normalize(&normal).as_deref(), Ok(&*normal));
    }
}

/// However a tunnel's bytes are split, the same frames are seen in them.
pub fn frames(bytes: &[u8]) {
    let (split, bytes) = split(bytes);
    for direction in [Direction::ClientToUpstream, Direction::UpstreamToClient] {
        for deflate in [false, true] {
            let whole = seen(direction, deflate, bytes, bytes.len().max(1));
            assert_eq!(whole, seen(direction, deflate, bytes, split));
        }
    }
}

/// What is seen, payloads by their lengths alone, for a split cuts them elsewhere.
fn seen(direction: Direction, deflate: bool, bytes: &[u8], split: usize) -> (Vec<String>, usize) {
    let mut scanner = Scanner::new(direction, deflate);
    let (mut events, mut payload) = (Vec::new(), 0);
    for part in bytes.chunks(split) {
        let taken = scanner.feed(part, |event, _| {
            match event {
                Event::Payload(part) => payload += part.len(),
                event => events.push(format!("{payload} {event:?}")),
            }
            true
        });
        assert_eq!(taken, part.len());
    }
    (events, payload)
}

/// The head that these bytes begin with, as the gateway passes it on; `None` if it is incomplete or refused.
fn judged_head(bytes: &[u8]) -> Option<Vec<u8>> {
    let scan = raw_head::scan_head(bytes)?;
    let mut head = BytesMut::from(bytes.get(..scan.length)?);
    raw_head::validate(&mut head).ok().map(|()| head.to_vec())
}

/// A head is judged, and its fields are read, whatever stands in them.
pub fn head_and_fields(bytes: &[u8]) {
    if let Some(head) = judged_head(bytes) {
        let feeds = head.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        assert!(feeds.map(|(at, _)| at).all(|at| at > 0 && head[at - 1] == b'\r'));
        // What fits is left as it is.
        assert_eq!(judged_head(&head), Some(head));
    }
    let _ = head::is_target(bytes);
    let headers = fields(bytes);
    for name in head::nominated(&headers) {
        assert!(name != "content-length" && name != "transfer-encoding");
    }
    let _ = (framing::expects_the_unknown(&headers), framing::closes_connection(&headers));
    if framing::check(&headers).is_ok()
        && let Some(length) = headers.get("content-length")
    {
        let length = length.to_str().expect("digits").parse::<u64>().expect("a number");
        if !headers.contains_key("transfer-encoding") {
            assert_eq!(framing::has_body(&headers), length > 0);
        }
    }
    for name in ["uid", "", "a b", "\u{fc}"] {
        if let Some(value) = cookie::find(&headers, name) {
            assert!(!value.contains(&b';'));
        }
    }
    let offered = [encoding::Coding::Zstd, encoding::Coding::Brotli, encoding::Coding::Gzip];
    if encoding::negotiate(&headers, &offered).is_some() {
        assert!(headers.contains_key("accept-encoding"), "nobody asked for it");
    }
    assert_eq!(encoding::negotiate(&headers, &[]), None);
    let validators = Validators { etag: "\"v1\"", modified: Some(std::time::UNIX_EPOCH) };
    let _ = validators.evaluate(&headers);
    for size in [0, 1, 1000, u64::MAX] {
        if let RequestedRange::Range(range) = validators.requested_range(&headers, size) {
            assert!(range.start() <= range.end() && *range.end() < size);
        }
    }
    let lists = headers.get_all("x-forwarded-for").iter().filter_map(|it| it.to_str().ok());
    let _ = forwarded::client(lists.collect::<Vec<_>>().into_iter(), |ip| ip.is_ipv4());
    if let Some(parent) = TraceParent::from_headers(&headers) {
        let written =
            HeaderMap::from_iter([(HeaderName::from_static("traceparent"), parent.to_value())]);
        assert_eq!(
            TraceParent::from_headers(&written),
            Some(parent),
            "what is passed on says the same"
        );
    }
    if let Some(state) = trace_context::tracestate(&headers) {
        assert!(state.len() <= bytes.len());
    }
    let _ = (trace_context::has_sound_state(&headers), Accept::from_headers(&headers).preferred());
}

/// Texts of requests and configurations: queries, origins, hosts, templates.
pub fn values(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_secret = |name: &str| name.eq_ignore_ascii_case("token");
    let redacted = query::redact(&text, is_secret);
    assert_eq!(query::redact(&redacted, is_secret), redacted, "once is enough");
    if let Some(token) = query::find(&redacted, "token") {
        assert!(token.is_empty() || token == "REDACTED", "{redacted}");
    }
    let name = without_port(&text);
    assert!(text.starts_with(name));
    if is_authority(&text) {
        assert!(!text.contains(['/', '@', ' ', '\r', '\n', '\0']), "{text:?}");
    }
    if is_authority(text.strip_prefix("*.").unwrap_or(&text)) {
        let pattern = HostPattern::parse(&text);
        assert_eq!(HostPattern::parse(&pattern.to_string()), pattern);
    }
    if let Some(Origin::Tuple { scheme, host, .. }) = Origin::parse(&text) {
        assert!(text.starts_with(scheme));
        // Apps and devices have schemes without hosts; the web has none.
        let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        assert!(!host.is_empty() || !is_web && text.ends_with("://"), "{text:?}");
        let itself = OriginPattern::parse(&text);
        let origin = Origin::parse(&text).expect("one");
        assert!(itself.is_none_or(|pattern| pattern.matches(&origin)), "{text:?}");
    }
    if let Some(pattern) = OriginPattern::parse(&text) {
        let _ = (pattern.display(), pattern.exact_origin());
    }
    if let Ok(template) = text.parse::<Template>() {
        let written = template.to_string();
        let again = written.parse::<Template>().expect("what is written can be read");
        assert_eq!(again.parts(), template.parts(), "{written:?}");
    }
}

/// However bytes are split, a tunnel's heads and chunks are the same.
pub fn websocket(bytes: &[u8]) {
    let (split, bytes) = split(bytes);
    let whole = bytes.len().max(1);
    assert_eq!(answered(bytes, split), answered(bytes, whole));
    let data = unchunked(bytes, whole);
    assert_eq!(unchunked(bytes, split), data);
    assert!(data.len() <= bytes.len());
    let size = format!("{:x}\r\n", bytes.len());
    let chunk = [size.as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat();
    if !bytes.is_empty() {
        assert_eq!(unchunked(&chunk, split), bytes, "there and back");
    }
}

/// An upstream's answer to a handshake, read in parts of this size: how many bytes belong to heads,
/// and whether frames follow.
fn answered(bytes: &[u8], split: usize) -> Option<(usize, bool)> {
    let mut heads = ResponseHeads::default();
    let mut before = 0;
    for part in bytes.chunks(split) {
        if let Some((length, answer)) = heads.feed(part) {
            return Some((before + length, matches!(answer, AfterHeads::Frames { .. })));
        }
        before += part.len();
    }
    None
}

/// The data of a body in chunks, read in parts of this size.
fn unchunked(bytes: &[u8], split: usize) -> Vec<u8> {
    let (mut chunks, mut data) = (ChunkPosition::default(), Vec::new());
    bytes.chunks(split).for_each(|part| chunks.append_data(part, &mut data));
    data
}

/// Secrets are replaced, all else stays, and twice is as good as once.
pub fn secrets(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(redact(&text, |_| false), text);
    let redacted = redact(&text, |word| word.eq_ignore_ascii_case("token"));
    assert!(redacted.len() <= text.len() * 9 + 8);
    // A secret that nothing else is written like.
    let secret = format!("{{\"token\": \"s3cr3t-{}\"}}", "x".repeat(8));
    let told = redact(&secret, |word| word == "token");
    assert!(!told.contains("s3cr3t"), "{told}");
}

/// Whatever a file of another program is, it becomes a file that can be read, or is told to be none.
pub fn import(bytes: &[u8]) {
    let folder = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (format, name) in [
        (Format::Nginx, "fuzz.conf"),
        (Format::Traefik, "fuzz.yml"),
        (Format::Traefik, "fuzz.toml"),
        #[cfg(feature = "import-express")]
        (Format::Express, "fuzz.js"),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, bytes).expect("a file");
        import_one(format, &file);
    }
    let _ = std::fs::remove_dir_all(&folder);
}

fn import_one(format: Format, file: &Path) {
    match import_file(format, file) {
        Err(unreadable) => assert!(!unreadable.to_string().is_empty()),
        Ok(imported) => {
            let _ = tidegate::Config::from_yaml(&imported.yaml)
                .check()
                .map_err(|problems| problems.to_string());
            // It may say what is not so on this machine; never what can't be read.
            let read = tidegate::config::format_yaml(&imported.yaml);
            assert!(read.is_ok(), "{}", imported.yaml);
        }
    }
}

/// Sees bodies, and changes each byte of them.
struct BodyReader {
    request: BodyAccess,
    response: BodyAccess,
    /// Each part: how many bytes came before it, itself, and whether it is the last.
    seen: Mutex<Vec<(u64, Bytes, bool)>>,
}

impl BodyReader {
    fn new(request: BodyAccess, response: BodyAccess) -> Self {
        Self { request, response, seen: Mutex::default() }
    }

    fn see(&self, offset: u64, bytes: &Bytes, is_end: bool) -> Vec<u8> {
        self.seen.lock().unwrap().push((offset, bytes.clone(), is_end));
        flipped(bytes)
    }

    /// What it has seen is the whole body, in its order, each byte once, with one end.
    fn assert_complete(&self, body: &[u8]) {
        let seen = self.seen.lock().unwrap();
        let mut offset = 0;
        for (nth, (at, bytes, is_end)) in seen.iter().enumerate() {
            assert_eq!((*at, *is_end), (offset, nth + 1 == seen.len()));
            offset += bytes.len() as u64;
        }
        let parts: Vec<&[u8]> = seen.iter().map(|(_, bytes, _)| &**bytes).collect();
        assert_eq!(parts.concat(), body);
    }
}

#[tidegate::async_trait]
impl Filter for BodyReader {
    fn request_body(&self) -> BodyAccess {
        self.request
    }

    async fn on_request_body(&self, body: &mut RequestBody<'_>) -> Result<Flow, filter::Error> {
        let changed = self.see(body.offset(), body.bytes(), body.is_end());
        body.replace(changed);
        Ok(Flow::Continue)
    }

    fn response_body(&self) -> BodyAccess {
        self.response
    }

    fn on_response_body(&self, body: &mut ResponseBody<'_>) -> Result<(), filter::Error> {
        let changed = self.see(body.offset(), body.bytes(), body.is_end());
        body.replace(changed);
        Ok(())
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// The result of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

/// However a body is split, filters see all of it once, whole up to their bound, and what they make of it is sent.
pub fn bodies(bytes: &[u8]) {
    let (split, body) = split(bytes);
    let mut parts: Vec<Bytes> = body.chunks(split).map(Bytes::copy_from_slice).collect();
    if split % 2 == 0 {
        parts.insert(parts.len() / 2, Bytes::new());
    }
    let whole = |max| BodyAccess::Whole { max };
    let too_small = body.len().checked_sub(1).map(whole);
    let accesses = [BodyAccess::Observe, BodyAccess::Chunks, whole(body.len())];
    for access in accesses.into_iter().chain(too_small) {
        let is_refused = Some(access) == too_small;
        let expected = match access {
            BodyAccess::Observe => body.to_vec(),
            _ => flipped(body),
        };
        let filter = BodyReader::new(access, BodyAccess::None);
        let request = parts
            .iter()
            .cloned()
            .fold(tidegate::testing::request("POST /"), |it, part| it.body(part));
        let run = at_once(request.run(&filter));
        match is_refused {
            true => {
                assert_eq!((run.status().as_u16(), run.forwarded().is_none()), (413, true));
                filter.assert_complete(b"");
            }
            false => {
                assert_eq!(run.forwarded_body(), &expected);
                filter.assert_complete(body);
            }
        }
        let filter = BodyReader::new(BodyAccess::None, access);
        let response =
            parts.iter().cloned().fold(tidegate::testing::response(200), |it, part| it.body(part));
        let run = at_once(tidegate::testing::request("GET /").upstream(response).run(&filter));
        match is_refused {
            true => {
                assert_eq!(run.status(), 502);
                filter.assert_complete(b"");
            }
            false => {
                assert_eq!(run.body(), &expected);
                filter.assert_complete(body);
            }
        }
    }
}
