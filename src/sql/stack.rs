//! A deep stack for work on nested queries.
//!
//! Parser, planner and visitors call themselves once a level of nesting, with frames of many kilobytes when
//! unoptimised; a thread of 2 MiB ends on queries that the parser still takes.

/// Address space only: pages that are not touched cost nothing.
const STACK_BYTES: usize = 512 << 20;

/// Runs work on a thread with a deep stack; on this one where no thread can be had.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = std::sync::Mutex::new(Some(work));
    let take = || work.lock().ok().and_then(|mut work| work.take());
    let deep = std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new()
            .name("rules".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || take().map(|work| work()));
        spawned.ok().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    match deep.flatten() {
        Some(done) => done,
        None => match take() {
            Some(work) => work(),
            None => unreachable!("work that no thread took is still here"),
        },
    }
}
