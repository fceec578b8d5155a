//! What a commit says: up to where each partition is answered, and what the next start must know besides.
//!
//! Takes what was read and what still waits; hands on [`PartitionCommit`]s. The committed offset is the only
//! truth about what was delivered. Where rows wait for their turn it is not enough to go on from, so each
//! commit carries a [`Note`] in its metadata.

mod note;
mod offsets;

pub use note::{Note, NoteError, RecordMark};
pub use offsets::{Offsets, Position, Standing};

pub use crate::source::kafka::PartitionCommit;
