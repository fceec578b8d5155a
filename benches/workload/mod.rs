//! What the benches of graph and pipeline run: payments by a schedule of their own, and rules as an analyst writes them.

#![allow(dead_code, reason = "each bench uses its part")]

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use tollgate::decode::{DecodeLimits, DecodedBatch, Decoders, StreamBinding};
use tollgate::event::{Contract, EventTime, Partition, Span};
use tollgate::pipeline::{Core, CoreSettings, Parts, StreamPolicy};
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use tollgate::source::{Fetched, Partitions, RawBatch, RawRecord, SourcePartition};
use tollgate::window::WindowSettings;

/// 2026-01-01T00:00:00Z.
const FIRST_TIME_MICROS: i64 = 1_767_225_600_000_000;
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL"];

/// The contract and the six rules of `benches/peers`.
pub(crate) fn velocity() -> RuleSet {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers/velocity");
    compiled(RuleFiles::open(&folder, None).expect("the rules of the peers"))
}

/// `count` rules over the same 60 windows (three keys, twenty lengths), each with a threshold of its own, written to a
/// new folder and compiled from there. The first ten read ten windows; the others only stand over windows that are there,
/// so all 60 are asked for by ten rules of more conditions.
pub(crate) fn many(count: usize) -> RuleSet {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = include_str!("../peers/velocity/schema.sql");
    std::fs::write(folder.path().join("schema.sql"), schema).expect("a file");
    for rule in 0..count {
        std::fs::write(folder.path().join(format!("rule{rule}.sql")), text_of(rule, count)).expect("a file");
    }
    compiled(RuleFiles::open(folder.path(), None).expect("generated rules"))
}

/// One of the generated rules: it reads `60 / count` windows, at least one, so that every set reads all 60.
fn text_of(rule: usize, count: usize) -> String {
    let mut conditions = vec![format!("amount > {}.5", 20 + rule * 7 % 400)];
    let mut windows = Vec::new();
    for window in (0..60).filter(|window| window % count.min(60) == rule % 60) {
        let (key, minutes) = (["card_id", "merchant_id", "device_id"][window % 3], 1 + window / 3 * 7);
        windows.push(format!(
            "w{window} AS (PARTITION BY {key} ORDER BY ts RANGE BETWEEN INTERVAL '{minutes} minutes' PRECEDING AND CURRENT ROW)"
        ));
        conditions.push(format!("count(*) OVER w{window} > {}", 3 + rule / 60 + window % 5));
    }
    format!(
        "-- @id: rule{rule}\n-- @title: Generated\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"payment {{tx_id}}\"\n\
         -- @owner: benches\n\nSELECT tx_id\nFROM payments\nWINDOW {}\nQUALIFY {}\n",
        windows.join(",\n       "),
        conditions.join(" AND ")
    )
}

fn compiled(files: RuleFiles) -> RuleSet {
    let set = RuleSet::compile(files, AnswerOrder::Forced(Emit::OnArrival)).expect("a sound contract");
    assert!(!set.has_errors(), "{:?}", set.diagnostics);
    set
}

/// How windows are run: on so many threads.
pub(crate) fn windows(threads: usize) -> WindowSettings {
    WindowSettings { shards: threads, ..WindowSettings::default() }
}

/// Core and makers of alerts of a rule set.
pub(crate) fn parts(set: &RuleSet, threads: usize) -> Parts {
    let policy = StreamPolicy { lateness: Span::seconds(0), repeats: Span::seconds(0) };
    let settings =
        CoreSettings { windows: windows(threads), ..CoreSettings::uniform(&set.catalog.contract, policy) };
    Parts::of_files(set, settings).expect("rules that run")
}

/// The core alone.
pub(crate) fn core(set: &RuleSet, threads: usize) -> Core {
    parts(set, threads).core
}

/// `rows` payments in batches of JSON, a few milliseconds apart: cards and merchants by Zipf's law, devices evenly.
pub(crate) fn payments(rows: usize, batch_rows: usize) -> Vec<RawBatch> {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let cards = Zipf::new(100_000.0, 1.1).expect("a valid law");
    let merchants = Zipf::new(5_000.0, 1.0).expect("a valid law");
    let partition = Partition { topic: "payments".into(), partition: 0 };
    let partitions: Partitions = Arc::new(vec![SourcePartition { partition, stream: 0 }]);
    let mut json = String::new();
    let mut batch = |first: usize| {
        let mut batch = RawBatch { partitions: Arc::clone(&partitions), ..RawBatch::default() };
        for row in first..rows.min(first + batch_rows) {
            let time = FIRST_TIME_MICROS + row as i64 * 25_000;
            json.clear();
            let _ = write!(
                json,
                r#"{{"tx_id":{row},"ts":"{}","card_id":"c{:06}","merchant_id":"m{:04}","amount":{:.2},"country":"{}","device_id":"d{:06}","channel":"ecom","mcc":5411,"currency":"EUR"}}"#,
                EventTime(time),
                cards.sample(&mut random) as u64,
                merchants.sample(&mut random) as u64,
                random.random_range(1..60_000) as f64 / 100.0,
                COUNTRIES[random.random_range(0..COUNTRIES.len())],
                random.random_range(0..150_000),
            );
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(json.as_bytes());
            let payload = Some(start..batch.bytes.len());
            batch.records.push(RawRecord {
                payload,
                offset: row as i64,
                timestamp: Some(time),
                ..RawRecord::default()
            });
        }
        batch
    };
    (0..rows).step_by(batch_rows).map(&mut batch).collect()
}

/// The same, decoded for what a rule set reads.
pub(crate) fn decoded(set: &RuleSet, batches: Vec<RawBatch>) -> Vec<DecodedBatch> {
    let contract: &Contract = &set.catalog.contract;
    let used = parts(set, 1).used;
    let bindings = vec![StreamBinding::default(); contract.streams.len()];
    let mut decoders =
        Decoders::of_contract(contract, &bindings, &used, DecodeLimits::default()).expect("decoders");
    batches.into_iter().map(|batch| decoders.decode(Fetched::Records(batch))).collect()
}
