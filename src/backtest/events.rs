//! The events that are scored, as columns: time, entity, value, label, and when the label became known.
//!
//! Takes answered batches, keeps one entry a row of the scored stream in the order of the answers, and where
//! each record of the input stands among them. Fails where a column has a type that can't be read so.

use std::collections::{HashMap, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;

use crate::alert::{event_id, text_value};
use crate::decode::DecodedBatch;

/// Stands for a row that is no event of the scored stream.
pub const NO_EVENT: u32 = u32::MAX;

/// Decimal places that floats are rounded to, so that sums are exact.
const FLOAT_PLACES: u32 = 6;

/// A sum of values: a whole number of units of 10^-`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// The number of units.
    pub units: i128,
    /// Decimal places.
    pub scale: u32,
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let one = 10_u128.pow(self.scale.min(38));
        let (whole, part) = (self.units.unsigned_abs() / one, self.units.unsigned_abs() % one);
        if self.scale == 0 {
            return write!(f, "{sign}{whole}");
        }
        write!(f, "{sign}{whole}.{part:0places$}", places = self.scale as usize)
    }
}

impl serde::Serialize for Amount {
    /// Text, as decimals are in all of this program's messages.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Whether it is a fraud.
    pub fraud: bool,
    /// When that became known, microseconds.
    pub known_at: i64,
}

/// Labels by event id; of two that differ the one known later counts, and one that is said again was known at first.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    by_id: HashMap<String, Label>,
}

impl Labels {
    /// Takes a label.
    pub fn add(&mut self, id: String, label: Label) {
        self.by_id
            .entry(id)
            .and_modify(|known| {
                if label.fraud == known.fraud {
                    known.known_at = known.known_at.min(label.known_at);
                } else if label.known_at >= known.known_at {
                    *known = label;
                }
            })
            .or_insert(label);
    }

    /// Whether an event is known as a fraud.
    pub fn is_fraud(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|label| label.fraud)
    }

    /// How many events have a label.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Which columns of the contract say what; indexes into the stream's columns.
#[derive(Debug, Clone, Default)]
pub struct EventColumns {
    /// The stream that is scored.
    pub stream: usize,
    /// Fraud or not: BOOLEAN, or a number that is not 0.
    pub label: Option<usize>,
    /// Whom the event is about.
    pub entity: Option<usize>,
    /// What is at stake: an integer, decimal or float.
    pub value: Option<usize>,
    /// The primary key, for labels by event id.
    pub event_id: Vec<usize>,
    /// How long after its event a label of the label column becomes known, microseconds.
    pub label_delay: i64,
}

/// One entry an event, in the order in which events were answered.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// Event time, microseconds.
    pub time: Vec<i64>,
    /// Index into `entities`; empty where no entity column was named.
    pub entity: Vec<u32>,
    /// Units of 10^-`value_scale`; empty where no value column was named.
    pub value: Vec<i128>,
    /// Whether it is a fraud; empty where there are no labels.
    pub fraud: Vec<bool>,
    /// When the label became known, microseconds; `i64::MAX` where there is none.
    pub known_at: Vec<i64>,
    /// Texts of the entities.
    pub entities: Vec<String>,
    /// Decimal places of values.
    pub value_scale: u32,
    /// Labels of a file whose event did not come.
    pub labels_unmatched: u64,
}

impl Events {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Whether an event is a labelled fraud.
    pub fn is_fraud(&self, event: u32) -> bool {
        self.fraud.get(event as usize) == Some(&true)
    }

    /// The text of an event's entity.
    pub fn entity_text(&self, event: u32) -> Option<&str> {
        let entity = *self.entity.get(event as usize)?;
        self.entities.get(entity as usize).map(String::as_str)
    }
}

/// Events by offset, from the first offset on that has one: a topic's may be billions.
#[derive(Debug, Default)]
struct Places {
    first: i64,
    events: VecDeque<u32>,
}

impl Places {
    fn note(&mut self, offset: i64, event: u32) {
        if self.events.is_empty() {
            self.first = offset;
        }
        while offset < self.first {
            self.events.push_front(NO_EVENT);
            self.first -= 1;
        }
        let Ok(index) = usize::try_from(offset - self.first) else { return };
        if self.events.len() <= index {
            self.events.resize(index + 1, NO_EVENT);
        }
        self.events[index] = event;
    }
}

/// Builds [`Events`] batch by batch.
#[derive(Debug)]
pub struct EventTable {
    columns: EventColumns,
    labels: Option<Labels>,
    matched: u64,
    events: Events,
    entity_numbers: hashbrown::HashMap<String, u32>,
    /// For each partition of the input, the event at each offset.
    places: Vec<Places>,
}

impl EventTable {
    /// An empty table; `labels` are those of a file, where there is one.
    pub fn new(columns: EventColumns, labels: Option<Labels>) -> Self {
        Self {
            columns,
            labels,
            matched: 0,
            events: Events::default(),
            entity_numbers: hashbrown::HashMap::new(),
            places: Vec::new(),
        }
    }

