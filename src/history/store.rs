//! Objects by name, on a local disk or in an object store, behind plain blocking calls.
//!
//! Keeps a small runtime of its own, because object stores are asynchronous and the data path is not; the
//! calls must not be made from inside another runtime. What would surprise: the library renames a finished
//! file into its place but does not sync it, so [`Objects::put`] syncs file and folder itself on a local disk.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, parse_url_opts,
};
use tokio::runtime::Runtime;

use super::error::HistoryError;
use crate::settings::HistoryPlace;

/// An object store that has not answered for this long has failed; the write is tried again later.
const PUT_TIMEOUT: Duration = Duration::from_secs(30);
/// Variables of the environment that configure object stores.
const OPTION_PREFIXES: [&str; 3] = ["aws_", "google_", "azure_"];

/// The objects below one root. Cheap to clone.
#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
    runtime: Arc<Runtime>,
    /// Where the root is on the local disk, if it is there.
    folder: Option<PathBuf>,
    shown: Arc<str>,
}

impl Objects {
    /// Opens a place; a folder is made if `create` says so.
    pub(super) fn open(place: &HistoryPlace, create: Create) -> Result<Self, HistoryError> {
        let wrong = |reason: String| HistoryError::Place { place: place.to_string(), reason };
        let (store, root, folder): (Arc<dyn ObjectStore>, Path, Option<PathBuf>) = match place {
            HistoryPlace::Folder(folder) => {
                if create == Create::Folder {
                    std::fs::create_dir_all(folder).map_err(|error| HistoryError::Store {
                        attempt: format!("making the folder {}", folder.display()),
                        reason: error.to_string(),
                    })?;
                } else if !folder.is_dir() {
                    return Err(HistoryError::Absent { place: place.to_string() });
                }
                let folder = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
                let store =
                    LocalFileSystem::new_with_prefix(&folder).map_err(|error| wrong(error.to_string()))?;
                (Arc::new(store), Path::default(), Some(folder))
            }
            HistoryPlace::Url(text) => {
                let url = url::Url::parse(text).map_err(|error| wrong(error.to_string()))?;
                let (store, root) =
                    parse_url_opts(&url, options()).map_err(|error| wrong(error.to_string()))?;
                (Arc::from(store), root, None)
            }
        };
        Self::on(store, root, folder, place.to_string())
    }

    /// Objects of a store that is open already.
    pub(super) fn on(
        store: Arc<dyn ObjectStore>,
        root: Path,
        folder: Option<PathBuf>,
        shown: String,
    ) -> Result<Self, HistoryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("history-io")
            .enable_all()
            .build()
            .map_err(|error| HistoryError::Thread {
                thread: "history-io",
                reason: format!("can't be started: {error}"),
            })?;
        Ok(Self { store, root, runtime: Arc::new(runtime), folder, shown: shown.into() })
    }

    /// An object's place below the root.
    pub(super) fn at<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Path {
        parts.into_iter().fold(self.root.clone(), |path, part| path.join(part))
    }

    /// The parts of an object's name below the root; none for one that is not there.
    pub(super) fn parts(&self, location: &Path) -> Option<Vec<String>> {
        let parts = location.prefix_match(&self.root)?;
        Some(parts.map(|part| part.as_ref().to_owned()).collect())
    }

    /// All objects below a prefix.
    pub(super) fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>, HistoryError> {
        let listed = self.runtime.block_on(self.store.list(Some(prefix)).try_collect::<Vec<_>>());
        listed.map_err(|error| failed("listing", prefix, &error))
    }

    /// An object's bytes; none if there is no such object.
    pub(super) fn get(&self, location: &Path) -> Result<Option<Bytes>, HistoryError> {
        let read = self.runtime.block_on(async { self.store.get(location).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("reading", location, &error)),
        }
    }

    /// Writes an object as a whole: it is there with all its bytes, on a local disk synced, or not at all.
    pub(super) fn put(&self, location: &Path, bytes: Bytes) -> Result<(), HistoryError> {
        self.put_as(location, bytes, PutMode::Overwrite).map(|_| ())
    }

    /// Writes an object unless there is one of its name; whether it did.
    pub(super) fn put_new(&self, location: &Path, bytes: Bytes) -> Result<Created, HistoryError> {
        self.put_as(location, bytes, PutMode::Create)
    }

    fn put_as(&self, location: &Path, bytes: Bytes, mode: PutMode) -> Result<Created, HistoryError> {
        let write = self.store.put_opts(location, PutPayload::from(bytes), PutOptions::from(mode));
        let written = self.runtime.block_on(async { tokio::time::timeout(PUT_TIMEOUT, write).await });
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(object_store::Error::AlreadyExists { .. })) => return Ok(Created::Before),
            Ok(Err(error)) => return Err(failed("writing", location, &error)),
            Err(_) => {
                let reason = format!("no answer within {PUT_TIMEOUT:?}");
                return Err(HistoryError::Store { attempt: format!("writing {location}"), reason });
            }
        }
        self.sync(location).map(|()| Created::Now)
    }

    fn sync(&self, location: &Path) -> Result<(), HistoryError> {
        let Some(path) = self.local(location) else { return Ok(()) };
        let sync = || -> std::io::Result<()> {
            std::fs::File::open(&path)?.sync_all()?;
            match path.parent() {
                Some(folder) => std::fs::File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        sync().map_err(|error| HistoryError::Store {
            attempt: format!("syncing {}", path.display()),
            reason: error.to_string(),
        })
    }

    fn local(&self, location: &Path) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(location.parts().fold(folder.clone(), |path, part| path.join(part.as_ref())))
    }

    /// Removes what interrupted writes left below a prefix; only the owner of those objects may.
    pub(super) fn sweep(&self, prefix: &Path) {
        let Some(entries) = self.local(prefix).and_then(|folder| std::fs::read_dir(folder).ok()) else {
            return;
        };
        // The library stages a file as `name#1` beside its place.
        let staged =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains('#'));
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(staged) {
            // What can't be removed now is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Removes an object; one that is gone already is fine.
    pub(super) fn delete(&self, location: &Path) -> Result<(), HistoryError> {
        match self.runtime.block_on(self.store.delete(location)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("deleting", location, &error)),
        }
    }
}

/// Whether a folder that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    Folder,
    Nothing,
}

/// Whether an object that was to be made was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    Now,
    Before,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.shown)
    }
}

fn failed(verb: &str, location: &Path, error: &object_store::Error) -> HistoryError {
    HistoryError::Store { attempt: format!("{verb} {location}"), reason: error.to_string() }
}

/// Only names of object stores: a variable such as `REGION` is not meant for them.
fn options() -> impl Iterator<Item = (String, String)> {
    let of_process = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?))
    });
    of_process.filter(|(name, _)| OPTION_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}
