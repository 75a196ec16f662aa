//! `tidegate check` refuses what `tidegate run` would fail on at the same machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{Cli, cli, free_port};

const ROUTE: &str = "routes: [{name: all, match: {path_prefix: /}, respond: {body: x}}]\n";

/// A listener for each address, one a line, from line 2 on.
fn listeners(addresses: &[&str]) -> String {
    let lines = addresses.iter().map(|address| format!("  - {{address: \"{address}\"}}\n"));
    format!("listeners:\n{}", lines.collect::<String>())
}

async fn tidegate(folder: &Path, verb: &str, yaml: &str) -> Cli {
    fs::write(folder.join("gate.yaml"), yaml).expect("a file");
    cli(folder, &[verb, "--config", "gate.yaml"], &[]).await
}

/// That `check` names this key and these words once, and nothing else.
async fn refused(folder: &Path, yaml: &str, key: &str, words: &str) {
    let check = tidegate(folder, "check", yaml).await;
    let said = check.all();
    assert_eq!(check.code, Some(78), "{yaml}\n{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains(": error: ")).collect();
    let [error] = errors.as_slice() else { panic!("one mistake, one error:\n{yaml}\n{said}") };
    assert!(error.contains(&format!(": error: {key}: ")), "{yaml}\n{said}");
    assert!(error.contains(words), "{words:?} is not said of\n{yaml}\n{said}");
}

async fn assert_check_passes(folder: &Path, yaml: &str) {
    let check = tidegate(folder, "check", yaml).await;
    assert_eq!(check.code, Some(0), "{yaml}\n{}", check.all());
}

#[tokio::test]
async fn conflicting_addresses_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let at = |address: &str| format!("{address}:{port}");
    for (one, other) in [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("[::]", "127.0.0.1"),
        ("127.0.0.1", "[::]"),
        ("[::]", "0.0.0.0"),
        ("[::]", "[::1]"),
        ("[::1]", "[::]"),
        ("[::1]", "[0:0:0:0:0:0:0:1]"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::ffff:0.0.0.0]", "127.0.0.1"),
    ] {
        let (one, other) = (at(one), at(other));
        let yaml = format!("{}{ROUTE}", listeners(&[&one, &other]));
        refused(folder.path(), &yaml, "listeners[1].address", "the listener in line 2").await;
        let run = tidegate(folder.path(), "run", &yaml).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
    }
    let admin = |address: &str| format!("admin: {{address: \"{address}\"}}\n");
    for one in ["127.0.0.1", "0.0.0.0", "[::]"] {
        let yaml = format!("{}{}{ROUTE}", listeners(&[&at(one)]), admin(&at("127.0.0.1")));
        refused(folder.path(), &yaml, "admin.address", "the listener in line 2").await;
    }
    for addresses in [
        &[&at("127.0.0.1"), &at("127.0.0.2")][..],
        &[&at("127.0.0.1"), &at("[::1]")],
        &[&at("0.0.0.0"), &at("[::1]")],
        &[&at("0.0.0.0"), &"0.0.0.0:1".to_owned()],
    ] {
        let addresses: Vec<&str> = addresses.iter().map(|it| it.as_str()).collect();
        assert_check_passes(folder.path(), &format!("{}{ROUTE}", listeners(&addresses))).await;
    }
    // A free port for each.
    let yaml = format!("{}{}{ROUTE}", listeners(&["127.0.0.1:0"]), admin("127.0.0.1:0"));
    assert_check_passes(folder.path(), &yaml).await;
}

#[tokio::test]
async fn socket_that_cannot_be_created_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    fs::write(path("file"), "precious").expect("a file");
    fs::create_dir(path("folder")).expect("a folder");
    symlink(path("file"), path("link")).expect("a link");
    symlink(folder.path(), path("same")).expect("a link");
    drop(UnixListener::bind(path("left.sock")).expect("a socket"));
    let _other = UnixListener::bind(path("used.sock")).expect("a socket");
    let something = "exists and is not a socket";
    for (name, words) in [
        ("file", something),
        ("folder", something),
        ("link", something),
        ("folder/", something),
        ("new/", "directory"),
        ("missing/http.sock", "No such file or directory"),
        ("file/http.sock", "Not a directory"),
    ] {
        let socket = format!("unix:{}", path(name));
        let yaml = format!("{}{ROUTE}", listeners(&["127.0.0.1:0", &socket]));
        refused(folder.path(), &yaml, "listeners[1].address", words).await;
        let run = tidegate(folder.path(), "run", &yaml).await;
        assert_ne!(run.code, Some(0), "{}", run.all());
        let admin = format!("admin: {{address: \"{socket}\"}}\n");
        let yaml = format!("{}{admin}{ROUTE}", listeners(&["127.0.0.1:0"]));
        refused(folder.path(), &yaml, "admin.address", words).await;
    }
    let long = format!("unix:{}", path(&"x".repeat(108)));
    let yaml = format!("{}{ROUTE}", listeners(&["127.0.0.1:0", &long]));
    refused(folder.path(), &yaml, "listeners[1].address", "longer than 107 bytes").await;
    for name in ["http.sock", "left.sock", "used.sock"] {
        let socket = format!("unix:{}", path(name));
        assert_check_passes(folder.path(), &format!("{}{ROUTE}", listeners(&[&socket]))).await;
    }
    assert!(!Path::new(&path("http.sock")).exists(), "a check makes nothing");
}

