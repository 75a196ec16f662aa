//! A tunnel delivers the bytes of one end to the other unchanged.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_testing::{Config, Gateway, Handshake, Upstream, switch, within};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Bytes in the parts in which they are written.
type Parts = Vec<Vec<u8>>;

/// What the upstream writes to the next client, how much it reads, and where it tells that.
type Script = (Parts, usize, oneshot::Sender<Vec<u8>>);

/// A frame that RFC 6455 allows, apart from the order in which they come.
fn frame(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![6 => 0..3_u8, 1 => Just(9), 2 => Just(10), 1 => Just(8)];
    let length = prop_oneof![6 => 0..126_usize, 3 => Just(8_usize), 1 => 126..70_000_usize];
    (opcode, any::<bool>(), length, any::<[u8; 4]>()).prop_map(move |(opcode, fin, length, key)| {
        let is_control = opcode >= 8;
        let length = if is_control { length.min(125) } else { length };
        let fin = if fin || is_control { 0x80 } else { 0 };
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![fin | opcode];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend(key);
        }
        bytes.extend((0..length).map(|at| (at as u8) ^ key[at % 4]));
        bytes
    })
}

fn split(bytes: Vec<u8>, sizes: Vec<usize>) -> Parts {
    let mut parts = Vec::new();
    let mut rest = &bytes[..];
    for size in sizes.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, left) = rest.split_at(size.min(rest.len()));
        parts.push(part.to_vec());
        rest = left;
    }
    parts
}

/// Frames, or now and then just any bytes, split anyhow.
fn traffic(masked: bool, any_bytes: bool) -> impl Strategy<Value = Parts> {
    let sizes = vec(prop_oneof![3 => 1..8_usize, 2 => 8..5000_usize, 1 => Just(100_000)], 1..20);
    let garbage = vec(any::<u8>(), 0..if any_bytes { 60 } else { 1 });
    (vec(frame(masked), 0..12), garbage, sizes)
        .prop_map(|(frames, garbage, sizes)| split([frames.concat(), garbage].concat(), sizes))
}

/// An upstream that follows the scripts, one a connection.
async fn upstream_with_scripts(scripts: Arc<Mutex<VecDeque<Script>>>) -> Upstream {
    Upstream::scripted(move |mut wire, _| {
        let script = scripts.lock().expect("the scripts").pop_front();
        async move {
            let (parts, count, told) = script.expect("a script for each client");
            let head = wire.head().await;
            let socket = switch(wire, &head, "").await;
            let (received, mut stream) = converse(socket.into_inner(), parts, count).await;
            let _ = told.send(received);
            // It stays until the client goes, or the gateway would have something to say.
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
        }
    })
    .await
}

/// Writes the parts and reads so many bytes, both at once.
async fn converse(mut stream: TcpStream, parts: Parts, count: usize) -> (Vec<u8>, TcpStream) {
    let (reader, mut writer) = stream.split();
    let write = async {
        for part in parts {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &part).await.expect("written");
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let mut received = Vec::new();
        let mut reader = tokio::io::AsyncReadExt::take(reader, count as u64);
        tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut received).await.expect("read");
        received
    };
    let ((), received) = within("both directions", async { tokio::join!(write, read) }).await;
    (received, stream)
}

