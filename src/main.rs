//! The `tidegate` program: one file per verb in `cli/`.
#![cfg_attr(
    not(test),
    allow(
        clippy::indexing_slicing,
        reason = "`value[\"key\"]` of serde_json reads a missing key as null"
    )
)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod cli;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
