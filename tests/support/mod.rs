//! A small world to try queries in: two streams, lists, views, and rows written in a line each.
//!
//! A row is `MM:SS name=value …` (or `3d 10:00 …`) on 1 January 2026; the first word may name the stream.
//! Answers are printed as a table, so that a test reads as what goes in and what comes out.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::decode::{DecodeLimits, Decoders, StreamBinding};
use tollgate::diagnostic::{Colour, Diagnostic, SourceText, render_all};
use tollgate::event::{Contract, EventTime, Partition, Span};
use tollgate::graph::WindowReport;
use tollgate::pipeline::{
    Before, Core, CoreSettings, StepOutcome, StreamPolicy, columns_read, engines_after,
};
use tollgate::rules::CompiledRules;
use tollgate::source::{Fetched, RawBatch, RawRecord, SourcePartition};
use tollgate::sql::{Catalog, CatalogSources, Compiled, List, Query, RuleGraph, compile};

/// The contract of the small world.
pub(crate) const SCHEMA: &str = "\
CREATE TABLE payments (
    tx         VARCHAR NOT NULL,
    event_time TIMESTAMP NOT NULL,
    card       VARCHAR,
    amount     DECIMAL(18, 2),
    mcc        VARCHAR,
    merchant   VARCHAR,
    country    VARCHAR,
    n          INTEGER,
    ratio      DOUBLE,
    ok         BOOLEAN,
    ip         VARCHAR,
    lat        DOUBLE,
    lon        DOUBLE,
    booked     TIMESTAMP,
    PRIMARY KEY (tx)
);
CREATE TABLE logins (
    login      VARCHAR NOT NULL,
    event_time TIMESTAMP NOT NULL,
    card       VARCHAR,
    kind       VARCHAR,
    PRIMARY KEY (login)
);
";

/// The lists of the small world: file and text.
pub(crate) const LISTS: [(&str, &str); 4] = [
    ("mccs.csv", "mcc,risk\n0742,1\n7995,9\n"),
    ("countries.csv", "country,code,reason\nIR,1,sanctions\nKP,2,sanctions\n"),
    ("holes.csv", "country,note\nIR,a\n,b\n"),
    (
        "merchants.json",
        "[{\"merchant\": \"m1\", \"mcc\": \"7995\", \"limit\": 10}, {\"merchant\": \"m2\", \"mcc\": \"0742\", \"limit\": null}]",
    ),
];

/// A contract, lists and views to try queries in.
pub(crate) struct World {
    pub(crate) schema: String,
    pub(crate) lists: Vec<(String, String)>,
    pub(crate) views: Vec<(String, String)>,
}

impl Default for World {
    fn default() -> Self {
        let lists = LISTS.map(|(file, text)| (file.to_owned(), text.to_owned()));
        Self { schema: SCHEMA.to_owned(), lists: lists.to_vec(), views: Vec::new() }
    }
}

impl World {
    /// The small world with a file of views.
    pub(crate) fn with_views(text: &str) -> Self {
        Self { views: vec![("views.sql".to_owned(), text.to_owned())], ..Self::default() }
    }

    /// The catalog, and what is wrong with views and lists.
    pub(crate) fn catalog(&self) -> (Catalog, Vec<Diagnostic>) {
        let folder = TempDir::new().expect("a folder");
        let lists = self.lists.iter().map(|(file, text)| {
            let path = folder.path().join(file);
            std::fs::write(&path, text).expect("a file");
            List::open(&path).expect("a list")
        });
        let views = self.views.iter().map(|(file, text)| SourceText::new(file, text.as_str()));
        let sources = CatalogSources {
            contract: Some(SourceText::new("schema.sql", self.schema.as_str())),
            lists: lists.collect(),
            views: views.collect(),
            models: Vec::new(),
            baselines: Vec::new(),
        };
        Catalog::build(sources).unwrap_or_else(|found| panic!("{}", render_all(&found, Colour::Off)))
    }

    /// Compiles queries, each under the name `q0.sql`, `q1.sql`, ….
    pub(crate) fn compile(&self, queries: &[&str]) -> (Catalog, Compiled) {
        let (catalog, findings) = self.catalog();
        assert!(findings.is_empty(), "{}", render_all(&findings, Colour::Off));
        let queries: Vec<Query> = queries
            .iter()
            .enumerate()
            .map(|(index, text)| Query {
                id: format!("q{index}"),
                source: SourceText::new(format!("q{index}.sql"), *text),
            })
            .collect();
        let compiled = compile(&catalog, &queries);
        (catalog, compiled)
    }

