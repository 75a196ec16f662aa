//! The filter that serves files of a folder. It knows nothing of routes; no path leads it out of its folder.

use super::{Error, Filter, Flow, Reply, Request};
use crate::upstream::{close_idle, is_out_of_descriptors, is_scarce};
use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_http::conditional::{PreconditionOutcome, RequestedRange, Validators};
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// Serves the files of a folder.
#[derive(Debug)]
pub(crate) struct FilesFilter {
    /// The folder.
    pub folder: Arc<ServedFolder>,
    /// How many bytes of the path were matched by a prefix that is replaced, and by what.
    pub rewrite_prefix: Option<(usize, String)>,
    /// `Cache-Control`.
    pub cache_control: HeaderValue,
    /// Patterns of files that never change.
    pub immutable: Vec<glob::Pattern>,
}

impl StableHash for FilesFilter {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self { folder, rewrite_prefix, cache_control, immutable } = self;
        (folder, rewrite_prefix, cache_control).feed(hasher);
        hasher.list(immutable.iter().map(glob::Pattern::as_str));
    }
}

/// A folder of files.
#[derive(Debug)]
pub(crate) struct ServedFolder {
    /// Its path.
    pub root: PathBuf,
    /// The index file of a folder.
    pub index: String,
    /// The file for paths that are none, below the root.
    pub fallback: Option<String>,
}

stable_hash!(ServedFolder { root, index, fallback });

const CACHE_IMMUTABLE: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

/// The result of a lookup.
enum FileLookup {
    File(OpenedFile),
    /// A folder whose name lacks the slash at its end.
    Folder,
    Nothing,
}

struct OpenedFile {
    file: File,
    size: u64,
    modified: Option<SystemTime>,
    /// Below the root.
    name: String,
}

impl ServedFolder {
    /// Looks up a decoded path. Blocks on the disk.
    fn lookup(&self, path: &str) -> io::Result<FileLookup> {
        // The root is opened for each request: a deployment may have replaced the folder.
        let root = Dir::open_ambient_dir(&self.root, ambient_authority())?;
        let (name, is_folder) = match path.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (path, path.is_empty()),
        };
        if is_visible(name) {
            let metadata = if name.is_empty() { root.dir_metadata() } else { root.metadata(name) };
            match metadata {
                Ok(metadata) if metadata.is_dir() => {
                    let index = match name {
                        "" => self.index.clone(),
                        _ => format!("{name}/{}", self.index),
                    };
                    match open(&root, index)? {
                        Some(_) if !is_folder => return Ok(FileLookup::Folder),
                        Some(served) => return Ok(FileLookup::File(served)),
                        None => {}
                    }
                }
                Ok(metadata) if metadata.is_file() && !is_folder => {
                    if let Some(served) = open(&root, name.to_owned())? {
                        return Ok(FileLookup::File(served));
                    }
                }
                _ => {}
            }
        }
        // A missing path that looks like a file is a 404: a page instead of a script would only confuse.
        let looks_like_file = name.rsplit('/').next().is_some_and(|last| last.contains('.'));
        match &self.fallback {
            Some(fallback) if !looks_like_file => {
                Ok(open(&root, fallback.clone())?.map_or(FileLookup::Nothing, FileLookup::File))
            }
            _ => Ok(FileLookup::Nothing),
        }
    }
}

/// The response when the remaining file descriptors are reserved for connections. Idle connections to upstreams are
/// closed.
fn no_descriptor() -> Reply {
    close_idle();
    Reply::gateway_error(
        ErrorCode::Overloaded,
        "the gateway has no file descriptor left for this file",
    )
}

/// Whether no segment begins with a dot; `.well-known` is meant to be seen (RFC 8615).
fn is_visible(path: &str) -> bool {
    path.split('/').all(|segment| !segment.starts_with('.') || segment == ".well-known")
}

/// Opens a file below the root; `None` if it is missing or outside of the root.
fn open(root: &Dir, name: String) -> io::Result<Option<OpenedFile>> {
    let metadata = match root.metadata(&name) {
        // Opening a pipe would wait for a writer.
        Ok(metadata) if metadata.is_file() => metadata,
        _ => return Ok(None),
    };
    let file = match root.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let opened = file.metadata().unwrap_or(metadata);
    Ok(Some(OpenedFile {
        size: opened.len(),
        modified: opened.modified().ok().map(cap_std::time::SystemTime::into_std),
        file: file.into_std(),
        name,
    }))
}

impl FilesFilter {
    /// The decoded path below the root; `None` when it can't be that of a file.
    fn path(&self, request: &Request<'_>) -> Option<String> {
        let path = request.path();
        let (prefix, rest) = match &self.rewrite_prefix {
            None => ("", path),
            Some((matched, replacement)) => (replacement.as_str(), path.get(*matched..)?),
        };
        let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8().ok();
        let path = format!("{}{}", decode(prefix)?, decode(rest)?);
        // Normal paths have no such characters behind an escape; a file's name may have them.
        let is_plain = !path.contains(['\0', '\\']);
        is_plain.then(|| path.trim_start_matches('/').to_owned())
    }

