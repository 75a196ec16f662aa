//! `examples/template` becomes a project that compiles and passes its own tests.
//!
//! The project is built in a copy of the workspace whose folders are links to ours: for Cargo the crates are at the same places
//! in it, so it takes what it has compiled for this test, and compiles the project alone.

use super::documents::HERE;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "my-gateway";

/// What `cargo generate` would make of the template, with the crates of this workspace.
fn generate(folder: &Path) {
    for entry in glob::glob(&format!("{HERE}/examples/template/**/*")).expect("a pattern") {
        let from = entry.expect("a path");
        let to =
            folder.join(from.strip_prefix(format!("{HERE}/examples/template")).expect("in it"));
        if from.is_dir() {
            fs::create_dir_all(to).expect("a folder");
            continue;
        }
        let text = fs::read_to_string(&from).expect("a file");
        let text = text.replace("{{project-name}}", NAME);
        assert!(!text.contains("{{"), "{} has an unknown placeholder", from.display());
        fs::write(to, text).expect("a file");
    }
    let file = folder.join("Cargo.toml");
    let mut manifest = fs::read_to_string(&file).expect("a manifest");
    let mut replace = |old: &str, new: &str| {
        assert!(manifest.contains(old), "the template's manifest lacks {old}");
        manifest = manifest.replace(old, new);
    };
    let version = env!("CARGO_PKG_VERSION");
    let features = if cfg!(feature = "import-express") { "\"import-express\"" } else { "" };
    replace(
        &format!("tidegate = \"{version}\""),
        &format!("tidegate = {{ path = \"..\", features = [{features}] }}"),
    );
    replace(
        &format!("tidegate-testing = \"{version}\""),
        "tidegate-testing = { path = \"../crates/tidegate-testing\" }",
    );
    replace("[workspace]\n", "");
    // With these, packages have the same features as in this workspace's tests, and need not be compiled again.
    replace("tokio = { version = \"1\", features = [\"macros\", \"rt\"] }", &dev_dependencies());
    fs::write(file, manifest).expect("a manifest");
}

/// The dev-dependencies of this workspace's root, without its own crates.
fn dev_dependencies() -> String {
    let manifest = fs::read_to_string(format!("{HERE}/Cargo.toml")).expect("our manifest");
    let (_, list) = manifest.split_once("\n[dev-dependencies]\n").expect("dev-dependencies");
    let lines = list.lines().take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.starts_with("tidegate")).map(|line| format!("{line}\n")).collect()
}

/// A workspace like ours, with the project as its member.
fn workspace(folder: &Path) -> PathBuf {
    for entry in fs::read_dir(HERE).expect("the repository") {
        let name = entry.expect("an entry").file_name();
        if !["target", ".git", "Cargo.toml", "Cargo.lock", NAME].iter().any(|it| name == *it) {
            std::os::unix::fs::symlink(Path::new(HERE).join(&name), folder.join(&name))
                .expect("a link");
        }
    }
    let manifest = fs::read_to_string(format!("{HERE}/Cargo.toml")).expect("our manifest");
    let lines = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let lines = lines.map(|line| match line.starts_with("members = ") {
        true => format!("members = [\"crates/*\", \"{NAME}\"]\n"),
        false => format!("{line}\n"),
    });
    fs::write(folder.join("Cargo.toml"), lines.collect::<String>()).expect("a manifest");
    fs::copy(format!("{HERE}/Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
    let project = folder.join(NAME);
    fs::create_dir(&project).expect("a folder");
    project
}

#[test]
fn template_becomes_a_project_that_passes_its_tests() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let project = workspace(folder.path());
    generate(&project);
    let built = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().expect("a folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--offline", "--package", NAME])
        .args(built.ends_with("release").then_some("--release"))
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", built.parent().expect("the target folder"));
    // What Cargo says of this test's package is not to be taken for what it says of others: build scripts would run again.
    let of_package =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if of_package.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    let ended = cargo.output().expect("cargo");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(ended.stdout), text(ended.stderr));
    assert!(ended.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("3 passed") && stdout.contains("1 passed"), "{stdout}");

    let mut program = Command::new(built.join(NAME));
    let check = program.args(["check", "--config", "tidegate.yaml"]).current_dir(&project);
    let ended = check.output().expect("the project's program");
    assert!(ended.status.success(), "{}", text(ended.stderr));
}
