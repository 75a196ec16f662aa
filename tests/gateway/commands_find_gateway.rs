//! The commands find the gateway that runs with a configuration file, whatever happened to the file.

use nix::sys::signal::Signal;
use tidegate_testing::{Admin, Config, Gateway, Upstream, cli, free_port, ok, replace_file};

/// A service, and what it is asked for by this version of the configuration.
fn version(upstream: &Upstream, admin: &Admin, number: u32) -> Config {
    Config::to(upstream).with(&format!("rewrite: {{prefix: /v{number}}}")).top(&admin.section())
}

async fn echoing() -> Upstream {
    Upstream::answering(|request| ok(request.head.target())).await
}

async fn said(gateway: &Gateway) -> String {
    gateway.get("/", &[]).await.text()
}

/// Edits the file, and waits for the version.
async fn edit(gateway: &Gateway, config: &Config) {
    let mark = gateway.mark();
    gateway.rewrite(config);
    gateway.says(mark, "configuration reloaded").await;
}

/// The verbs that ask a gateway which runs.
const VERBS: [&[&str]; 8] = [
    &["status"],
    &["history"],
    &["sessions"],
    &["kick", "--user", "nobody"],
    &["cache", "purge", "--all"],
    &["drain"],
    &["drain", "--stop"],
    &["rollback"],
];

/// Lays something in the place of a file that says nothing of the gateway which runs with it.
fn say_nothing(file: &std::path::Path, how: &str) {
    let _ = std::fs::remove_file(file);
    match how {
        "empty" => std::fs::write(file, "").expect("written"),
        "a comment" => std::fs::write(file, "# all of it\n").expect("written"),
        "a directory" => std::fs::create_dir(file).expect("made"),
        _ => {}
    }
}

#[tokio::test]
async fn commands_find_the_gateway_whose_file_is_empty_or_missing() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let config = |number: u32| version(&upstream, &admin, number);
    for how in ["empty", "a comment", "missing", "a directory"] {
        let gateway = config(1).start().await;
        edit(&gateway, &config(2)).await;
        let mark = gateway.mark();
        say_nothing(gateway.file(), how);
        gateway.says(mark, "configuration not reloaded").await;
        for verb in VERBS.into_iter().chain([&["health"][..], &["health", "--ready"]]) {
            let arguments = [verb, &["--config", "tidegate.yaml"]].concat();
            let run = cli(gateway.folder(), &arguments, &[]).await;
            assert_eq!(run.code, Some(0), "{how}: {verb:?}: {}", run.all());
        }
        assert_eq!(said(&gateway).await, "/v1/", "{how}: gone back");
    }
}

#[tokio::test]
async fn commands_report_why_a_file_names_no_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gone.yaml");
    for (how, words) in [
        ("empty", "gone.yaml is empty"),
        ("a comment", "gone.yaml has no admin endpoint"),
        ("missing", "No such file or directory"),
        ("a directory", "a folder"),
    ] {
        say_nothing(&file, how);
        for verb in VERBS.into_iter().chain([&["health"][..]]) {
            let arguments = [verb, &["--config", "gone.yaml"]].concat();
            let run = cli(folder.path(), &arguments, &[]).await;
            assert!(matches!(run.code, Some(1 | 78)), "{how}: {verb:?}: {}", run.all());
            if verb != ["health"] {
                assert!(run.stderr.contains(words), "{how}: {verb:?}: {}", run.all());
                assert!(run.stderr.contains("--admin"), "{how}: {verb:?}: {}", run.all());
            }
            assert!(run.stderr.contains("gone.yaml"), "{how}: {verb:?}: {}", run.all());
            assert!(!run.stderr.contains("panicked"), "{how}: {verb:?}: {}", run.all());
        }
        let _ = std::fs::remove_dir(&file);
    }
}

#[tokio::test]
async fn commands_find_the_gateway_while_its_file_is_invalid() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let config = |number: u32| version(&upstream, &admin, number);
    let gateway = config(1).start().await;
    let good = config(2).yaml(gateway.port());
    for (what, broken) in [
        ("an unknown key", format!("{good}unknown_key: 1\n")),
        ("no YAML before", format!("a: [1, 2\nb: \"\n{good}")),
        ("no YAML behind", format!("{good}x: {{a: [1, 2\n")),
        ("a variable that is not set", format!("{good}log: {{level: \"${{NOWHERE_SET}}\"}}\n")),
        (
            "a key that is not there",
            good.replace(
                "threads: 2",
                "    tls: {certificates: [{cert: none.pem, key: none.pem}]}\nthreads: 2",
            ),
        ),
        ("an upstream that is not there", format!("{good}  - {{name: a, upstream: none}}\n")),
        (
            "the admin section alone",
            admin
                .section()
                .replace("admin: {", "admin:\n  ")
                .replace(", token", "\n  token")
                .replace('}', "\n")
                + "routes: {\n",
        ),
    ] {
        // A version to go back from, and then the mistake.
        let before = gateway.mark();
        gateway.rewrite(&config(1));
        gateway.signal(Signal::SIGHUP);
        gateway.says(before, "configuration reloaded").await;
        let mark = gateway.mark();
        edit(&gateway, &config(3)).await;
        replace_file(gateway.file(), &broken);
        gateway.says(mark, "configuration not reloaded").await;
        for verb in [
            &["history"][..],
            &["sessions"],
            &["kick", "--user", "nobody"],
            &["cache", "purge", "--all"],
            &["drain"],
            &["drain", "--stop"],
            &["health"],
            &["rollback"],
        ] {
            let arguments = [verb, &["--config", "tidegate.yaml"]].concat();
            let run = cli(gateway.folder(), &arguments, &[]).await;
            if verb == ["health"] && what == "the admin section alone" {
                continue;
            }
            assert_eq!(run.code, Some(0), "{what}: {verb:?}: {}", run.all());
        }
    }
}

