//! The generator as a whole: determinism, order, shares, and agreement with `rules/schema.sql`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;

fn settings() -> GeneratorSettings {
    let mut settings = GeneratorSettings::starting_at(EventTime(1_763_806_502_123_000));
    settings.seed = 42;
    settings
}

fn events(settings: &GeneratorSettings, count: usize) -> Vec<GeneratedEvent> {
    Generator::new(settings).expect("settings in range").take(count).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(events(&settings(), 20_000), events(&settings(), 20_000));
}

#[test]
fn another_seed_gives_other_events_and_other_ids() {
    let other = GeneratorSettings { seed: 43, ..settings() };
    let ids: HashSet<String> =
        events(&settings(), 5_000).iter().map(|event| event.event_id().to_owned()).collect();
    assert!(events(&other, 5_000).iter().all(|event| !ids.contains(event.event_id())));
}

#[test]
fn events_come_in_event_time_order_and_no_id_twice() {
    let events = events(&settings(), 60_000);
    assert!(events.windows(2).all(|pair| pair[0].event_time <= pair[1].event_time));
    let ids: HashSet<&str> = events.iter().map(GeneratedEvent::event_id).collect();
    assert_eq!(ids.len(), events.len());
}

#[test]
fn a_used_buffer_is_written_over() {
    let mut generator = Generator::new(&settings()).expect("settings in range");
    let expected: Vec<GeneratedEvent> = events(&settings(), 3_000);
    let mut event = expected[2_999].clone();
    for wanted in &expected {
        generator.next_into(&mut event);
        assert_eq!(&event, wanted);
    }
}

#[test]
fn every_typology_appears_in_the_first_minute_of_a_demo() {
    let settings = GeneratorSettings { rhythm: Rhythm::Steady, ..settings() };
    let end = settings.start.0 + 60_000_000;
    let mut first = BTreeMap::new();
    for event in
        Generator::new(&settings).expect("settings in range").take_while(|event| event.event_time.0 < end)
    {
        if let Some(label) = event.label {
            first.entry(label.typology).or_insert(event.event_time.0 - settings.start.0);
        }
    }
    assert_eq!(
        first.keys().copied().collect::<BTreeSet<_>>(),
        Typology::ALL.into_iter().collect(),
        "{first:?}"
    );
    assert!(first[&Typology::CardTesting] < 2_000_000, "{first:?}");
}

#[test]
fn the_share_of_fraud_is_the_one_that_was_set() {
    for share in [0.0, 0.003, 0.02] {
        let settings = GeneratorSettings {
            fraud_share: share,
            events_per_second: 20.0,
            past: Past::Untold,
            ..settings()
        };
        let events = events(&settings, 200_000);
        let fraud = events.iter().filter(|event| event.label.is_some()).count() as f64 / events.len() as f64;
        assert!(
            (fraud - share).abs() <= 0.0003 + share * 0.05,
            "{fraud} of events are fraud, {share} was set"
        );
    }
}

#[test]
fn a_steady_rate_is_the_set_rate_and_a_daily_one_its_mean() {
    let hours = |count: usize, settings: &GeneratorSettings| {
        let events = events(settings, count);
        (events[count - 1].event_time.0 - events[0].event_time.0) as f64 / 3.6e9
    };
    let steady = GeneratorSettings {
        rhythm: Rhythm::Steady,
        past: Past::Untold,
        events_per_second: 10.0,
        ..settings()
    };
    let span = hours(36_000, &steady);
    assert!((span - 1.0).abs() < 0.05, "{span} h for an hour of events");
    let daily = GeneratorSettings { rhythm: Rhythm::Daily, events_per_second: 0.1, ..steady };
    let span = hours(60_480, &daily);
    assert!((span - 168.0).abs() < 8.0, "{span} h for a week of events");
}

