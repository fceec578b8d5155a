//! The files of a rules folder, read and told apart.
//!
//! Takes a path; hands on [`RuleFiles`]: contract, views, lists, models and rule texts. Whatever can't be read becomes
//! a finding about that file, and the others go on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::Statement;

use super::header;
use crate::diagnostic::{Diagnostic, Severity, SourceText};
use crate::score::{Baseline, Model};
use crate::sql::{CatalogSources, List, parse_statements};

/// Folders below this depth are not looked into: a link that leads back would never end.
const DEPTH_MAX: usize = 16;

/// What a rules folder holds.
#[derive(Debug, Default)]
pub struct RuleFiles {
    /// Contract, views, lists and models.
    pub catalog: CatalogSources,
    /// Files of one rule each, in the order of their paths.
    pub rules: Vec<Arc<SourceText>>,
    /// Name and text of each view, for versions.
    pub view_texts: Vec<(String, String)>,
    /// Files of test cases, in the order of their paths.
    pub tests: Vec<PathBuf>,
    /// Whether it is one rule file of a folder, or a part of it, whose other rules were not read.
    pub alone: bool,
    /// Files that can't be read.
    pub diagnostics: Vec<Diagnostic>,
}

/// A folder that can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The path is not there or can't be listed.
    #[error("{} {} can't be read: {cause}", if path.extension().is_some() { "rule file" } else { "rules folder" }, path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// There is no contract.
    #[error("no event contract at {}: write CREATE TABLE for each stream in schema.sql, or name the file with --schema", path.display())]
    NoContract {
        /// Where it was looked for.
        path: PathBuf,
    },
}

impl RuleFiles {
    /// Reads a folder, or one rule file with the contract, views and lists of its folder.
    pub fn open(path: &Path, schema: Option<&Path>) -> Result<Self, FolderError> {
        let unreadable = |cause| FolderError::Unreadable { path: path.to_owned(), cause };
        if fs::metadata(path).map_err(unreadable)?.is_file() {
            return Self::read(&root_of(path.parent().unwrap_or(path)), Some(path), schema);
        }
        Self::read(path, None, schema)
    }

    /// Reads the rules and test files of a folder or of part of one, with the contract, views, lists and models of the
    /// whole; the same as [`RuleFiles::open`] for a file.
    pub fn open_part(path: &Path, schema: Option<&Path>) -> Result<Self, FolderError> {
        if path.is_dir() { Self::read(&root_of(path), Some(path), schema) } else { Self::open(path, schema) }
    }

    fn read(root: &Path, only: Option<&Path>, schema: Option<&Path>) -> Result<Self, FolderError> {
        let schema = schema.map_or_else(|| root.join("schema.sql"), Path::to_owned);
        if !schema.is_file() {
            return Err(FolderError::NoContract { path: schema });
        }
        let mut paths = Vec::new();
        list_files(root, 0, &mut paths)
            .map_err(|cause| FolderError::Unreadable { path: root.to_owned(), cause })?;
        paths.sort_unstable();
        let mut files = Self { alone: only.is_some(), ..Self::default() };
        files.catalog.contract = files.text(&schema);
        for file in paths.iter().filter(|file| !same_file(file, &schema)) {
            let within = |folder| file.strip_prefix(root).is_ok_and(|relative| relative.starts_with(folder));
            if within("models") {
                files.model(file);
            } else if within("lists") {
                files.list(file);
            } else if file.extension().is_some_and(|ending| ending == "sql") {
                files.sql(file, only);
            } else if file.to_string_lossy().ends_with(".test.toml") && is_within(only, file) {
                files.tests.push(file.clone());
            }
        }
        if let Some(contract) = files.catalog.contract.clone() {
            files.note_views(&contract);
        }
        Ok(files)
    }

    /// Ids of all rule files whose header says one, whatever else is wrong with them.
    pub fn ids(&self) -> BTreeSet<String> {
        self.rules.iter().filter_map(header::id_of).collect()
    }

    fn text(&mut self, path: &Path) -> Option<Arc<SourceText>> {
        match fs::read_to_string(path) {
            // Some editors begin a file with a byte order mark, which is no part of its text.
            Ok(text) => Some(SourceText::new(path.display(), text.strip_prefix('\u{feff}').unwrap_or(&text))),
            Err(cause) => {
                self.diagnostics
                    .push(Diagnostic::file_error(path.display(), format!("the file can't be read: {cause}")));
                None
            }
        }
    }