/// The client's side: the same, without the pings that are the gateway's own. It stays until the
/// upstream has told what it received, for an early end would cut off what is on its way.
async fn talk(
    gateway: &Gateway,
    parts: Parts,
    expected: &[u8],
    pings: bool,
    told: oneshot::Receiver<Vec<u8>>,
) -> (Vec<u8>, Vec<u8>) {
    let (_, wire) = Handshake::to("/ws").open_raw(gateway).await;
    let (stream, behind) = wire.into_parts();
    if !pings {
        let rest = expected.len() - behind.len();
        let (received, _stream) = converse(stream, parts, rest).await;
        let heard = within("the upstream's word", told).await.expect("bytes");
        return ([behind, received].concat(), heard);
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::AsyncReadExt::chain(&behind[..], reader);
    let write = async {
        // The gateway pings a client that has been silent for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for part in parts {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &part).await.expect("written");
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let mut received = Vec::new();
        loop {
            let theirs = without_pings(&received);
            if theirs.len() >= expected.len() {
                return theirs;
            }
            let count = tokio::io::AsyncReadExt::read_buf(&mut reader, &mut received).await;
            assert!(count.expect("read") > 0, "the tunnel has ended");
        }
    };
    let ((), received) = within("both directions", async { tokio::join!(write, read) }).await;
    (received, within("the upstream's word", told).await.expect("bytes"))
}

/// Takes out whole pings of eight bytes: the other side sends none.
fn without_pings(mut bytes: &[u8]) -> Vec<u8> {
    let mut theirs = Vec::new();
    while let [first, second, ..] = *bytes {
        let (header, length) = match second & 0x7f {
            126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 if bytes.len() >= 10 => {
                let length: [u8; 8] = bytes[2..10].try_into().expect("eight bytes");
                (10, u64::from_be_bytes(length) as usize)
            }
            126 | 127 => break,
            short => (2, usize::from(short)),
        };
        let whole = header + length;
        if (first, second) == (0x89, 8) {
            if bytes.len() < whole {
                return theirs;
            }
        } else {
            theirs.extend(&bytes[..whole.min(bytes.len())]);
        }
        bytes = &bytes[whole.min(bytes.len())..];
    }
    // The first byte of a ping whose rest has not come yet.
    if bytes != [0x89] {
        theirs.extend(bytes);
    }
    theirs
}

async fn is_transparent(settings: &str, cases: usize, any_bytes: bool, pings: bool) {
    let scripts = Arc::new(Mutex::new(VecDeque::new()));
    let upstream = upstream_with_scripts(Arc::clone(&scripts)).await;
    let gateway = Config::to(&upstream).with(settings).start().await;
    let mut runner = TestRunner::default();
    for _ in 0..cases {
        let both = (traffic(true, any_bytes), traffic(false, any_bytes));
        let (from_client, from_upstream) = both.new_tree(&mut runner).expect("traffic").current();
        // The upstream's own pings could not be told from the gateway's.
        let from_upstream =
            if pings { vec![without_pings(&from_upstream.concat())] } else { from_upstream };
        let (sent, answered) = (from_client.concat(), from_upstream.concat());
        let (tell, told) = oneshot::channel();
        scripts.lock().expect("the scripts").push_back((from_upstream, sent.len(), tell));
        let (received, heard) = talk(&gateway, from_client, &answered, pings, told).await;
        differs("to the client", &answered, &received);
        differs("to the upstream", &sent, &heard);
    }
}

fn differs(way: &str, sent: &[u8], received: &[u8]) {
    if sent != received {
        let at = sent.iter().zip(received).take_while(|(a, b)| a == b).count();
        let near = |bytes: &[u8]| {
            format!("{:02x?}", &bytes[at.min(bytes.len())..(at + 24).min(bytes.len())])
        };
        panic!(
            "{way}: {} bytes became {}; at {at} {} became {}",
            sent.len(),
            received.len(),
            near(sent),
            near(received)
        );
    }
}

#[tokio::test]
async fn tunnel_passes_any_bytes_unchanged() {
    is_transparent("websocket: on", 150, true, false).await;
}

#[tokio::test]
async fn inspected_frames_pass_unchanged() {
    let settings = "websocket: {max_frame_size: 1GiB, max_message_size: 1GiB, \
                    max_messages_per_second: 1000000, log_frames: text}";
    is_transparent(settings, 100, false, false).await;
}

#[tokio::test]
async fn frames_between_gateway_pings_pass_unchanged() {
    // No ping is answered, so that every pong is held until it is known to be somebody else's.
    let settings = "websocket: {ping: {interval: 1s, timeout: 1h, to: client}}";
    is_transparent(settings, 10, false, true).await;
}

#[test]
fn helper_removes_only_pings() {
    let ping = [0x89, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let text = [0x81, 2, b'h', b'i'];
    assert_eq!(without_pings(&[&text[..], &ping, &text].concat()), [text, text].concat());
}
