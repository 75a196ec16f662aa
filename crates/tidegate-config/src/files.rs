//! The section `files`, as written. It reads no file that is served.

use super::{Path, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// Serves files of a folder, for `GET` and `HEAD`, with ranges and conditional requests. No path
/// and no symbolic link leads out of the folder; names that begin with a dot do not exist, except
/// `.well-known`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The folder. Relative paths start at the folder of the configuration file. The gateway
    /// appends the path of a request, after `rewrite.prefix`. It may be a symbolic link that a
    /// deployment replaces.
    pub root: Spanned<String>,
    /// File that is served for a folder.
    #[serde(default)]
    pub index: Option<Spanned<String>>,
    /// File that is served for a path without a file, unless the last segment of the path has a
    /// dot: `/index.html` for an application with its own routes.
    #[serde(default)]
    pub fallback: Option<Spanned<Path>>,
    /// `Cache-Control` of the files. With `no-cache`, browsers cache them and revalidate each time.
    #[serde(default)]
    pub cache_control: Option<Spanned<String>>,
    /// Files that never change under the same name, as glob patterns of paths below the folder
    /// (`assets/**`). They get `Cache-Control: public, max-age=31536000, immutable`.
    #[serde(default)]
    pub immutable: Vec<Spanned<String>>,
}
