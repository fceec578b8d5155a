//! The house rules that can be checked by reading the source: imports one way, headers, lengths, one clock.
//!
//! Each rule is a function from source text to findings, so that a bad sample can show that it is able to
//! fail. Text inside strings and comments is blanked before a rule looks for code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CLOCK_FILE: &str = "src/event/clock.rs";

/// Files and functions that may be longer, each with its reason.
const MAY_BE_LONGER: &[(&str, &str)] = &[
    ("benches/history.rs::measure", "one table of figures, row by row, to be read beside what it prints"),
    (
        "tests/window_reference/definition.rs::compute",
        "one arm a window function, to be read beside its definition",
    ),
    (
        "tests/window_reference/random.rs::random_aggregate",
        "one arm a window function, with what it may be given",
    ),
];

/// One source file: where it stands, its text, and the same text with strings and comments blanked.
struct SourceFile {
    path: String,
    text: String,
    code: String,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank_strings_and_comments(text) }
    }

    /// The module at the top of the library that the file belongs to; none outside of it.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(name, "lib" | "main")).then_some(name)
    }

    /// Code lines before the tests that stand in the same file.
    fn code_before_tests(&self) -> &str {
        let tests = self.code.find("#[cfg(test)]\nmod tests {");
        self.code.get(..tests.unwrap_or(self.code.len())).unwrap_or_default()
    }

    /// Whether the file holds the tests of a module, beside its code.
    fn is_unit_tests(&self) -> bool {
        self.path.starts_with("src/") && self.is_test()
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of the folders, in the order of their paths.
fn source_files(folders: &[&str]) -> Vec<SourceFile> {
    let mut pending: Vec<_> = folders.iter().map(|folder| project().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("the folder can be read");
            pending.extend(entries.map(|entry| entry.expect("the entry can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> SourceFile {
    let name = path.strip_prefix(project()).expect("inside the project").to_string_lossy().replace('\\', "/");
    SourceFile::new(&name, &std::fs::read_to_string(path).expect("the file can be read"))
}

fn everything() -> Vec<SourceFile> {
    source_files(&["src", "tests", "benches"])
}

/// Replaces what stands in strings, characters and comments by spaces; line breaks stay.
fn blank_strings_and_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest, '"')
        } else if !after_word && let Some(length) = raw_string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of a quoted text that starts with its quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Length of `r"…"`, `r#"…"#` or `br"…"` at the start of the text; none where there isn't one.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let marks: String = body.chars().take_while(|c| *c == '#').collect();
    let inner = body.get(marks.len()..)?.strip_prefix('"')?;
    let end = format!("\"{marks}");
    let length = inner.find(&end)?;
    Some(text.len() - inner.len() + length + end.len())
}

/// Length of a character such as `'x'` or `'\n'`; zero for a lifetime.
fn character(text: &str) -> usize {
    let mut inner = text.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Modules in the order in which `lib.rs` declares them.
fn module_order(lib: &SourceFile) -> Vec<&str> {
    let name = |line: &'_ str| -> Option<(usize, usize)> {
        let start = line.find("pub mod ")? + "pub mod ".len();
        Some((start, line.find(';')?))
    };
    lib.code.lines().filter_map(|line| name(line).and_then(|(start, end)| line.get(start..end))).collect()
}

/// Modules of this crate that the code names, by `crate::x` or in `use crate::{x, y::z}`.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + marker.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.push(identifier(rest));
            continue;
        };
        let mut depth = 0;
        let mut entry = String::new();
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => named.push(identifier(&std::mem::take(&mut entry))),
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => entry.push(c),
            }
        }
        named.push(identifier(&entry));
    }
    named.retain(|name| !name.is_empty());
    named
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Imports of modules that do not stand above the file's own in `lib.rs`.
fn backward_imports(file: &SourceFile, order: &[&str]) -> Vec<String> {
    let Some(module) = file.module() else { return Vec::new() };
    let Some(own) = order.iter().position(|name| *name == module) else {
        return vec![format!("{}: the module `{module}` is not in lib.rs", file.path)];
    };
    let place = |name: &String| order.iter().position(|other| other == name);
    let backward = |name: &String| place(name).is_some_and(|other| other > own);
    let names: BTreeSet<_> = named_modules(&file.code).into_iter().filter(backward).collect();
    let say = |name| format!("{}: `{module}` names `{name}`, which stands below it in lib.rs", file.path);
    names.into_iter().map(say).collect()
}

fn missing_header(file: &SourceFile) -> Vec<String> {
    let has = file.text.starts_with("//!") && file.text.lines().next().is_some_and(|line| line.len() > 4);
    if has { Vec::new() } else { vec![format!("{}: does not begin with a `//!` header", file.path)] }
}

fn too_long(file: &SourceFile, excused: &[(&str, &str)]) -> Vec<String> {
    if file.is_unit_tests() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let code = file.code_before_tests();
    let lines = code.lines().count();
    if lines > FILE_LINES_MAX {
        found.push((file.path.clone(), format!("{lines} lines, more than {FILE_LINES_MAX}")));
    }
    for (name, lines) in function_lengths(code) {
        if lines > FUNCTION_LINES_MAX {
            let place = format!("{}::{name}", file.path);
            found.push((place, format!("{lines} lines, more than {FUNCTION_LINES_MAX}")));
        }
    }
    found.retain(|(place, _)| !excused.iter().any(|(excused, _)| excused == place));
    found.into_iter().map(|(place, what)| format!("{place}: {what}")).collect()
}

