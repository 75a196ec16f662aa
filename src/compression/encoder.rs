//! Compresses one response body in pieces with gzip, Brotli or Zstandard, and holds little memory while a client reads
//! slowly. Knows nothing of headers.

use super::Levels;
use super::brotli_segment;
use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use tidegate_http::encoding::Coding;
use zstd::zstd_safe::{CParameter, Strategy};

/// Bytes that are compressed together. A response whose client reads slowly then holds these and
/// its [`HISTORY_BYTES`], and not an encoder, which takes 300 kB (gzip) or 1 MB (Brotli).
const SEGMENT_BYTES: usize = 24 * 1024;

/// Maximum number of bytes before a segment that its encoder refers to.
const HISTORY_BYTES: usize = 32 * 1024;

/// A segment that is flushed early looks back no further than this many times its own length:
/// an encoder takes up the history for each segment anew.
const HISTORY_FACTOR: usize = 8;

/// Zstandard has no segments: many clients stop reading at the end of a frame. Its window and its
/// tables, in powers of two, keep its encoder near 100 kB.
const ZSTD_PARAMETERS: [CParameter; 3] =
    [CParameter::WindowLog(13), CParameter::HashLog(10), CParameter::ChainLog(12)];

/// The levels whose own strategy wants larger tables than these.
const ZSTD_LARGE_TABLE_LEVELS: RangeInclusive<i32> = 2..=5;

/// A head of gzip (RFC 1952, section 2.3): deflate, no time, no name, an unknown system.
const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses one body, piece by piece.
pub(crate) struct Encoder {
    stream: Stream,
    window: SegmentBuffer,
}

enum Stream {
    Gzip(Gzip),
    Brotli { level: u32, is_begun: bool },
    // Never locked: it is only there because libzstd's context may not be shared.
    Zstd(Mutex<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Done,
}

/// What is compressed with the next segment, behind the end of what was compressed before.
#[derive(Default)]
struct SegmentBuffer {
    bytes: Vec<u8>,
    /// How many of the bytes have been compressed.
    compressed: usize,
    /// The length of the whole body, if it is known.
    length: Option<usize>,
}

impl SegmentBuffer {
    fn pending(&self) -> usize {
        self.bytes.len() - self.compressed
    }

    /// Takes bytes up to the end of the segment, and gives the rest back.
    fn fill<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let room = SEGMENT_BYTES.saturating_sub(self.pending()).min(piece.len());
        let (front, rest) = piece.split_at(room);
        self.grow(self.bytes.len() + front.len());
        self.bytes.extend_from_slice(front);
        rest
    }

    /// Makes room for so many bytes, in few steps: what each step frees stays with the process for a
    /// while.
    fn grow(&mut self, min_capacity: usize) {
        let capacity = self.bytes.capacity();
        if min_capacity <= capacity {
            return;
        }
        let most = if self.compressed == 0 { SEGMENT_BYTES } else { HISTORY_BYTES + SEGMENT_BYTES };
        let capacity = self.length.unwrap_or(capacity * 2).min(most).max(min_capacity);
        self.bytes.reserve_exact(capacity - self.bytes.len());
    }

    /// The history, and the segment.
    fn history_and_segment(&self) -> (&[u8], &[u8]) {
        let (history, segment) = self.bytes.split_at(self.compressed);
        let length = HISTORY_BYTES.min(segment.len().saturating_mul(HISTORY_FACTOR));
        (history.get(history.len().saturating_sub(length)..).unwrap_or_default(), segment)
    }

    /// The segment has been compressed.
    fn advance(&mut self) {
        self.bytes.drain(..self.bytes.len().saturating_sub(HISTORY_BYTES));
        self.compressed = self.bytes.len();
    }
}

