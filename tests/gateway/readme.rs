//! The README's commands, configuration and links work.

use crate::documents::{HERE, pages};
use std::path::Path;
use std::process::Command;
use tidegate_testing::{Ready, free_port, within};

const README: &str = include_str!("../../README.md");

/// The commands of the story, each with what it prints.
fn story() -> Vec<(String, Vec<String>)> {
    let block = README.split("<!-- story -->").nth(1).expect("a story");
    let block = block.split("```console\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.expect("a console block").lines() {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command.to_owned(), Vec::new())),
            None => commands.last_mut().expect("a command").1.push(line.to_owned()),
        }
    }
    commands
}

/// Whether `text` is as `shown`, where `…` stands for anything.
fn is_as_shown(text: &str, shown: &str) -> bool {
    let mut rest = text;
    for (index, part) in shown.split('…').enumerate() {
        match rest.find(part) {
            Some(at) if index > 0 || at == 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    true
}

#[tokio::test]
async fn readme_commands_print_what_the_readme_shows() {
    let (gateway, service, page) = (free_port(), free_port(), free_port());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    demo.current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["demo", "--gateway-port", &gateway.to_string()])
        .args(["--service-port", &service.to_string(), "--page-port", &page.to_string()]);
    let _demo = Ready::wait(demo).await;
    let commands = story();
    assert!(commands.len() >= 6, "{commands:?}");
    for (command, shown) in commands {
        let command = command
            .replace("localhost:3000", &format!("127.0.0.1:{gateway}"))
            .replace("localhost:5173", &format!("localhost:{page}"));
        let mut bash = Command::new("bash");
        bash.args(["-c", &command]);
        let output = tokio::task::spawn_blocking(move || bash.output());
        let output = within("the command", output).await.expect("a thread").expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(is_as_shown(&printed, &shown.join("\n")), "{command}\nprinted: {printed}");
    }
}

#[tokio::test]
async fn readme_configuration_is_valid() {
    let yaml = README.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let checked = tidegate::Config::from_yaml(yaml.expect("a yaml block")).check();
    assert!(checked.is_ok(), "{}", checked.expect_err("problems"));
}

/// The anchor that forges give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|&it| it.is_alphanumeric() || it == '-' || it == '_').collect()
}

fn has_heading(page: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(page).expect("a page");
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|it| it == wanted)
}

#[test]
fn every_documentation_link_leads_to_a_file_and_heading() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        let page = Path::new(HERE).join(page);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            if !target.exists() || !heading.is_empty() && !has_heading(&target, heading) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
