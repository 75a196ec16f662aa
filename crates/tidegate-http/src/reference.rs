//! Reads and writes the generated pages of `docs/reference`, for the tests that compare them with lists in this crate.
//! Knows no page.

use std::path::Path;

/// Compares a page with the text generated now; with `TIDEGATE_BLESS=1` in the environment, rewrites it.
pub(crate) fn assert_page_is_current(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/reference/{page} is stale: TIDEGATE_BLESS=1 cargo test -p tidegate-http"
    );
}
