use super::Compiler;
use crate::compression::{Compression, Levels, MediaRange};
use std::sync::Arc;
use tidegate_config::{self as config, CompressionSetting, Spanned};
use tidegate_http::encoding::Coding;

/// What shrinks, of what services and front ends are made of.
const TYPES: [&str; 11] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/x-ndjson",
    "image/svg+xml",
    "font/otf",
    "font/ttf",
    "*/*+json",
    "*/*+xml",
];

impl Compiler<'_> {
    /// What is compressed on a route, if anything is.
    pub(super) fn compression(
        &mut self,
        written: Option<&Spanned<CompressionSetting>>,
        at: &str,
    ) -> Option<Arc<Compression>> {
        let defaults = config::Compression::default();
        let written = match &written?.value {
            CompressionSetting::Switch(switch) if !switch.0 => return None,
            CompressionSetting::Switch(_) => &defaults,
            CompressionSetting::Settings(settings) => settings,
        };
        let codings = match &written.algorithms {
            None => vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            Some(listed) => {
                if listed.is_empty() {
                    self.problems
                        .add(listed.span, format!("{at}.algorithms"), "the list is empty")
                        .help("write `compression: off` for none");
                }
                listed.iter().copied().map(coding).collect()
            }
        };
        let types = match &written.types {
            None => TYPES.iter().filter_map(|one| MediaRange::parse(one)).collect(),
            Some(listed) => listed
                .iter()
                .enumerate()
                .filter_map(|(index, one)| {
                    let range = MediaRange::parse(one);
                    if range.is_none() {
                        let reason = format!(
                            "`{}` is no media type; write it like `text/html`, `text/*` or \
                             `*/*+json`",
                            one.value
                        );
                        self.problems.add(one.span, format!("{at}.types[{index}]"), reason);
                    }
                    range
                })
                .collect(),
        };
        let levels = &written.levels;
        Some(Arc::new(Compression {
            codings,
            min_size: written.min_size.map_or(1024, |size| size.0),
            types,
            levels: Levels {
                gzip: levels.gzip.unwrap_or(5),
                brotli: levels.br.unwrap_or(4),
                zstd: levels.zstd.and_then(|level| level.try_into().ok()).unwrap_or(3),
            },
        }))
    }
}

fn coding(written: config::Coding) -> Coding {
    match written {
        config::Coding::Gzip => Coding::Gzip,
        config::Coding::Br => Coding::Brotli,
        config::Coding::Zstd => Coding::Zstd,
    }
}
