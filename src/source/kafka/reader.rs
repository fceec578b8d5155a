//! The reading thread: polls, hands on, obeys.
//!
//! Takes a subscribed consumer, hands on [`KafkaEvent`]s. Keeps which partitions are assigned, so that a
//! commit that comes too late can't overwrite the offsets of a partition's next owner. Whatever it waits
//! for, it obeys commands meanwhile, so the pipeline and this thread can't wait for each other. While the
//! pipeline polls by itself ([`Polling`]) it obeys and stands by.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, select};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::batch::{Filled, fill};
use super::consumer::{Report, Subscribed};
use super::polling::{Polling, STAND_BY, few};
use super::{
    Assigned, Command, ConsumerSettings, KafkaEvent, PartitionCommit, SourceError, error, positions,
};
use crate::event::{Offset, Partition};

/// How long a poll waits for a first record, and so how long a command waits at most.
const POLL_WAIT: Duration = Duration::from_millis(10);

/// How often the brokers are asked where an assignment begins, 30 seconds each time.
const POSITION_ATTEMPTS_MAX: usize = 10;

/// Why the thread ends.
enum End {
    Asked,
    Fault(SourceError),
}

/// Reads until it is told to stop, then commits for the last time and leaves the group.
pub(super) fn run(
    consumer: Arc<Subscribed>,
    settings: Arc<ConsumerSettings>,
    polling: Arc<Polling>,
    events: Sender<KafkaEvent>,
    commands: Receiver<Command>,
) -> Result<(), SourceError> {
    let mut reader = Reader {
        consumer,
        settings,
        polling,
        events,
        commands,
        assigned: HashSet::new(),
        waiting: None,
        epoch: 0,
        committed: None,
        overdue: 0,
    };
    loop {
        match reader.turn() {
            Ok(()) => {}
            Err(End::Asked) => return reader.commit_last(),
            Err(End::Fault(fault)) => {
                reader.wind_down(fault);
                return reader.commit_last();
            }
        }
    }
}

struct Reader {
    consumer: Arc<Subscribed>,
    settings: Arc<ConsumerSettings>,
    polling: Arc<Polling>,
    events: Sender<KafkaEvent>,
    commands: Receiver<Command>,
    assigned: HashSet<Partition>,
    /// Assigned, and not read yet: the pipeline has still to say from where.
    waiting: Option<Vec<Partition>>,
    /// Counts assignments.
    epoch: u64,
    /// The last commit, repeated at the end to know that it arrived.
    committed: Option<TopicPartitionList>,
    /// Releases that came too late to be waited for, and that must not count for a later revocation.
    overdue: usize,
}

