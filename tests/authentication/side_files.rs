//! A gateway with files beside its configuration. Knows no scheme.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{Cli, Config, Gateway, cli, free_port, replace_file};

/// Starts a gateway whose configuration names these files.
pub(crate) async fn start_with(config: &Config, files: &[(&str, &str)]) -> Gateway {
    start(files, |port| config.yaml(port)).await
}

/// The same, with one thread for requests.
pub(crate) async fn start_on_one_thread(config: &Config, files: &[(&str, &str)]) -> Gateway {
    start(files, |port| config.yaml(port).replace("threads: 2", "threads: 1")).await
}

async fn start(files: &[(&str, &str)], yaml: impl FnOnce(u16) -> String) -> Gateway {
    let (folder, port) = (folder_with(files), free_port());
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, yaml(port)).expect("the configuration");
    Gateway::run(folder, file, port).await
}

/// Replaces a file beside the configuration of a gateway.
pub(crate) fn replace(gateway: &Gateway, name: &str, text: &str) {
    replace_file(&gateway.folder().join(name), text);
}

/// What `tidegate check` says of a configuration whose files have this content, without the folder's name.
pub(crate) async fn check(config: &Config, files: &[(&str, &str)]) -> Cli {
    check_with_mode(config, files, 0o600).await
}

/// The same, where the files have these permissions.
pub(crate) async fn check_with_mode(config: &Config, files: &[(&str, &str)], mode: u32) -> Cli {
    let folder = folder_with(files);
    for (name, _) in files {
        let permissions = Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(name), permissions).expect("permissions");
    }
    std::fs::write(folder.path().join("tidegate.yaml"), config.yaml(3000)).expect("a file");
    cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await
}

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}
