//! The `tollgate` program.

use tollgate::cli::Exit;

/// Arrow batches are made and dropped all the time; mimalloc serves them with less work than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    tollgate::cli::main()
}
