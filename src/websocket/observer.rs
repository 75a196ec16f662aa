//! Shows frames and messages of a tunnel to observers: the access log and filters. Does not change, delay or
//! refuse anything.

use super::{LogFrames, Session};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use std::sync::Arc;
use tidegate_http::websocket::frame::{Direction, Event, FrameHeader, Opcode};

/// Maximum length of the beginning of a message that observers see, in bytes.
const MAX_OBSERVED_BYTES: usize = 1024;

/// Maximum length of an inflated message, in bytes. After a larger one no message is inflated.
const MAX_INFLATED_BYTES: u64 = 1024 * 1024;

/// Sees frames and messages of sessions, in the task of the tunnel: it must not wait.
pub(crate) trait FrameObserver: fmt::Debug + Send + Sync {
    /// What it wants to see of this session; asked for each frame.
    fn frames_wanted(&self, session: &Session) -> LogFrames;

    /// The header of a frame has arrived.
    fn frame(&self, session: &Session, direction: Direction, header: &FrameHeader);

    /// A message of text is complete.
    fn message(&self, session: &Session, direction: Direction, message: &Message<'_>);
}

/// A message of text.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Message<'m> {
    /// Its beginning, up to 1 KiB; empty when it was compressed and could not be inflated.
    pub text: &'m str,
    /// Bytes of payload, on the wire.
    pub length: u64,
    /// Whether there is more of it.
    pub is_cut: bool,
    /// Whether it was compressed (RFC 7692).
    pub is_compressed: bool,
}

/// Reassembles the messages of one direction for an observer.
#[derive(Debug)]
pub(crate) struct MessageObserver {
    observer: Arc<dyn FrameObserver>,
    direction: Direction,
    /// The beginning of the current message.
    beginning: Vec<u8>,
    length: u64,
    is_text: bool,
    is_compressed: bool,
    is_cut: bool,
    /// Whether the current frame is a control frame, and so no part of the message.
    in_control: bool,
    mask: Option<[u8; 4]>,
    offset: usize,
    inflater: Option<Inflater>,
}

impl MessageObserver {
    /// `inflates`: permessage-deflate was negotiated and the observer wants messages from the start, for
    /// each may refer to those before it.
    pub(crate) fn new(
        observer: Arc<dyn FrameObserver>,
        direction: Direction,
        inflates: bool,
    ) -> Self {
        Self {
            observer,
            direction,
            beginning: Vec::new(),
            length: 0,
            is_text: false,
            is_compressed: false,
            is_cut: false,
            in_control: false,
            mask: None,
            offset: 0,
            inflater: inflates.then(Inflater::new),
        }
    }

    pub(crate) fn record(&mut self, session: &Session, event: &Event<'_>) {
        let wants = self.observer.frames_wanted(session);
        match event {
            Event::Header(header) => {
                if wants >= LogFrames::Headers {
                    self.observer.frame(session, self.direction, header);
                }
                (self.mask, self.offset) = (header.mask, 0);
                self.in_control = header.opcode.is_control();
                if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                    self.is_text = header.opcode == Opcode::Text;
                    self.is_compressed = header.rsv & 0x4 != 0;
                    (self.is_cut, self.length) = (false, 0);
                    self.beginning.clear();
                }
                if !self.in_control {
                    self.length = self.length.saturating_add(header.length);
                }
            }
            Event::Payload(bytes) if !self.in_control => self.payload(bytes, wants),
            Event::End(header) if header.fin && !header.opcode.is_control() => {
                if self.is_compressed
                    && let Some(inflater) = &mut self.inflater
                {
                    // RFC 7692, section 7.2.2: the bytes that the sender leaves out.
                    self.is_cut |= inflater.feed(&[0, 0, 0xff, 0xff], &mut self.beginning);
                    inflater.produced = 0;
                }
                if wants == LogFrames::Text && self.is_text {
                    let text = String::from_utf8_lossy(&self.beginning);
                    let message = Message {
                        text: &text,
                        length: self.length,
                        is_cut: self.is_cut,
                        is_compressed: self.is_compressed,
                    };
                    self.observer.message(session, self.direction, &message);
                }
            }
            _ => {}
        }
    }

    fn payload(&mut self, bytes: &[u8], wants: LogFrames) {
        let must_inflate = self.is_compressed && self.inflater.is_some();
        let room = MAX_OBSERVED_BYTES.saturating_sub(self.beginning.len());
        if !must_inflate && (wants < LogFrames::Text || !self.is_text) {
            return;
        }
        if self.is_compressed && self.inflater.is_none() {
            self.is_cut = true;
            return;
        }
        let take = if must_inflate { bytes.len() } else { room.min(bytes.len()) };
        let mut plain = bytes.get(..take).unwrap_or_default().to_vec();
        if let Some(mask) = self.mask {
            let keys = mask.iter().cycle().skip(self.offset % 4);
            for (byte, key) in plain.iter_mut().zip(keys) {
                *byte ^= key;
            }
        }
        self.offset += bytes.len();
        match &mut self.inflater {
            Some(inflater) if must_inflate => {
                self.is_cut |= inflater.feed(&plain, &mut self.beginning);
                if inflater.is_broken {
                    self.inflater = None;
                }
            }
            _ => {
                self.is_cut |= take < bytes.len();
                self.beginning.append(&mut plain);
            }
        }
    }
}

