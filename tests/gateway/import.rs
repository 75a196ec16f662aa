//! `tidegate import`: the converted configuration, its notes, and the same routing as before.

#[cfg(feature = "import-express")]
mod express;
mod nginx;
mod replay;
mod traefik;

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_testing::{Cli, cli};

/// The folder of the files that are imported, and of what has to come out.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/import")
}

/// What becomes of a text.
struct Imported {
    run: Cli,
    folder: TempDir,
}

/// Imports a text that stands in a file of this name.
async fn import(format: &str, name: &str, text: &str) -> Imported {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join(name), text).expect("a file");
    std::fs::create_dir(folder.path().join("dist")).expect("a folder to serve");
    let run = cli(folder.path(), &["import", format, name], &[]).await;
    Imported { run, folder }
}

impl Imported {
    /// That `tidegate check` finds nothing wrong with it.
    async fn is_good(&self) {
        let file = self.folder.path().join("tidegate.yaml");
        std::fs::write(file, &self.run.stdout).expect("a file");
        let check = cli(self.folder.path(), &["check"], &[]).await;
        assert_eq!(check.code, Some(0), "{}\n{}", check.all(), self.run.stdout);
        assert!(!check.all().contains("shadowed-route"), "{}\n{}", check.all(), self.run.stdout);
    }

    /// Whether these settings are in the result, on one line or several.
    fn has_settings(&self, settings: &str) -> bool {
        let words = |text: &str| {
            let text = text.replace(['{', '}', '[', ']', '"', ','], " ");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        words(&self.run.stdout).contains(&words(settings))
    }

    /// That this is said of this line.
    fn says(&self, line: usize, words: &str) {
        let place = format!(":{line}: ");
        let mut said = self.run.stderr.lines().filter(|it| it.contains(&place));
        assert!(said.any(|it| it.contains(words)), "{place}{words}\n{}", self.run.stderr);
    }
}

/// Imports a file beside this one and compares all that comes out with what is written down:
/// `NAME.yaml` and `NAME.notes`. `TIDEGATE_BLESS=1` writes them down.
async fn comes_out_as_written(format: &str, name: &str, code: i32) {
    let text = std::fs::read_to_string(folder().join(name)).expect("the file");
    let imported = import(format, name, &text).await;
    assert_eq!(imported.run.code, Some(code), "{}", imported.run.all());
    imported.is_good().await;
    let written = [("yaml", &imported.run.stdout), ("notes", &imported.run.stderr)];
    for (extension, made) in written {
        let file = folder().join(format!("{name}.{extension}"));
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&file, made).expect("a file");
        }
        let wanted = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(*made == wanted, "{} differs; now it is\n{made}", file.display());
    }
}
