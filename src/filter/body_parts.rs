//! Cuts a response's body into what filters see of it: its parts as they come, or the whole. It knows nothing of filters
//! and sockets.

use super::Reply;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tidegate_http::error_code::ErrorCode;

/// A body on its way to filters.
#[derive(Debug, Default)]
pub(crate) struct BodyParts {
    /// The most bytes of a body that a filter wants whole; `None` where all want parts.
    max_whole_size: Option<usize>,
    /// Bytes of the parts that filters have seen.
    offset: u64,
    /// What has come of a body that a filter wants whole.
    collected: BytesMut,
    is_ended: bool,
}

/// What filters see of a body at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShownPart {
    pub(crate) bytes: Bytes,
    /// How many bytes filters have seen before.
    pub(crate) offset: u64,
    /// Whether the body ends with it.
    pub(crate) is_end: bool,
}

/// The body has more bytes than filters take of a whole one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BodyTooLarge {
    pub(crate) max: usize,
}

impl BodyTooLarge {
    /// What the client gets in the place of the response.
    pub(crate) fn reply(&self) -> Reply {
        let message = format!(
            "the response of the service behind the gateway has more than {} bytes, the limit of \
             a filter that reads the whole response",
            self.max
        );
        Reply::error(StatusCode::BAD_GATEWAY, ErrorCode::FilterFailed, message)
    }
}

impl BodyParts {
    /// A body of which nothing has come yet.
    pub(crate) fn new(max_whole_size: Option<usize>) -> Self {
        Self { max_whole_size, ..Self::default() }
    }

    /// Whether it is collected, and has not ended.
    pub(crate) fn is_collecting(&self) -> bool {
        self.max_whole_size.is_some() && !self.is_ended
    }

    /// A part has come. Returns what filters see now; `None` where that is nothing. They see no empty part but the last,
    /// no empty body, and nothing after the end.
    pub(crate) fn push(
        &mut self,
        mut bytes: Bytes,
        is_end: bool,
    ) -> Result<Option<ShownPart>, BodyTooLarge> {
        if self.is_ended {
            return Ok(None);
        }
        if let Some(max) = self.max_whole_size {
            if bytes.len() > max.saturating_sub(self.collected.len()) {
                self.end();
                return Err(BodyTooLarge { max });
            }
            self.collected.extend_from_slice(&bytes);
            if !is_end {
                return Ok(None);
            }
            bytes = self.collected.split().freeze();
        }
        self.is_ended = is_end;
        if bytes.is_empty() && (!is_end || self.offset == 0) {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Ok(Some(ShownPart { bytes, offset, is_end }))
    }

    /// Filters see no more of it: it was refused.
    pub(crate) fn end(&mut self) {
        self.is_ended = true;
        self.collected = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        bytes: &'static str,
        offset: u64,
        is_end: bool,
    ) -> Result<Option<ShownPart>, BodyTooLarge> {
        Ok(Some(ShownPart { bytes: bytes.into(), offset, is_end }))
    }

    #[test]
    fn parts_are_shown_as_they_come_but_for_empty_ones() {
        let mut parts = BodyParts::new(None);
        assert_eq!(parts.push("".into(), false), Ok(None));
        assert_eq!(parts.push("one".into(), false), shown("one", 0, false));
        assert_eq!(parts.push("".into(), false), Ok(None));
        assert_eq!(parts.push("".into(), true), shown("", 3, true));
        assert_eq!(parts.push("two".into(), true), Ok(None), "it has ended");
        assert_eq!(BodyParts::new(None).push("".into(), true), Ok(None), "it is empty");
    }

    #[test]
    fn whole_body_is_shown_at_its_end_up_to_the_bound() {
        let mut parts = BodyParts::new(Some(6));
        assert_eq!(parts.push("one".into(), false), Ok(None));
        assert!(parts.is_collecting());
        assert_eq!(parts.push("two".into(), true), shown("onetwo", 0, true));
        assert!(!parts.is_collecting());
        let mut parts = BodyParts::new(Some(5));
        assert_eq!(parts.push("one".into(), false), Ok(None));
        assert_eq!(parts.push("two".into(), true), Err(BodyTooLarge { max: 5 }));
        assert_eq!(parts.push("".into(), true), Ok(None), "it was refused");
    }
}
