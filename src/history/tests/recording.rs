//! Writing and loading where nothing goes wrong: cuts, gaps, overlaps, rolling, merging, pruning.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;

use super::model::*;
use crate::event::{Offset, Partition, Span};
use crate::graph::Carrier;
use crate::history::carry::{self, Under};
use crate::history::contract::segment_schema;
use crate::history::recorder::{Appended, Recorder};
use crate::history::writer::Load;
use crate::history::{History, HistoryError, Old, Place, Writer};
use crate::settings::{HistoryPlace, HistorySettings};

fn pay(partition: i32) -> Partition {
    Partition { topic: "pay".into(), partition }
}

fn offsets(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.offset).collect()
}

#[test]
fn rows_come_back_as_they_went_in_and_in_the_order_of_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HistorySettings {
        place: HistoryPlace::Folder(folder.path().to_owned()),
        keep: Span(0),
        flush_interval: Span::seconds(10),
        segment_rows: std::num::NonZeroUsize::new(1024).unwrap(),
    };
    let local = History::open(&settings, &identity()).unwrap();
    for history in [open(Arc::new(InMemory::new())), local] {
        let rows = interleaved(50_000);
        let writer = writer(&history, writer_settings(5_000), 0);
        for rows in rows.chunks(1_000) {
            writer.append(&batch(rows), &spans_through(rows));
        }
        writer.close(PATIENCE).unwrap();
        let plans: Vec<_> = (0..3).map(|index| plan(&history, index, i64::MAX, i64::MIN)).collect();
        assert!(
            plans.iter().all(|plan| plan.complete && plan.unusable.is_empty() && plan.segments.len() > 1)
        );
        assert_eq!(plans.iter().map(|plan| plan.next_arrival).max(), Some(50_000));
        assert_eq!(load(&history, plans), rows);
        let verified = history.verify().unwrap();
        assert_eq!((verified.rows, verified.findings), (50_000, vec![]));
    }
}

/// Ranges that touch from batch to batch: the offsets behind a row up to the next one's belong to it.
fn spans_through(rows: &[Row]) -> Vec<(Partition, std::ops::Range<Offset>)> {
    let behind = |last: i64| Offset(last + 1 + i64::from(last % 5 == 3));
    spans(rows).into_iter().map(|(name, range)| (name, range.start..behind(range.end.0 - 1))).collect()
}

#[test]
fn loading_is_cut_at_the_offset_where_the_job_goes_on() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..100).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 30);
    let plan = plan(&history, 0, 75, i64::MIN);
    assert_eq!((plan.starts, plan.reaches, plan.complete), (Some(Offset(0)), Some(Offset(75)), true));
    assert_eq!(load(&history, vec![plan]), rows[..75]);
}

#[test]
fn segments_older_than_what_is_needed_are_not_loaded_and_still_prove_completeness() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..100).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 10);
    let plan = plan(&history, 0, 100, row(0, 85).time);
    assert!(plan.complete);
    assert_eq!(offsets(&load(&history, vec![plan])), (80..100).collect::<Vec<_>>());
}

#[test]
fn a_gap_ends_the_coverage_and_is_said() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    for range in [0..40, 60..90] {
        let rows: Vec<Row> = range.map(|offset| row(0, offset)).collect();
        writer.append(&batch(&rows), &spans(&rows));
    }
    writer.close(PATIENCE).unwrap();
    let after = plan(&history, 0, 100, row(0, 70).time);
    // What was between 40 and 60 may be as late as the wanted rows: the run up to 40 is the only whole one.
    assert_eq!((after.reaches, after.complete), (Some(Offset(40)), true));
    let before = plan(&history, 0, 30, i64::MIN);
    assert_eq!((before.reaches, before.complete), (Some(Offset(30)), true));
    let beyond = plan(&history, 1, 30, i64::MIN);
    assert_eq!((beyond.starts, beyond.reaches, beyond.complete), (None, None, false));
}

