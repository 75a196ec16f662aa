//! Tests of the frame scanner. They use no socket.

use super::encode::cut_to;
use super::*;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader as TungsteniteHeader};

/// What happened, payloads joined, so that runs with other splits can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Header(FrameHeader),
    Payload(Vec<u8>),
    End,
    Close(ClosePayload),
    Error(ProtocolError),
}

fn scan(mut scanner: Scanner, parts: &[&[u8]]) -> (Vec<Seen>, FrameCounts) {
    let (mut seen, mut counts) = (Vec::new(), FrameCounts::default());
    for part in parts {
        let taken = scanner.feed(part, |event, _| {
            event.count_in(&mut counts);
            match event {
                Event::Header(header) => seen.push(Seen::Header(header)),
                Event::Payload(bytes) => match seen.last_mut() {
                    Some(Seen::Payload(payload)) => payload.extend_from_slice(bytes),
                    _ => seen.push(Seen::Payload(bytes.to_vec())),
                },
                Event::End(_) => seen.push(Seen::End),
                Event::Close(close) => seen.push(Seen::Close(close)),
                Event::Error(error) => seen.push(Seen::Error(error)),
            }
            true
        });
        assert_eq!(taken, part.len(), "every byte is looked at");
    }
    (seen, counts)
}

fn errors(direction: Direction, bytes: &[u8]) -> Vec<ProtocolError> {
    let (seen, _) = scan(Scanner::new(direction, false), &[bytes]);
    let errors = seen.into_iter().filter_map(|seen| match seen {
        Seen::Error(error) => Some(error),
        _ => None,
    });
    errors.collect()
}

/// A frame as tungstenite writes it.
fn frame(opcode: OpCode, fin: bool, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = masked.then_some([0x11, 0x22, 0x33, 0x44]);
    let header = TungsteniteHeader { is_final: fin, opcode, mask, ..TungsteniteHeader::default() };
    let mut payload = payload.to_vec();
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).expect("a header");
    unmask(&mut payload, mask);
    bytes.append(&mut payload);
    bytes
}

fn kind() -> impl Strategy<Value = OpCode> {
    prop_oneof![
        Just(OpCode::Data(Data::Text)),
        Just(OpCode::Data(Data::Binary)),
        Just(OpCode::Control(Control::Ping)),
        Just(OpCode::Control(Control::Pong)),
    ]
}

/// Messages, some in fragments with control frames between them, and a close frame.
fn conversation() -> impl Strategy<Value = Vec<(OpCode, bool, Vec<u8>)>> {
    let length = prop_oneof![4 => 0..130_usize, 1 => 65_530..65_540_usize];
    let message = (kind(), prop::collection::vec(length, 1..4), any::<bool>());
    prop::collection::vec(message, 0..6).prop_map(|messages| {
        let mut frames = Vec::new();
        for (kind, lengths, interrupted) in messages {
            if matches!(kind, OpCode::Control(_)) {
                frames.push((kind, true, vec![7; lengths[0] % 126]));
                continue;
            }
            for (index, &length) in lengths.iter().enumerate() {
                let opcode = if index == 0 { kind } else { OpCode::Data(Data::Continue) };
                frames.push((opcode, index + 1 == lengths.len(), vec![0x88; length]));
                if interrupted {
                    frames.push((OpCode::Control(Control::Ping), true, b"between".to_vec()));
                }
            }
        }
        frames
    })
}

