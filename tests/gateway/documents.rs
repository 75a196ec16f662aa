//! Reads the commands and blocks of the documentation, for the tests that run them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use tidegate_testing::within;

/// The repository.
pub(crate) const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A block between fences.
pub(crate) struct Block {
    /// The page that it is in, from the repository's root.
    pub page: String,
    /// What stands behind the fence.
    pub language: String,
    pub text: String,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The pages, by their names from the repository's root.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "benches/README.md"]
            .map(|name| Path::new(HERE).join(name))
            .into();
    let docs = glob::glob(&format!("{HERE}/docs/**/*.md")).expect("a pattern");
    paths.extend(docs.filter_map(Result::ok));
    let read = |path: PathBuf| {
        let name = path.strip_prefix(HERE).expect("a page of ours").display().to_string();
        (name, std::fs::read_to_string(&path).expect("a page"))
    };
    paths.into_iter().map(read).collect()
}

/// All blocks of all pages.
pub(crate) fn blocks() -> Vec<Block> {
    let of_page = |(page, text): (String, String)| {
        let parts = text.split("\n```").skip(1).step_by(2);
        let block = |part: &str| {
            let (language, text) = part.split_once('\n')?;
            let [page, language, text] = [&page, language, text].map(str::to_owned);
            Some(Block { page, language, text })
        };
        parts.filter_map(block).collect::<Vec<_>>()
    };
    pages().into_iter().flat_map(of_page).collect()
}

impl Block {
    /// The commands in it, as one types them: a loop is one, what explains a command is none of it.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        let is_shell = ["sh", "bash"].contains(&self.language.as_str());
        let mut in_loop = false;
        for line in self.text.lines().filter(|line| !line.trim().is_empty()) {
            let typed = match (self.language.as_str(), line.strip_prefix("$ ")) {
                ("console", Some(typed)) => typed,
                _ if is_shell => line,
                _ => continue,
            };
            let typed = typed.split("  #").next().unwrap_or(typed).trim_end();
            match commands.last_mut() {
                Some(last) if in_loop => *last = format!("{last}\n{typed}"),
                _ => commands.push(typed.to_owned()),
            }
            in_loop = (in_loop || typed.starts_with("for ")) && typed != "done";
        }
        commands
    }
}

/// Runs it as a shell of one's own would, to its end; what goes wrong in a pipe counts.
pub(crate) async fn bash(folder: &Path, command: &str, environment: &[(&str, &str)]) -> Ended {
    let run = tokio::process::Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .current_dir(folder)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(command, run).await.expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Ended { code: output.status.code(), stdout, stderr }
}
