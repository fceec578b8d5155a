//! What segments of an older contract are worth under a newer one.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema};
use object_store::memory::InMemory;

use super::model::*;
use crate::event::Contract;
use crate::history::Plan;

/// The contract with other columns in `payments`.
fn with_payments(change: impl Fn(Vec<Field>) -> Vec<Field>) -> Contract {
    let mut contract = contract();
    let stream = Arc::make_mut(&mut contract.streams[0]);
    let fields = stream.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let fields = change(fields);
    stream.event_time = fields.iter().position(|field| field.name() == "event_time").unwrap();
    stream.schema = Arc::new(Schema::new(fields));
    contract
}

fn recorded() -> (crate::history::History, Vec<Row>) {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..20).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 10);
    (history, rows)
}

fn planned(contract: &Contract) -> Plan {
    recorded().0.plan(contract, &wanted(0, 20, i64::MIN)).unwrap()
}

#[test]
fn an_added_column_is_null_a_widened_one_is_cast_and_a_dropped_one_is_gone() {
    let (history, rows) = recorded();
    let newer = with_payments(|fields| {
        let mut fields: Vec<Field> = fields.into_iter().filter(|field| field.name() != "tx_id").collect();
        fields.insert(0, Field::new("device", DataType::Utf8, true));
        fields
            .into_iter()
            .map(|field| match field.name().as_str() {
                "mcc" => field.with_data_type(DataType::Int64),
                "amount" => field.with_data_type(DataType::Decimal128(22, 4)),
                _ => field,
            })
            .collect()
    });
    let plan = history.plan(&newer, &wanted(0, 20, i64::MIN)).unwrap();
    assert!(plan.complete && plan.unusable.is_empty(), "{plan:?}");
    let loader = history.load(vec![plan], &newer, &all_used(), partitions()).unwrap();
    let batches: Vec<_> = loader.collect::<Result<_, _>>().unwrap();
    let columns: Vec<_> = batches[0].streams[0].columns.iter().flatten().cloned().collect();
    assert_eq!((batches.len(), columns.len()), (1, 4));
    assert_eq!(columns[0].null_count(), 20);
    let amounts: Vec<Option<i128>> = columns[2].as_primitive::<Decimal128Type>().iter().collect();
    let codes: Vec<Option<i64>> = columns[3].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(amounts, rows.iter().map(|row| row.amount.map(|cents| cents * 100)).collect::<Vec<_>>());
    assert_eq!(codes, rows.iter().map(|row| row.mcc.map(i64::from)).collect::<Vec<_>>());
}

#[test]
fn any_other_change_makes_the_segments_unusable_and_says_why() {
    type Change = fn(&mut Vec<Field>);
    let changes: [(Change, &str); 4] = [
        (|fields| fields.push(Field::new("country", DataType::Utf8, false)), "lacks the column `country`"),
        (|fields| fields[3] = Field::new("mcc", DataType::Utf8, true), "its column `mcc` is Int32"),
        (|fields| fields[3] = Field::new("mcc", DataType::Int32, false), "may hold nulls"),
        (
            |fields| fields[2] = Field::new("amount", DataType::Decimal128(18, 4), true),
            "its column `amount` is",
        ),
    ];
    for (change, reason) in changes {
        let plan = planned(&with_payments(|mut fields| {
            change(&mut fields);
            fields
        }));
        assert_eq!((plan.reaches, plan.complete, plan.unusable.len()), (None, false, 2), "{reason}");
        assert!(plan.unusable.iter().all(|(_, found)| found.contains(reason)), "{:?}", plan.unusable);
    }
}

#[test]
fn another_event_time_column_makes_the_segments_unusable() {
    let mut other = with_payments(|mut fields| {
        fields.push(fields[1].clone().with_name("booked_at").with_nullable(true));
        fields
    });
    Arc::make_mut(&mut other.streams[0]).event_time = 4;
    let plan = planned(&other);
    assert!(
        plan.unusable.iter().all(|(_, reason)| reason.contains("its event time is `event_time`")),
        "{plan:?}"
    );
    assert_eq!(plan.unusable.len(), 2);
}