proptest! {
    #[test]
    fn frames_by_tungstenite_are_counted_under_every_split(
        frames in conversation(),
        code in prop_oneof![Just(1000_u16), Just(1001), Just(1011), 3000..5000_u16],
        masked in any::<bool>(),
        split in prop_oneof![1..3_usize, 3..400_usize, Just(1_000_000)],
    ) {
        let mut bytes: Vec<u8> = Vec::new();
        for (opcode, fin, payload) in &frames {
            bytes.extend(frame(*opcode, *fin, payload, masked));
        }
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice("tschüß".as_bytes());
        bytes.extend(frame(OpCode::Control(Control::Close), true, &payload, masked));

        let direction = if masked { Direction::ClientToUpstream } else { Direction::UpstreamToClient };
        let parts: Vec<&[u8]> = bytes.chunks(split).collect();
        let (seen, counts) = scan(Scanner::new(direction, false), &parts);
        let count = |wanted: OpCode| frames.iter().filter(|(opcode, ..)| *opcode == wanted).count() as u64;
        prop_assert_eq!(counts, FrameCounts {
            text: count(OpCode::Data(Data::Text)),
            binary: count(OpCode::Data(Data::Binary)),
            continuation: count(OpCode::Data(Data::Continue)),
            ping: count(OpCode::Control(Control::Ping)),
            pong: count(OpCode::Control(Control::Pong)),
            close: 1,
            messages: frames.iter().filter(|(opcode, fin, _)| *fin && matches!(opcode, OpCode::Data(_))).count() as u64,
            bytes: 0,
            errors: 0,
        });
        let lengths: Vec<u64> = seen.iter().filter_map(|seen| match seen {
            Seen::Header(header) if header.opcode != Opcode::Close => Some(header.length),
            _ => None,
        }).collect();
        let expected: Vec<u64> = frames.iter().map(|(_, _, payload)| payload.len() as u64).collect();
        prop_assert_eq!(lengths, expected);
        let close = ClosePayload { code: Some(code), reason: "tschüß".to_owned() };
        prop_assert!(seen.contains(&Seen::Close(close)));
    }

    #[test]
    fn scan_result_is_independent_of_the_split(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x88), Just(0x02), Just(0)], 0..400),
        split in 1..40_usize,
        client in any::<bool>(),
        deflate in any::<bool>(),
    ) {
        let scanner = Scanner::new(if client { Direction::ClientToUpstream } else { Direction::UpstreamToClient }, deflate);
        let whole = scan(scanner.clone(), &[&bytes]);
        let parts: Vec<&[u8]> = bytes.chunks(split).collect();
        prop_assert_eq!(whole, scan(scanner, &parts));
    }

    #[test]
    fn written_close_frame_is_readable_by_tungstenite(code in 3000..5000_u16, reason in ".{0,60}", masked in any::<bool>()) {
        let mask = masked.then_some([1, 2, 3, 4]);
        let bytes = close(code, &reason, mask);
        let role = if masked { Direction::ClientToUpstream } else { Direction::UpstreamToClient };
        let (seen, counts) = scan(Scanner::new(role, false), &[&bytes]);
        prop_assert_eq!((counts.close, counts.errors), (1, 0));
        let cut = cut_to(&reason, 123);
        let ours = ClosePayload { code: Some(code), reason: cut.to_owned() };
        prop_assert!(seen.contains(&Seen::Close(ours)));
        let (header, length) = TungsteniteHeader::parse(&mut std::io::Cursor::new(&bytes)).expect("sound").expect("whole");
        let mut payload = bytes[bytes.len() - length as usize..].to_vec();
        unmask(&mut payload, header.mask);
        let wanted = CloseFrame { code: CloseCode::from(code), reason: cut.into() };
        let mut theirs = Vec::new();
        Frame::close(Some(wanted)).format(&mut theirs).expect("a frame");
        prop_assert_eq!(&payload, &theirs[theirs.len() - payload.len()..]);
        prop_assert_eq!(header.opcode, OpCode::Control(Control::Close));
    }
}

#[test]
fn rfc6455_5_1_unmasked_client_or_masked_server_frame_is_an_error() {
    assert_eq!(errors(Direction::ClientToUpstream, &[0x81, 0x00]), [ProtocolError::Unmasked]);
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x81, 0x80, 1, 2, 3, 4]),
        [ProtocolError::Masked]
    );
}

#[test]
fn rfc6455_5_2_reserved_opcodes_and_bits_are_errors() {
    assert_eq!(errors(Direction::UpstreamToClient, &[0x83, 0x00]), [ProtocolError::ReservedOpcode]);
    assert_eq!(errors(Direction::UpstreamToClient, &[0x8b, 0x00]), [ProtocolError::ReservedOpcode]);
    assert_eq!(errors(Direction::UpstreamToClient, &[0xc1, 0x00]), [ProtocolError::ReservedBits]);
    let (seen, counts) = scan(Scanner::new(Direction::UpstreamToClient, true), &[&[0xc1, 0x00]]);
    assert_eq!((counts.errors, seen.len()), (0, 2), "RFC 7692 sets RSV1");
    assert_eq!(scan(Scanner::new(Direction::UpstreamToClient, true), &[&[0xa1, 0x00]]).1.errors, 1);
}

