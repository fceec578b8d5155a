//! Folders of rule files: headers, versions, and findings of all files at once.

use std::path::Path;

use tempfile::TempDir;
use tollgate::diagnostic::{Colour, Diagnostic, render_all};
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

use crate::support::{SCHEMA, assert_golden};

const HEADER: &str = "\
-- @id: many-payments
-- @title: Many payments
-- @status: live
-- @severity: high
-- @score: 35
-- @reason: \"{times} payments with {card}\"
-- @dedup: card 30m
-- @owner: fraud-cards
";
const QUERY: &str = "\
SELECT tx, card, count(*) OVER w AS times
FROM payments
WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY times >= 8
";

/// A folder with a contract and some files.
fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let schema = ("schema.sql", SCHEMA.to_owned());
    for (file, text) in files.iter().chain([&schema]) {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

fn compiled(folder: &Path) -> RuleSet {
    let files = RuleFiles::open(folder, None).expect("a folder");
    RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival))
        .unwrap_or_else(|found| panic!("{}", render_all(&found, Colour::Off)))
}

/// Findings with the folder's own name left out.
fn drawn(folder: &Path, findings: &[Diagnostic]) -> String {
    let drawn = render_all(findings, Colour::Off);
    drawn.replace(&format!("{}/", folder.display()), "")
}

fn rule(id: &str) -> String {
    HEADER.replace("many-payments", id) + QUERY
}

/// The version of the only rule of a folder.
fn version(files: &[(&str, String)]) -> String {
    let folder = folder(files);
    let set = compiled(folder.path());
    assert!(set.diagnostics.is_empty(), "{}", drawn(folder.path(), &set.diagnostics));
    set.running().next().expect("a rule").version.clone()
}

#[test]
fn five_broken_rules_among_twenty_are_all_reported_and_the_others_run() {
    let mut files: Vec<(String, String)> = (1..=20)
        .map(|n| (format!("group-{}/rule-{n:02}.sql", n % 3), rule(&format!("rule-{n:02}"))))
        .collect();
    files[2].1 = files[2].1.replace("count(*)", "cuont(*)");
    files[6].1 = files[6].1.replace("FROM payments", "FROM paymets");
    files[10].1 = files[10].1.replace("@severity: high", "@severity: hihg");
    files[14].1 = files[14].1.replace("QUALIFY", "QUALFY");
    files[18].1 = files[18].1.replace("ORDER BY event_time", "ORDER BY tx");
    let named: Vec<(&str, String)> = files.iter().map(|(file, text)| (file.as_str(), text.clone())).collect();
    let folder = folder(&named);
    let set = compiled(folder.path());
    assert_eq!(set.running().count(), 15);
    assert_eq!(set.on_arrival.graph.queries.len(), 15);
    assert!(set.has_errors());
    let broken: std::collections::BTreeSet<&str> =
        set.diagnostics.iter().map(|finding| finding.source.file.as_str()).collect();
    assert_eq!(broken.len(), 5, "{broken:?}");
    assert_golden("folder_with_five_broken_rules.txt", &drawn(folder.path(), &set.diagnostics));
}

#[test]
fn check_ends_with_one_and_prints_every_finding_with_its_place() {
    let folder = folder(&[
        ("good.sql", rule("good")),
        ("good.test.toml", String::new()),
        ("bad.sql", rule("bad").replace("amount", "x").replace("FROM payments", "FROM paymets")),
        ("worse.sql", rule("worse").replace("-- @owner: fraud-cards\n", "")),
    ]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["check", "--format", "json"])
        .arg(folder.path())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed["sound_rules"], 1);
    let places: Vec<(String, i64, i64)> = printed["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| {
            let file =
                finding["file"].as_str().expect("a file").rsplit('/').next().expect("a name").to_owned();
            (file, finding["line"].as_i64().unwrap_or(0), finding["column"].as_i64().unwrap_or(0))
        })
        .collect();
    assert_eq!(places, [("bad.sql".to_owned(), 10, 6), ("worse.sql".to_owned(), 1, 1)]);
}

