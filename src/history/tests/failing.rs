//! A store that fails or hangs: the job goes on, memory stays bounded, and what is lost is a gap.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

use super::model::*;
use crate::event::{Offset, Partition};
use crate::history::HistoryError;
use crate::history::recorder::{Appended, Recorder};
use crate::history::writer::Load;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A store in memory whose writes fail, or wait, while they are told to.
#[derive(Debug)]
struct Unreliable {
    inner: InMemory,
    failing: AtomicBool,
    attempts: AtomicUsize,
    turnstile: Semaphore,
}

impl Unreliable {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            failing: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            turnstile: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreliable")
    }
}

impl ObjectStore for Unreliable {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            let turn = self.turnstile.acquire().await.expect("never closed");
            turn.forget();
            if self.failing.load(Ordering::SeqCst) {
                return Err(object_store::Error::Generic {
                    store: "test",
                    source: "no space left on device".into(),
                });
            }
            self.inner.put_opts(location, payload, options).await
        })
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.put_multipart_opts(location, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.get_opts(location, options)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'd, 'c>(
        &'a self,
        from: &'b Path,
        to: &'d Path,
        options: CopyOptions,
    ) -> Answer<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        Self: 'c,
    {
        self.inner.copy_opts(from, to, options)
    }
}

fn pay(partition: i32) -> Partition {
    Partition { topic: "pay".into(), partition }
}

fn rows_at(range: std::ops::Range<i64>) -> Vec<Row> {
    range.map(|offset| row(0, offset)).collect()
}

#[test]
fn a_failed_write_is_tried_again_later_each_time_and_nothing_is_lost() {
    let store = Unreliable::new();
    let history = open(store.clone());
    let mut recorder = Recorder::new(history.clone(), &contract(), &[1, 1], writer_settings(10), 0).unwrap();
    let gate = recorder.gate();
    let take = |recorder: &mut Recorder, range: std::ops::Range<i64>, now: Duration| {
        let rows = rows_at(range);
        recorder.take(Appended { batch: batch(&rows), read: spans(&rows), load: Load::default() }, now);
    };
    let seconds = Duration::from_secs;
    store.fail(true);
    let before = store.attempts.load(Ordering::SeqCst);
    take(&mut recorder, 0..10, seconds(0));
    assert!(gate.status().failing);
    assert!(gate.status().last_failure.unwrap().contains("no space left on device"));
    take(&mut recorder, 10..20, seconds(0));
    for (now, attempts) in
        [(0, 1), (1, 2), (2, 2), (3, 3), (6, 3), (7, 4), (15, 5), (31, 6), (60, 6), (61, 7), (91, 8)]
    {
        recorder.tick(seconds(now));
        assert_eq!(store.attempts.load(Ordering::SeqCst) - before, attempts, "after {now} s");
    }
    store.fail(false);
    recorder.tick(seconds(121));
    let status = gate.status();
    assert_eq!((status.failing, status.rows, status.rows_dropped, status.rows_waiting), (false, 20, 0, 0));
    let plan = plan(&history, 0, 20, i64::MIN);
    assert!(plan.complete);
    assert_eq!(load(&history, vec![plan]), rows_at(0..20));
}

#[test]
fn a_full_disk_leaves_a_gap_and_the_writer_goes_on_once_there_is_room() {
    let store = Unreliable::new();
    let history = open(store.clone());
    let settings = crate::history::WriterSettings { rows_max: 100, ..writer_settings(20) };
    let writer = writer(&history, settings, 0);
    let append = |range| {
        let rows = rows_at(range);
        writer.append(&batch(&rows), &spans(&rows));
    };
    append(0..20);
    writer.flush(PATIENCE).unwrap();
    store.fail(true);
    append(20..40);
    let failed = writer.flush(PATIENCE).unwrap_err();
    assert!(matches!(failed, HistoryError::Unwritten { rows: 20, .. }), "{failed}");
    // None of these waits: the store is known to fail.
    for start in (40..400).step_by(20) {
        append(start..start + 20);
    }
    // Rows on their way to the thread are counted on neither side for a moment: let it take them all.
    assert!(writer.flush(PATIENCE).is_err());
    let status = writer.status();
    // The limit, and the one batch that the thread had in hand while others took its room.
    assert!(status.rows_waiting <= 120 && status.failing, "{status:?}");
    assert_eq!(status.rows_dropped + status.rows_waiting, 380);
    store.fail(false);
    writer.flush(PATIENCE).unwrap();
    append(400..420);
    writer.flush(PATIENCE).unwrap();
    let status = writer.status();
    assert_eq!(status.durable.get(&pay(0)), Some(&Offset(420)));
    assert_eq!(status.rows + status.rows_dropped, 420);
    assert!(!status.failing);
    writer.close(PATIENCE).unwrap();
    let kept = 400 - status.rows_dropped as i64;
    let before = plan(&history, 0, 420, i64::MIN);
    // Up to the first gap; a later batch may have found room again before the writer was told of the next.
    let reaches = before.reaches.map_or(0, |reaches| reaches.0);
    assert!(before.complete && (20..=kept).contains(&reaches), "{before:?}");
    assert_eq!(load(&history, vec![before]), rows_at(0..reaches));
    let after = plan(&history, 0, 420, row(0, 400).time);
    assert_eq!((after.starts, after.reaches, after.complete), (Some(Offset(400)), Some(Offset(420)), true));
}

#[test]
fn a_slow_disk_makes_the_job_wait_and_memory_stays_bounded() {
    let store = Unreliable::new();
    let history = open(store.clone());
    let settings = crate::history::WriterSettings { rows_max: 100, ..writer_settings(20) };
    let writer = writer(&history, settings, 0);
    store.turnstile.forget_permits(Semaphore::MAX_PERMITS);
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for start in (0..400).step_by(20) {
                let rows = rows_at(start..start + 20);
                writer.append(&batch(&rows), &spans(&rows));
                assert!(writer.status().rows_waiting <= 120);
            }
        });
        for _ in 0..20 {
            assert!(writer.status().rows_waiting <= 100);
            store.turnstile.add_permits(1);
        }
        appending.join().unwrap();
    });
    writer.close(PATIENCE).unwrap();
    let plan = plan(&history, 0, 400, i64::MIN);
    assert_eq!(load(&history, vec![plan]), rows_at(0..400));
}
