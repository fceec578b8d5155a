//! `${env:NAME}` and `${file:PATH}` in the values of settings: how secrets come in.
//!
//! Takes a text, hands on the text with each reference replaced. A variable that isn't set or a file that
//! can't be read is a fault, never an empty text. What would surprise: one line break at the end of a file
//! is cut off, because editors and `echo` put it there and no password ends in one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What references are resolved against.
#[derive(Clone)]
pub struct Surroundings {
    /// Environment variables by name.
    pub variables: BTreeMap<String, String>,
    /// The folder that relative paths start at: the settings file's own.
    pub folder: PathBuf,
}

impl Surroundings {
    /// This process's environment; a variable that isn't UTF-8 counts as not set.
    pub fn of_this_process(folder: impl Into<PathBuf>) -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(utf8).collect(), folder: folder.into() }
    }

    /// No variables.
    pub fn bare(folder: impl Into<PathBuf>) -> Self {
        Self { variables: BTreeMap::new(), folder: folder.into() }
    }
}

/// A text with its references replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Substituted {
    pub(super) text: String,
    /// Whether anything was replaced: then the text may be a secret.
    pub(super) replaced: bool,
}

/// A reference that can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) message: String,
    pub(super) help: String,
}

/// Replaces each `${env:NAME}` and `${file:PATH}`; `$${` stands for `${` itself.
pub(super) fn substitute(text: &str, surroundings: &Surroundings) -> Result<Substituted, Unresolved> {
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &reference[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = reference.find('}') else {
            return Err(Unresolved {
                message: "`${` is never closed".to_owned(),
                help: "write `${env:NAME}` or `${file:PATH}`, or `$${` for the characters themselves"
                    .to_owned(),
            });
        };
        out.push_str(&resolve(&reference[2..end], surroundings)?);
        replaced = true;
        rest = &reference[end + 1..];
    }
    out.push_str(rest);
    Ok(Substituted { text: out, replaced })
}

fn resolve(reference: &str, surroundings: &Surroundings) -> Result<String, Unresolved> {
    match reference.split_once(':') {
        Some(("env", name)) => surroundings.variables.get(name).cloned().ok_or_else(|| Unresolved {
            message: format!("the environment variable `{name}` is not set"),
            help: format!("set it before the job starts: {name}=… tollgate run --config …"),
        }),
        Some(("file", path)) => read(&surroundings.folder.join(path)),
        _ => Err(Unresolved {
            message: format!("`${{{reference}}}` refers to nothing known"),
            help: "write `${env:NAME}` or `${file:PATH}`, or `$${` for the characters themselves".to_owned(),
        }),
    }
}

fn read(path: &Path) -> Result<String, Unresolved> {
    let text = std::fs::read_to_string(path).map_err(|error| Unresolved {
        message: format!("the file `{}` cannot be read: {error}", path.display()),
        help: "check that it exists and that the job's user may read it; a relative path starts at the \
               settings file's folder"
            .to_owned(),
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        let variables = [("USER_NAME", "fraud"), ("EMPTY", "")];
        Surroundings {
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            folder: PathBuf::from("/nowhere"),
        }
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        let text = substitute("a-${env:USER_NAME}-${env:EMPTY}-b", &surroundings()).expect("resolves");
        assert_eq!(text, Substituted { text: "a-fraud--b".into(), replaced: true });
        let text = substitute("cost: 5 $", &surroundings()).expect("resolves");
        assert!(!text.replaced);
    }

    #[test]
    fn a_doubled_dollar_stands_for_itself() {
        let text = substitute("$${env:USER_NAME}", &surroundings()).expect("resolves");
        assert_eq!(text, Substituted { text: "${env:USER_NAME}".into(), replaced: false });
    }

    #[test]
    fn a_file_is_read_from_the_settings_folder_without_its_last_line_break() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (content, expected) in [("pa ss\n", "pa ss"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            std::fs::write(folder.path().join("secret"), content).expect("writes");
            let text = substitute("${file:secret}", &Surroundings::bare(folder.path())).expect("resolves");
            assert_eq!(text.text, expected);
        }
    }

    #[test]
    fn a_reference_that_leads_nowhere_says_what_to_do() {
        for (text, message, help) in [
            ("${env:NOPE}", "the environment variable `NOPE` is not set", "NOPE=…"),
            ("${file:nope}", "the file `/nowhere/nope` cannot be read", "may read it"),
            ("${vault:x}", "`${vault:x}` refers to nothing known", "${env:NAME}"),
            ("${env:X", "`${` is never closed", "${file:PATH}"),
        ] {
            let unresolved = substitute(text, &surroundings()).expect_err(text);
            assert!(unresolved.message.starts_with(message), "{}", unresolved.message);
            assert!(unresolved.help.contains(help), "{}", unresolved.help);
        }
    }
}