    /// What is wrong with a query, drawn.
    pub(crate) fn refusal(&self, query: &str) -> String {
        let (catalog, mut findings) = self.catalog();
        let query = Query { id: "rule".to_owned(), source: SourceText::new("rule.sql", query) };
        findings.extend(compile(&catalog, &[query]).diagnostics);
        render_all(&findings, Colour::Off)
    }

    /// Queries that must be sound, ready to run on arrival.
    pub(crate) fn run(&self, queries: &[&str]) -> Running {
        self.running(queries, Order::OnArrival)
    }

    /// Queries that must be sound, ready to run.
    pub(crate) fn running(&self, queries: &[&str], order: Order) -> Running {
        self.running_changed(queries, order, |_| {})
    }

    /// Queries whose graph is changed before it runs.
    pub(crate) fn running_changed(
        &self,
        queries: &[&str],
        order: Order,
        change: impl FnOnce(&mut RuleGraph),
    ) -> Running {
        self.running_after(queries, order, change, None)
    }

    /// Queries that are to take the place of others.
    pub(crate) fn running_after(
        &self,
        queries: &[&str],
        order: Order,
        change: impl FnOnce(&mut RuleGraph),
        before: Option<&Before>,
    ) -> Running {
        let (catalog, mut compiled) = self.compile(queries);
        assert!(compiled.diagnostics.is_empty(), "{}", render_all(&compiled.diagnostics, Colour::Off));
        change(&mut compiled.graph);
        let contract = catalog.contract.clone();
        let policy = StreamPolicy { lateness: Span::seconds(5), repeats: Span::seconds(3600) };
        let settings = CoreSettings::uniform(&contract, policy);
        let rules = CompiledRules { rules: Vec::new(), graph: compiled.graph };
        let none = CompiledRules::default();
        let (arrival, ordered) = match order {
            Order::OnArrival => (&rules, &none),
            Order::InOrder => (&none, &rules),
        };
        let engines = engines_after(arrival, ordered, &settings.windows, before);
        let [arrival, ordered] = engines.expect("the graph runs");
        let used = columns_read(&contract, [&arrival, &ordered]);
        let bindings = vec![StreamBinding::default(); contract.streams.len()];
        let decoders = Decoders::of_contract(&contract, &bindings, &used, DecodeLimits::default());
        let core = Core::new(&contract, decoders.expect("decoders"), arrival, ordered, settings);
        let names = rules.graph.queries.iter();
        let names = names.map(|query| query.outputs.iter().map(|output| output.name.clone()).collect());
        Running { core, names: names.collect(), used, contract, rows: 0, timestamp: None }
    }

    /// The hits of one query, the rows sent in one batch and one by one with the same result.
    #[track_caller]
    pub(crate) fn answers(&self, query: &str, rows: &[&str]) -> String {
        let together = self.run(&[query]).send(rows);
        let mut one_by_one = self.run(&[query]);
        let header = one_by_one.names[0].join(" | ");
        let alone: Vec<String> = rows.iter().map(|row| one_by_one.send(&[row])).collect();
        let stripped = |table: &String| table.strip_prefix(&header).unwrap_or(table).to_owned();
        let alone: String = alone.iter().map(stripped).collect();
        assert_eq!(stripped(&together), alone, "one batch, and each row alone");
        together
    }
}

/// The hits of one query in the small world, the rows sent in one batch and one by one.
#[track_caller]
pub(crate) fn answers(query: &str, rows: &[&str]) -> String {
    World::default().answers(query, rows)
}

/// When rows are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OnArrival,
    InOrder,
}

/// Queries at work.
pub(crate) struct Running {
    pub(crate) core: Core,
    /// Names of the selected columns, query by query.
    pub(crate) names: Vec<Vec<String>>,
    /// Broker's timestamp of the records that are sent, microseconds.
    pub(crate) timestamp: Option<i64>,
    /// For each stream, the columns that are read.
    pub(crate) used: Vec<Vec<bool>>,
    contract: Contract,
    rows: usize,
}

impl Running {
    /// Sends rows as one batch; the hits of the first query as a table.
    pub(crate) fn send(&mut self, rows: &[&str]) -> String {
        let outcome = self.step(rows);
        self.table(0, &outcome)
    }

