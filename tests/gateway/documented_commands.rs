//! Every `tidegate …` command in the documentation and the help is run, and ends as documented.

use crate::documents::{HERE, blocks};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tidegate_testing::{Admin, Config, Gateway, TOKEN, Upstream, cli, within};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What is not run here, by how it begins, and why.
const NOT_RUN: [(&str, &str); 3] = [
    ("tidegate demo", "it listens at the story's ports; readme.rs runs it at others"),
    ("tidegate run", "it goes on until it is stopped; all tests here run it"),
    ("tidegate upgrade", "it takes the gateway's place; upgrade.rs runs it"),
];

/// What goes on until it is stopped, and what it says.
const ENDLESS: [(&str, &str); 1] =
    [("tidegate sessions --route notifications-ws --watch", "SESSION")];

/// What ends otherwise than with 0 on this stage, by how it begins, and why.
const OTHERWISE: [(&str, i32, &str); 9] = [
    ("tidegate diff --running", 1, "what runs here has an edit that the files have not"),
    ("tidegate diff old.yaml new.yaml", 1, "they differ"),
    (
        "tidegate doctor 'ws://localhost:3000/api/notifications/ws?userId=x' --protocol",
        1,
        "no service here speaks `chat`",
    ),
    ("tidegate doctor ws://localhost:3000/ws --origin", 1, "no service here speaks `chat`"),
    ("tidegate doctor wss://edge.example.com/ws", 1, "nobody is there"),
    ("tidegate import express", 3, "not all of it can be carried"),
    ("tidegate import nginx", 3, "not all of it can be carried"),
    ("tidegate import traefik", 3, "not all of it can be carried"),
    ("tidegate rollback 12", 1, "there are no twelve versions"),
];

/// What the documents name, and what stands for it on this stage.
fn staged(command: &str, gateway: &Gateway, admin: &Admin, upstream: &Upstream) -> String {
    command
        .replace("localhost:3000", &format!("localhost:{}", gateway.port()))
        .replace("127.0.0.1:9901", &admin.address())
        .replace("10.0.0.1:8080", &upstream.address().to_string())
        .replace("/etc/nginx/nginx.conf", "nginx.conf")
        .replace("/etc/tidegate/", "")
}

/// The commands of a text: those that stand at the beginning of a line, behind `&&`, or behind the `--` of
/// what runs them elsewhere.
fn commands(text: &str) -> impl Iterator<Item = String> {
    let of_line = |line: &str| {
        let line = line.trim().trim_start_matches("$ ").replace(" -- tidegate ", " && tidegate ");
        let parts = line.split("&&").map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        parts.into_iter().filter(|part| part.starts_with("tidegate "))
    };
    let whole = |command: String| {
        // What explains it stands behind two spaces or `#`; what it is piped into is not ours.
        let ends = ["  ", " #", " | ", " > ", " < "].iter().filter_map(|end| command.find(end));
        command[..ends.min().unwrap_or(command.len())].to_owned()
    };
    text.lines().flat_map(of_line).map(whole).collect::<Vec<_>>().into_iter()
}

async fn documented(folder: &Path) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = blocks().iter().flat_map(|it| commands(&it.text)).collect();
    let help = cli(folder, &["--help"], &[]).await.stdout;
    all.extend(commands(&help));
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty()).filter_map(|line| {
        let verb = line.split_whitespace().next()?;
        line.starts_with("  ").then_some(verb).filter(|_| !line.starts_with("   "))
    });
    for verb in verbs.filter(|verb| *verb != "help") {
        all.extend(commands(&cli(folder, &[verb, "--help"], &[]).await.stdout));
    }
    all
}

/// A folder with all the files that the documents name.
fn folder(config: &Config, port: u16) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    for name in ["tidegate", "old", "shop", "conf/tidegate", "conf.d/a"] {
        write(&format!("{name}.yaml"), &config.yaml(port));
    }
    write("new.yaml", &config.clone().with("timeouts: {read: 9s}").yaml(port));
    // What the front end of gateway.js was built into.
    write("dist/index.html", "");
    for (name, of) in [
        ("nginx.conf", "shop.nginx.conf"),
        ("sites-enabled/shop", "shop.nginx.conf"),
        ("gateway.js", "gateway.js"),
        ("dynamic.yml", "shop.traefik.yml"),
    ] {
        let text = std::fs::read_to_string(format!("{HERE}/tests/gateway/import/{of}"));
        write(name, &text.expect("a configuration of another program"));
    }
    folder
}

#[tokio::test]
async fn every_documented_command_runs_as_described() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let origins = ["http://localhost:5173", "https://app.example.com"];
    let config = Config::to(&upstream).top(&admin.section()).cors(&origins, "");
    let gateway = config.start().await;
    // A version to go back to.
    let mark = gateway.mark();
    gateway.rewrite(&config.clone().with("timeouts: {read: 5s}"));
    gateway.says(mark, "configuration reloaded").await;
    let folder = folder(&config, gateway.port());
    let documented = documented(folder.path()).await;
    assert!(documented.len() > 50, "{documented:#?}");
    let excused = NOT_RUN.iter().map(|it| it.0).chain(ENDLESS.iter().map(|it| it.0));
    for start in excused.chain(OTHERWISE.iter().map(|it| it.0)) {
        assert!(documented.iter().any(|it| it.starts_with(start)), "nobody documents {start}");
    }
    let mut wrong = Vec::new();
    for command in &documented {
        if NOT_RUN.iter().any(|(start, _)| command.starts_with(start)) {
            continue;
        }
        let staged = staged(command, &gateway, &admin, &upstream);
        let rest = staged.strip_prefix("tidegate").expect("a command");
        let input = File::open(folder.path().join("tidegate.yaml")).expect("a file");
        let mut run = tokio::process::Command::new("sh");
        run.args(["-c", &format!("exec \"$0\"{rest}")])
            .arg(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder.path())
            .env("TIDEGATE_ADMIN", admin.address())
            .env("TIDEGATE_ADMIN_TOKEN", TOKEN)
            .env_remove("TIDEGATE_CONFIG")
            .stdin(input)
            .kill_on_drop(true);
        if let Some((_, says)) = ENDLESS.iter().find(|(it, _)| it == command) {
            let mut child = run.stdout(Stdio::piped()).spawn().expect("a shell");
            let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
            let told = async {
                while let Some(line) = lines.next_line().await.expect("text") {
                    if line.contains(says) {
                        return true;
                    }
                }
                false
            };
            assert!(within(command, told).await, "{command} ended without {says}");
            continue;
        }
        let output = within(command, run.output()).await.expect("a shell");
        let told = String::from_utf8_lossy(&output.stderr);
        // What clap says of words that it does not know, and of values that it can't take.
        assert!(!told.contains("try '--help'"), "{command}\n{told}");
        assert!(!told.contains("panicked"), "{command}\n{told}");
        let otherwise = OTHERWISE.iter().find(|(start, ..)| command.starts_with(start));
        let expected = otherwise.map_or(0, |(_, code, _)| *code);
        if output.status.code() != Some(expected) {
            let printed = String::from_utf8_lossy(&output.stdout);
            wrong.push(format!("{command}: {}, not {expected}\n{printed}{told}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