#[test]
fn beside_a_job_all_rows_are_read_around_a_gap_and_where_segments_are_merged_meanwhile() {
    let history = open(Arc::new(InMemory::new()));
    let own = |rows: std::ops::Range<i64>| rows.map(|offset| row(0, offset)).collect::<Vec<Row>>();
    // More than a loader reads ahead.
    let (first, second) = (own(0..60_000), own(60_010..150_000));
    write_in_segments(&history, &first, 60_000);
    write_in_segments(&history, &second, 10_000);
    let small = history.segments(&pay(0), 1).unwrap().split_off(1);
    let wanted = (0..3).map(|index| wanted(index, i64::MAX, i64::MIN)).collect();
    let mut beside = history.beside(wanted, &contract(), &all_used(), partitions()).unwrap();
    assert_eq!((beside.plans()[0].complete, beside.plans()[0].rows), (false, 149_990));
    let mut rows = rows_of(&beside.next().unwrap().unwrap());
    write_in_segments(&history, &second, 90_000);
    let place = crate::history::Place { partition: pay(0), generation: 1 };
    for segment in small {
        history.objects.delete(&history.location(&place, &segment.name)).unwrap();
    }
    rows.extend(beside.flat_map(|batch| rows_of(&batch.unwrap())));
    assert_eq!(offsets(&rows), (0..60_000).chain(60_010..150_000).collect::<Vec<_>>());
}

#[test]
fn coverage_after_a_gap_is_complete_once_what_was_lost_is_too_old_to_matter() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    writer.start_at(&pay(0), Offset(60), row(0, 60).time);
    let rows: Vec<Row> = (60..90).map(|offset| row(0, offset)).collect();
    writer.append(&batch(&rows), &spans(&rows));
    writer.close(PATIENCE).unwrap();
    for (since, complete) in [(59, false), (60, true), (80, true)] {
        let plan = plan(&history, 0, 90, row(0, since).time);
        assert_eq!((plan.starts, plan.complete), (Some(Offset(60)), complete), "since {since}");
    }
}

#[test]
fn a_first_start_in_the_middle_of_a_topic_is_complete_where_the_job_says_so() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    writer.start_at(&pay(1), Offset(500), i64::MIN);
    let rows: Vec<Row> = (500..520).map(|offset| row(1, offset)).collect();
    writer.append(&batch(&rows), &spans(&rows));
    writer.close(PATIENCE).unwrap();
    assert!(plan(&history, 1, 520, i64::MIN).complete);
}

#[test]
fn offsets_that_overlap_are_loaded_once() {
    let history = open(Arc::new(InMemory::new()));
    for (range, arrival) in [(0..50, 0), (30..80, 50), (10..20, 100), (80..85, 110), (70..85, 120)] {
        let writer = writer(&history, writer_settings(1000), arrival);
        let rows: Vec<Row> = range.map(|offset| row(0, offset)).collect();
        writer.append(&batch(&rows), &spans(&rows));
        writer.close(PATIENCE).unwrap();
    }
    for until in [5, 35, 72, 85] {
        let plan = plan(&history, 0, until, i64::MIN);
        assert_eq!(plan.reaches, Some(Offset(until)));
        let loaded = load(&history, vec![plan]);
        assert_eq!(loaded, (0..until).map(|offset| row(0, offset)).collect::<Vec<_>>());
    }
    assert_eq!(history.verify().unwrap().findings, vec![]);
}

#[test]
fn offsets_without_a_row_are_covered_all_the_same() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    writer.append(&batch(&[]), &[(pay(0), Offset(0)..Offset(10))]);
    writer.flush(PATIENCE).unwrap();
    let rows: Vec<Row> = (10..12).map(|offset| row(0, offset)).collect();
    writer.append(&batch(&rows), &[(pay(0), Offset(10)..Offset(20))]);
    writer.close(PATIENCE).unwrap();
    let plan = self::plan(&history, 0, 20, i64::MIN);
    // Nothing of the partition is older than what the second segment holds, so it is enough.
    assert_eq!((plan.starts, plan.reaches, plan.complete), (Some(Offset(10)), Some(Offset(20)), true));
    assert_eq!(load(&history, vec![plan]), rows);
    let first = self::plan(&history, 0, 10, i64::MIN);
    assert_eq!((first.reaches, first.complete, first.rows), (Some(Offset(10)), true, 0));
}

