//! Reads regular files, within limits. Knows nothing of what files contain.

use rustix::fs::OFlags;
use std::fs::{FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Reads a regular file of at most so many bytes. Anything else is refused before it is read: a
/// named pipe would be waited for until somebody writes, a device may never end.
pub fn read(path: &Path, max_size: u64) -> io::Result<Vec<u8>> {
    let bytes = read_at_most(path, max_size.saturating_add(1))?;
    if bytes.len() as u64 > max_size {
        let reason = format!("the file is larger than {}", bytesize::ByteSize(max_size));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// The beginning of a regular file, of any size, as text; what is not UTF-8 in it is replaced.
pub fn read_start(path: &Path, max_size: u64) -> Option<String> {
    let bytes = read_at_most(path, max_size).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_at_most(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe waits as well.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        let reason = format!("the path is {}, not a regular file", file_kind(found.file_type()));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(size)).unwrap_or(0));
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of at most this size as text; the error says in words what is wrong with it.
pub fn read_text(path: &Path, max_size: u64) -> Result<String, String> {
    let bytes = read(path, max_size).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())
}

fn file_kind(found: FileType) -> &'static str {
    match found {
        it if it.is_dir() => "a folder",
        it if it.is_fifo() => "a named pipe",
        it if it.is_socket() => "a socket",
        it if it.is_char_device() || it.is_block_device() => "a device",
        _ => "a file of an unknown type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_regular_files_are_read_and_pipes_do_not_block() {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = |path: &Path| read_text(path, 10).expect_err("refused");
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
        assert_eq!(reason(&pipe), "the path is a named pipe, not a regular file");
        assert_eq!(reason(Path::new("/dev/zero")), "the path is a device, not a regular file");
        assert_eq!(reason(folder.path()), "the path is a folder, not a regular file");
        let file = folder.path().join("file");
        fs::write(&file, "0123456789").expect("written");
        assert_eq!(read_text(&file, 10).as_deref(), Ok("0123456789"));
        assert_eq!(read_text(&file, 9).expect_err("refused"), "the file is larger than 9 B");
    }
}