impl Encoder {
    /// For a body of this length, if it is known.
    pub(crate) fn new(coding: Coding, levels: Levels, length: Option<u64>) -> io::Result<Self> {
        let stream = match coding {
            Coding::Gzip => {
                Stream::Gzip(Gzip { level: levels.gzip, is_begun: false, crc: Crc::new() })
            }
            Coding::Brotli => Stream::Brotli { level: levels.brotli, is_begun: false },
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), levels.zstd)?;
                for parameter in ZSTD_PARAMETERS {
                    encoder.set_parameter(parameter)?;
                }
                if ZSTD_LARGE_TABLE_LEVELS.contains(&levels.zstd) {
                    encoder.set_parameter(CParameter::Strategy(Strategy::ZSTD_lazy))?;
                    encoder.set_parameter(CParameter::MinMatch(4))?;
                    encoder
                        .set_parameter(CParameter::SearchLog(levels.zstd.cast_unsigned() + 1))?;
                }
                encoder.set_pledged_src_size(length)?;
                Stream::Zstd(Mutex::new(encoder))
            }
        };
        let length = length.and_then(|length| usize::try_from(length).ok());
        Ok(Self { stream, window: SegmentBuffer { length, ..SegmentBuffer::default() } })
    }

    /// Takes a piece in, and gives what has come of it. With `flush` that is all there is.
    pub(crate) fn push(&mut self, piece: &[u8], flush: bool) -> io::Result<Bytes> {
        if let Stream::Zstd(encoder) = &mut self.stream {
            let encoder = encoder.get_mut().map_err(|_| io::ErrorKind::Other)?;
            encoder.write_all(piece)?;
            if flush {
                encoder.flush()?;
            }
            return Ok(std::mem::take(encoder.get_mut()).into());
        }
        let (mut piece, mut compressed) = (piece, Vec::new());
        loop {
            piece = self.window.fill(piece);
            if self.window.pending() < SEGMENT_BYTES && !flush {
                return Ok(compressed.into());
            }
            self.segment(&mut compressed)?;
            if piece.is_empty() {
                return Ok(compressed.into());
            }
        }
    }

    /// The end of the stream; nothing when it has been given already.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        let mut rest = Vec::new();
        self.segment(&mut rest)?;
        self.window = SegmentBuffer::default();
        match std::mem::replace(&mut self.stream, Stream::Done) {
            Stream::Gzip(gzip) => gzip.finish(&mut rest)?,
            Stream::Brotli { level, is_begun } => {
                if !is_begun {
                    brotli_segment::compress(&[], &[], level, false, &mut rest)?;
                }
                rest.extend_from_slice(brotli_segment::LAST_BLOCK);
            }
            Stream::Zstd(encoder) => {
                rest = encoder.into_inner().map_err(|_| io::ErrorKind::Other)?.finish()?;
            }
            Stream::Done => {}
        }
        Ok(rest.into())
    }

    /// Compresses what is pending so that all of it can be read.
    fn segment(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        let (history, segment) = self.window.history_and_segment();
        if segment.is_empty() {
            return Ok(());
        }
        match &mut self.stream {
            Stream::Gzip(gzip) => gzip.segment(history, segment, to)?,
            Stream::Brotli { level, is_begun } => {
                let follows = std::mem::replace(is_begun, true);
                brotli_segment::compress(history, segment, *level, follows, to)?;
            }
            Stream::Zstd(_) | Stream::Done => {}
        }
        self.window.advance();
        Ok(())
    }
}

struct Gzip {
    level: u32,
    is_begun: bool,
    crc: Crc,
}

thread_local! {
    /// Segments don't wait for anything, so one encoder does for all responses of a thread.
    static SPARE_DEFLATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

impl Gzip {
    fn segment(&mut self, history: &[u8], segment: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.head(to);
        self.crc.update(segment);
        deflate(history, segment, self.level, FlushCompress::Sync, to)
    }

    fn head(&mut self, to: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_begun, true) {
            to.extend_from_slice(GZIP_HEAD);
        }
    }

    fn finish(mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.head(to);
        deflate(&[], &[], self.level, FlushCompress::Finish, to)?;
        to.extend_from_slice(&self.crc.sum().to_le_bytes());
        to.extend_from_slice(&self.crc.amount().to_le_bytes());
        Ok(())
    }
}

