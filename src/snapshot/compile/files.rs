//! Compiles `files` of a route into the filter that serves them. It reads no file that is served.

use super::Compiler;
use crate::filter::{FilesFilter, ServedFolder};
use http::HeaderValue;
use std::sync::Arc;
use tidegate_config::{self as config, Spanned, defaults::files};

impl Compiler<'_> {
    /// The filter that serves files.
    pub(super) fn files(
        &mut self,
        written: &Spanned<config::Files>,
        rewrite_prefix: Option<(usize, String)>,
        key_path: &str,
    ) -> Option<FilesFilter> {
        let root = &written.root;
        let folder = self.sources.folder(root.span).join(&root.value);
        match std::fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let reason = format!("`{}` is not a folder", root.value);
                self.problems.add(root.span, format!("{key_path}.root"), reason);
            }
            Err(error) => {
                let reason = format!("cannot open the folder `{}`: {error}", root.value);
                self.problems.add(root.span, format!("{key_path}.root"), reason);
            }
        }
        let index = written.index.as_ref();
        if let Some(index) = index.filter(|index| index.is_empty() || index.contains(['/', '\\'])) {
            self.problems.add(
                index.span,
                format!("{key_path}.index"),
                "must be a file name without slashes",
            );
        }
        let mut immutable = Vec::new();
        for (number, pattern) in written.immutable.iter().enumerate() {
            match glob::Pattern::new(pattern.trim_start_matches('/')) {
                Ok(pattern) => immutable.push(pattern),
                Err(error) => {
                    let reason = format!("`{}` is not a valid pattern: {error}", pattern.value);
                    self.problems.add(
                        pattern.span,
                        format!("{key_path}.immutable[{number}]"),
                        reason,
                    );
                }
            }
        }
        let cache_control = match &written.cache_control {
            None => HeaderValue::from_static(files::CACHE_CONTROL),
            Some(value) => HeaderValue::from_str(value).unwrap_or_else(|_| {
                let reason = "a header value must not contain line breaks or control characters";
                self.problems.add(value.span, format!("{key_path}.cache_control"), reason);
                HeaderValue::from_static(files::CACHE_CONTROL)
            }),
        };
        Some(FilesFilter {
            folder: Arc::new(ServedFolder {
                root: folder.as_path().into(),
                index: index.map_or(files::INDEX, |index| index.as_str()).to_owned(),
                fallback: (written.fallback.as_ref())
                    .map(|path| path.as_str().trim_start_matches('/').to_owned()),
            }),
            rewrite_prefix,
            cache_control,
            immutable,
        })
    }
}