#[tokio::test]
async fn path_used_by_two_keys_is_refused() {
    let folder = TempDir::new().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("private");
    symlink(folder.path(), folder.path().join("same")).expect("a link");
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    let socket = format!("unix:{}", path("http.sock"));
    for name in ["http.sock", "./http.sock", "/http.sock", "same/http.sock"] {
        let other = format!("unix:{}", path(name));
        let yaml = format!("{}{ROUTE}", listeners(&[&socket, &other]));
        refused(folder.path(), &yaml, "listeners[1].address", "the listener in line 2").await;
        let admin = format!("admin: {{address: \"{other}\"}}\n");
        let yaml = format!("{}{admin}{ROUTE}", listeners(&[&socket]));
        refused(folder.path(), &yaml, "admin.address", "the listener in line 2").await;
        let log = format!("access_log: {{path: \"{}\"}}\n", path(name));
        let yaml = format!("{}{log}{ROUTE}", listeners(&[&socket]));
        refused(folder.path(), &yaml, "access_log.path", "the listener in line 2").await;
        let upgrade = format!("upgrade_socket: \"{}\"\n", path(name));
        let yaml = format!("{}{upgrade}{ROUTE}", listeners(&[&socket]));
        refused(folder.path(), &yaml, "upgrade_socket", "the listener in line 2").await;
    }
    let control = format!("unix:{}", path("up.sock.control"));
    let upgrade = format!("upgrade_socket: \"{}\"\n", path("up.sock"));
    let yaml = format!("{}{upgrade}{ROUTE}", listeners(&["127.0.0.1:0", &control]));
    refused(folder.path(), &yaml, "upgrade_socket", "the listener in line 3").await;
}

#[tokio::test]
async fn unusable_state_dir_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let top = listeners(&["127.0.0.1:0"]);
    let yaml = |name: &str| format!("{top}state_dir: \"{name}\"\n{ROUTE}");
    fs::write(path("file"), "precious").expect("a file");
    symlink("/no/such/folder", path("dangling")).expect("a link");
    for name in ["file", "file/state", "dangling", "dangling/state"] {
        refused(folder.path(), &yaml(name), "state_dir", "is not a directory").await;
    }
    for (name, mode, words) in [("open", 0o777, "is writable by other users"), ("fine", 0o700, "")]
    {
        fs::create_dir_all(path(name).join("history")).expect("a folder");
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(path(name).join("history"), mode).expect("set");
        match words {
            "" => assert_check_passes(folder.path(), &yaml(name)).await,
            words => refused(folder.path(), &yaml(name), "state_dir", words).await,
        }
    }
    fs::create_dir(path("linked")).expect("a folder");
    symlink(folder.path(), path("linked/history")).expect("a link");
    refused(folder.path(), &yaml("linked"), "state_dir", "is a symbolic link or not a directory")
        .await;
    fs::create_dir(path("holds-a-file")).expect("a folder");
    fs::write(path("holds-a-file/history"), "").expect("a file");
    refused(
        folder.path(),
        &yaml("holds-a-file"),
        "state_dir",
        "is a symbolic link or not a directory",
    )
    .await;
    fs::create_dir(path("stranger")).expect("a folder");
    fs::create_dir(path("stranger/history")).expect("a folder");
    // Only root may.
    if chown(path("stranger/history"), Some(12_345), None).is_ok() {
        refused(folder.path(), &yaml("stranger"), "state_dir", "belongs to another user").await;
    }
    assert_check_passes(folder.path(), &yaml("new/state")).await;
    assert!(!path("new").exists(), "a check makes nothing");
}

#[tokio::test]
async fn access_log_that_cannot_be_created_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "").expect("a file");
    fs::create_dir(path("logs")).expect("a folder");
    symlink("/no/such/folder/a.log", path("dangling")).expect("a link");
    symlink("dangling", path("twice")).expect("a link");
    symlink("logs/new.log", path("link")).expect("a link");
    symlink("itself", path("itself")).expect("a link");
    let _socket = UnixListener::bind(path("socket")).expect("a socket");
    let yaml = |name: &str| {
        format!("{}access_log: {{path: \"{name}\"}}\n{ROUTE}", listeners(&["127.0.0.1:0"]))
    };
    for (name, words) in [
        ("dangling", "No such file or directory"),
        ("twice", "No such file or directory"),
        ("missing/a.log", "No such file or directory"),
        ("file/a.log", "Not a directory"),
        ("logs", "directory"),
        ("logs/", "directory"),
        ("new/", "directory"),
        ("", "directory"),
        ("itself", "symbolic link"),
        ("socket", "socket"),
    ] {
        refused(folder.path(), &yaml(name), "access_log.path", words).await;
        let run = tidegate(folder.path(), "run", &yaml(name)).await;
        assert_eq!(run.code, Some(78), "{name}: {}", run.all());
    }
    for name in ["link", "logs/a.log", "/dev/null"] {
        assert_check_passes(folder.path(), &yaml(name)).await;
    }
    assert!(!path("logs/new.log").exists(), "a check makes nothing");
}
