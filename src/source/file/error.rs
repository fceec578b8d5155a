//! What can be wrong with an input file, with its path and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// An input file that can't be read (further).
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The list of files is empty.
    #[error("no input file is named: give at least one .ndjson, .jsonl, .json, .csv or .parquet file")]
    NoFiles,
    /// The file's name doesn't say its format.
    #[error(
        "the format of {} is told by its extension, which must be .ndjson, .jsonl, .json, .csv or .parquet",
        path.display()
    )]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A folder stands where a file should.
    #[error("{} is a folder: name the files in it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The file can't be opened.
    #[error("can't open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading stopped in the middle.
    #[error("reading {} failed after line {line}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Lines read before the failure.
        line: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// The first row of a CSV file doesn't name its columns.
    #[error("the first row of {} must name the columns: {fault}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The Parquet file is cut, damaged, or uses what the reader doesn't know.
    #[error("{} can't be read as Parquet: {fault} (is the file complete?)", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        fault: String,
    },
}

impl FileError {
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: path.to_owned(), source }
    }
}

/// A failed read, before the file's name is known.
#[derive(Debug)]
pub(super) struct ReadFault {
    pub(super) line: u64,
    pub(super) source: io::Error,
}

impl ReadFault {
    pub(super) fn at(self, path: &Path) -> FileError {
        FileError::Read { path: path.to_owned(), line: self.line, source: self.source }
    }
}
