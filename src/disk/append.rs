//! Log files that are appended to, and never waited for.

use rustix::fs::{Access, OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who may read a log: the gateway's user and its group. Logs tell of users and their addresses.
const LOG_MODE: u32 = 0o640;

/// Opens a log's file for appending, and makes it where it is missing. It does not wait: a named
/// pipe without a reader is opened all the same, and takes as many lines as the kernel holds.
pub fn open_log(path: &Path) -> io::Result<File> {
    let open = |reads: bool| {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        OpenOptions::new()
            .create(true)
            .append(true)
            // Linux opens a pipe for both directions at once (fifo(7)).
            .read(reads)
            .mode(LOG_MODE)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
    };
    let file = open(true).or_else(|_| open(false))?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Whether [`open_log`] would succeed, without making the file.
pub fn can_append(path: &Path) -> io::Result<()> {
    let may = |path: &Path, access: Access| Ok(rustix::fs::access(path, access)?);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => may(path, Access::WRITE_OK),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            may(folder.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)
        }
        Err(error) => Err(error),
    }
}

/// Lets what is written to a plain file go to its end, wherever that is by then: another process
/// may write there as well (`tidegate upgrade`), and rotation by copying empties it.
pub fn append_always(file: &File) {
    if file.metadata().is_ok_and(|found| found.is_file())
        && let Ok(flags) = fcntl_getfl(file)
    {
        let _ = fcntl_setfl(file, flags | OFlags::APPEND);
    }
}
