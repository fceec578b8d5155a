//! How what a commit asked for ended, and the label that says so.

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionResult {
    /// All of it is visible.
    Committed,
    /// Nothing of it is visible.
    Aborted,
    /// Nobody said which; the loop rebuilds itself to find out.
    Ambiguous,
}

impl TransactionResult {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// How a commit of offsets outside transactions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitResult {
    /// The group's coordinator has them.
    Done,
    /// It may not have them; a later commit covers them.
    Failed,
}

impl CommitResult {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}
