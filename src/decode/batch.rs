//! A fetched batch to a decoded one, whatever streams its records belong to.
//!
//! Rows keep their order of arrival across streams. A panic while one record is read costs that
//! record: the loop starts again behind it, and the rows before it stay.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::datatypes::Schema;

use super::binding::StreamBinding;
use super::decoder::{DecodeLimits, Decoder};
use super::error::DecodeError;
use super::fault::{Fault, NO_DECODER};
use super::{DeadLetter, DecodedBatch, Rows, Stage};
use crate::event::{Contract, Stream};
use crate::source::{Fetched, RawBatch, RawRecord};

/// The decoders of all streams of a contract, in its order.
#[derive(Debug)]
pub struct Decoders {
    pub(super) decoders: Vec<Decoder>,
}

impl Decoders {
    /// Takes one decoder a stream, in the contract's order.
    pub fn new(decoders: Vec<Decoder>) -> Self {
        Self { decoders }
    }

    /// Makes a decoder for each stream; `bindings` and `used` have one entry a stream.
    pub fn of_contract(
        contract: &Contract,
        bindings: &[StreamBinding],
        used: &[Vec<bool>],
        limits: DecodeLimits,
    ) -> Result<Self, DecodeError> {
        let count = contract.streams.len();
        if bindings.len() != count || used.len() != count {
            let fault = "bindings and used columns must have one entry a stream of the contract";
            return Err(DecodeError::Stream { stream: "(all)".into(), fault });
        }
        let streams = contract.streams.iter().zip(bindings).zip(used);
        let decoders =
            streams.map(|((stream, binding), used)| Decoder::new(stream.clone(), binding, used, limits));
        Ok(Self { decoders: decoders.collect::<Result<_, _>>()? })
    }

    /// The decoder of a stream.
    pub fn decoder(&self, stream: usize) -> Option<&Decoder> {
        self.decoders.get(stream)
    }

    /// Checks a columnar file against a stream before its first batch: every fault of the file as a
    /// whole is reported here, all at once.
    pub fn check_columns(&self, stream: usize, schema: &Schema) -> Result<(), DecodeError> {
        match self.decoders.get(stream) {
            Some(decoder) => decoder.check_columns(schema),
            None => Err(DecodeError::Stream {
                stream: stream.to_string(),
                fault: "the contract has no such stream",
            }),
        }
    }

    /// Decodes a batch: every record ends up as one row or one dead letter.
    pub fn decode(&mut self, fetched: Fetched) -> DecodedBatch {
        match fetched {
            Fetched::Records(batch) => self.decode_records(&batch),
            Fetched::Columns(batch) => self.decode_columns(&batch),
        }
    }

    fn decode_records(&mut self, batch: &RawBatch) -> DecodedBatch {
        let mut decoded = DecodedBatch { rows: rows_for(batch), ..DecodedBatch::default() };
        self.reserve(batch);
        let mut next = 0;
        while let Some(record) = batch.records.get(next) {
            // Safe to go on with: what the panic left of a row is cut off below.
            let finished = catch_unwind(AssertUnwindSafe(|| self.read_from(batch, &mut next, &mut decoded)));
            if finished.is_ok() {
                break;
            }
            let record = batch.records.get(next).unwrap_or(record);
            self.decoders.iter_mut().for_each(Decoder::roll_back);
            let stream = self.stream_of(batch, record).map(|stream| self.decoders[stream].stream.clone());
            decoded.dead_letters.push(dead_letter(batch, record, &Fault::Panic, stream.as_deref()));
            next += 1;
        }
        decoded.streams = self.decoders.iter_mut().map(Decoder::finish).collect();
        decoded
    }

    fn reserve(&mut self, batch: &RawBatch) {
        if let [decoder] = self.decoders.as_mut_slice() {
            return decoder.reserve(batch.records.len());
        }
        let mut counts = vec![0; self.decoders.len()];
        for record in &batch.records {
            if let Some(stream) = self.stream_of(batch, record) {
                counts[stream] += 1;
            }
        }
        for (decoder, count) in self.decoders.iter_mut().zip(counts) {
            decoder.reserve(count);
        }
    }

    /// Index of the record's stream, where it has a decoder.
    fn stream_of(&self, batch: &RawBatch, record: &RawRecord) -> Option<usize> {
        let partition = batch.partitions.get(record.partition as usize)?;
        (partition.stream < self.decoders.len()).then_some(partition.stream)
    }

    /// Reads on from record `next`, which always names the record being read.
    fn read_from(&mut self, batch: &RawBatch, next: &mut usize, decoded: &mut DecodedBatch) {
        while let Some(record) = batch.records.get(*next) {
            let Some(stream) = self.stream_of(batch, record) else {
                decoded.dead_letters.push(dead_letter(batch, record, &Fault::NoDecoder, None));
                *next += 1;
                continue;
            };
            let decoder = &mut self.decoders[stream];
            let outcome = match batch.slice(record.payload.as_ref()) {
                Some(payload) => decoder.read(payload, record.timestamp),
                None => Err(Fault::Tombstone),
            };
            match outcome {
                Ok(event_time) => {
                    decoder.commit(decoded.rows.event_time.len() as u32);
                    push_row(&mut decoded.rows, batch, record, event_time);
                    if decoder.keep_keys {
                        keep_key(&mut decoded.rows, batch.slice(record.key.as_ref()));
                    }
                }
                Err(fault) => {
                    decoder.roll_back();
                    decoded.dead_letters.push(dead_letter(batch, record, &fault, Some(&decoder.stream)));
                }
            }
            *next += 1;
        }
    }
}

fn rows_for(batch: &RawBatch) -> Rows {
    let count = batch.records.len();
    Rows {
        partitions: batch.partitions.clone(),
        event_time: Vec::with_capacity(count),
        partition: Vec::with_capacity(count),
        offset: Vec::with_capacity(count),
        timestamp: Vec::with_capacity(count),
        traceparents: Vec::new(),
        keys: Vec::new(),
    }
}

fn push_row(rows: &mut Rows, batch: &RawBatch, record: &RawRecord, event_time: i64) {
    let trace = batch.slice(record.traceparent.as_ref()).and_then(|bytes| std::str::from_utf8(bytes).ok());
    if let Some(trace) = trace {
        rows.traceparents.push((rows.event_time.len() as u32, trace.to_owned()));
    }
    rows.event_time.push(event_time);
    rows.partition.push(record.partition);
    rows.offset.push(record.offset);
    rows.timestamp.push(record.timestamp.unwrap_or(i64::MIN));
}

/// Keeps the key of the last row; rows before it, of streams that keep none, have none.
fn keep_key(rows: &mut Rows, key: Option<&[u8]>) {
    rows.keys.resize(rows.event_time.len() - 1, None);
    rows.keys.push(key.map(std::sync::Arc::from));
}

#[cold]
fn dead_letter(batch: &RawBatch, record: &RawRecord, fault: &Fault, stream: Option<&Stream>) -> DeadLetter {
    DeadLetter {
        coordinates: batch.coordinates(record),
        timestamp: record.timestamp,
        stage: Stage::Decode,
        reason: stream.map_or_else(|| NO_DECODER.to_owned(), |stream| fault.reason(stream)),
        kind: fault.kind(),
        rule: None,
        payload: batch.slice(record.payload.as_ref()).map(<[u8]>::to_vec),
        key: batch.slice(record.key.as_ref()).map(<[u8]>::to_vec),
    }
}
