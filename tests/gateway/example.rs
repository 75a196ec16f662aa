//! Starts the example configurations of `conf/` for tests: each in a folder of its own, with free ports. Knows nothing
//! of what a test checks.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_testing::{Gateway, free_port};

/// An example of `conf`, in a folder of its own, with addresses that there are here.
pub(crate) struct Example {
    folder: TempDir,
    file: PathBuf,
    text: String,
    port: u16,
}

impl Example {
    /// The one with this name, and all that lies beside it.
    pub(crate) fn from_file(name: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
        copy(&conf, &folder.path().join("conf"));
        let file = folder.path().join("conf").join(name);
        let text = std::fs::read_to_string(&file).expect("the example");
        Self { folder, file, text, port: free_port() }
    }

    /// With something else in each place where this stands.
    pub(crate) fn with(mut self, this: &str, that: impl Display) -> Self {
        assert!(self.text.contains(this), "{this} in:\n{}", self.text);
        self.text = self.text.replace(this, &that.to_string());
        self
    }

    /// With the port that the test speaks to in the place of this address.
    pub(crate) fn at(self, address: &str) -> Self {
        let here = format!("127.0.0.1:{}", self.port);
        self.with(&format!("address: {address}\n"), format!("address: {here}\n"))
    }

    /// With other text in a file beside it.
    pub(crate) fn beside(self, name: &str, text: &str) -> Self {
        std::fs::write(self.below(name), text).expect("a file");
        self
    }

    /// A path beside the example.
    pub(crate) fn below(&self, name: &str) -> PathBuf {
        self.file.with_file_name(name)
    }

    /// Spoken to at this port.
    pub(crate) fn on(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The port that the test speaks to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The text as it is now.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) async fn run(self) -> Gateway {
        self.run_with(&[]).await
    }

    /// The same, with variables in its environment.
    pub(crate) async fn run_with(self, environment: &[(&str, &str)]) -> Gateway {
        std::fs::write(&self.file, &self.text).expect("the example");
        Gateway::run_with(self.folder, self.file, self.port, environment).await
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("copied")),
        }
    }
}
