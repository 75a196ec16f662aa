use super::Settings;
use crate::tls::Certificate;
use sha1::{Digest, Sha1};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where an account and a certificate are kept: files that only this user may read.
///
/// `acme/AUTHORITY/account.json` and `acme/AUTHORITY/NAME-DIGEST.pem`, the key and the chain in
/// one file, so that they can't be of two orders.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    certificate: PathBuf,
}

/// As long as it lives, no other process orders this certificate.
pub(super) struct Lock(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl Store {
    pub(super) fn new(state: &Path, settings: &Settings) -> Self {
        let authority = settings.directory.split("://").last().unwrap_or_default();
        let host = authority.split('/').next().unwrap_or_default();
        let folder =
            state.join("acme").join(format!("{}-{}", plain(host), digest([&settings.directory])));
        let name = settings.domains.first().map_or("", String::as_str);
        let name = format!("{}-{}", plain(name), digest(&settings.domains));
        Self { certificate: folder.join(name + ".pem"), folder }
    }

    /// The certificate that was kept, if there is one that can be used.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let path = &self.certificate;
        if !path.exists() {
            return None;
        }
        match Certificate::load(path, path) {
            Ok(certificate) => Some(certificate),
            Err(fault) => {
                log::error!("{} can't be used: {fault}; a new one is ordered", path.display());
                None
            }
        }
    }

    /// The certificates of other orders that are kept beside it: those of the same authority first,
    /// of each authority the longest-lived first. Files that can't be read are ignored.
    pub(super) fn other_certificates(&self) -> Vec<Certificate> {
        let others = self.folder.parent().map(pem_files_below).unwrap_or_default();
        let (own, foreign): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|path| path.starts_with(&self.folder));
        let load = |paths: Vec<PathBuf>| {
            let others = paths.into_iter().filter(|path| *path != self.certificate);
            let mut all: Vec<_> =
                others.filter_map(|path| Certificate::load(&path, &path).ok()).collect();
            all.sort_by_key(|certificate| std::cmp::Reverse(certificate.not_after));
            all
        };
        load(own).into_iter().chain(load(foreign)).collect()
    }

    pub(super) fn keep_certificate(&self, chain: &str, key: &str) -> io::Result<()> {
        self.write(&self.certificate, format!("{key}{chain}").as_bytes())
    }

    /// The account's credentials, as they were kept.
    pub(super) fn account(&self) -> Option<Vec<u8>> {
        fs::read(self.account_file()).ok()
    }

    pub(super) fn keep_account(&self, credentials: &[u8]) -> io::Result<()> {
        self.write(&self.account_file(), credentials)
    }

    pub(super) fn account_file(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// `None` while another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.certificate.with_extension("lock");
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// All of it or nothing.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, path)
    }
}

/// The files in the folders of this one that certificates are kept in.
fn pem_files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries(folder.to_owned()).flat_map(|authority| entries(authority.path()));
    let mut files: Vec<_> = files
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    files.sort();
    files
}

/// Nothing that means something to a file system.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(80).collect()
}

fn digest(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut sha = Sha1::new();
    for part in parts {
        sha.update(part.as_ref());
        sha.update([0]);
    }
    sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AcmeChallenge;
    use std::time::Duration;

    #[test]
    fn one_orders_at_a_time_and_the_lock_goes_with_who_had_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |name: &str| Settings {
            domains: vec![name.to_owned()],
            email: None,
            directory: "https://ca.test/directory".to_owned(),
            ca: None,
            challenge: AcmeChallenge::TlsAlpn01,
            external_account: None,
            renew_before: None,
            retry: Duration::from_secs(1),
        };
        let store = |name: &str| Store::new(folder.path(), &settings(name));
        let held = store("a.test").lock().unwrap();
        assert!(held.is_some());
        assert!(store("a.test").lock().unwrap().is_none(), "another has it");
        assert!(store("b.test").lock().unwrap().is_some(), "that is another certificate");
        drop(held);
        assert!(store("a.test").lock().unwrap().is_some());
    }
}
