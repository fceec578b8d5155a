//! The contract, the lists and random events; the events as batches of the engine and tables of DataFusion.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rand::RngExt;
use tollgate::decode::{DecodedBatch, Rows, StreamRows};
use tollgate::diagnostic::SourceText;
use tollgate::event::Partition;
use tollgate::source::{Partitions, SourcePartition};
use tollgate::sql::{Catalog, CatalogSources, List};

use super::Rng;
use super::query::{Field as QueryField, Kind, Names};
use super::value::{Value, column};

pub(super) const CONTRACT: &str = "
CREATE TABLE payments (
    payment_id BIGINT NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR, shop VARCHAR NOT NULL,
    device INTEGER, points BIGINT, items INTEGER NOT NULL, amount DECIMAL(12, 2), fee DECIMAL(12, 2) NOT NULL,
    score DOUBLE, weight DOUBLE NOT NULL, approved BOOLEAN, online BOOLEAN NOT NULL, booked_at TIMESTAMP,
    PRIMARY KEY (payment_id));
-- @event_time: at
CREATE TABLE logins (
    login_id BIGINT NOT NULL, at TIMESTAMP NOT NULL, card VARCHAR, device INTEGER, tries BIGINT NOT NULL,
    risk DOUBLE, success BOOLEAN, limit_left DECIMAL(12, 2), PRIMARY KEY (login_id));
";

/// Streams of the contract: row id first, event time second.
pub(super) const STREAMS: [&str; 2] = ["payments", "logins"];

/// Name, columns with their kinds, and whether the first column is unique.
type ListShape = (&'static str, &'static [(&'static str, Kind)], bool);

/// The lists.
pub(super) const LISTS: [ListShape; 3] = [
    ("shops", &[("shop", Kind::Text), ("risk", Kind::Whole), ("country", Kind::Text)], true),
    ("devices", &[("device", Kind::Whole), ("seen", Kind::Whole), ("trusted", Kind::Truth)], true),
    ("watched", &[("card", Kind::Text), ("level", Kind::Whole)], false),
];

pub(super) fn names() -> Names<'static> {
    let list = |(name, columns, _): &ListShape| (*name, columns.iter().map(|(column, _)| *column).collect());
    Names { streams: STREAMS.to_vec(), lists: LISTS.iter().map(list).collect() }
}

/// One event of one stream.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub stream: usize,
    pub time: i64,
    pub values: Vec<Value>,
}

/// Events in order of arrival, and the rows of the lists.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub events: Vec<Event>,
    pub lists: Vec<Vec<Vec<Value>>>,
}

pub(super) struct World {
    pub schemas: Vec<SchemaRef>,
    pub list_schemas: Vec<SchemaRef>,
}

impl World {
    pub(super) fn new() -> Self {
        let contract = tollgate::sql::parse_contract(&SourceText::new("schema.sql", CONTRACT)).unwrap();
        let field = |(name, kind): &(&str, Kind)| {
            let data_type = match kind {
                Kind::Text => DataType::Utf8,
                Kind::Truth => DataType::Boolean,
                _ => DataType::Int64,
            };
            Field::new(*name, data_type, true)
        };
        let list = |columns: &[(&str, Kind)]| -> SchemaRef {
            Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
        };
        Self {
            schemas: contract.streams.iter().map(|stream| Arc::clone(&stream.schema)).collect(),
            list_schemas: LISTS.iter().map(|(_, columns, _)| list(columns)).collect(),
        }
    }

    /// The fields of a stream as queries see them.
    pub(super) fn fields(&self, stream: usize) -> Vec<QueryField> {
        let kind = |data_type: &DataType| match data_type {
            DataType::Decimal128(_, scale) => Kind::Decimal(*scale),
            DataType::Float64 => Kind::Float,
            DataType::Utf8 => Kind::Text,
            DataType::Boolean => Kind::Truth,
            DataType::Timestamp(..) => Kind::Time,
            _ => Kind::Whole,
        };
        let field = |field: &Arc<Field>| QueryField {
            name: field.name().clone(),
            kind: kind(field.data_type()),
            of_list: false,
        };
        self.schemas[stream].fields().iter().map(field).collect()
    }

    pub(super) fn catalog(&self, data: &Data) -> Catalog {
        let lists = (0..LISTS.len()).map(|list| List {
            name: LISTS[list].0.to_owned(),
            rows: self.list(data, list),
            version: "0".to_owned(),
        });
        let sources = CatalogSources {
            contract: Some(SourceText::new("schema.sql", CONTRACT)),
            views: Vec::new(),
            lists: lists.collect(),
            models: Vec::new(),
            baselines: Vec::new(),
        };
        let (catalog, findings) = Catalog::build(sources).expect("the contract is sound");
        assert!(findings.is_empty(), "{findings:?}");
        catalog
    }

    pub(super) fn list(&self, data: &Data, list: usize) -> RecordBatch {
        let rows: Vec<&[Value]> = data.lists[list].iter().map(Vec::as_slice).collect();
        record_batch(&self.list_schemas[list], &rows)
    }

    /// All events of a stream, in order of arrival.
    pub(super) fn table(&self, data: &Data, stream: usize) -> RecordBatch {
        let own = data.events.iter().filter(|event| event.stream == stream);
        record_batch(&self.schemas[stream], &own.map(|event| event.values.as_slice()).collect::<Vec<_>>())
    }