#[test]
fn faults_of_headers_are_reported_at_their_lines() {
    let faults = [
        ("", HEADER.replace("-- @title: Many payments\n", "").replace("-- @owner: fraud-cards\n", "")),
        ("", HEADER.replace("@status: live", "@status: lives")),
        ("", HEADER.replace("@severity: high", "@severity: urgent")),
        ("", HEADER.replace("@score: 35", "@score: 1001")),
        ("", HEADER.replace("@score: 35", "@score: many")),
        ("", HEADER.replace("{times}", "{times")),
        ("", HEADER.replace("{times}", "{tmies}")),
        ("", HEADER.replace("card 30m", "card")),
        ("", HEADER.replace("card 30m", "card 30 parsecs")),
        ("", HEADER.replace("card 30m", "crad 30m")),
        ("", HEADER.replace("many-payments", "Many Payments")),
        ("-- @dedupe: card 1h\n", HEADER.to_owned()),
        ("-- @colour: red\n", HEADER.to_owned()),
        ("-- @score: 36\n", HEADER.to_owned()),
        ("-- @runbook:\n", HEADER.to_owned()),
        ("-- @action: blok\n", HEADER.to_owned()),
        ("-- @emit: sometimes\n", HEADER.to_owned()),
        ("-- @entity: customer\n", HEADER.to_owned()),
        ("-- @budget: lots\n", HEADER.to_owned()),
        ("-- @max_age: old\n", HEADER.to_owned()),
        ("-- @valid_from: tomorrow\n", HEADER.to_owned()),
        ("-- @score : 36\n", HEADER.to_owned()),
        ("-- @ score: 36\n", HEADER.to_owned()),
        ("--@tags: fine\n", HEADER.to_owned()),
    ];
    let mut text = String::new();
    for (more, header) in faults {
        let folder = folder(&[("rule.sql", format!("{header}{more}{QUERY}"))]);
        let set = compiled(folder.path());
        text += &format!("{more}{}\n", drawn(folder.path(), &set.diagnostics));
    }
    assert_golden("header_faults.txt", &text);
}

#[test]
fn an_id_stands_in_one_file_only() {
    let folder = folder(&[("a.sql", rule("same")), ("b.sql", rule("other")), ("c.sql", rule("same"))]);
    let set = compiled(folder.path());
    let short: Vec<String> =
        set.diagnostics.iter().map(|finding| drawn(folder.path(), std::slice::from_ref(finding))).collect();
    assert_eq!(short.len(), 1);
    assert!(
        short[0].contains("another rule has the id same") && short[0].contains("c.sql:1:9"),
        "{}",
        short[0]
    );
    assert!(short[0].contains("a.sql"), "{}", short[0]);
    assert_eq!(set.running().count(), 2);
}

#[test]
fn a_byte_order_mark_at_the_beginning_of_a_file_is_no_part_of_it() {
    let base = version(&[("rule.sql", rule("many-payments"))]);
    assert_eq!(version(&[("rule.sql", format!("\u{feff}{}", rule("many-payments")))]), base);
}

#[test]
fn a_version_follows_what_changes_answers_and_nothing_else() {
    let base = version(&[("rule.sql", HEADER.to_owned() + QUERY)]);
    let with = |header: String, query: String| version(&[("rule.sql", header + &query)]);
    let same = [
        with(HEADER.replace("Many payments", "Lots of payments"), QUERY.to_owned()),
        with(HEADER.replace("fraud-cards", "fraud-accounts"), QUERY.to_owned()),
        with(HEADER.replace("status: live", "status: shadow"), QUERY.to_owned()),
        with(HEADER.replace("severity: high", "severity: low"), QUERY.to_owned()),
        with(HEADER.to_owned() + "-- @runbook: call\n-- @tags: a, b\n-- a remark\n", QUERY.to_owned()),
        with(
            HEADER.to_owned(),
            QUERY.replace('\n', "\n    ").replace("tx, card", "tx,card -- the card\n /* and */"),
        ),
        with(HEADER.to_owned(), QUERY.trim_end().to_owned() + ";\n"),
        with(HEADER.replace('\n', "\r\n"), QUERY.replace('\n', "\r\n")),
    ];
    for (number, version) in same.iter().enumerate() {
        assert_eq!(*version, base, "change {number} keeps the version");
    }
    let other = [
        with(HEADER.to_owned(), QUERY.replace(">= 8", ">= 9")),
        with(HEADER.replace("score: 35", "score: 36"), QUERY.to_owned()),
        with(HEADER.replace("payments with", "orders with"), QUERY.to_owned()),
        with(HEADER.replace("card 30m", "card 31m"), QUERY.to_owned()),
        with(HEADER.to_owned() + "-- @action: block\n", QUERY.to_owned()),
        with(HEADER.to_owned() + "-- @budget: 200/h\n", QUERY.to_owned()),
        with(HEADER.to_owned(), QUERY.replace("'10 minutes'", "'11 minutes'")),
    ];
    let all: std::collections::BTreeSet<&String> = other.iter().chain([&base]).collect();
    assert_eq!(all.len(), other.len() + 1, "each change makes a version of its own");
}