/// Blocks of deflate (RFC 1951) that look at nothing before them but the history.
fn deflate(
    history: &[u8],
    bytes: &[u8],
    level: u32,
    flush: FlushCompress,
    to: &mut Vec<u8>,
) -> io::Result<()> {
    SPARE_DEFLATE.with_borrow_mut(|kept| {
        let encoder = match kept {
            Some((same, encoder)) if *same == level => encoder,
            _ => &mut kept.insert((level, Compress::new(Compression::new(level), false))).1,
        };
        encoder.reset();
        if !history.is_empty() {
            encoder.set_dictionary(history)?;
        }
        to.reserve(bytes.len() / 2 + 64);
        loop {
            let taken = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
            let rest = bytes.get(taken..).unwrap_or_default();
            encoder.compress_vec(rest, to, flush)?;
            // What is left over would have filled the room that there was.
            if to.len() < to.capacity() {
                return Ok(());
            }
            to.reserve(to.len().max(64));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    const LEVELS: Levels = Levels { gzip: 5, brotli: 4, zstd: 3 };
    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    fn decode(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded)?,
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded)?,
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut decoded)?,
        };
        Ok(decoded)
    }

    #[test]
    fn compressed_segments_decode_to_the_whole_text() {
        let text: Vec<u8> =
            (0..40_000_u32).flat_map(|it| (it * it).to_string().into_bytes()).collect();
        for coding in ALL {
            for size in [1000, 12 * 1024, SEGMENT_BYTES, 100_000, 1_000_000] {
                let mut encoder = Encoder::new(coding, LEVELS, None).expect("an encoder");
                let mut encoded = Vec::new();
                for piece in text.chunks(size) {
                    encoded.extend(encoder.push(piece, false).expect("a piece"));
                    assert!(encoder.window.pending() < SEGMENT_BYTES);
                    assert!(encoder.window.bytes.capacity() <= SEGMENT_BYTES + HISTORY_BYTES);
                }
                encoded.extend(encoder.finish().expect("the end"));
                assert!(decode(coding, &encoded).expect("decoded") == text, "{coding:?} {size}");
                assert!(encoded.len() < text.len() / 2, "{coding:?}: {}", encoded.len());
            }
        }
    }

    #[test]
    fn segments_compress_nearly_as_well_as_one_stream() {
        let text = include_bytes!("../../schema/tidegate.schema.json");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::new(LEVELS.gzip));
        gzip.write_all(text).expect("gzip");
        let params = brotli::enc::BrotliEncoderParams {
            quality: LEVELS.brotli.cast_signed(),
            size_hint: text.len(),
            ..Default::default()
        };
        let mut brotli = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
        brotli.write_all(text).expect("Brotli");
        let zstd = zstd::stream::encode_all(&text[..], LEVELS.zstd).expect("zstd");
        for (coding, whole, most) in [
            (Coding::Gzip, gzip.finish().expect("gzip"), 102),
            (Coding::Brotli, brotli.into_inner(), 108),
            (Coding::Zstd, zstd, 115),
        ] {
            let length = Some(text.len() as u64);
            let mut encoder = Encoder::new(coding, LEVELS, length).expect("an encoder");
            let mut encoded = Vec::new();
            for piece in text.chunks(8192) {
                encoded.extend(encoder.push(piece, false).expect("a piece"));
            }
            encoded.extend(encoder.finish().expect("the end"));
            let (whole, encoded) = (whole.len(), encoded.len());
            assert!(encoded * 100 < whole * most, "{coding:?}: {encoded}, in one {whole}");
        }
    }

    #[test]
    fn output_of_every_level_decodes() {
        let text: Vec<u8> =
            (0..20_000_u32).flat_map(|it| (it * it).to_string().into_bytes()).collect();
        for number in 0..=19 {
            let levels = Levels {
                gzip: number.clamp(1, 9),
                brotli: number.min(11),
                zstd: number.max(1).cast_signed(),
            };
            for coding in ALL {
                let mut encoder = Encoder::new(coding, levels, None).expect("an encoder");
                let mut encoded = Vec::new();
                for piece in text.chunks(30_000) {
                    encoded.extend(encoder.push(piece, true).expect("a piece"));
                }
                encoded.extend(encoder.finish().expect("the end"));
                assert!(decode(coding, &encoded).expect("decoded") == text, "{coding:?} {number}");
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip_is_exact_under_every_split(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            flush in any::<bool>(),
        ) {
            let whole = pieces.concat();
            for coding in ALL {
                let mut encoder = Encoder::new(coding, LEVELS, None).expect("an encoder");
                let mut encoded = Vec::new();
                for piece in &pieces {
                    encoded.extend(encoder.push(piece, flush).expect("a piece"));
                }
                encoded.extend(encoder.finish().expect("the end"));
                prop_assert_eq!(decode(coding, &encoded).expect("decoded"), &whole[..]);
                prop_assert!(encoder.finish().expect("no second end").is_empty());
            }
        }
    }

    #[test]
    fn flushed_output_decodes_before_the_end() {
        for coding in ALL {
            let mut encoder = Encoder::new(coding, LEVELS, None).expect("an encoder");
            let first = encoder.push(b"first piece", true).expect("a piece");
            let mut decoded = [0; 11];
            let read = match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&first[..]).read_exact(&mut decoded),
                Coding::Brotli => {
                    brotli::Decompressor::new(&first[..], 4096).read_exact(&mut decoded)
                }
                Coding::Zstd => zstd::stream::read::Decoder::new(&first[..])
                    .and_then(|mut decoder| decoder.read_exact(&mut decoded)),
            };
            read.expect("readable");
            assert_eq!(&decoded, b"first piece", "{coding:?}");
        }
    }
}
