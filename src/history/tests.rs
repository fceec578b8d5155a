//! A history against a plain list of rows: what is loaded is what was written, or is missing and said so.

mod damage;
mod evolution;
mod failing;
mod model;
mod recording;

use object_store::memory::InMemory;
use object_store::path::Path;
use std::sync::Arc;

use super::{History, HistoryError, Identity};
use crate::settings::{HistoryPlace, HistorySettings};

use model::identity;

#[test]
fn a_history_of_another_job_or_cluster_is_refused_with_the_choices() {
    let store = Arc::new(InMemory::new());
    let root = Path::from("fraud");
    History::on(store.clone(), root.clone(), &identity()).unwrap();
    History::on(store.clone(), root.clone(), &identity()).unwrap();
    for other in
        [Identity { cluster: "other".into(), ..identity() }, Identity { job: "other".into(), ..identity() }]
    {
        let refused = History::on(store.clone(), root.clone(), &other).unwrap_err();
        assert!(matches!(refused, HistoryError::Foreign { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("belongs to job `fraud` on cluster `main`"), "{text}");
        assert!(text.contains("name another `history.url`"), "{text}");
    }
}

#[test]
fn a_marker_that_can_not_be_read_or_is_of_a_later_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HistorySettings {
        place: HistoryPlace::Folder(folder.path().join("a/b")),
        keep: crate::event::Span(0),
        flush_interval: crate::event::Span::seconds(10),
        segment_rows: std::num::NonZeroUsize::new(1024).unwrap(),
    };
    History::open(&settings, &identity()).unwrap();
    for text in ["{", r#"{"format": 2, "cluster": "main", "job": "fraud"}"#] {
        std::fs::write(folder.path().join("a/b/history.json"), text).unwrap();
        let refused = History::open(&settings, &identity()).unwrap_err();
        assert!(matches!(refused, HistoryError::Foreign { .. }), "{refused}");
    }
}

#[test]
fn a_place_without_a_history_is_not_made_by_looking_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = HistoryPlace::Folder(folder.path().join("none"));
    assert!(matches!(History::inspect(&place), Err(HistoryError::Absent { .. })));
    assert!(!folder.path().join("none").exists());
    let place = HistoryPlace::Url("memory:///".into());
    assert!(matches!(History::inspect(&place), Err(HistoryError::Absent { .. })));
}
