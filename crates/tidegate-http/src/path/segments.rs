//! The segments of a path: dot segments, empty segments, path parameters, and slashes that only some servers see.
//! Decodes no other escapes.

use super::policy::{PathError, PathPolicy};

/// Whether a path whose escapes are in upper case holds a slash that only some servers see.
pub(super) fn has_encoded_slash(path: &str) -> bool {
    path.contains('\\') || path.contains("%2F") || path.contains("%5C")
}

pub(super) fn decode_slashes(path: &str) -> String {
    path.replace('\\', "/").replace("%2F", "/").replace("%5C", "/")
}

pub(super) fn without_parameters(path: &str) -> String {
    let mut stripped = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        stripped.push('/');
        stripped.push_str(segment.split(';').next().unwrap_or_default());
    }
    stripped
}

/// Refuses dot segments and empty segments behind path parameters, unless they may pass. An empty
/// name at the end hides nothing: it is that of a folder (`/app/;jsessionid=1`).
pub(super) fn check_hidden(path: &str, policy: PathPolicy) -> Result<(), PathError> {
    if !path.contains(';') {
        return Ok(());
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let Some((name, _)) = segment.split_once(';') else { continue };
        match name {
            "." | ".." if !policy.keeps_dot_segments => return Err(PathError::HiddenDotSegment),
            "" if segments.peek().is_some() && !policy.keeps_duplicate_slashes => {
                return Err(PathError::HiddenEmptySegment);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The path with empty segments removed and dot segments resolved (RFC 3986, section 5.2.4), where
/// that is asked for; `..` stops at the root.
pub(super) fn render(path: &str, merges: bool, resolves: bool) -> String {
    let mut rendered = String::with_capacity(path.len());
    let mut ends_in_directory = true;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if merges || segments.peek().is_none() => ends_in_directory = true,
            "." if resolves => ends_in_directory = true,
            ".." if resolves => {
                rendered.truncate(rendered.rfind('/').unwrap_or(0));
                ends_in_directory = true;
            }
            _ => {
                rendered.push('/');
                rendered.push_str(segment);
                ends_in_directory = false;
            }
        }
    }
    if ends_in_directory {
        rendered.push('/');
    }
    rendered
}