/// Each function's name and its lines from `fn` to the closing brace.
fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let mut lengths = Vec::new();
    for (at, marker) in code.match_indices("fn ") {
        let starts_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name = identifier(&code[at + marker.len()..]);
        if !starts_word || name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(&code[at..]) {
            lengths.push((name, code[at..at + length].lines().count()));
        }
    }
    lengths
}

/// Where the body of a function ends that starts with its `fn`; none for a declaration without a body.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    let mut brackets = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 && brackets == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn reads_a_clock(file: &SourceFile) -> Vec<String> {
    if file.path == CLOCK_FILE {
        return Vec::new();
    }
    occurrences(file, &file.code, &["SystemTime::now", "Instant::now", "Utc::now", "Local::now"])
}

fn can_panic_or_is_unfinished(file: &SourceFile) -> Vec<String> {
    let mut found = occurrences(file, &file.code, &["todo!", "unimplemented!", "#[ignore"]);
    if !file.is_test() {
        found.extend(occurrences(file, file.code_before_tests(), &[".unwrap()", ".unwrap_err()"]));
    }
    found
}

fn is_unsafe(file: &SourceFile) -> Vec<String> {
    occurrences(
        file,
        &file.code,
        &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"],
    )
}

fn occurrences(file: &SourceFile, code: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let hits = forbidden.iter().filter(|word| line.contains(**word));
        found.extend(hits.map(|word| format!("{}:{}: `{word}`", file.path, index + 1)));
    }
    found
}

fn assert_none(rule: &str, found: impl IntoIterator<Item = String>) {
    let list = found.into_iter().fold(String::new(), |mut list, line| {
        writeln!(list, "  {line}").expect("a string takes all");
        list
    });
    assert!(list.is_empty(), "{rule}:\n{list}");
}

#[test]
fn modules_import_only_from_modules_above_them() {
    let lib = read(&project().join("src/lib.rs"));
    let order = module_order(&lib);
    assert!(order.len() > 3, "lib.rs declares {order:?}");
    let found =
        source_files(&["src"]).iter().flat_map(|file| backward_imports(file, &order)).collect::<Vec<_>>();
    assert_none("a module imports only what stands above it in src/lib.rs: move the shared part up", found);
}

#[test]
fn every_file_begins_with_a_header() {
    assert_none("begin with what the file is for", everything().iter().flat_map(missing_header));
}

#[test]
fn files_and_functions_keep_to_their_lengths() {
    let found: Vec<_> = everything().iter().flat_map(|file| too_long(file, MAY_BE_LONGER)).collect();
    assert_none("split it, or give the reason in MAY_BE_LONGER", found);
}

#[test]
fn the_clock_is_read_in_one_file() {
    let rule = format!("take a `Clock` as a parameter; only {CLOCK_FILE} reads it");
    assert_none(&rule, everything().iter().flat_map(reads_a_clock));
}

#[test]
fn nothing_unwraps_is_unfinished_or_ignored() {
    let rule = "return an error, or `expect` with why it can't fail";
    assert_none(rule, everything().iter().flat_map(can_panic_or_is_unfinished));
}

#[test]
fn nothing_is_unsafe() {
    assert_none("stay with safe code", everything().iter().flat_map(is_unsafe));
}

#[test]
fn every_excuse_for_length_is_still_needed_and_has_a_reason() {
    let needed: Vec<_> = everything().iter().flat_map(|file| too_long(file, &[])).collect();
    let unused = MAY_BE_LONGER.iter().filter(|(place, reason)| {
        reason.len() < 20 || !needed.iter().any(|finding| finding.starts_with(&format!("{place}: ")))
    });
    assert_none("take it out of MAY_BE_LONGER, or write why", unused.map(|(place, _)| (*place).to_owned()));
}

#[test]
fn a_backward_import_is_found_in_each_spelling() {
    let order = ["event", "source", "window"];
    for (code, names) in [
        ("use crate::window::State;", "window"),
        ("fn f() { let x: crate::window::State = y; }", "window"),
        ("use crate::{event::Offset, window};", "window"),
        ("use crate::{event::{Offset, Span}, window::{self, State}};", "window"),
        ("pub(crate) use ::std::fmt;\nuse crate::window;", "window"),
    ] {
        let found = backward_imports(&SourceFile::new("src/source/mod.rs", code), &order);
        assert_eq!(found.len(), 1, "{code}: {found:?}");
        assert!(found[0].contains(&format!("names `{names}`")), "{found:?}");
    }
    for code in [
        "use crate::event::Offset;",
        "use crate::source::Batch;",
        "// crate::window",
        "let x = \"crate::window\";",
    ] {
        let found = backward_imports(&SourceFile::new("src/source/kafka.rs", code), &order);
        assert!(found.is_empty(), "{code}: {found:?}");
    }
    assert_eq!(backward_imports(&SourceFile::new("src/score.rs", ""), &order).len(), 1);
    assert_eq!(backward_imports(&SourceFile::new("src/lib.rs", "use crate::window;"), &order).len(), 0);
}