impl Reader {
    fn turn(&mut self) -> Result<(), End> {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command)?;
        }
        if self.polling.lent() {
            return self.stand_by();
        }
        if let Some(fault) = self.polling.fault() {
            self.fault(&fault)?;
        }
        let polling = Arc::clone(&self.polling);
        let mut table = polling.table();
        // What the pipeline's last round reported comes before anything new.
        let filled = match self.consumer.reporter().has_reports() {
            true => Filled::default(),
            false => fill(&self.consumer, &mut table, &self.settings, POLL_WAIT),
        };
        let records = filled.batch.records.len();
        if records > 0 {
            self.hand_on(KafkaEvent::Batch(filled.batch))?;
        }
        drop(table);
        let calm = filled.error.is_none() && !self.consumer.reporter().has_reports();
        if let Some(fault) = filled.error {
            self.fault(&fault)?;
        }
        while let Some(report) = self.consumer.reporter().take() {
            match report {
                Report::Assigned(partitions) => self.assign(&partitions)?,
                Report::Revoked(partitions) => self.revoke(&partitions)?,
                Report::CommitFailed(fault) => self.commit_failed(&fault)?,
            }
        }
        if calm
            && few(records)
            && self.waiting.is_none()
            && !self.assigned.is_empty()
            && self.events.is_empty()
        {
            self.polling.lend();
        }
        Ok(())
    }

    /// Obeys while the pipeline polls, and takes over where it has something else to do.
    fn stand_by(&mut self) -> Result<(), End> {
        let rounds = self.polling.rounds();
        select! {
            recv(self.commands) -> command => self.obey(command.map_err(|_| End::Asked)?)?,
            recv(self.polling.called()) -> _ => {}
            default(STAND_BY) => if self.polling.rounds() == rounds {
                self.polling.take_back();
            }
        }
        Ok(())
    }

    /// Puts an event into the channel; while that is full, obeys.
    fn hand_on(&mut self, event: KafkaEvent) -> Result<(), End> {
        loop {
            let command = select! {
                send(self.events, event) -> sent => return sent.map_err(|_| End::Asked),
                recv(self.commands) -> command => command,
            };
            self.obey(command.map_err(|_| End::Asked)?)?;
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Begin { epoch, from } => self.begin(epoch, &from),
            Command::Commit(next) => self.commit(&next),
            Command::Release => {
                self.overdue = self.overdue.saturating_sub(1);
                Ok(())
            }
            Command::Shutdown => Err(End::Asked),
        }
    }

    fn commit(&mut self, next: &[PartitionCommit]) -> Result<(), End> {
        let ours = next.iter().filter(|commit| self.assigned.contains(&commit.partition));
        let list = offsets_to_commit(ours)
            .map_err(|fault| End::Fault(SourceError::stop("committing offsets", &fault)))?;
        if list.count() == 0 {
            return Ok(());
        }
        let sent = self.consumer.commit(&list, CommitMode::Async);
        self.committed = Some(list);
        match sent {
            Ok(()) => Ok(()),
            Err(fault) => self.commit_failed(&fault),
        }
    }

    fn commit_failed(&mut self, fault: &KafkaError) -> Result<(), End> {
        self.hand_on(KafkaEvent::Error(SourceError::again("committing offsets", fault)))
    }

    fn fault(&mut self, fault: &KafkaError) -> Result<(), End> {
        match error::polled(fault, self.consumer.reporter().detail()) {
            None => Ok(()),
            Some(fault) if fault.retry() => self.hand_on(KafkaEvent::Error(fault)),
            Some(fault) => Err(End::Fault(fault)),
        }
    }

    /// Reports an assignment; it is read once the pipeline has rebuilt its state and says from where.
    fn assign(&mut self, partitions: &TopicPartitionList) -> Result<(), End> {
        let positions = self.positions(partitions)?;
        let stop = |fault| End::Fault(SourceError::stop("taking the assigned partitions", &fault));
        // Nothing is fetched until positions are given, and polls keep the membership alive meanwhile.
        self.consumer.assign(&TopicPartitionList::new()).map_err(stop)?;
        let named = named(partitions);
        let mut table = self.polling.table();
        for partition in &named {
            table.index(&partition.topic, partition.partition);
        }
        let known = Arc::clone(table.partitions());
        drop(table);
        self.assigned = named.iter().cloned().collect();
        self.waiting = Some(named);
        if positions.found.count() > 0 {
            self.consumer.commit(&positions.found, CommitMode::Async).map_err(stop)?;
        }
        self.epoch += 1;
        let partitions = positions.all;
        self.hand_on(KafkaEvent::Assigned(Assigned { epoch: self.epoch, partitions, table: known }))
    }

    /// Starts to read what was assigned, unless it has been taken away since.
    fn begin(&mut self, epoch: u64, from: &[(Partition, Offset)]) -> Result<(), End> {
        if epoch != self.epoch || self.waiting.take().is_none() {
            return Ok(());
        }
        let stop = |fault| End::Fault(SourceError::stop("starting to read", &fault));
        let mut list = TopicPartitionList::new();
        for (partition, Offset(offset)) in from {
            list.add_partition_offset(&partition.topic, partition.partition, Position::Offset(*offset))
                .map_err(stop)?;
        }
        self.consumer.assign(&list).map_err(stop)
    }

    fn positions(&mut self, partitions: &TopicPartitionList) -> Result<positions::Positions, End> {
        const ATTEMPT: &str = "asking the brokers where the assigned partitions begin";
        for _ in 1..POSITION_ATTEMPTS_MAX {
            match positions::resolve(&self.consumer, partitions, &self.settings.topics) {
                Ok(positions) => return Ok(positions),
                Err(fault) => self.hand_on(KafkaEvent::Error(SourceError::again(ATTEMPT, &fault)))?,
            }
        }
        positions::resolve(&self.consumer, partitions, &self.settings.topics)
            .map_err(|fault| End::Fault(SourceError::stop(ATTEMPT, &fault)))
    }

    /// Reports a revocation, waits for its release while commits still count, and lets go.
    fn revoke(&mut self, partitions: &TopicPartitionList) -> Result<(), End> {
        let lost = self.consumer.assignment_lost();
        if lost {
            self.assigned.clear();
            self.committed = None;
        }
        // Nothing was read of an assignment that had not begun, so there is nothing to drain.
        let begun = self.waiting.take().is_none();
        self.hand_on(KafkaEvent::Revoked { partitions: named(partitions), lost })?;
        if begun {
            self.wait_for_release()?;
        } else {
            self.overdue += 1;
        }
        self.assigned.clear();
        self.confirm_commit();
        self.consumer
            .unassign()
            .map_err(|fault| End::Fault(SourceError::stop("letting the revoked partitions go", &fault)))
    }

    fn wait_for_release(&mut self) -> Result<(), End> {
        let deadline = after(self.settings.release_wait);
        loop {
            let command = select! {
                recv(self.commands) -> command => command.map_err(|_| End::Asked)?,
                recv(deadline) -> _ => {
                    self.overdue += 1;
                    tracing::warn!("revoked partitions were not released in time: their last records may be answered again");
                    return Ok(());
                }
            };
            match command {
                Command::Release if self.overdue == 0 => return Ok(()),
                command => self.obey(command)?,
            }
        }
    }

    /// Repeats the last commit and waits for its answer: the next owner reads it in a moment.
    fn confirm_commit(&mut self) {
        if let Err(error) = self.commit_last() {
            tracing::warn!(%error, "the last records of revoked partitions may be answered again");
        }
    }

    fn commit_last(&mut self) -> Result<(), SourceError> {
        let Some(list) = self.committed.take() else { return Ok(()) };
        self.consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|fault| SourceError::stop("committing offsets for the last time", &fault))
    }

    /// Reports the fault that ends reading, then obeys until it is told to stop.
    fn wind_down(&mut self, fault: SourceError) {
        if self.hand_on(KafkaEvent::Error(fault)).is_err() {
            return;
        }
        while let Ok(command) = self.commands.recv() {
            if self.obey(command).is_err() {
                return;
            }
        }
    }
}

/// A list of offsets with their notes, as a commit or a transaction takes it.
pub(crate) fn offsets_to_commit<'a>(
    commits: impl Iterator<Item = &'a PartitionCommit>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for commit in commits {
        let PartitionCommit { partition, offset, note } = commit;
        let position = Position::Offset(offset.0);
        list.add_partition_offset(&partition.topic, partition.partition, position)?;
        if let Some(mut element) = list.find_partition(&partition.topic, partition.partition) {
            element.set_metadata(note);
        }
    }
    Ok(list)
}

fn named(list: &TopicPartitionList) -> Vec<Partition> {
    let name = |topic: &str, partition| Partition { topic: Arc::from(topic), partition };
    list.elements().iter().map(|element| name(element.topic(), element.partition())).collect()
}
