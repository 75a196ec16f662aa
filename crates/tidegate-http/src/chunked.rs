//! Finds the data of a body in chunks (RFC 9112, section 7.1), however its bytes are split. It checks nothing, and
//! knows neither extensions nor trailers: it is for bodies that a trusted writer has framed.

/// The position in a chunked body without extensions and trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPosition {
    /// In the line with the size of a chunk; the size so far.
    Size(u64),
    /// In a chunk; the bytes that are left.
    Data(u64),
    /// In the line end after a chunk.
    DataEnd,
    /// After the line of the last chunk.
    Ended,
}

impl Default for ChunkPosition {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl ChunkPosition {
    /// The data at the beginning of these bytes; `None` if they begin with framing.
    pub fn data<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let Self::Data(left) = self else { return None };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        bytes.get(..most)
    }

    /// Consumes so many bytes of data.
    pub fn consume(&mut self, count: usize) {
        if let Self::Data(left) = self {
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                *self = Self::DataEnd;
            }
        }
    }

    /// Consumes framing at the beginning of these bytes; returns how many bytes.
    pub fn consume_framing(&mut self, bytes: &[u8]) -> usize {
        let Some(&byte) = bytes.first() else { return 0 };
        match self {
            Self::Size(size) => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) => *size = (*size << 4) | u64::from(digit),
                (b'\n', _) if *size == 0 => *self = Self::Ended,
                (b'\n', _) => *self = Self::Data(*size),
                _ => {}
            },
            Self::DataEnd if byte == b'\n' => *self = Self::Size(0),
            Self::DataEnd => {}
            Self::Data(_) => return 0,
            // The empty line after the last chunk.
            Self::Ended => return bytes.len(),
        }
        1
    }

    /// Consumes all of these bytes, and appends the data in them to `data`.
    pub fn append_data(&mut self, mut bytes: &[u8], data: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let count = match self.data(bytes) {
                Some(part) => {
                    data.extend_from_slice(part);
                    self.consume(part.len());
                    part.len()
                }
                None => self.consume_framing(bytes),
            };
            bytes = bytes.get(count..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_7_1_data_is_found_under_every_split() {
        let body = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        for split in 1..=body.len() {
            let (mut chunks, mut data) = (ChunkPosition::default(), Vec::new());
            body.chunks(split).for_each(|part| chunks.append_data(part, &mut data));
            assert_eq!(data, b"helloabcdefghijklmnopqrstuvwxyz", "{split}");
            assert_eq!(chunks, ChunkPosition::Ended, "{split}");
        }
    }
}