    fn reply(&self, served: OpenedFile, method: &Method, headers: &HeaderMap) -> Reply {
        let etag = etag(&served);
        let validators = Validators { etag: &etag, modified: served.modified };
        let with_validators = |reply: Reply| {
            let reply = reply.header(header::CACHE_CONTROL, self.cache_control(&served.name));
            let reply = with_header(reply, header::ETAG, etag.as_str());
            match served.modified {
                Some(modified) => {
                    with_header(reply, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified))
                }
                None => reply,
            }
        };
        match validators.evaluate(headers) {
            PreconditionOutcome::NotModified => {
                return with_validators(Reply::new(StatusCode::NOT_MODIFIED));
            }
            PreconditionOutcome::Failed => {
                return Reply::gateway_error(
                    ErrorCode::PreconditionFailed,
                    "the file does not meet the precondition of the request (If-Match or \
                     If-Unmodified-Since)",
                );
            }
            PreconditionOutcome::Proceed => {}
        }
        let size = served.size;
        // RFC 9110, section 14.2: `Range` is for GET alone.
        let part = match *method == Method::GET {
            true => validators.requested_range(headers, size),
            false => RequestedRange::Whole,
        };
        let (status, first, length) = match part {
            RequestedRange::Whole => (StatusCode::OK, 0, size),
            RequestedRange::Range(range) => {
                (StatusCode::PARTIAL_CONTENT, *range.start(), range.end() - range.start() + 1)
            }
            RequestedRange::Unsatisfiable => {
                let reply = Reply::gateway_error(
                    ErrorCode::NoSuchRange,
                    format!("the file has {size} bytes"),
                );
                return with_header(reply, header::CONTENT_RANGE, &format!("bytes */{size}"));
            }
        };
        let mut reply = with_validators(Reply::new(status))
            .header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
            // The type is by the file's name; a browser is not to find another in its content.
            .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        reply = with_header(reply, header::CONTENT_TYPE, &content_type(&served.name));
        if status == StatusCode::PARTIAL_CONTENT {
            let last = first + length - 1;
            let range = format!("bytes {first}-{last}/{size}");
            reply = with_header(reply, header::CONTENT_RANGE, &range);
        }
        reply.file(served.file, first, length)
    }

    fn cache_control(&self, name: &str) -> HeaderValue {
        let is_immutable = self.immutable.iter().any(|pattern| pattern.matches(name));
        if is_immutable { CACHE_IMMUTABLE } else { self.cache_control.clone() }
    }
}

fn with_header(reply: Reply, name: HeaderName, value: &str) -> Reply {
    match HeaderValue::from_str(value) {
        Ok(value) => reply.header(name, value),
        Err(_) => reply,
    }
}

/// The entity tag, which changes with the file's time or size.
fn etag(served: &OpenedFile) -> String {
    let since = |modified: SystemTime| modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = served.modified.map_or(0, |modified| since(modified).as_nanos());
    format!("\"{time:x}-{:x}\"", served.size)
}

/// The media type by the extension; texts are served as UTF-8.
fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let is_text = guess.type_() == "text"
        || matches!(guess.essence_str(), "application/javascript" | "application/json");
    if is_text { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.to_string() }
}

#[async_trait]
impl Filter for FilesFilter {
    fn describe(&self) -> String {
        let ServedFolder { root, index, fallback } = &*self.folder;
        let fallback = fallback.as_ref().map(|name| format!(", fallback {name}"));
        format!("files: {}, index {index}{}", root.display(), fallback.unwrap_or_default())
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let method = &request.head().method;
        if method != Method::GET && method != Method::HEAD {
            let reply = Reply::gateway_error(
                ErrorCode::MethodNotAllowed,
                "files can only be read: use GET or HEAD",
            );
            let reply = reply.header(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(Flow::Respond(reply));
        }
        let found = match self.path(request) {
            None => FileLookup::Nothing,
            Some(path) => {
                let folder = Arc::clone(&self.folder);
                match tokio::task::spawn_blocking(move || folder.lookup(&path)).await? {
                    Ok(FileLookup::File(served)) if is_scarce(served.file.as_raw_fd()) => {
                        drop(served);
                        return Ok(Flow::Respond(no_descriptor()));
                    }
                    Err(error) if is_out_of_descriptors(&error) => {
                        return Ok(Flow::Respond(no_descriptor()));
                    }
                    found => found?,
                }
            }
        };
        Ok(Flow::Respond(match found {
            FileLookup::File(served) => {
                let head = request.head();
                self.reply(served, &head.method, &head.headers)
            }
            FileLookup::Folder => {
                // A normal path begins with one slash, so that it is never another host's.
                let mut location = format!("{}/", request.path());
                if let Some(query) = request.head().uri.query() {
                    location.push('?');
                    location.push_str(query);
                }
                with_header(Reply::new(StatusCode::PERMANENT_REDIRECT), header::LOCATION, &location)
            }
            FileLookup::Nothing => {
                Reply::gateway_error(ErrorCode::NoFile, "there is no such file here")
            }
        }))
    }
}
