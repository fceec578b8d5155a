//! A folder of mistakes that people make when they write rules: each is told where it stands and how to mend it.

use std::collections::BTreeMap;
use std::path::Path;

use tollgate::diagnostic::{Colour, render_all};
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

use crate::support::assert_golden;

#[test]
fn each_of_31_typical_mistakes_is_told_with_its_place_and_how_to_mend_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let files = RuleFiles::open(&folder, None).expect("a folder");
    let mut set = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)).expect("a contract");
    let lints = set.lints().into_iter().filter(|finding| finding.code != Some("no-test"));
    let mut findings = std::mem::take(&mut set.diagnostics);
    findings.extend(lints);
    let mut told: BTreeMap<String, usize> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "schema.sql")
        .map(|name| (name, 0))
        .collect();
    for finding in &mut findings {
        let name = finding.source.file.rsplit('/').next().expect("a name").to_owned();
        *told.get_mut(&name).expect("one of the mistakes") += 1;
        assert!(finding.help.is_some(), "{name}: {} lacks what to do", finding.message);
        assert!(finding.span.is_some(), "{name}: {} lacks its place", finding.message);
    }
    assert_eq!(told.len(), 31);
    let silent: Vec<&String> = told.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "nothing is said of {silent:?}");
    let text = render_all(&findings, Colour::Off).replace(&format!("{}/", folder.display()), "");
    assert_golden("mistakes.txt", &text);
}
