//! Each example configuration is valid and does what it shows.

mod answers;
mod credentials;
mod edge;
mod login;
mod login_sessions;
mod operating;
mod tokens;
mod upstreams;

use std::path::{Path, PathBuf};
use tidegate_testing::cli;

fn examples() -> Vec<PathBuf> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut files = vec![conf.join("tidegate.yaml"), conf.join("tidegate-auth.yaml")];
    let listed = std::fs::read_dir(conf.join("examples")).expect("conf/examples");
    files.extend(
        listed
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml")),
    );
    files
}

#[tokio::test]
async fn every_example_passes_check() {
    let files = examples();
    assert!(files.len() > 1, "there are examples");
    // Where sockets are made, as systemd says.
    let folder = tempfile::TempDir::new().expect("a folder");
    let folder = [("RUNTIME_DIRECTORY", folder.path().to_str().expect("a path"))];
    for file in files {
        let run = cli(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &["check", "--config", file.to_str().expect("a path")],
            &folder,
        )
        .await;
        assert_eq!(run.code, Some(0), "{}: {}", file.display(), run.all());
    }
}

#[tokio::test]
async fn every_example_names_its_schema_for_editors() {
    for file in examples() {
        let text = std::fs::read_to_string(&file).expect("the example");
        assert!(text.contains("# yaml-language-server: $schema="), "{}", file.display());
    }
}

/// The tests that run them: `Example::from_file` stands there for each.
const RUN: &[&str] = &[
    include_str!("examples_run/answers.rs"),
    include_str!("examples_run/credentials.rs"),
    include_str!("examples_run/edge.rs"),
    include_str!("examples_run/login_sessions.rs"),
    include_str!("examples_run/login.rs"),
    include_str!("examples_run/operating.rs"),
    include_str!("examples_run/tokens.rs"),
    include_str!("examples_run/upstreams.rs"),
];

#[test]
fn every_example_is_run() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    for file in examples() {
        let name = file.strip_prefix(&conf).expect("below conf").display().to_string();
        let run = format!("Example::from_file(\"{name}\")");
        assert!(RUN.iter().any(|tests| tests.contains(&run)), "no test has {run}");
    }
}
