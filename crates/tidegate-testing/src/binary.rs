//! Finds the `tidegate` program under test. It does not know how the program is run.

use std::path::{Path, PathBuf};

/// The `tidegate` program under test: `TIDEGATE_BIN`, else the one that Cargo has built beside the running test, else
/// the one in `PATH`.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TIDEGATE_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().unwrap_or_default();
    // Tests are in `target/debug/deps`, programs in `target/debug`.
    let built = test.ancestors().skip(1).take(2).map(|folder| folder.join("tidegate"));
    let built = built.into_iter().find(|program| Path::is_file(program));
    built.unwrap_or_else(|| PathBuf::from("tidegate"))
}