#[test]
fn fields_are_the_columns_of_the_contract_in_order() {
    let contract = include_str!("../../rules/schema.sql");
    let mut seen = BTreeSet::new();
    for event in events(&settings(), 4_000) {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&event.json).expect("every event is JSON");
        let columns = columns_of(contract, event.stream.name());
        assert_eq!(object.keys().map(String::as_str).collect::<Vec<_>>(), columns);
        seen.insert(event.stream);
    }
    assert_eq!(seen.len(), StreamKind::ALL.len());
}

#[test]
fn a_column_declared_not_null_never_is() {
    let contract = include_str!("../../rules/schema.sql");
    for event in events(&settings(), 4_000) {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&event.json).expect("every event is JSON");
        for (name, value) in &object {
            let nullable = table(contract, event.stream.name())
                .any(|line| line.starts_with(&format!("{name} ")) && !line.contains("NOT NULL"));
            assert!(nullable || !value.is_null(), "{name} in {}", event.json);
        }
    }
}

#[test]
fn labels_stay_out_of_events_unless_asked_for() {
    assert!(events(&settings(), 3_000).iter().all(|event| !event.json.contains("fraud")));
    let inline = GeneratorSettings { labels: Labels::Inline, past: Past::Untold, ..settings() };
    let events = events(&inline, 3_000);
    for event in &events {
        let object: serde_json::Value = serde_json::from_str(&event.json).expect("every event is JSON");
        assert_eq!(object["is_fraud"], event.label.is_some());
    }
    let labelled = events.iter().find(|event| event.label.is_some()).expect("an episode starts at once");
    let label: serde_json::Value =
        serde_json::from_str(&labelled.label_json().expect("labelled")).expect("a label is JSON");
    assert_eq!(label["event_id"], labelled.event_id());
}

#[test]
fn settings_out_of_range_are_all_named() {
    let settings =
        GeneratorSettings { fraud_share: 0.9, events_per_second: 0.0, merchants: Some(1), ..settings() };
    let error = Generator::new(&settings).expect_err("out of range").to_string();
    for name in ["fraud_share", "events_per_second", "merchants"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn every_typology_is_named_by_a_rule_and_every_rule_names_one() {
    let mut named = BTreeSet::new();
    for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rules")).expect("the rule pack") {
        let folder = folder.expect("an entry").path();
        if !folder.is_dir() || folder.ends_with("views") || folder.ends_with("lists") {
            continue;
        }
        for file in std::fs::read_dir(folder).expect("a folder of rules") {
            let path = file.expect("an entry").path();
            if path.extension().is_none_or(|ending| ending != "sql") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a rule");
            let typology = text.lines().find_map(|line| line.strip_prefix("-- @typology: "));
            named.insert(typology.unwrap_or_else(|| panic!("{} has no typology", path.display())).to_owned());
        }
    }
    assert_eq!(named, Typology::ALL.iter().map(ToString::to_string).collect());
}

#[test]
fn listed_devices_and_countries_are_those_of_the_lists() {
    let devices = include_str!("../../rules/lists/blocked_devices.csv");
    let countries = include_str!("../../rules/lists/high_risk_countries.csv");
    for event in events(&settings(), 60_000) {
        let object: serde_json::Value = serde_json::from_str(&event.json).expect("every event is JSON");
        let (column, list) = match event.label.map(|label| label.typology) {
            Some(Typology::BlockedDevice) => ("device_id", devices),
            Some(Typology::HighRiskCountry) => ("country", countries),
            _ => continue,
        };
        let value = object[column].as_str().expect("a text");
        assert!(list.lines().any(|line| line.starts_with(&format!("{value},"))), "{value} is not listed");
    }
}

/// Lines of one CREATE TABLE, trimmed.
fn table<'a>(contract: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = contract.find(&format!("CREATE TABLE {name} (")).expect("a declared stream");
    contract[start..].lines().skip(1).map(str::trim).take_while(|line| !line.starts_with(')'))
}

fn columns_of<'a>(contract: &'a str, name: &str) -> Vec<&'a str> {
    table(contract, name)
        .filter(|line| !line.starts_with("PRIMARY KEY"))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}