#[test]
fn rfc6455_5_5_fragmented_or_long_control_frame_is_an_error() {
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x09, 0x00]),
        [ProtocolError::FragmentedControl]
    );
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x89, 126, 0, 126]),
        [ProtocolError::LongControl]
    );
}

#[test]
fn rfc6455_5_4_stray_continuation_or_interrupted_message_is_an_error() {
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x80, 0x00]),
        [ProtocolError::StrayContinuation]
    );
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x01, 0x00, 0x81, 0x00]),
        [ProtocolError::InterruptedMessage]
    );
    assert_eq!(errors(Direction::UpstreamToClient, &[0x01, 0x00, 0x89, 0x00, 0x80, 0x00]), []);
}

#[test]
fn rfc6455_5_2_length_of_2_63_is_an_error_and_ends_the_scan() {
    let mut bytes = vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&[0x81, 0x00]);
    assert_eq!(errors(Direction::UpstreamToClient, &bytes), [ProtocolError::Length]);
}

#[test]
fn rfc6455_5_2_length_not_in_shortest_form_is_an_error() {
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x82, 126, 0, 1, 9]),
        [ProtocolError::LengthNotMinimal]
    );
    let long = [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 9];
    assert_eq!(errors(Direction::UpstreamToClient, &long), [ProtocolError::LengthNotMinimal]);
    assert_eq!(
        errors(Direction::UpstreamToClient, &[&[0x82, 126, 0, 126][..], &[9; 126]].concat()),
        []
    );
}

#[test]
fn rfc6455_7_malformed_close_frame_is_an_error() {
    let close_of = |bytes: &[u8]| {
        let (seen, _) = scan(Scanner::new(Direction::UpstreamToClient, false), &[bytes]);
        seen.into_iter().find_map(|seen| match seen {
            Seen::Close(close) => Some(close.code),
            _ => None,
        })
    };
    assert_eq!(close_of(&[0x88, 0]), Some(None), "section 7.1.5: it may carry no code");
    assert_eq!(errors(Direction::UpstreamToClient, &[0x88, 0]), []);
    assert_eq!(errors(Direction::UpstreamToClient, &[0x88, 1, 3]), [ProtocolError::ClosePayload]);
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x88, 2, 0x03, 0xed]),
        [ProtocolError::CloseCode]
    );
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x88, 3, 0x03, 0xe8, 0xff]),
        [ProtocolError::CloseReason]
    );
    assert_eq!(
        errors(Direction::UpstreamToClient, &[0x88, 0, 0x81, 0]),
        [ProtocolError::AfterClose]
    );
}

#[test]
fn rfc6455_5_5_1_overlong_close_frame_still_closes() {
    let bytes = [&[0x88, 126, 1, 0, 0x03, 0xe8][..], &[b'x'; 254]].concat();
    for split in [1, 7, 1000] {
        let parts: Vec<&[u8]> = bytes.chunks(split).collect();
        let (seen, counts) = scan(Scanner::new(Direction::UpstreamToClient, false), &parts);
        let close =
            ClosePayload { code: Some(1000), reason: "x".repeat(MAX_CONTROL_PAYLOAD_BYTES - 2) };
        assert!(seen.contains(&Seen::Error(ProtocolError::LongControl)));
        assert!(seen.contains(&Seen::Close(close)));
        assert_eq!((counts.close, counts.errors), (1, 1));
    }
}

#[test]
fn scanner_reports_boundaries_of_frames_and_messages() {
    let mut scanner = Scanner::new(Direction::UpstreamToClient, false);
    assert!(scanner.is_between_messages());
    for (bytes, frames, messages) in [
        (&[0x01][..], false, false),
        (&[0x02], false, false),
        (b"ab", true, false),
        (&[0x89, 0x00], true, false),
        (&[0x80, 0x01, b'c'], true, true),
    ] {
        scanner.feed(bytes, |_, _| true);
        assert_eq!(
            (scanner.is_between_frames(), scanner.is_between_messages()),
            (frames, messages)
        );
    }
}