    /// Some events as the engine takes them; `read` names the columns that rules use.
    pub(super) fn batch(&self, data: &Data, rows: &[usize], read: &[Vec<bool>]) -> DecodedBatch {
        let stream = |stream: usize| {
            let own: Vec<usize> =
                (0..rows.len()).filter(|row| data.events[rows[*row]].stream == stream).collect();
            let schema = &self.schemas[stream];
            let columns = schema.fields().iter().enumerate().map(|(index, field)| {
                let values = own.iter().map(|row| &data.events[rows[*row]].values[index]);
                read[stream][index].then(|| column(field.data_type(), values))
            });
            StreamRows { columns: columns.collect(), rows: own.iter().map(|row| *row as u32).collect() }
        };
        let partition = Partition { topic: "events".into(), partition: 0 };
        let partitions: Partitions = Arc::new(vec![SourcePartition { partition, stream: 0 }]);
        let rows_known = Rows {
            partitions,
            event_time: rows.iter().map(|row| data.events[*row].time).collect(),
            partition: vec![0; rows.len()],
            offset: rows.iter().map(|row| *row as i64).collect(),
            timestamp: vec![i64::MIN; rows.len()],
            traceparents: Vec::new(),
            keys: Vec::new(),
        };
        DecodedBatch {
            rows: rows_known,
            streams: (0..self.schemas.len()).map(stream).collect(),
            dead_letters: Vec::new(),
        }
    }
}

fn record_batch(schema: &SchemaRef, rows: &[&[Value]]) -> RecordBatch {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| column(field.data_type(), rows.iter().map(|row| &row[index])))
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

// ---- random data -------------------------------------------------------------------------------

const SECOND: i64 = 1_000_000;
const START: i64 = 1_795_000_000 * SECOND;

/// Random events and lists. With `unique_times` no two events share a time.
pub(super) fn random(rng: &mut Rng, world: &World, unique_times: bool) -> Data {
    let count = rng.random_range(20..=120);
    let nulls = [0.0, 0.1, 0.4][rng.random_range(0..3)];
    let keys = [1, 3, 8][rng.random_range(0..3)];
    let late = [0.0, 0.1, 0.3][rng.random_range(0..3)];
    let mut now = START;
    let mut events = Vec::new();
    let mut used = std::collections::HashSet::new();
    for id in 0..count {
        now += match rng.random_range(0..20) {
            0..8 => 0,
            8..16 => 30 * SECOND,
            16..18 => rng.random_range(0..600) * SECOND,
            18 => rng.random_range(0..4_000_000_000),
            _ => 3600 * SECOND * rng.random_range(1..30),
        };
        let mut time = now;
        if rng.random_bool(late) {
            time -= [0, 30, 60, 3600, 90_000][rng.random_range(0..5)] * SECOND;
        }
        while unique_times && !used.insert(time) {
            time += 10 * SECOND;
            now = now.max(time);
        }
        let stream = usize::from(rng.random_bool(0.25));
        let fields = world.fields(stream);
        let schema = &world.schemas[stream];
        let values = fields.iter().enumerate().map(|(index, field)| match index {
            0 => Value::Whole(i128::from(id * 2 + stream as i64)),
            1 => Value::Time(time),
            _ if schema.field(index).is_nullable() && rng.random_bool(nulls) => Value::Null,
            _ => random_value(rng, field, keys, time),
        });
        let values = values.collect();
        events.push(Event { stream, time, values });
    }
    Data { events, lists: random_lists(rng) }
}

fn random_value(rng: &mut Rng, field: &QueryField, keys: i128, time: i64) -> Value {
    match (field.name.as_str(), field.kind) {
        ("card", _) => Value::Text(format!("c{}", rng.random_range(0..keys))),
        ("shop", _) => Value::Text(format!("s{}", rng.random_range(0..6))),
        ("device", _) => Value::Whole(rng.random_range(0..5)),
        // Sums of these are exact in any order; those of `weight` and `risk` are not.
        ("score", _) => Value::Float(f64::from(rng.random_range(-40i32..400)) * 0.25),
        (_, Kind::Whole) => Value::Whole(rng.random_range(-3..20)),
        (_, Kind::Decimal(scale)) => Value::Decimal(rng.random_range(-500..10_000), scale),
        (_, Kind::Float) => Value::Float(rng.random_range(0.0..100.0)),
        (_, Kind::Truth) => Value::Truth(rng.random_bool(0.6)),
        (_, Kind::Time) => Value::Time(time - rng.random_range(0..40) * 600 * SECOND),
        (name, kind) => panic!("no values for {name} {kind:?}"),
    }
}

fn random_lists(rng: &mut Rng) -> Vec<Vec<Vec<Value>>> {
    let maybe = |rng: &mut Rng, value: Value| if rng.random_bool(0.15) { Value::Null } else { value };
    let mut shops = Vec::new();
    for shop in 0..8 {
        if rng.random_bool(0.6) {
            let risk = Value::Whole(rng.random_range(0..6));
            let country = Value::Text(["NL", "DE", "FR"][rng.random_range(0..3)].to_owned());
            shops.push(vec![Value::Text(format!("s{shop}")), maybe(rng, risk), maybe(rng, country)]);
        }
    }
    let mut devices = Vec::new();
    for device in 0..6 {
        if rng.random_bool(0.6) {
            let seen = Value::Whole(rng.random_range(0..6));
            let trusted = Value::Truth(rng.random_bool(0.5));
            devices.push(vec![Value::Whole(device), maybe(rng, seen), maybe(rng, trusted)]);
        }
    }
    let watched = (0..rng.random_range(0..6)).map(|_| {
        let card = Value::Text(format!("c{}", rng.random_range(0..9)));
        let level = Value::Whole(rng.random_range(0..6));
        vec![maybe(rng, card), maybe(rng, level)]
    });
    let watched = watched.collect();
    vec![shops, devices, watched]
}