#[test]
fn the_order_is_that_of_lib_rs() {
    let lib = SourceFile::new(
        "src/lib.rs",
        "//! pub mod no;\npub mod b;\n// pub mod c;\npub mod a;\nmod private;\n",
    );
    assert_eq!(module_order(&lib), ["b", "a"]);
}

#[test]
fn a_file_without_a_header_is_found() {
    for text in ["", "use std::fmt;\n//! late\n", "// plain\n", "//!\nuse x;\n"] {
        assert_eq!(missing_header(&SourceFile::new("src/a.rs", text)).len(), 1, "{text:?}");
    }
    assert!(missing_header(&SourceFile::new("src/a.rs", "//! What it does.\n")).is_empty());
}

#[test]
fn a_long_file_and_a_long_function_are_found_and_tests_are_not_counted() {
    let lines = |count: usize| "    x();\n".repeat(count);
    let long_function =
        format!("pub fn long(a: [u8; 2]) -> u8 {{\n{}}}\nfn short() {{ \"}}\" }}\n", lines(69));
    let found = too_long(&SourceFile::new("src/a.rs", &long_function), &[]);
    assert_eq!(found, ["src/a.rs::long: 71 lines, more than 70"]);
    assert!(too_long(&SourceFile::new("src/a.rs", &long_function), &[("src/a.rs::long", "why")]).is_empty());

    let long_file = format!("{}\n", "// a line\n".repeat(500));
    assert_eq!(
        too_long(&SourceFile::new("src/a.rs", &long_file), &[]),
        ["src/a.rs: 501 lines, more than 500"]
    );
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", lines(600));
    assert!(too_long(&SourceFile::new("src/a.rs", &tested), &[]).is_empty());
    assert!(too_long(&SourceFile::new("src/a/tests.rs", &long_file), &[]).is_empty());
    assert_eq!(too_long(&SourceFile::new("tests/a.rs", &long_file), &[]).len(), 1);
    let declared = format!("trait T {{\n    fn f(a: [u8; 2]);\n}}\n{}", "\n".repeat(80));
    assert!(too_long(&SourceFile::new("src/a.rs", &declared), &[]).is_empty());
}

#[test]
fn a_clock_outside_its_file_is_found() {
    for call in ["SystemTime::now()", "std::time::Instant::now()", "Utc::now()", "chrono::Local::now()"] {
        let code = format!("fn f() {{\n    let t = {call};\n}}\n");
        assert_eq!(reads_a_clock(&SourceFile::new("src/sink/mod.rs", &code)).len(), 1, "{call}");
        assert!(reads_a_clock(&SourceFile::new(CLOCK_FILE, &code)).is_empty());
        let comment = format!("// {call}\nlet text = \"{call}\";\n");
        assert!(reads_a_clock(&SourceFile::new("src/sink/mod.rs", &comment)).is_empty());
    }
}

#[test]
fn an_unwrap_a_todo_and_an_ignored_test_are_found() {
    let bad = SourceFile::new(
        "src/a.rs",
        "fn f() {\n    x.unwrap();\n    todo!()\n}\n#[ignore = \"slow\"]\nfn g() {}\n",
    );
    let found = can_panic_or_is_unfinished(&bad);
    assert_eq!(found, ["src/a.rs:3: `todo!`", "src/a.rs:5: `#[ignore`", "src/a.rs:2: `.unwrap()`"]);
    let fine = "fn f() { x.unwrap_or(1); }\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\n";
    assert!(can_panic_or_is_unfinished(&SourceFile::new("src/a.rs", fine)).is_empty());
    assert_eq!(can_panic_or_is_unfinished(&SourceFile::new("tests/a.rs", "#[ignore]\nfn f() {}")).len(), 1);
}

#[test]
fn unsafe_code_is_found() {
    for code in ["unsafe { f() }", "unsafe fn f() {}", "unsafe impl Send for X {}", "#![allow(unsafe_code)]"]
    {
        assert_eq!(is_unsafe(&SourceFile::new("src/a.rs", code)).len(), 1, "{code}");
    }
    assert!(is_unsafe(&SourceFile::new("src/a.rs", "// unsafe { }\nlet s = \"unsafe fn\";")).is_empty());
}

#[test]
fn strings_characters_and_comments_are_blanked_and_lifetimes_are_not() {
    for (text, blanked) in [
        ("a \"b\\\"c\" d", "a        d"),
        ("a r#\"b\"c\"# d", "a          d"),
        ("'x' '\\'' 'a b", "         'a b"),
        ("&'a str; /* x /* y */ z */ w", "&'a str;                   w"),
        ("'\"' x \"y\"", "    x    "),
        ("for r in var\"\"", "for r in var  "),
        ("a // b \"\nc", "a       \nc"),
    ] {
        assert_eq!(blank_strings_and_comments(text), blanked, "{text}");
    }
}