/// Runs each command with the gateway's file, and sees that the gateway answers.
async fn find(gateway: &Gateway, what: &str) {
    for verb in VERBS.into_iter().chain([&["health"][..], &["health", "--ready"]]) {
        let arguments = [verb, &["--config", "tidegate.yaml"]].concat();
        let run = cli(gateway.folder(), &arguments, &[]).await;
        assert_eq!(run.code, Some(0), "{what}: {verb:?}: {}", run.all());
    }
}

#[tokio::test]
async fn commands_use_the_old_address_while_an_edit_needs_a_restart() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let gateway = version(&upstream, &admin, 1).start().await;
    // Where nobody listens, and where something else does.
    let service = upstream.address().to_string();
    for address in [Admin::new().address(), service, "none".to_owned()] {
        edit(&gateway, &version(&upstream, &admin, 2)).await;
        let mark = gateway.mark();
        let moved = version(&upstream, &admin, 3).yaml(free_port());
        let moved = match &*address {
            "none" => moved.replace(&admin.section(), ""),
            _ => moved
                .replace(&admin.address(), &address)
                .replace(tidegate_testing::TOKEN, "another-token-of-the-file"),
        };
        replace_file(gateway.file(), &moved);
        gateway.says(mark, "new value of `admin.address` takes effect only after").await;
        if address == "none" {
            // The endpoint waits for the restart; without a token nothing can be changed there.
            for verb in ["status", "history", "sessions"] {
                let run = cli(gateway.folder(), &[verb, "--config", "tidegate.yaml"], &[]).await;
                assert_eq!(run.code, Some(0), "{verb}: {}", run.all());
            }
            continue;
        }
        // The token is the new one at once, and the gateway tells it.
        find(&gateway, &address).await;
        let run = cli(gateway.folder(), &["health", "--config", "tidegate.yaml"], &[]).await;
        let expected = format!("{} accepts connections", gateway.address());
        assert!(run.stdout.contains(&expected), "{}", run.all());
        assert_eq!(said(&gateway).await, "/v2/", "gone back");
    }
}

#[tokio::test]
async fn commands_explain_why_a_new_address_may_not_answer_yet() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, version(&upstream, &admin, 1).yaml(free_port())).expect("written");
    let run = cli(folder.path(), &["status", "--config", "tidegate.yaml"], &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.all());
    assert!(run.stderr.contains("a changed `admin.address` takes effect after a restart"));
    let run = cli(folder.path(), &["status", "--admin", &admin.address()], &[]).await;
    assert!(!run.stderr.contains("restart"), "{}", run.all());
}

#[tokio::test]
async fn commands_find_the_gateway_whose_file_is_binary_or_too_large() {
    let (upstream, admin) = (echoing().await, Admin::new());
    let sockets = tempfile::tempdir().expect("a folder");
    let socket = format!("upgrade_socket: {}/upgrade.sock", sockets.path().display());
    let config = |number: u32, top: &str| version(&upstream, &admin, number).top(top);
    for top in ["", &socket] {
        let gateway = config(1, top).start().await;
        let yaml = config(3, top).yaml(gateway.port());
        let elsewhere = yaml.replace(&admin.address(), &Admin::new().address());
        let comment = "# a comment\n".repeat(400_000);
        for (what, bytes) in [
            ("Latin-1", [yaml.as_bytes(), b"# caf\xe9\n"].concat()),
            ("Latin-1 and another admin.address", [elsewhere.as_bytes(), b"# \xff\xfe\n"].concat()),
            ("too large", [yaml.as_bytes(), comment.as_bytes()].concat()),
            ("too large before", [comment.as_bytes(), yaml.as_bytes()].concat()),
        ] {
            edit(&gateway, &config(2, top)).await;
            let mark = gateway.mark();
            std::fs::write(gateway.folder().join("new"), bytes).expect("written");
            std::fs::rename(gateway.folder().join("new"), gateway.file()).expect("renamed");
            gateway.says(mark, "configuration not reloaded").await;
            find(&gateway, &format!("{what} {top}")).await;
            gateway.rewrite(&config(1, top));
            gateway.signal(Signal::SIGHUP);
            gateway.says(mark, "configuration reloaded").await;
        }
    }
}
