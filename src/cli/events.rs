//! Where the events of a trial come from: files, or what a job keeps.

use indicatif::ProgressBar;

use super::failure::Failure;
use super::kept::{Kept, KeptRows, Next};
use super::replay::input::{Event, Inputs};
use super::terminal;
use crate::event::Contract;
use crate::pipeline::{Core, StepOutcome};

/// Events that can be read again and again.
pub(super) enum Events {
    /// Files, as the command line names them.
    Files(Vec<String>),
    /// What a job keeps.
    Kept(Box<Kept>),
}

/// Events on their way.
pub(super) enum Rows {
    Files(Inputs),
    /// And how many have come.
    Kept(Box<KeptRows>, u64),
}

/// What comes next.
pub(super) enum Step {
    File(Event),
    Kept(Next),
}

impl Rows {
    /// Begins to read what a core reads; it is told which partitions are to come.
    pub(super) fn open(
        events: &Events,
        core: &mut Core,
        contract: &Contract,
        used: &[Vec<bool>],
        batch_rows: u32,
    ) -> Result<Self, Failure> {
        let rows = match events {
            Events::Files(files) => Self::Files(Inputs::open(contract, files, batch_rows, used)?),
            Events::Kept(kept) => Self::Kept(Box::new(kept.rows(core, contract, used)?), 0),
        };
        let partitions: Vec<u32> = match &rows {
            Self::Files(inputs) => inputs.partitions().collect(),
            Self::Kept(kept, _) => kept.partitions().collect(),
        };
        partitions.into_iter().for_each(|partition| core.watermarks().expect(partition));
        Ok(rows)
    }

    /// What a reader must know before he trusts the answers.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Self::Files(_) => Vec::new(),
            Self::Kept(kept, _) => kept.notes(),
        }
    }

    pub(super) fn progress(&self) -> ProgressBar {
        match self {
            Self::Files(inputs) => inputs.progress(),
            Self::Kept(kept, _) => terminal::progress(kept.total(), "rows"),
        }
    }

    /// Where the bar stands.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Files(inputs) => inputs.position(),
            Self::Kept(_, taken) => *taken,
        }
    }

    /// Rows of a history so far, which a core does not count.
    pub(super) fn uncounted(&self) -> u64 {
        match self {
            Self::Files(_) => 0,
            Self::Kept(_, taken) => *taken,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Step>, Failure> {
        Ok(match self {
            Self::Files(inputs) => inputs.next()?.map(Step::File),
            Self::Kept(kept, taken) => {
                let next = kept.next()?;
                if let Some(Next::Rows(batch)) = &next {
                    *taken += batch.rows.event_time.len() as u64;
                }
                next.map(Step::Kept)
            }
        })
    }

    pub(super) fn answer(&mut self, core: &mut Core, step: Step) -> Result<StepOutcome, Failure> {
        let answered = match (self, step) {
            (Self::Files(inputs), Step::File(event)) => return inputs.step(core, event),
            (_, Step::Kept(Next::Rows(batch))) => {
                core.without_repeats(batch).and_then(|batch| core.answer(batch))
            }
            (_, Step::Kept(Next::Ended(partition)) | Step::File(Event::Ended(partition))) => {
                core.watermarks().release(partition);
                core.release_waiting()
            }
            (Self::Kept(..), Step::File(_)) => Ok(StepOutcome::default()),
        };
        answered.map_err(Failure::outside)
    }
}
