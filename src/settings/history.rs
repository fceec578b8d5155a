//! `[history]`: where decoded events are kept, for how long, and in what pieces.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::reader::{Reader, Section};
use super::sections::{ANY_SPAN, whole};
use super::values::Wrong;
use crate::event::Span;

/// Beginnings of URLs that a history can be kept at.
pub const HISTORY_SCHEMES: [&str; 7] = ["file:", "s3://", "s3a://", "gs://", "az://", "abfs://", "memory://"];

/// Shorter, and files get too many; longer, and a crash costs too much.
const FLUSH_INTERVALS: RangeInclusive<Span> = Span(100_000)..=Span::seconds(3_600);

/// Where decoded events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorySettings {
    /// A folder or an object store.
    pub place: HistoryPlace,
    /// How long events are kept beyond what windows need.
    pub keep: Span,
    /// The longest that events stay in memory only.
    pub flush_interval: Span,
    /// The most events of a partition in one file.
    pub segment_rows: NonZeroUsize,
}

/// A folder or an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryPlace {
    /// A folder on the local disk.
    Folder(PathBuf),
    /// A URL of an object store.
    Url(String),
}

impl HistoryPlace {
    /// Reads a path or a URL; a relative path, also one after `file:`, starts at `folder`. What is wrong
    /// completes "must be …".
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:"));
        match path {
            Some("") => return Err("a path behind \"file:\"".to_owned()),
            Some(path) => return Ok(Self::Folder(folder.join(path))),
            None if text.is_empty() => return Err("a folder or a URL".to_owned()),
            None => {}
        }
        if HISTORY_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Ok(Self::Url(text.to_owned()));
        }
        match text.contains("://") {
            true => Err(format!("a folder or a URL that begins with {}", HISTORY_SCHEMES.join(", "))),
            false => Ok(Self::Folder(folder.join(text))),
        }
    }
}

impl fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

pub(super) fn history<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> Option<HistorySettings> {
    let section = reader.open(root, "history", "history");
    let folder = reader.surroundings.folder.clone();
    let place = |text: &str| HistoryPlace::parse(text, &folder).map_err(Wrong::expected);
    let place = reader.text(&section, "url", place);
    let keep = reader.duration(&section, "keep", ANY_SPAN);
    let flush_interval = reader.duration(&section, "flush_interval", FLUSH_INTERVALS);
    let segment_rows = whole(reader, &section, "segment_rows", 1024..=16_777_216);
    Some(HistorySettings {
        place: place?,
        keep,
        flush_interval,
        segment_rows: segment_rows.unwrap_or(NonZeroUsize::MIN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_url_of_a_known_store() {
        let base = Path::new("/etc/tollgate");
        let folder = |path: &str| Ok(HistoryPlace::Folder(path.into()));
        assert_eq!(HistoryPlace::parse("history", base), folder("/etc/tollgate/history"));
        assert_eq!(HistoryPlace::parse("file:history", base), folder("/etc/tollgate/history"));
        assert_eq!(HistoryPlace::parse("file:///var/lib/t", base), folder("/var/lib/t"));
        assert_eq!(HistoryPlace::parse("/var/lib/t", base), folder("/var/lib/t"));
        let url = "s3://bucket/fraud";
        assert_eq!(HistoryPlace::parse(url, base), Ok(HistoryPlace::Url(url.into())));
        for text in ["", "file:", "ftp://host/x", "https://host/x"] {
            assert!(HistoryPlace::parse(text, base).is_err(), "{text}");
        }
    }
}
