//! What a start may go on without, and the refusals that name the choices.
//!
//! Values only: the settings of a recovery, and every state of the world in which going on by itself could give
//! wrong answers.

use crate::checkpoint::NoteError;
use crate::event::{EventTime, Partition, Span};

/// What a start may go on without, if a person says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Records that left the topic before they were answered.
    LostRecords,
    /// Another count of partitions than at the last commit.
    PartitionCount,
    /// Windows that can't be filled from as far back as they reach.
    IncompleteWindows,
}

/// How far before a first start windows are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmUp {
    /// As far as the longest window reaches.
    LongestWindow,
    /// Not at all.
    Nothing,
    /// So far.
    For(Span),
}

/// How a start finds its state again.
#[derive(Debug, Clone, Default)]
pub struct RecoveryPolicy {
    /// For each stream of the contract, the settings' number that tells a recreated topic from the old one.
    pub generations: Vec<u32>,
    /// For each stream, how far before a first start windows are filled.
    pub warm_up: Vec<WarmUp>,
    /// How far an event time may lie past its record's own time.
    pub future: Span,
    /// What a person has accepted for this start.
    pub accept: Vec<Accept>,
    /// Topics that hold the alerts that were sent.
    pub alert_topics: Vec<String>,
    /// Files that hold them, one JSON object a line.
    pub alert_files: Vec<std::path::PathBuf>,
}

impl RecoveryPolicy {
    /// The generation of a stream; 0 where there is none.
    pub fn generation(&self, stream: usize) -> u32 {
        self.generations.get(stream).copied().unwrap_or_default()
    }
}

/// Why a start would risk wrong answers.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Records that the job still owed an answer have left the topic.
    #[error(
        "{partition} was answered up to offset {committed}, and the topic now begins at {low}: records were removed \
         before they were answered; raise the topic's retention, and to go on without them start once with \
         `--accept lost-records`"
    )]
    RecordsGone {
        /// The partition.
        partition: Partition,
        /// The committed offset.
        committed: i64,
        /// The oldest offset that is left.
        low: i64,
    },
    /// The topic ends before the committed offset.
    #[error(
        "{partition} was answered up to offset {committed}, and the topic ends at {high}: it was deleted and made \
         again, or belongs to another cluster; if so, raise `generation` of its stream, which starts it anew"
    )]
    TopicShrunk {
        /// The partition.
        partition: Partition,
        /// The committed offset.
        committed: i64,
        /// The end of the topic.
        high: i64,
    },
    /// The last record that was answered is another one in the topic.
    #[error(
        "{partition} holds another record at offset {offset} than the one that was answered: the topic was deleted and \
         made again; raise `generation` of its stream, which starts it anew"
    )]
    TopicRecreated {
        /// The partition.
        partition: Partition,
        /// The offset compared.
        offset: i64,
    },
    /// Keys have moved between partitions.
    #[error(
        "topic {topic} had {was} partitions at the last commit and has {now}: its keys have moved, so events of one key \
         may arrive out of their order around the change; with `instances` = 1 windows stay whole: start once \
         with `--accept partition-count`"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// How many partitions there were.
        was: usize,
        /// How many there are.
        now: usize,
    },
    /// Windows reach further back than anything that is left.
    #[error(
        "the windows over {partition} reach back to {needed}, and what is left of its events begins at {reaches}: \
         restore the history, or raise the topic's retention; to go on with windows that are not full, start once \
         with `--accept incomplete-windows`, and alerts say `exact_since`"
    )]
    Incomplete {
        /// The partition.
        partition: Partition,
        /// How far back windows reach.
        needed: EventTime,
        /// How far back events go.
        reaches: EventTime,
    },
    /// The broker shows what was aborted.
    #[error(
        "the broker shows records of aborted transactions to readers of committed ones, so `exactly_once` can't be kept: \
         set delivery = \"at_least_once\", or use Apache Kafka"
    )]
    AbortedVisible,
    /// The metadata of a commit is not ours.
    #[error("{partition}: {cause}; another program uses the consumer group: give the job a name of its own")]
    Note {
        /// The partition.
        partition: Partition,
        /// What is wrong with it.
        cause: NoteError,
    },
}
