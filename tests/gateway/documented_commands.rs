//! Every `tidegate …` in the documentation and in the help is run, and none is misspelt.

use crate::support::{Admin, Config, TOKEN, Upstream, cli};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What is not run here: it takes a terminal's ctrl-c, listens at the story's ports, or replaces a gateway.
const NOT_RUN: [&str; 3] = ["tidegate demo", "tidegate run", "tidegate upgrade"];

/// The commands of a text: those that stand at the beginning of a line, or behind `&&`.
fn commands(text: &str) -> impl Iterator<Item = String> {
    let of_line = |line: &str| {
        let line = line.trim().trim_start_matches("$ ").to_owned();
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

/// The parts of a text between fences.
fn fenced(text: &str) -> String {
    let parts = text.split("\n```").skip(1).step_by(2);
    let blocks = parts.filter_map(|part| Some(part.split_once('\n')?.1));
    blocks.flat_map(|block| [block, "\n"]).collect()
}

async fn documented(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let docs = glob::glob(&format!("{HERE}/docs/*.md")).expect("a pattern");
    for path in docs.filter_map(Result::ok).chain([Path::new(HERE).join("README.md")]) {
        let text = std::fs::read_to_string(&path).expect("a page");
        all.extend(commands(&fenced(&text)));
    }
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

#[tokio::test]
async fn every_command_that_is_documented_is_one() {
    let folder = TempDir::new().expect("a folder");
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let config = Config::to(&upstream).top(&admin.section());
    let gateway = config.start().await;
    for name in ["tidegate.yaml", "old.yaml", "new.yaml", "conf/tidegate.yaml", "conf.d/a.yaml"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, config.yaml(gateway.port())).expect("a file");
    }
    let documented = documented(folder.path()).await;
    assert!(documented.len() > 50, "{documented:#?}");
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    for command in documented {
        if NOT_RUN.iter().any(|verb| command.starts_with(verb)) {
            continue;
        }
        let rest = command.strip_prefix("tidegate").expect("a command");
        let run = tokio::process::Command::new("sh")
            .args(["-c", &format!("exec \"$0\"{rest}")])
            .arg(binary)
            .current_dir(folder.path())
            .env("TIDEGATE_ADMIN", admin.address())
            .env("TIDEGATE_ADMIN_TOKEN", TOKEN)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        // Some go on until they are stopped, and some ask hosts that are not there.
        let Ok(output) = tokio::time::timeout(Duration::from_secs(3), run).await else { continue };
        let output = output.expect("a shell");
        let told = String::from_utf8_lossy(&output.stderr);
        // What clap says of words that it does not know, and of values that it can't take.
        assert!(!told.contains("try '--help'"), "{command}\n{told}");
        assert!(!told.contains("panicked"), "{command}\n{told}");
    }
}