#[test]
fn only_the_columns_asked_for_are_read_and_the_event_time() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..10).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 10);
    let plans = vec![plan(&history, 0, 10, i64::MIN)];
    let used = vec![vec![false, false, true, false], vec![false, false]];
    let loaded = history.load(plans, &contract(), &used, partitions()).unwrap();
    let batches: Vec<_> = loaded.collect::<Result<_, _>>().unwrap();
    let read =
        |stream: usize| batches[0].streams[stream].columns.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!((read(0), read(1)), (vec![false, true, true, false], vec![true, false]));
}

#[test]
fn segments_roll_by_rows_and_by_time() {
    let history = open(Arc::new(InMemory::new()));
    let settings = writer_settings(100);
    let mut recorder = Recorder::new(history.clone(), &contract(), &[1, 1], settings, 0).unwrap();
    let take = |recorder: &mut Recorder, range: std::ops::Range<i64>, now: u64| {
        let rows: Vec<Row> = range.map(|offset| row(0, offset)).collect();
        let read = spans(&rows);
        let appended = Appended { batch: batch(&rows), read, load: Load::default() };
        recorder.take(appended, Duration::from_secs(now));
        recorder.tick(Duration::from_secs(now));
        let segments = history.segments(&pay(0), 1).unwrap();
        segments.iter().map(|segment| segment.name.to.0).collect::<Vec<_>>()
    };
    assert_eq!(take(&mut recorder, 0..60, 0), Vec::<i64>::new());
    assert_eq!(take(&mut recorder, 60..120, 1), [120]);
    assert_eq!(take(&mut recorder, 120..130, 2), [120]);
    assert_eq!(take(&mut recorder, 130..140, 11), [120]);
    assert_eq!(take(&mut recorder, 140..150, 12), [120, 150]);
}

#[test]
fn small_neighbours_are_merged_also_those_of_an_earlier_process() {
    let history = open(Arc::new(InMemory::new()));
    let settings = || crate::history::WriterSettings { merge_segments: 4, ..writer_settings(1000) };
    let rows: Vec<Row> = (0..120).map(|offset| row(0, offset)).collect();
    for half in rows.chunks(60) {
        let writer = writer(&history, settings(), half[0].offset);
        for rows in half.chunks(20) {
            writer.append(&batch(rows), &spans(rows));
            writer.flush(PATIENCE).unwrap();
        }
        writer.close(PATIENCE).unwrap();
    }
    let segments = history.segments(&pay(0), 1).unwrap();
    let ends: Vec<i64> = segments.iter().map(|segment| segment.name.to.0).collect();
    assert_eq!(ends, [80, 100, 120]);
    assert_eq!(history.verify().unwrap().findings, vec![]);
    let plan = plan(&history, 0, 120, i64::MIN);
    assert!(plan.complete);
    assert_eq!(load(&history, vec![plan]), rows);
}

#[test]
fn pruning_takes_old_segments_off_the_front_and_leaves_the_rest_complete() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..100).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 10);
    let before = row(0, 45).time;
    assert_eq!(prune(&history, before, 100), 4);
    let plan = plan(&history, 0, 100, before);
    assert_eq!((plan.starts, plan.complete), (Some(Offset(40)), true));
    assert_eq!(load(&history, vec![plan]), rows[40..]);
    // What a restart may go on from before stays, and the newest segment, which tells where recording stopped.
    assert_eq!(prune(&history, i64::MAX, 69), 2);
    assert_eq!(prune(&history, i64::MAX, 100), 3);
    assert_eq!(prune(&history, i64::MAX, 100), 0);
}

/// Lets go of what is old in the first partition; how many segments were deleted.
fn prune(history: &History, before: i64, read: i64) -> usize {
    let (contract, place) = (contract(), Place { partition: pay(0), generation: 1 });
    let schema = segment_schema(&contract.streams[0]).unwrap();
    let under = Under { contract: &contract, stream: 0, schema: &schema };
    carry::prune(history, &place, &under, (&old(before, read), Offset(read), &mut None)).unwrap().len()
}

