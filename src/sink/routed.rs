//! Two sinks side by side: some destinations go to Kafka, the others to files.
//!
//! Each step goes to both, so a receipt covers a step once both have it.

use std::time::Duration;

use super::{Destination, FileSink, KafkaSink, OutMessage, Outgoing, Receipt, Rejected, SinkError};

/// Kafka and files, each with its destinations.
#[derive(Debug)]
pub struct RoutedSink {
    kafka: KafkaSink,
    files: FileSink,
    to_files: Vec<Destination>,
    durable: [u64; 2],
    handed: u64,
}

impl RoutedSink {
    /// Sends the destinations in `to_files` to files and all others to Kafka.
    pub fn new(kafka: KafkaSink, files: FileSink, to_files: Vec<Destination>) -> Self {
        Self { kafka, files, to_files, durable: [0; 2], handed: 0 }
    }

    pub(super) fn publish(&mut self, outgoing: Outgoing) -> Result<(), SinkError> {
        let to_file = |message: &OutMessage| self.to_files.contains(&message.destination);
        let (files, kafka) = outgoing.messages.into_iter().partition(to_file);
        self.files.publish(&Outgoing { step: outgoing.step, messages: files })?;
        self.kafka.publish(Outgoing { step: outgoing.step, messages: kafka })
    }

    pub(super) fn receipt(&mut self) -> Result<Option<Receipt>, SinkError> {
        let receipts = [self.kafka.receipt()?, self.files.receipt()?];
        for (durable, receipt) in self.durable.iter_mut().zip(receipts) {
            *durable = receipt.map_or(*durable, Receipt::step);
        }
        let both = self.durable[0].min(self.durable[1]);
        if both <= self.handed {
            return Ok(None);
        }
        self.handed = both;
        Ok(Some(Receipt::up_to(both)))
    }

    pub(super) fn finish(&mut self, grace: Duration) -> Result<Receipt, SinkError> {
        self.durable = [self.kafka.finish(grace)?.step(), self.files.finish()?.step()];
        self.handed = self.durable[0].min(self.durable[1]);
        Ok(Receipt::up_to(self.handed))
    }

    pub(super) fn holds_back(&self) -> bool {
        self.kafka.holds_back()
    }

    pub(super) fn rejected(&mut self) -> Vec<Rejected> {
        self.kafka.rejected()
    }
}
