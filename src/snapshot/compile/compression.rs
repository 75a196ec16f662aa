//! Compiles `compression` of a route. It knows nothing of the encoders.

use super::Compiler;
use crate::compression::{Compression, Levels, MediaRange};
use std::sync::Arc;
use tidegate_config::{
    self as config, CompressionSetting, Spanned, defaults, defaults::compression_levels,
};
use tidegate_http::encoding::Coding;

impl Compiler<'_> {
    /// What is compressed on a route, if anything is.
    pub(super) fn compression(
        &mut self,
        written: Option<&Spanned<CompressionSetting>>,
        key_path: &str,
    ) -> Option<Arc<Compression>> {
        let plain = config::Compression::default();
        let written = match &written?.value {
            CompressionSetting::Switch(switch) if !switch.0 => return None,
            CompressionSetting::Switch(_) => &plain,
            CompressionSetting::Settings(settings) => settings,
        };
        let codings = match &written.algorithms {
            None => defaults::compression::ALGORITHMS.map(coding).to_vec(),
            Some(listed) => {
                if listed.is_empty() {
                    self.problems
                        .add(
                            listed.span,
                            format!("{key_path}.algorithms"),
                            "the list must not be empty",
                        )
                        .help("to disable compression, write `compression: off`");
                }
                listed.iter().copied().map(coding).collect()
            }
        };
        let types = match &written.types {
            None => defaults::compression::TYPES
                .iter()
                .filter_map(|one| MediaRange::parse(one))
                .collect(),
            Some(listed) => listed
                .iter()
                .enumerate()
                .filter_map(|(index, one)| {
                    let range = MediaRange::parse(one);
                    if range.is_none() {
                        let reason = format!(
                            "`{}` is not a media type; write one such as `text/html`, `text/*` \
                             or `*/*+json`",
                            one.value
                        );
                        self.problems.add(one.span, format!("{key_path}.types[{index}]"), reason);
                    }
                    range
                })
                .collect(),
        };
        let levels = &written.levels;
        Some(Arc::new(Compression {
            codings,
            min_size: written.min_size.unwrap_or(defaults::compression::MIN_SIZE).0,
            types,
            levels: Levels {
                gzip: levels.gzip.unwrap_or(compression_levels::GZIP),
                brotli: levels.br.unwrap_or(compression_levels::BR),
                zstd: levels.zstd.unwrap_or(compression_levels::ZSTD).cast_signed(),
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
