//! Labels against hits, in any order of their coming.

use super::*;

fn quality(labels: &Labels, rule: &str) -> (u64, u64, u64) {
    let known = labels.rules.iter().find(|((id, _), _)| id == rule).expect("a rule");
    (known.1.true_positives, known.1.false_positives, known.1.missed)
}

fn rules() -> Vec<Rule> {
    let text = |id: &str| {
        format!(
            "-- @id: {id}\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"r\"\n-- @owner: o\n\
             SELECT tx_id FROM payments\n"
        )
    };
    let folder = tempfile::tempdir().expect("a folder");
    let schema =
        "CREATE TABLE payments (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, PRIMARY KEY (tx_id));";
    std::fs::write(folder.path().join("schema.sql"), schema).expect("written");
    for id in ["a", "b"] {
        std::fs::write(folder.path().join(format!("{id}.sql")), text(id)).expect("written");
    }
    let files = crate::rules::RuleFiles::open(folder.path(), None).expect("a folder");
    let order = crate::rules::AnswerOrder::Default(crate::rules::Emit::OnArrival);
    crate::rules::RuleSet::compile(files, order).expect("rules").on_arrival.rules
}

#[test]
fn a_label_counts_for_every_rule_once_and_a_correction_takes_it_back() {
    let rules = rules();
    let mut labels = Labels::default();
    for event in ["t1", "t2", "t2"] {
        labels.hit("a", &rules[0].version, event, 10);
    }
    labels.label("t1", true, 20, rules.iter());
    labels.label("t2", false, 20, rules.iter());
    labels.label("t3", true, 20, rules.iter());
    labels.label("t1", true, 21, rules.iter());
    assert_eq!(quality(&labels, "a"), (1, 1, 1));
    assert_eq!(quality(&labels, "b"), (0, 0, 2));
    assert_eq!(labels.counted(), (2, 1));
    let a = labels.quality(&rules[0]).expect("judged");
    assert_eq!((a.precision(), a.recall()), (Some(0.5), Some(0.5)));
    assert_eq!(labels.quality(&rules[1]).expect("judged").precision(), None, "it hit nothing");
    labels.label("t1", false, 30, rules.iter());
    assert_eq!((quality(&labels, "a"), quality(&labels, "b")), ((0, 2, 1), (0, 0, 1)));
    assert_eq!(labels.counted(), (1, 2));
}

#[test]
fn a_label_that_comes_before_its_event_counts_when_the_event_comes() {
    let rules = rules();
    let mut labels = Labels::default();
    labels.label("t1", true, 5, rules.iter());
    labels.label("t2", false, 5, rules.iter());
    assert_eq!(quality(&labels, "a"), (0, 0, 1));
    labels.hit("a", &rules[0].version, "t1", 6);
    labels.hit("a", &rules[0].version, "t2", 6);
    assert_eq!((quality(&labels, "a"), quality(&labels, "b")), ((1, 1, 0), (0, 0, 1)));
}

#[test]
fn what_is_older_than_is_remembered_is_forgotten_and_a_new_version_begins_anew() {
    let rules = rules();
    let mut labels = Labels::default();
    labels.hit("a", &rules[0].version, "old", 10);
    labels.hit("a", &rules[0].version, "new", 20);
    labels.hits.forget(15);
    labels.label("old", true, 30, rules.iter());
    labels.label("new", true, 30, rules.iter());
    assert_eq!(quality(&labels, "a"), (1, 0, 1));
    let mut next = rules;
    next[0].version = "another".to_owned();
    assert_eq!(labels.quality(&next[0]), None);
    labels.label("newer", true, 40, next.iter());
    assert_eq!(labels.quality(&next[0]).map(|quality| quality.missed), Some(1));
}
