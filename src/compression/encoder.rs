use super::Levels;
use crate::http::encoding::Coding;
use bytes::Bytes;
use std::io::{self, Write};
use std::sync::Mutex;

/// How far back Brotli looks: 2^19 bytes, so that a stream takes no more than a megabyte or two.
const BROTLI_WINDOW: u32 = 19;

/// The same for Zstandard.
const ZSTD_WINDOW: u32 = 20;

/// Compresses one body, piece by piece.
pub struct Encoder(Stream);

enum Stream {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    // Never locked: it is only there because libzstd's context may not be shared.
    Zstd(Mutex<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Done,
}

impl Encoder {
    /// For a body of this length, if it is known.
    pub fn new(coding: Coding, levels: Levels, length: Option<u64>) -> io::Result<Self> {
        Ok(Self(match coding {
            Coding::Gzip => {
                let level = flate2::Compression::new(levels.gzip);
                Stream::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
            Coding::Brotli => Stream::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4096,
                levels.brotli,
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), levels.zstd)?;
                encoder.window_log(ZSTD_WINDOW)?;
                encoder.set_pledged_src_size(length)?;
                Stream::Zstd(Mutex::new(encoder))
            }
        }))
    }

    /// Takes a piece in, and gives what has come of it. With `flush` that is all there is.
    pub fn push(&mut self, piece: &[u8], flush: bool) -> io::Result<Bytes> {
        let written = match &mut self.0 {
            Stream::Gzip(encoder) => {
                write(encoder, piece, flush)?;
                encoder.get_mut()
            }
            Stream::Brotli(encoder) => {
                write(encoder, piece, flush)?;
                encoder.get_mut()
            }
            Stream::Zstd(encoder) => {
                let encoder = encoder.get_mut().map_err(|_| io::ErrorKind::Other)?;
                write(encoder, piece, flush)?;
                encoder.get_mut()
            }
            Stream::Done => return Ok(Bytes::new()),
        };
        Ok(std::mem::take(written).into())
    }

    /// The end of the stream; nothing when it has been given already.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        let rest = match std::mem::replace(&mut self.0, Stream::Done) {
            Stream::Gzip(encoder) => encoder.finish()?,
            Stream::Brotli(encoder) => encoder.into_inner(),
            Stream::Zstd(encoder) => {
                encoder.into_inner().map_err(|_| io::ErrorKind::Other)?.finish()?
            }
            Stream::Done => Vec::new(),
        };
        Ok(rest.into())
    }
}

fn write(encoder: &mut impl Write, piece: &[u8], flush: bool) -> io::Result<()> {
    encoder.write_all(piece)?;
    if flush { encoder.flush() } else { Ok(()) }
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
