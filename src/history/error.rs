//! What can go wrong with a history as a whole; what is wrong with one segment is a reason in a plan.

use std::time::Duration;

/// Why a history can't be opened, read or closed. None of these loses an event: the topic has them all.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The place can't be used at all: exit code 2.
    #[error("the history `{place}` can't be used: {reason}; write a folder, or a URL that begins with {}", crate::settings::HISTORY_SCHEMES.join(", "))]
    Place {
        /// As the settings name it.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place holds something else than this job's history: exit code 4.
    #[error(
        "the history `{place}` {found}, and this is job `{job}` on cluster `{cluster}`: name another `history.url`, set `job.name` and `kafka.cluster` as they were, or delete that history, which costs the time to read the topics back"
    )]
    Foreign {
        /// Where the history is.
        place: String,
        /// What it says of itself, to follow its name.
        found: String,
        /// The cluster that was wanted.
        cluster: String,
        /// The job that was wanted.
        job: String,
    },
    /// There is no history at that place: exit code 2.
    #[error(
        "there is no history in `{place}`: it has no `history.json`; a job with this `history.url` makes it"
    )]
    Absent {
        /// Where it was looked for.
        place: String,
    },
    /// The disk or the object store failed: exit code 3.
    #[error("{attempt} failed: {reason}")]
    Store {
        /// What was tried, and on which object.
        attempt: String,
        /// What the store said.
        reason: String,
    },
    /// A planned segment is no longer what it was when the plan was made: plan again.
    #[error("the segment {segment} changed while it was read: {reason}; plan the recovery again")]
    Changed {
        /// The object.
        segment: String,
        /// What no longer holds.
        reason: String,
    },
    /// The contract uses a name that segments need for themselves: exit code 2.
    #[error(
        "stream {stream} has a column `{column}`, which is the name of one of the history's own columns: rename it, or leave `history.url` out"
    )]
    Reserved {
        /// The stream.
        stream: String,
        /// The column.
        column: String,
    },
    /// Rows that were handed over are not on the disk.
    #[error(
        "{rows} rows of the history are not written after {waited:?}: {reason}; they will be read back from the topics"
    )]
    Unwritten {
        /// How many.
        rows: u64,
        /// How long it was waited for them.
        waited: Duration,
        /// The last failure of the store.
        reason: String,
    },
    /// A thread could not be started or ended in a defect.
    #[error("the thread `{thread}` of the history {reason}")]
    Thread {
        /// Its name.
        thread: &'static str,
        /// What happened.
        reason: String,
    },
}