/// No window needs anything but what is later.
fn old(before: i64, read: i64) -> Old {
    let carrier = Arc::new(Carrier::of([], &contract(), Span(0)).unwrap());
    Old { before, read: [(pay(0), Offset(read))].into(), carrier }
}

#[test]
fn a_partition_that_moved_is_written_and_forgotten() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    let rows: Vec<Row> = (0..10).map(|offset| row(0, offset)).collect();
    writer.append(&batch(&rows), &spans(&rows));
    writer.forget(&[pay(0)]);
    writer.flush(PATIENCE).unwrap();
    assert_eq!(writer.status().durable.get(&pay(0)), Some(&Offset(10)));
    writer.close(PATIENCE).unwrap();
    assert_eq!(plan(&history, 0, 10, i64::MIN).rows, 10);
}

#[test]
fn the_writer_tells_the_earliest_and_latest_event_of_each_partition_that_it_records() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..100).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows[..50], 10);
    // Another process goes on: what it finds counts as well as what it writes.
    let writer = writer(&history, writer_settings(10), 50);
    let times = |writer: &Writer| writer.status().times.get(&pay(0)).copied();
    assert_eq!(times(&writer), None);
    writer.append(&batch(&rows[50..]), &spans(&rows[50..]));
    writer.flush(PATIENCE).unwrap();
    assert_eq!(times(&writer), Some((row(0, 0).time, row(0, 99).time)));
    writer.prune(old(row(0, 45).time, 100));
    writer.flush(PATIENCE).unwrap();
    assert_eq!(times(&writer), Some((row(0, 40).time, row(0, 99).time)));
    writer.forget(&[pay(0)]);
    writer.flush(PATIENCE).unwrap();
    assert_eq!(times(&writer), None);
}

#[test]
fn generations_of_a_topic_are_kept_apart() {
    let history = open(Arc::new(InMemory::new()));
    let rows: Vec<Row> = (0..10).map(|offset| row(0, offset)).collect();
    write_in_segments(&history, &rows, 10);
    let other = crate::history::Wanted { generation: 2, ..wanted(0, 10, i64::MIN) };
    assert_eq!(history.plan(&contract(), &other).unwrap().reaches, None);
}

#[test]
fn a_contract_that_uses_the_names_of_the_histories_columns_is_refused() {
    let history = open(Arc::new(InMemory::new()));
    let mut contract = contract();
    let stream = Arc::make_mut(&mut contract.streams[1]);
    let mut fields: Vec<_> = stream.schema.fields().iter().cloned().collect();
    fields.push(Arc::new(arrow::datatypes::Field::new("_arrival", arrow::datatypes::DataType::Int64, true)));
    stream.schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let refused = history.writer(&contract, &[1, 1], writer_settings(10), 0, clock());
    assert!(matches!(refused, Err(HistoryError::Reserved { .. })));
}

#[test]
fn a_batch_that_lacks_a_column_is_a_gap_and_says_why() {
    let history = open(Arc::new(InMemory::new()));
    let writer = writer(&history, writer_settings(1000), 0);
    for (range, whole) in [(0..10, true), (10..20, false), (20..30, true)] {
        let rows: Vec<Row> = range.map(|offset| row(0, offset)).collect();
        let mut batch = batch(&rows);
        if !whole {
            batch.streams[0].columns[3] = None;
        }
        writer.append(&batch, &spans(&rows));
    }
    writer.flush(PATIENCE).unwrap();
    let status = writer.status();
    assert_eq!((status.rows, status.rows_dropped), (20, 10));
    assert!(status.last_failure.unwrap().contains("column `mcc` of stream payments was not decoded"));
    let segments = history.segments(&pay(0), 1).unwrap();
    let spans: Vec<_> = segments.iter().map(|segment| (segment.name.from.0, segment.name.to.0)).collect();
    assert_eq!(spans, [(0, 10), (20, 30)]);
    // The rows that were let go are known to be older than what follows.
    assert!(plan(&history, 0, 30, row(0, 20).time).complete);
    assert!(!plan(&history, 0, 30, row(0, 19).time).segments.iter().any(|planned| planned.name.from.0 == 20));
}