#[test]
fn the_version_of_a_set_follows_whatever_changes_what_instances_answer() {
    let of = |header: &str, list: &str| {
        let rows = format!("device_id\n{list}\n");
        let folder = folder(&[("rule.sql", header.to_owned() + QUERY), ("lists/blocked.csv", rows)]);
        let set = compiled(folder.path());
        assert!(set.diagnostics.is_empty(), "{}", drawn(folder.path(), &set.diagnostics));
        let own = set.running().next().expect("a rule").version.clone();
        (own, set.version)
    };
    let (rule, base) = of(HEADER, "d1");
    for said in ["title: Other", "owner: others", "severity: low", "tags: a", "runbook: call"] {
        let key = said.split_once(':').expect("a key").0;
        let rest: String = HEADER
            .lines()
            .filter(|line| !line.contains(key))
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(of(&format!("{rest}-- @{said}\n"), "d1"), (rule.clone(), base.clone()), "{said}");
    }
    let with = |line: &str| of(&format!("{HEADER}-- @{line}\n"), "d1");
    let other = [
        of(&HEADER.replace("status: live", "status: shadow"), "d1"),
        of(HEADER, "d2"),
        with("entity: card"),
        with("max_age: 1h"),
        with("valid_from: 2026-12-01T00:00:00Z"),
        with("valid_until: 2026-12-01T00:00:00Z"),
        with("emit: in_order"),
    ];
    assert!(other.iter().all(|(own, _)| *own == rule), "the rule's own version stays");
    let all: std::collections::BTreeSet<&String> = other.iter().map(|(_, set)| set).chain([&base]).collect();
    assert_eq!(all.len(), other.len() + 1, "each change makes a version of the set: {other:?}");
}

#[test]
fn a_version_follows_the_views_that_a_rule_reads() {
    let of = |inner: &str, unused: &str| {
        version(&[
            ("rule.sql", HEADER.to_owned() + &QUERY.replace("FROM payments", "FROM outer_view")),
            (
                "views/inner.sql",
                format!("CREATE VIEW inner_view AS SELECT * FROM payments WHERE amount > {inner}"),
            ),
            (
                "views/outer.sql",
                "-- The outer one.\nCREATE VIEW outer_view AS\nSELECT * FROM inner_view".to_owned(),
            ),
            (
                "views/unused.sql",
                format!("CREATE VIEW unused AS SELECT tx FROM payments WHERE amount > {unused}"),
            ),
        ])
    };
    let base = of("5", "1");
    assert_eq!(of("5", "2"), base);
    assert_eq!(of("5 -- a remark", "1"), base);
    assert_ne!(of("6", "1"), base);
}

#[test]
fn a_broken_view_is_reported_once_and_named_by_the_rules_that_read_it() {
    let folder = folder(&[
        ("views/broken.sql", "CREATE VIEW broken AS\nSELECT tx, crad FROM payments".to_owned()),
        ("views/over.sql", "CREATE VIEW over_it AS\nSELECT tx FROM broken".to_owned()),
        ("a.sql", rule("a").replace("FROM payments", "FROM broken")),
        ("b.sql", rule("b")),
    ]);
    let set = compiled(folder.path());
    assert_eq!(set.running().count(), 1);
    assert_golden("broken_view.txt", &drawn(folder.path(), &set.diagnostics));
}

#[test]
fn what_is_wrong_with_files_of_views_is_said() {
    let folder = folder(&[
        (
            "views/loop.sql",
            "CREATE VIEW a AS SELECT tx FROM b;\nCREATE VIEW b AS SELECT tx FROM a;".to_owned(),
        ),
        ("views/self.sql", "CREATE VIEW c AS SELECT tx FROM c;".to_owned()),
        ("views/twice.sql", "CREATE VIEW payments AS SELECT tx FROM logins;".to_owned()),
        ("views/columns.sql", "CREATE VIEW d (one, two) AS SELECT tx, card FROM payments".to_owned()),
        ("views/more.sql", "CREATE VIEW e AS SELECT tx FROM payments;\nSELECT tx FROM e;".to_owned()),
        (
            "views/block.sql",
            "/* A remark\n   of two lines. */\nCREATE\n  VIEW f AS SELECT tx FROM payments;".to_owned(),
        ),
        (
            "views/sort.sql",
            "CREATE VIEW g AS SELECT tx, count(*) OVER (PARTITION BY card ORDER BY tx) AS n FROM payments"
                .to_owned(),
        ),
    ]);
    let set = compiled(folder.path());
    assert_golden("view_faults.txt", &drawn(folder.path(), &set.diagnostics));
}

