//! The files of accounts and certificates below `state_dir`. Knows nothing of the protocol.

use super::AcmeSettings;
use crate::tls::Certificate;
use sha1::{Digest, Sha1};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tidegate_disk::PrivateFolder;

/// The folder of accounts and certificates below `state_dir`.
pub(crate) const ACME_FOLDER: &str = "acme";

/// The file with the account's credentials.
const ACCOUNT_FILE: &str = "account.json";

/// Maximum size of a stored file, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The files of an account and a certificate, which only the gateway's user may read.
///
/// `acme/AUTHORITY/account.json` and `acme/AUTHORITY/NAME-DIGEST.pem`, the key and the chain in
/// one file, so that they can't be of two orders.
#[derive(Debug)]
pub(super) struct AcmeStore {
    state: PathBuf,
    /// The authority's folder.
    authority: String,
    /// The certificate's file, without its ending.
    name: String,
}

/// While this lock is held, no other process orders the certificate.
pub(super) struct AcmeLock(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl AcmeStore {
    pub(super) fn new(state: &Path, settings: &AcmeSettings) -> Self {
        let authority = settings.directory.split("://").last().unwrap_or_default();
        let host = authority.split('/').next().unwrap_or_default();
        let authority = format!("{}-{}", safe_file_name(host), digest([&settings.directory]));
        let name = settings.domains.first().map_or("", String::as_str);
        let name = format!("{}-{}", safe_file_name(name), digest(&settings.domains));
        Self { state: state.to_owned(), authority, name }
    }

    /// Opens the folder of the authority; creates it if it is missing, and refuses one that others can read.
    fn open_folder(&self) -> io::Result<PrivateFolder> {
        PrivateFolder::open(&self.state, &[ACME_FOLDER, &self.authority])
    }

    /// What a file holds, if there is one.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        // A mere check makes no folder.
        if !self.state.join(ACME_FOLDER).join(&self.authority).join(name).exists() {
            return None;
        }
        self.open_folder()
            .and_then(|folder| folder.read(name, MAX_FILE_BYTES))
            .inspect_err(|error| {
                log::error!("cannot read the stored file `{name}` of ACME: {error}")
            })
            .ok()
    }

    /// The certificate that was kept, if there is one that can be used.
    pub(super) fn load_certificate(&self) -> Option<Certificate> {
        let name = format!("{}.pem", self.name);
        let kept = String::from_utf8(self.read(&name)?).unwrap_or_default();
        match Certificate::parse(&kept, &kept) {
            Ok(certificate) => Some(certificate),
            Err(fault) => {
                log::error!(
                    "the stored certificate `{name}` cannot be used: {fault}; the gateway orders \
                     a new one"
                );
                None
            }
        }
    }

    /// The certificates of other orders that are kept beside it: those of the same authority first,
    /// of each authority the longest-lived first. Files that can't be read are ignored.
    pub(super) fn load_other_certificates(&self) -> Vec<Certificate> {
        let mut own = self.load_certificates_of_others(&self.authority);
        let mut foreign: Vec<_> = self
            .list_authorities()
            .iter()
            .filter(|authority| **authority != self.authority)
            .flat_map(|authority| self.load_certificates_of_others(authority))
            .collect();
        for certificates in [&mut own, &mut foreign] {
            certificates.sort_by_key(|certificate| std::cmp::Reverse(certificate.not_after));
        }
        own.append(&mut foreign);
        own
    }

    /// The folders of all authorities, sorted.
    fn list_authorities(&self) -> Vec<String> {
        // A mere check makes no folder.
        if !self.state.join(ACME_FOLDER).exists() {
            return Vec::new();
        }
        let folder = PrivateFolder::open(&self.state, &[ACME_FOLDER]);
        let mut names = folder.and_then(|folder| folder.list_names()).unwrap_or_default();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// The certificates of an authority but this one.
    fn load_certificates_of_others(&self, authority: &str) -> Vec<Certificate> {
        if !self.state.join(ACME_FOLDER).join(authority).is_dir() {
            return Vec::new();
        }
        let Ok(folder) = PrivateFolder::open(&self.state, &[ACME_FOLDER, authority]) else {
            return Vec::new();
        };
        let own = format!("{}.pem", self.name);
        let mut names = folder.list_names().unwrap_or_default();
        names
            .retain(|name| name.ends_with(".pem") && (*name != own || authority != self.authority));
        names.sort();
        let load = |name: &String| {
            let kept = String::from_utf8(folder.read(name, MAX_FILE_BYTES).ok()?).ok()?;
            Certificate::parse(&kept, &kept).ok()
        };
        names.iter().filter_map(load).collect()
    }

    pub(super) fn write_certificate(&self, chain: &str, key: &str) -> io::Result<()> {
        self.open_folder()?.write(&format!("{}.pem", self.name), format!("{key}{chain}").as_bytes())
    }

    /// The account's credentials, as they were kept.
    pub(super) fn load_account(&self) -> Option<Vec<u8>> {
        self.read(ACCOUNT_FILE)
    }

    pub(super) fn write_account(&self, credentials: &[u8]) -> io::Result<()> {
        self.open_folder()?.write(ACCOUNT_FILE, credentials)
    }

    /// Where the account is kept.
    pub(super) fn account_file(&self) -> PathBuf {
        self.state.join(ACME_FOLDER).join(&self.authority).join(ACCOUNT_FILE)
    }

    /// `None` while another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<AcmeLock>> {
        Ok(self.open_folder()?.lock(&format!("{}.lock", self.name))?.map(AcmeLock))
    }
}

/// The name without characters that are special in a file system.
fn safe_file_name(name: &str) -> String {
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
    use std::time::Duration;
    use tidegate_config::AcmeChallenge;

    #[test]
    fn order_lock_has_one_holder_and_is_released_on_drop() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |name: &str| AcmeSettings {
            domains: vec![name.to_owned()],
            email: None,
            directory: "https://ca.test/directory".to_owned(),
            ca: None,
            challenge: AcmeChallenge::TlsAlpn01,
            external_account: None,
            renew_before: None,
            retry: Duration::from_secs(1),
        };
        let store = |name: &str| AcmeStore::new(folder.path(), &settings(name));
        let locked = store("a.test").lock().unwrap();
        assert!(locked.is_some());
        assert!(store("a.test").lock().unwrap().is_none(), "another has it");
        assert!(store("b.test").lock().unwrap().is_some(), "that is another certificate");
        drop(locked);
        assert!(store("a.test").lock().unwrap().is_some());
    }
}
