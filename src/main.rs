//! The `tidegate` program: one file per verb in `cli/`.

mod cli;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc reads it at its start: memory that many sockets have left goes back to the system in
/// time, also when nobody asks for memory any more; large buffers begin at a page, for one more
/// page each is what a tunnel would pay for a layout that caches like better.
#[cfg(feature = "jemalloc")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 45] = b"background_thread:true,cache_oblivious:false\0";

fn main() -> std::process::ExitCode {
    cli::main()
}
