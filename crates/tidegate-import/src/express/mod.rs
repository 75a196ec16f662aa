//! Imports Express programs with http-proxy-middleware: the program is parsed, not run, and its application becomes
//! routes. It does not know other source formats.

mod assemble;
mod conditions;
mod cors;
mod eval;
mod handlers;
mod names;
mod paths;
mod program;
mod proxy;
mod rates;
mod run;
mod target;
mod text;
mod unread;
mod value;

use super::draft::Draft;
use super::note::{Notes, SourcePosition};
use super::{ImportError, read_text};
use assemble::RouteAssembly;
use oxc_allocator::Allocator;
use oxc_parser::Parser;
use oxc_span::SourceType;
use run::Interpreter;
use std::path::Path;

/// Maximum nesting of brackets, which bounds the parser's recursion.
const MAX_BRACKET_DEPTH: usize = 200;
/// Maximum size of a program, in bytes. Operators nest without brackets, and each byte may be one.
const MAX_PROGRAM_BYTES: usize = 256 << 10;
/// Stack size of the parser's thread, in bytes; the system commits only what is used.
const PARSER_STACK_BYTES: usize = 512 << 20;

/// Reads a program in JavaScript or TypeScript.
pub(crate) fn import(path: &Path, notes: &mut Notes) -> Result<Draft, ImportError> {
    let failed = |_| ImportError::new(path, 1, "not enough memory to parse the program");
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        let reader = thread.spawn_scoped(scope, || read(path, notes)).map_err(failed)?;
        reader
            .join()
            .unwrap_or_else(|_| Err(ImportError::new(path, 1, "the program cannot be parsed")))
    })
}

fn read(path: &Path, notes: &mut Notes) -> Result<Draft, ImportError> {
    let text = read_text(path)?;
    if text.len() > MAX_PROGRAM_BYTES {
        return Err(ImportError::new(
            path,
            1,
            format!("the program is larger than {MAX_PROGRAM_BYTES} bytes"),
        ));
    }
    if depth_of(&text) > MAX_BRACKET_DEPTH {
        return Err(ImportError::new(path, 1, "the program is nested too deeply"));
    }
    let allocator = Allocator::default();
    let kind = SourceType::from_path(path).unwrap_or_default().with_unambiguous(true);
    let parsed = Parser::new(&allocator, &text, kind).parse();
    if let Some(error) = parsed.errors.first() {
        let at =
            error.labels.as_ref().and_then(|labels| labels.first()).map_or(0, |it| it.offset());
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        return Err(ImportError::new(path, line, error.message.to_string()));
    }
    let mut run = Interpreter::new(&text, path, notes);
    run.statements(&parsed.program.body);
    if run.program.apps.is_empty() {
        return Err(ImportError::new(path, 1, "the program has no call of `express()`"));
    }
    run.close_unread(parsed.program.comments.iter().map(|comment| comment.span));
    let position = SourcePosition { file: path.to_owned(), line: 1 };
    Ok(RouteAssembly::new(run, version(path)).finish(&position))
}

/// The maximum nesting of brackets, including those in strings.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The version of http-proxy-middleware that the package.json beside the program names.
fn version(path: &Path) -> Option<u32> {
    let file = path.parent().unwrap_or(Path::new("")).join("package.json");
    let json: serde_json::Value = serde_json::from_str(&read_text(&file).ok()?).ok()?;
    let written = ["dependencies", "devDependencies"]
        .iter()
        .find_map(|kind| json.get(kind)?.get("http-proxy-middleware")?.as_str())?;
    let digits = written.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
