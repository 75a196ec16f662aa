//! Floods of HTTP/2 frames end the connection or use bounded memory.

use tidegate_testing::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use tidegate_testing::{Config, Gateway, Upstream};

/// RFC 9113, section 7.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

async fn gateway(limits: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]");
    let gateway = config.top(&format!("limits: {{{limits}}}")).start().await;
    (upstream, gateway)
}

/// Frame upon frame until the gateway has had enough; the error code that it says so with.
async fn flood(gateway: &Gateway, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let batches =
        (0..400).map(|round| (0..100).flat_map(|number| next(round * 100 + number)).collect());
    Frames::connect(gateway).await.flood(batches).await
}

#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let (upstream, gateway) = gateway("").await;
    let code = flood(&gateway, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        frames.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        frames
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "CVE-2023-44487");
    let seen = upstream.requests().len();
    assert!(seen < 4_000, "the upstream has seen {seen} of 40,000 requests");
    assert_eq!(gateway.get("/", &[]).await.status(), 200, "others are served");
}

#[tokio::test]
async fn provoked_stream_resets_end_the_connection() {
    let (upstream, gateway) = gateway("").await;
    let code = flood(&gateway, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(HEADERS, END_HEADERS, stream, GET);
        // More than a window may be: an error of the stream (RFC 9113, section 6.9.1).
        frames.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
        frames
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "CVE-2025-8671");
    let seen = upstream.requests().len();
    assert!(seen < 4_000, "the upstream has seen {seen} of 40,000 requests");
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn zero_window_update_ends_the_connection() {
    let (_upstream, gateway) = gateway("").await;
    let mut client = Frames::connect(&gateway).await;
    client.send(HEADERS, END_HEADERS, 1, GET).await.expect("a request");
    client.send(WINDOW_UPDATE, 0, 1, &[0; 4]).await.expect("nothing");
    assert_eq!(client.goaway().await, Some(PROTOCOL_ERROR));
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn endless_continuation_frames_end_the_connection() {
    let (upstream, gateway) = gateway("").await;
    let mut begun = false;
    let code = flood(&gateway, |_| {
        if !std::mem::replace(&mut begun, true) {
            return frame(HEADERS, END_STREAM, 1, GET);
        }
        // A field without indexing: `x: yyy…`.
        let mut field = vec![0, 1, b'x', 100];
        field.extend([b'y'; 100]);
        frame(CONTINUATION, 0, 1, &field)
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "CVE-2024-27316");
    assert_eq!(upstream.requests().len(), 0);
    assert!(gateway.peak_memory() < 200 << 20, "{}", gateway.peak_memory());
}

#[tokio::test]
async fn empty_continuation_frames_end_the_connection() {
    let (_upstream, gateway) = gateway("").await;
    let mut begun = false;
    let code = flood(&gateway, |_| {
        if std::mem::replace(&mut begun, true) {
            frame(CONTINUATION, 0, 1, &[])
        } else {
            frame(HEADERS, END_STREAM, 1, GET)
        }
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

/// Each is answered, and nothing is held for it: a client that reads no answers is not read from.
#[tokio::test]
async fn unread_ping_and_settings_replies_use_bounded_memory() {
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, &[0, 3, 0, 0, 0, 99][..])] {
        let (_upstream, gateway) = gateway("").await;
        let mut client = Frames::connect(&gateway).await;
        let flood = frame(kind, 0, 0, payload).repeat(10_000);
        let all = async {
            for _ in 0..200 {
                client.send_all(&flood).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        // Two millions, or as many as are taken.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), all).await;
        assert!(gateway.peak_memory() < 200 << 20, "{}", gateway.peak_memory());
        assert_eq!(gateway.get("/", &[]).await.status(), 200, "others are served");
    }
}

#[tokio::test]
async fn empty_data_frames_use_bounded_memory() {
    let (_upstream, gateway) = gateway("").await;
    let mut begun = false;
    flood(&gateway, |_| {
        if std::mem::replace(&mut begun, true) {
            frame(DATA, 0, 1, &[])
        } else {
            frame(HEADERS, END_HEADERS, 1, GET)
        }
    })
    .await;
    assert!(gateway.peak_memory() < 200 << 20, "{}", gateway.peak_memory());
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn limits_are_announced_in_settings() {
    let (_upstream, gateway) = gateway("header_size: 9KiB, http2: {concurrent_streams: 7}").await;
    let mut client = Frames::connect(&gateway).await;
    let settings = client.next_of(SETTINGS).await;
    let told = |wanted: u16| {
        settings.payload.chunks(6).find_map(|setting| {
            let (name, value) = setting.split_first_chunk()?;
            let value = u32::from_be_bytes(value.try_into().ok()?);
            (u16::from_be_bytes(*name) == wanted).then_some(value)
        })
    };
    assert_eq!(told(3), Some(7), "SETTINGS_MAX_CONCURRENT_STREAMS");
    // Twice `header_size` and some: what is over the bound and below that is refused in words.
    assert_eq!(told(6), Some(34 * 1024), "SETTINGS_MAX_HEADER_LIST_SIZE");
    assert_eq!(told(8), Some(1), "SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)");
}

#[tokio::test]
async fn idle_connection_gets_goaway() {
    let (_upstream, gateway) = gateway("idle_timeout: 1s").await;
    let mut client = Frames::connect(&gateway).await;
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, GET).await.expect("a request");
    while client.next_of(DATA).await.flags & END_STREAM == 0 {}
    assert_eq!(client.goaway().await, Some(NO_ERROR));
    while let Some(frame) = client.next().await {
        if frame.kind == PING && frame.flags & ACK == 0 {
            client.send(PING, ACK, 0, &frame.payload).await.expect("an answer");
        } else {
            assert_eq!(frame.kind, GOAWAY, "the last word");
        }
    }
}

#[tokio::test]
async fn slow_head_does_not_keep_the_connection_open() {
    let (_upstream, gateway) = gateway("idle_timeout: 1s").await;
    let mut client = Frames::connect(&gateway).await;
    client.send(HEADERS, 0, 1, &GET[..2]).await.expect("the beginning of a head");
    assert_eq!(client.goaway().await, Some(NO_ERROR));
}

#[tokio::test]
async fn connection_gets_goaway_after_its_last_request() {
    let (upstream, gateway) = gateway("requests_per_connection: 2").await;
    let mut client = Frames::connect(&gateway).await;
    for stream in [1, 3] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, GET).await.expect("a request");
        if stream == 1 {
            while client.next_of(DATA).await.flags & END_STREAM == 0 {}
        }
    }
    assert_eq!(client.goaway().await, Some(NO_ERROR));
    while client.next_of(DATA).await.flags & END_STREAM == 0 {}
    assert_eq!(upstream.requests().len(), 2, "the last one is answered too");
}
