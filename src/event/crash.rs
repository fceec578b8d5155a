//! Named points at which a test can kill the process, as `kill -9` would.
//!
//! `TOLLGATE_CRASH_AT=before-commit:3` ends the process when the point `before-commit` is passed for the
//! third time. Without the variable a point costs one load. Nothing is flushed and nothing is cleaned up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Ends the process here if a test asked for it.
pub fn crash_point(name: &str) {
    let armed = ARMED.get_or_init(|| wanted(std::env::var("TOLLGATE_CRASH_AT").ok().as_deref()));
    if let Some((point, nth)) = armed
        && point == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        let own = std::process::id().to_string();
        // No handler can run and no buffer is written, as when the kernel ends a process.
        drop(std::process::Command::new("kill").args(["-9", &own]).status());
        std::process::abort();
    }
}

fn wanted(text: Option<&str>) -> Option<(String, u64)> {
    let (name, nth) = text?.split_once(':')?;
    Some((name.to_owned(), nth.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_the_passage_that_ends_the_process() {
        assert_eq!(wanted(Some("before-commit:3")), Some(("before-commit".to_owned(), 3)));
        assert_eq!(wanted(Some("before-commit")), None);
        assert_eq!(wanted(Some("before-commit:soon")), None);
        assert_eq!(wanted(None), None);
        crash_point("nothing is armed here");
    }
}