    /// Takes the rows of a batch; for each of its rows the index of its event, or [`NO_EVENT`].
    ///
    /// # Errors
    /// A column that can't be read as what it is named for.
    pub fn push(&mut self, batch: &DecodedBatch) -> Result<Vec<u32>, ArrowError> {
        let mut events = vec![NO_EVENT; batch.rows.event_time.len()];
        let Some(own) = batch.streams.get(self.columns.stream) else { return Ok(events) };
        let column = |index: Option<usize>| index.and_then(|index| own.columns.get(index)?.clone());
        let first = u32::try_from(self.events.len()).unwrap_or(NO_EVENT);
        for (event, row) in (first..).zip(&own.rows) {
            events[*row as usize] = event;
            self.events.time.push(batch.rows.event_time[*row as usize]);
            let (partition, offset) = (batch.rows.partition[*row as usize], batch.rows.offset[*row as usize]);
            self.note_place(partition, offset, event);
        }
        if let Some(column) = column(self.columns.entity) {
            self.push_entities(&column)?;
        }
        if let Some(column) = column(self.columns.value) {
            self.push_values(&column)?;
        }
        if self.labels.is_some() {
            let ids: Vec<ArrayRef> =
                self.columns.event_id.iter().filter_map(|index| column(Some(*index))).collect();
            self.push_labels_by_id(&ids, own.rows.len());
        } else if let Some(column) = column(self.columns.label) {
            self.push_labels(&column)?;
        }
        Ok(events)
    }

    fn note_place(&mut self, partition: u32, offset: i64, event: u32) {
        let partition = partition as usize;
        if self.places.len() <= partition {
            self.places.resize_with(partition + 1, Places::default);
        }
        self.places[partition].note(offset, event);
    }

    fn push_entities(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        let texts = if plain_text(column.data_type()) {
            cast(column, &DataType::Utf8)?
        } else {
            let text = |row| Some(text_value(column, row));
            std::sync::Arc::new((0..column.len()).map(text).collect::<arrow::array::StringArray>())
                as ArrayRef
        };
        for text in texts.as_string::<i32>() {
            let text = text.unwrap_or_default();
            let number = match self.entity_numbers.get(text) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(self.events.entities.len()).unwrap_or(u32::MAX);
                    self.events.entities.push(text.to_owned());
                    self.entity_numbers.insert(text.to_owned(), number);
                    number
                }
            };
            self.events.entity.push(number);
        }
        Ok(())
    }

    fn push_values(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        let values = &mut self.events.value;
        match column.data_type() {
            DataType::Decimal128(_, scale) => {
                self.events.value_scale = u32::try_from(*scale).unwrap_or(0);
                values.extend(column.as_primitive::<Decimal128Type>().iter().map(Option::unwrap_or_default));
            }
            kind if kind.is_integer() => {
                let integers = cast(column, &DataType::Int64)?;
                let integers = integers.as_primitive::<Int64Type>();
                values.extend(integers.iter().map(|value| i128::from(value.unwrap_or_default())));
            }
            _ => {
                self.events.value_scale = FLOAT_PLACES;
                let floats = cast(column, &DataType::Float64)?;
                let floats = floats.as_primitive::<Float64Type>();
                #[expect(clippy::cast_possible_truncation, reason = "a money value is far inside of i128")]
                values.extend(floats.iter().map(|value| (value.unwrap_or_default() * 1e6).round() as i128));
            }
        }
        Ok(())
    }

    fn push_labels(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        let flags = cast(column, &DataType::Boolean)?;
        let first = self.events.fraud.len();
        for (index, fraud) in flags.as_boolean().iter().enumerate() {
            let known_at = self.events.time[first + index].saturating_add(self.columns.label_delay);
            self.events.fraud.push(fraud == Some(true));
            self.events.known_at.push(if fraud.is_some() { known_at } else { i64::MAX });
        }
        Ok(())
    }

    fn push_labels_by_id(&mut self, ids: &[ArrayRef], rows: usize) {
        let Some(labels) = &self.labels else { return };
        for row in 0..rows {
            let parts: Vec<String> = ids.iter().map(|column| text_value(column, row)).collect();
            let label = labels.by_id.get(&event_id(&parts));
            self.matched += u64::from(label.is_some());
            self.events.fraud.push(label.is_some_and(|label| label.fraud));
            self.events.known_at.push(label.map_or(i64::MAX, |label| label.known_at));
        }
    }

    /// The event of a record, by where the record stands in the input.
    pub fn event_at(&self, partition: u32, offset: i64) -> Option<u32> {
        let places = self.places.get(partition as usize)?;
        let index = usize::try_from(offset.checked_sub(places.first)?).ok()?;
        places.events.get(index).copied().filter(|event| *event != NO_EVENT)
    }

    /// All events.
    pub fn finish(mut self) -> Events {
        let labels = self.labels.as_ref().map_or(0, Labels::len) as u64;
        self.events.labels_unmatched = labels.saturating_sub(self.matched);
        self.events
    }
}

/// Types whose cast to text is what alerts show.
fn plain_text(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Utf8)
}
