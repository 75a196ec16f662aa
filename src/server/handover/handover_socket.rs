//! The Unix sockets at which two gateways meet: their paths, their owners, their modes. Sends nothing.

use crate::server::socket::can_bind;
use rustix::process::geteuid;
use sha1::{Digest, Sha1};
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{self, Path, PathBuf};
use tidegate_disk::{PrivateFolder, is_trusted};

/// Where a gateway meets the one that comes after it.
#[derive(Debug, Clone)]
pub(crate) struct HandoverSocket(PathBuf);

impl HandoverSocket {
    /// The one that the configuration names, or else one that is found again by its file.
    pub(crate) fn locate(written: Option<&Path>, file: Option<&Path>) -> Option<Self> {
        if let Some(written) = written {
            return Some(Self(written.to_owned()));
        }
        let file = path::absolute(file?).ok()?;
        if let Some(folders) = env::var_os("RUNTIME_DIRECTORY") {
            let folder = env::split_paths(&folders).next()?;
            return Some(Self(folder.join("upgrade.sock")));
        }
        // It must be the same for the next binary, which may hash otherwise in its maps.
        let digest = Sha1::digest(file.as_os_str().as_encoded_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let folder = env::temp_dir().join(format!("tidegate-{}", geteuid().as_raw()));
        Some(Self(folder.join(format!("{name}.sock"))))
    }

    /// Where the new process waits for the sockets.
    pub(crate) fn transfer(&self) -> &Path {
        &self.0
    }

    /// The control socket of the process that serves.
    pub(crate) fn control(&self) -> PathBuf {
        self.with_suffix(".control")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = OsString::from(&self.0);
        path.push(suffix);
        path.into()
    }

    /// Makes the folder when it is missing, and refuses one in which others could put a socket
    /// of theirs: the process that owns the socket gets the listeners.
    pub(crate) fn prepare_folder(&self) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        check_folder(folder)
    }

    /// Whether [`HandoverSocket::prepare_folder`] and binding would succeed, as far as can be checked without creating anything.
    pub(crate) fn check_bindable(&self) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        match fs::metadata(folder) {
            Ok(_) => check_folder(folder)?,
            // It is made at the start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return PrivateFolder::check_openable(folder, &[]);
            }
            Err(error) => return Err(error),
        }
        for path in [self.0.clone(), self.control()] {
            can_bind(&path)?;
        }
        Ok(())
    }

    /// Binds the control socket in place of the one of the gateway before. There is always one
    /// or the other.
    pub(crate) fn bind_control(&self) -> io::Result<UnixListener> {
        self.prepare_folder()?;
        let new = self.with_suffix(&format!(".{}", std::process::id()));
        let listener = bind(&new)?;
        fs::rename(&new, self.control())?;
        Ok(listener)
    }

    /// Binds the socket where the listeners are to come.
    pub(crate) fn bind_transfer(&self) -> io::Result<UnixListener> {
        self.prepare_folder()?;
        bind(&self.0)
    }
}

/// Refuses a folder in which others could put a socket of theirs.
fn check_folder(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    if !is_trusted(found.uid()) || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "the folder {} belongs to another user, or other users can write to it",
                folder.display()
            ),
        ));
    }
    Ok(())
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // One that a killed process has left.
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_folder_writable_by_others_is_refused() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let socket = HandoverSocket(folder.path().join("upgrade.sock"));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("open to all");
        assert!(socket.bind_transfer().is_err());
        assert!(socket.bind_control().is_err());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("closed");
        socket.bind_transfer().expect("bound");
        let mode = fs::metadata(socket.transfer()).expect("a socket").mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn regular_file_at_the_socket_path_is_kept() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let socket = HandoverSocket(folder.path().join("upgrade.sock"));
        fs::write(socket.transfer(), "precious").expect("a file");
        assert!(socket.bind_transfer().is_err());
        assert_eq!(fs::read_to_string(socket.transfer()).expect("still there"), "precious");
    }

    #[test]
    fn each_configuration_file_has_its_own_socket() {
        let of =
            |file: &str| HandoverSocket::locate(None, Some(Path::new(file))).expect("a socket").0;
        assert_eq!(of("/etc/a.yaml"), of("/etc/a.yaml"));
        assert_ne!(of("/etc/a.yaml"), of("/etc/b.yaml"));
        assert!(HandoverSocket::locate(None, None).is_none());
    }
}