    /// Takes rows in as one batch that was answered elsewhere.
    pub(crate) fn absorb(&mut self, rows: &[&str]) {
        let records = self.records(rows);
        let records: Vec<(usize, &[u8])> =
            records.iter().map(|(stream, text)| (*stream, text.as_bytes())).collect();
        let batch = self.batch(&records);
        let decoded = self.core.decode(batch).expect("rows");
        self.core.absorb(decoded).expect("the engine goes on");
    }

    fn records(&self, rows: &[&str]) -> Vec<(usize, String)> {
        rows.iter().zip(self.rows + 1..).map(|(row, number)| self.record(row, number)).collect()
    }

    /// Sends rows as one batch.
    pub(crate) fn step(&mut self, rows: &[&str]) -> StepOutcome {
        let records = self.records(rows);
        let records: Vec<(usize, &[u8])> =
            records.iter().map(|(stream, text)| (*stream, text.as_bytes())).collect();
        self.step_records(&records)
    }

    /// Sends records as they are, each with the index of its stream.
    pub(crate) fn step_records(&mut self, records: &[(usize, &[u8])]) -> StepOutcome {
        let batch = self.batch(records);
        self.core.step(batch).expect("the engine goes on")
    }

    fn batch(&mut self, records: &[(usize, &[u8])]) -> Fetched {
        let partition = |(stream, declared): (usize, &Arc<tollgate::event::Stream>)| SourcePartition {
            partition: Partition { topic: declared.name.as_str().into(), partition: 0 },
            stream,
        };
        let mut batch = RawBatch {
            partitions: Arc::new(self.contract.streams.iter().enumerate().map(partition).collect()),
            ..RawBatch::default()
        };
        for (stream, payload) in records {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(payload);
            self.rows += 1;
            batch.records.push(RawRecord {
                partition: u32::try_from(*stream).expect("few streams"),
                offset: i64::try_from(self.rows).expect("few rows"),
                timestamp: self.timestamp,
                payload: Some(start..batch.bytes.len()),
                ..RawRecord::default()
            });
        }
        Fetched::Records(batch)
    }

    /// The hits of one query as a table: a header, then a line a hit.
    pub(crate) fn table(&self, query: usize, outcome: &StepOutcome) -> String {
        let mut lines = vec![self.names[query].join(" | ")];
        for answered in &outcome.answered {
            for found in answered.hits.hits.iter().filter(|found| found.query == query) {
                for hit in 0..found.rows.len() {
                    let cells = found.columns.iter().map(|column| cell(column, hit));
                    lines.push(cells.collect::<Vec<_>>().join(" | "));
                }
            }
        }
        lines.join("\n")
    }

    /// Window states in the order in which they run.
    pub(crate) fn windows(&self) -> Vec<WindowReport> {
        self.core.engines().flat_map(|(_, engine)| engine.windows()).collect()
    }

    /// `MM:SS a=b` as the record of a stream.
    fn record(&self, row: &str, number: usize) -> (usize, String) {
        let mut words = row.split_whitespace().peekable();
        let stream = words.peek().and_then(|word| self.contract.stream(word)).map(|(index, _)| index);
        if stream.is_some() {
            words.next();
        }
        let mut seconds = 0;
        if let Some(days) = words.peek().and_then(|word| word.strip_suffix('d')).and_then(|d| d.parse().ok())
        {
            let days: i64 = days;
            seconds += days * 86_400;
            words.next();
        }
        let (minute, second) = words.next().and_then(|time| time.split_once(':')).expect("MM:SS");
        seconds += minute.parse::<i64>().expect("minutes") * 60 + second.parse::<i64>().expect("seconds");
        let mut record = serde_json::Map::new();
        let stream = stream.unwrap_or(0);
        let id = self.contract.streams[stream].event_id[0];
        let id = self.contract.streams[stream].schema.field(id).name().clone();
        record.insert(id, format!("t{number}").into());
        record.insert("event_time".to_owned(), time(seconds).into());
        for word in words {
            let (name, value) = word.split_once('=').expect("name=value");
            record.insert(name.to_owned(), value.into());
        }
        (stream, serde_json::Value::Object(record).to_string())
    }
}

/// RFC 3339 text of some seconds into 1 January 2026.
pub(crate) fn time(seconds: i64) -> String {
    EventTime((1_767_225_600 + seconds) * 1_000_000).to_string()
}

fn cell(column: &arrow::array::ArrayRef, row: usize) -> String {
    match tollgate::alert::json_value(column, row) {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Compares a text with a golden file; `TOLLGATE_BLESS=1` writes it instead.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs; read it after TOLLGATE_BLESS=1\n--- is\n{text}\n--- was\n{golden}",
        path.display()
    );
}