/// Inflates messages of permessage-deflate (RFC 7692), up to a limit.
#[derive(Debug)]
struct Inflater {
    state: Decompress,
    /// Bytes of the message so far.
    produced: u64,
    is_broken: bool,
}

impl Inflater {
    fn new() -> Self {
        Self { state: Decompress::new(false), produced: 0, is_broken: false }
    }

    /// Inflates into `kept`; returns whether something had to be left out.
    fn feed(&mut self, mut bytes: &[u8], kept: &mut Vec<u8>) -> bool {
        let mut is_cut = false;
        let mut space = [0; 4096];
        while !self.is_broken {
            let (read, wrote) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, &mut space, FlushDecompress::Sync);
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            let wrote = usize::try_from(self.state.total_out() - wrote).unwrap_or(usize::MAX);
            bytes = bytes.get(read..).unwrap_or_default();
            self.produced += wrote as u64;
            let room = MAX_OBSERVED_BYTES.saturating_sub(kept.len());
            is_cut |= wrote > room;
            kept.extend_from_slice(space.get(..wrote.min(room)).unwrap_or_default());
            self.is_broken = status.is_err()
                || matches!(status, Ok(Status::StreamEnd))
                || self.produced > MAX_INFLATED_BYTES;
            if wrote < space.len() && (bytes.is_empty() || read == 0) {
                break;
            }
        }
        is_cut | self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Identity, OnChange};
    use proptest::prelude::*;
    use std::sync::Mutex;
    use tidegate_http::websocket::frame::{self, Scanner};

    #[derive(Debug, PartialEq, Eq)]
    struct Note {
        text: String,
        length: u64,
        is_cut: bool,
    }

    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<Note>>);

    impl FrameObserver for Notes {
        fn frames_wanted(&self, _: &Session) -> LogFrames {
            LogFrames::Text
        }

        fn frame(&self, _: &Session, _: Direction, _: &FrameHeader) {}

        fn message(&self, _: &Session, _: Direction, message: &Message<'_>) {
            let (text, length) = (message.text.to_owned(), message.length);
            self.0.lock().expect("notes").push(Note { text, length, is_cut: message.is_cut });
        }
    }

    /// What an observer gets to know of a client's messages, from parts of this size.
    fn notes(bytes: &[u8], inflates: bool, split: usize) -> Vec<Note> {
        let identity = Identity {
            id: "".into(),
            route: "ws".into(),
            fingerprint: 0,
            on_change: OnChange::Keep,
            user: None,
            client: None,
            path: "".into(),
            upstream: "u".into(),
        };
        let session = Session::new(identity, LogFrames::Text);
        let notes = Arc::new(Notes::default());
        let observer = Arc::clone(&notes) as Arc<dyn FrameObserver>;
        let mut messages = MessageObserver::new(observer, Direction::ClientToUpstream, inflates);
        let mut scanner = Scanner::new(Direction::ClientToUpstream, inflates);
        for part in bytes.chunks(split) {
            scanner.feed(part, |event, _| {
                messages.record(&session, &event);
                true
            });
        }
        std::mem::take(&mut *notes.0.lock().expect("notes"))
    }

    /// The texts alone, those that are cut with a mark.
    fn watched(bytes: &[u8], inflates: bool, split: usize) -> Vec<String> {
        let notes = notes(bytes, inflates, split).into_iter();
        notes.map(|it| it.text + if it.is_cut { "…" } else { "" }).collect()
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [1, 2, 3, 4];
        let mut payload = payload.to_vec();
        let mut bytes = vec![first, 0xfe];
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&key);
        frame::unmask(&mut payload, Some(key));
        bytes.append(&mut payload);
        bytes
    }

    #[test]
    fn message_is_unmasked_and_joined_under_every_split() {
        let bytes = [
            masked(0x01, b"hello "),
            masked(0x89, b"ping"),
            masked(0x80, "wörld".as_bytes()),
            masked(0x82, b"bytes"),
            masked(0x81, &[b'x'; 2000]),
        ]
        .concat();
        for split in [1, 2, 7, 100_000] {
            let seen = watched(&bytes, false, split);
            assert_eq!(seen, ["hello wörld".to_owned(), format!("{}…", "x".repeat(1024))]);
        }
    }

    #[test]
    fn rfc7692_7_2_3_compressed_messages_share_one_window() {
        // The RFC's own example: `Hello`, and again with the first one's window.
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let bytes = [masked(0xc1, &first), masked(0xc1, &second)].concat();
        for split in [1, 3, 1000] {
            assert_eq!(watched(&bytes, true, split), ["Hello", "Hello"]);
        }
        assert_eq!(watched(&bytes, false, 1000), ["…", "…"]);
    }

    #[test]
    fn compression_bomb_is_inflated_only_in_part() {
        let zeros = vec![0; 8 << 20];
        let mut state = flate2::Compress::new(flate2::Compression::best(), false);
        let mut bomb = Vec::with_capacity(64 * 1024);
        state.compress_vec(&zeros, &mut bomb, flate2::FlushCompress::Sync).expect("compressed");
        let bytes = [masked(0xc1, &bomb), masked(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat();
        let seen = watched(&bytes, true, 1000);
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|message| message.ends_with('…') && message.len() < 2000));
    }

    /// Frames of a client: text and bytes, whole and in fragments, control frames, compressed, and what is none.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop::collection::vec(any::<u8>(), 0..300);
        let first = prop::sample::select(vec![
            0x01, 0x81, 0x00, 0x80, 0x02, 0x82, 0x88, 0x89, 0x8a, 0x41, 0xc1, 0xc0,
        ]);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let piece = prop_oneof![
            4 => (first, payload).prop_map(|(first, payload)| masked(first, &payload)),
            2 => "[a-z€🌊]{0,20}".prop_map(|text| masked(0x81, text.as_bytes())),
            2 => Just(masked(0xc1, &hello)),
            1 => Just(masked(0x81, &[b'x'; 2000])),
            1 => Just(vec![0x81, 0x02, b'h', b'i']),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ];
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (prop::collection::vec(piece, 0..8), damage).prop_map(|(pieces, damage)| {
            let mut bytes = pieces.concat();
            for (at, byte) in damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn messages_are_the_same_under_every_split_and_bounded(
            bytes in frames(),
            inflates in any::<bool>(),
            split in 1_usize..256,
        ) {
            let whole = notes(&bytes, inflates, bytes.len().max(1));
            prop_assert_eq!(&notes(&bytes, inflates, split), &whole);
            // A byte that is not UTF-8 becomes a character of three.
            prop_assert!(whole.iter().all(|note| note.text.len() <= 3 * MAX_OBSERVED_BYTES));
        }
    }
}
