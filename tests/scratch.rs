//! A folder that is gone after the test, and the program run in it as a shell would.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty folder of its own.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

/// What a command printed, both outputs together, and its exit code.
pub(crate) struct Printed {
    pub text: String,
    pub code: Option<i32>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Where a file or folder in it stands.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; folders on the way to it are made.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the file can be written");
    }

    /// Runs a line of shell with `tollgate` on the path, this folder being the current one.
    pub(crate) fn shell(&self, line: &str) -> Printed {
        let program = Path::new(env!("CARGO_BIN_EXE_tollgate")).parent().expect("it stands in a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {line}\n}} 2>&1")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("NO_COLOR", "1")
            .output()
            .expect("sh runs");
        Printed { text: String::from_utf8_lossy(&output.stdout).into_owned(), code: output.status.code() }
    }
}