#[test]
fn lists_that_can_not_be_used_are_reported_and_the_others_serve() {
    let folder = folder(&[
        ("lists/good.csv", "card\na\n".to_owned()),
        ("lists/good.json", "[{\"card\": \"a\"}]".to_owned()),
        ("lists/twice.csv", "card,Card\na,b\n".to_owned()),
        ("lists/ragged.csv", "card,why\na,b\nc\n".to_owned()),
        ("lists/empty.csv", String::new()),
        ("lists/torn.json", "[{\"card\": \"a\"".to_owned()),
        ("lists/notes.txt", "hello".to_owned()),
        ("lists/logins.csv", "card\na\n".to_owned()),
        ("a.sql", rule("a").replace("FROM payments", "FROM payments WHERE card IN (SELECT card FROM good)")),
    ]);
    let set = compiled(folder.path());
    assert_eq!(set.running().count(), 1);
    assert_golden("list_faults.txt", &drawn(folder.path(), &set.diagnostics));
}

#[test]
fn what_is_wrong_with_a_contract_is_said_all_at_once() {
    let folder = TempDir::new().expect("a folder");
    let schema = "CREATE TABLE a (id VARCHAR, event_time TIMESTAMP NOT NULL, m MONEY, PRIMARY KEY (idd));\n\
                  CREATE TABLE b (id VARCHAR, at TIMESTAMP NOT NULL);\n\
                  CREATE TABLE c (event_time TIMESTAMP);\n\
                  CREATE TABLE d (event_time TIMESTAMP NOT NULL, x INT, X INT);\n\
                  -- @event_time: made\n\
                  CREATE TABLE e (made TIMESTAMP NOT NULL, id INT, PRIMARY KEY (id, nr));\n\
                  CREATE TABLE e (made TIMESTAMP NOT NULL);\n\
                  CREATE INDEX i ON a (id);\n";
    std::fs::write(folder.path().join("schema.sql"), schema).expect("a file");
    let files = RuleFiles::open(folder.path(), None).expect("a folder");
    let Err(findings) = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)) else {
        panic!("a broken contract was taken");
    };
    assert_golden("contract_faults.txt", &drawn(folder.path(), &findings));
}

#[test]
fn drafts_and_rules_switched_off_are_checked_and_do_not_run() {
    let folder = folder(&[
        ("a.sql", rule("a").replace("status: live", "status: draft")),
        ("b.sql", rule("b").replace("status: live", "status: off").replace("FROM payments", "FROM paymets")),
        ("c.sql", rule("c").replace("status: live", "status: shadow") + "-- the end\n"),
        ("d.sql", rule("d").replace("-- @owner", "-- @emit: in_order\n-- @owner")),
    ]);
    let set = compiled(folder.path());
    assert_eq!(set.on_arrival.rules.iter().map(|rule| rule.header.id.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(set.in_order.rules.iter().map(|rule| rule.header.id.as_str()).collect::<Vec<_>>(), ["d"]);
    assert_eq!(set.resting.len(), 1);
    assert_eq!(set.diagnostics.len(), 1);
}

#[test]
fn a_lock_tells_what_changes_answers_and_what_does_not() {
    let scratch = crate::scratch::Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write("rules/many.sql", &rule("many"));
    scratch.write("rules/other.sql", &rule("other"));
    assert_eq!(scratch.shell("tollgate check --locked").code, Some(1));
    assert_eq!(scratch.shell("tollgate check --write-lock && tollgate check --locked").code, Some(0));
    scratch.write("rules/many.sql", &rule("many").replace("Many payments", "A better title"));
    assert_eq!(scratch.shell("tollgate check --locked").code, Some(0), "a title changes no answer");
    scratch.write("rules/many.sql", &rule("many").replace(">= 8", ">= 9"));
    scratch.write("rules/other.sql", &rule("another"));
    let warned = scratch.shell("tollgate check");
    assert_eq!(warned.code, Some(0), "{}", warned.text);
    for part in [
        "rule many answers otherwise",
        "rule another is not in rules.lock",
        "rule other is in rules.lock and in no rule file",
    ] {
        assert!(warned.text.contains(part), "{}", warned.text);
    }
    let refused = scratch.shell("tollgate check --locked");
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert!(refused.text.contains("3 errors"), "{}", refused.text);
    scratch.write("rules/rules.lock", "many = 7");
    assert!(scratch.shell("tollgate check").text.contains("this is no lock"));
}

#[test]
fn the_lock_of_the_shipped_rules_is_current() {
    let scratch = crate::scratch::Scratch::new();
    let checked =
        scratch.shell(&format!("tollgate check {} --locked", concat!(env!("CARGO_MANIFEST_DIR"), "/rules")));
    assert_eq!(checked.code, Some(0), "{}", checked.text);
}