    fn list(&mut self, path: &Path) {
        match List::open(path) {
            Ok(list) => self.catalog.lists.push(list),
            Err(failure) => self
                .diagnostics
                .push(Diagnostic::file_error(path.display(), failure.to_string()).with_code("list")),
        }
    }

    fn model(&mut self, path: &Path) {
        if path.extension().is_some_and(|ending| ending == "baseline") {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
            let read =
                fs::read(path).map_err(|cause| cause.to_string()).and_then(|bytes| Baseline::parse(&bytes));
            match read {
                Ok(baseline) => self.catalog.baselines.push((name, baseline)),
                Err(cause) => {
                    let message = format!("the baseline can't be used: {cause}");
                    let finding = Diagnostic::file_error(path.display(), message).with_code("baseline");
                    // Nothing is answered by it, so nothing waits for it to be mended.
                    self.diagnostics.push(Diagnostic { severity: Severity::Warning, ..finding });
                }
            }
            return;
        }
        match Model::open(path) {
            Ok(model) => self.catalog.models.push(model),
            Err(failure) => self
                .diagnostics
                .push(Diagnostic::file_error(path.display(), failure.to_string()).with_code("model")),
        }
    }

    fn sql(&mut self, path: &Path, only: Option<&Path>) {
        let Some(source) = self.text(path) else { return };
        if is_view(&source.text) {
            self.note_views(&source);
            self.catalog.views.push(source);
        } else if is_within(only, path) {
            self.rules.push(source);
        }
    }

    /// Files that can't be parsed are reported where they are compiled.
    fn note_views(&mut self, source: &Arc<SourceText>) {
        for statement in parse_statements(source).unwrap_or_default() {
            if let Statement::CreateView(view) = statement {
                let name = view.name.0.last().map(|part| part.to_string().trim_matches('"').to_lowercase());
                self.view_texts.extend(name.map(|name| (name, view.query.to_string())));
            }
        }
    }
}

/// What changes whenever a file, or one of a folder of rules, does: a hash of the names, sizes, times and file numbers,
/// links followed.
pub fn fingerprint(path: &Path) -> std::io::Result<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    let mut paths = Vec::new();
    if path.is_dir() {
        list_files(path, 0, &mut paths)?;
    } else {
        paths.push(path.to_owned());
    }
    paths.sort_unstable();
    let mut hasher = DefaultHasher::new();
    for path in paths {
        let about = fs::metadata(&path)?;
        (path, about.len(), about.mtime(), about.mtime_nsec(), about.ino()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The folder itself or the nearest above it that holds a contract; itself where none does.
fn root_of(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|above| above.join("schema.sql").is_file()).unwrap_or(folder);
    if found.as_os_str().is_empty() { PathBuf::from(".") } else { found.to_owned() }
}

/// Whether a file is the one that is asked for, or stands below the folder that is.
fn is_within(only: Option<&Path>, file: &Path) -> bool {
    only.is_none_or(|only| match (only.canonicalize(), file.canonicalize()) {
        (Ok(only), Ok(file)) => file.starts_with(only),
        _ => file.starts_with(only),
    })
}

fn list_files(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            list_files(&path, depth + 1, paths)?;
        } else if path.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Whether the first statement of a file defines a view: `CREATE` and soon after it `VIEW`.
fn is_view(text: &str) -> bool {
    use datafusion_sql::sqlparser::{dialect::GenericDialect, tokenizer::Token, tokenizer::Tokenizer};
    // A file that can't be cut into words is told from its first lines, so that its fault is found as what it is.
    let head: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .take(8)
        .collect::<Vec<_>>()
        .join("\n");
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize();
    let tokens = tokens.or_else(|_| Tokenizer::new(&GenericDialect {}, &head).tokenize()).unwrap_or_default();
    let mut words =
        tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).take(6).map(Token::to_string);
    let is = |word: &str, keyword: &str| word.eq_ignore_ascii_case(keyword);
    words.next().is_some_and(|word| is(&word, "create"))
        && words.take_while(|word| !is(word, "as") && !is(word, "table")).any(|word| is(&word, "view"))
}
