use super::Levels;
use crate::http::encoding::Coding;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Mutex;
use zstd::zstd_safe::CParameter;

/// Bytes that are compressed together. A response that its client takes slowly then holds so much
/// of it, and not the encoder, which takes 300 kB (gzip) or 1 MB (Brotli).
const SEGMENT: usize = 24 * 1024;

/// How far back Brotli looks: no further than a segment goes.
const BROTLI_WINDOW: i32 = 16;

/// A last block of Brotli without anything in it (RFC 7932, section 9.2).
const BROTLI_END: &[u8] = &[3];

/// Zstandard has no segments: many clients stop reading at the end of a frame. Its window and its
/// tables, in powers of two, keep the encoder small.
const ZSTD_PARAMETERS: [CParameter; 3] =
    [CParameter::WindowLog(14), CParameter::HashLog(12), CParameter::ChainLog(12)];

/// A head of gzip (RFC 1952, section 2.3): deflate, no time, no name, an unknown system.
const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses one body, piece by piece.
pub struct Encoder {
    stream: Stream,
    /// What is compressed with the next segment.
    pending: Vec<u8>,
}

enum Stream {
    Gzip(Gzip),
    Brotli { level: u32, is_begun: bool },
    // Never locked: it is only there because libzstd's context may not be shared.
    Zstd(Mutex<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Done,
}

impl Encoder {
    /// For a body of this length, if it is known.
    pub fn new(coding: Coding, levels: Levels, length: Option<u64>) -> io::Result<Self> {
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
                encoder.set_pledged_src_size(length)?;
                Stream::Zstd(Mutex::new(encoder))
            }
        };
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Takes a piece in, and gives what has come of it. With `flush` that is all there is.
    pub fn push(&mut self, piece: &[u8], flush: bool) -> io::Result<Bytes> {
        if let Stream::Zstd(encoder) = &mut self.stream {
            let encoder = encoder.get_mut().map_err(|_| io::ErrorKind::Other)?;
            encoder.write_all(piece)?;
            if flush {
                encoder.flush()?;
            }
            return Ok(std::mem::take(encoder.get_mut()).into());
        }
        if self.pending.is_empty() && flush {
            return Ok(self.stream.segment(piece)?.into());
        }
        let (mut piece, mut compressed) = (piece, Vec::new());
        loop {
            let room = SEGMENT.saturating_sub(self.pending.len()).min(piece.len());
            let (front, rest) = piece.split_at(room);
            self.pending.reserve_exact(front.len());
            self.pending.extend_from_slice(front);
            piece = rest;
            if self.pending.len() < SEGMENT && !flush {
                return Ok(compressed.into());
            }
            if !self.pending.is_empty() {
                compressed.extend(self.stream.segment(&std::mem::take(&mut self.pending))?);
            }
            if flush && piece.is_empty() {
                return Ok(compressed.into());
            }
        }
    }

    /// The end of the stream; nothing when it has been given already.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = match pending.is_empty() {
            true => Vec::new(),
            false => self.stream.segment(&pending)?,
        };
        match std::mem::replace(&mut self.stream, Stream::Done) {
            Stream::Gzip(gzip) => gzip.finish(&mut rest)?,
            Stream::Brotli { is_begun: true, .. } => rest.extend_from_slice(BROTLI_END),
            Stream::Brotli { level, .. } => {
                rest = brotli_segment(&[], level, false)?;
                rest.extend_from_slice(BROTLI_END);
            }
            Stream::Zstd(encoder) => {
                rest = encoder.into_inner().map_err(|_| io::ErrorKind::Other)?.finish()?;
            }
            Stream::Done => {}
        }
        Ok(rest.into())
    }
}

impl Stream {
    /// Compresses a segment so that all of it can be read.
    fn segment(&mut self, segment: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => gzip.segment(segment),
            Self::Brotli { level, is_begun } => {
                brotli_segment(segment, *level, std::mem::replace(is_begun, true))
            }
            Self::Zstd(_) | Self::Done => Ok(Vec::new()),
        }
    }
}

/// Segments of Brotli can be put together where each but the first is told not to look at what
/// came before it.
fn brotli_segment(segment: &[u8], level: u32, follows: bool) -> io::Result<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: i32::try_from(level).unwrap_or(i32::MAX),
        lgwin: BROTLI_WINDOW,
        size_hint: segment.len(),
        appendable: true,
        catable: follows,
        use_dictionary: !follows,
        bare_stream: follows,
        byte_align: follows,
        ..BrotliEncoderParams::default()
    };
    let mut encoder = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
    encoder.write_all(segment)?;
    encoder.flush()?;
    // What the encoder adds when it is dropped is an end, and goes with it.
    Ok(std::mem::take(encoder.get_mut()))
}

struct Gzip {
    level: u32,
    is_begun: bool,
    crc: Crc,
}

thread_local! {
    /// Segments don't wait for anything, so one encoder does for all responses of a thread.
    static DEFLATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

impl Gzip {
    fn segment(&mut self, segment: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressed = self.head();
        self.crc.update(segment);
        deflate(segment, self.level, FlushCompress::Sync, &mut compressed)?;
        Ok(compressed)
    }

    fn head(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.is_begun, true) {
            true => Vec::new(),
            false => GZIP_HEAD.to_vec(),
        }
    }

    fn finish(mut self, to: &mut Vec<u8>) -> io::Result<()> {
        to.extend(self.head());
        deflate(&[], self.level, FlushCompress::Finish, to)?;
        to.extend_from_slice(&self.crc.sum().to_le_bytes());
        to.extend_from_slice(&self.crc.amount().to_le_bytes());
        Ok(())
    }
}

/// Blocks of deflate (RFC 1951) that look at nothing before them.
fn deflate(bytes: &[u8], level: u32, flush: FlushCompress, to: &mut Vec<u8>) -> io::Result<()> {
    DEFLATE.with_borrow_mut(|kept| {
        let encoder = match kept {
            Some((same, encoder)) if *same == level => encoder,
            _ => &mut kept.insert((level, Compress::new(Compression::new(level), false))).1,
        };
        encoder.reset();
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
    fn segments_are_put_together() {
        let text: Vec<u8> =
            (0..40_000_u32).flat_map(|it| (it * it).to_string().into_bytes()).collect();
        for coding in ALL {
            for size in [1000, 12 * 1024, SEGMENT, 100_000, 1_000_000] {
                let mut encoder = Encoder::new(coding, LEVELS, None).expect("an encoder");
                let mut encoded = Vec::new();
                for piece in text.chunks(size) {
                    encoded.extend(encoder.push(piece, false).expect("a piece"));
                    assert!(encoder.pending.len() < SEGMENT);
                }
                encoded.extend(encoder.finish().expect("the end"));
                assert!(decode(coding, &encoded).expect("decoded") == text, "{coding:?} {size}");
                assert!(encoded.len() < text.len() / 2, "{coding:?}: {}", encoded.len());
            }
        }
    }

    #[test]
    fn every_level_can_be_read() {
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
                for piece in text.chunks(2000) {
                    encoded.extend(encoder.push(piece, true).expect("a piece"));
                }
                encoded.extend(encoder.finish().expect("the end"));
                assert!(decode(coding, &encoded).expect("decoded") == text, "{coding:?} {number}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_under_every_split(
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
    fn what_is_flushed_can_be_read_before_the_end_comes() {
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
