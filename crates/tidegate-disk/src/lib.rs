//! Careful file access: reads only regular files, and creates private files anew without following links. Knows nothing
//! of what files contain.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod append;
mod glob;
mod private;
mod read;

pub use self::glob::files_matching;
pub use append::{can_append, can_create, open_log, set_append_mode};
pub use private::{PrivateFolder, is_trusted};
pub use read::{read, read_start, read_text};
