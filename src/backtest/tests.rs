//! Every figure of a backtest against small cases worked out by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, StringArray};

use super::*;
use crate::decision::Combination;
use crate::decode::{DecodedBatch, Rows, StreamRows};
use crate::diagnostic::SourceText;
use crate::event::{EventTime, Span};
use crate::rules::Points;
use crate::sql::{Catalog, CatalogSources, Query, compile};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Events of (time, entity, cents, fraud); labels are known a day after.
fn events(rows: &[(i64, &str, i128, bool)]) -> Events {
    let mut made = Events { value_scale: 2, ..Events::default() };
    for (time, entity, value, fraud) in rows {
        let known = made.entities.iter().position(|known| known == entity);
        let number = known.unwrap_or_else(|| {
            made.entities.push((*entity).to_owned());
            made.entities.len() - 1
        });
        made.time.push(*time);
        made.entity.push(u32::try_from(number).unwrap());
        made.value.push(*value);
        made.fraud.push(*fraud);
        made.known_at.push(time + DAY);
    }
    made
}

fn settings() -> Settings {
    Settings {
        from: None,
        until: None,
        skip_known: false,
        known_from: None,
        k: 2,
        episode_gap: Span::seconds(3600),
        combination: Combination::SumCap { cap: 100 },
    }
}

fn flags(hits: &[u32], alerts: &[u32]) -> Flags {
    Flags { hits: hits.to_vec(), alerts: alerts.to_vec(), ..Flags::default() }
}

fn hits(hits: &[u32]) -> Flags {
    flags(hits, hits)
}

/// Points of rules that are named by their number.
fn combined(parts: &[(u32, Flags)], combination: &Combination) -> Scores {
    let ids: Vec<String> = (0..parts.len()).map(|number| format!("r{number}")).collect();
    let points: Vec<Points> = parts.iter().map(|(points, _)| Points::Fixed(*points)).collect();
    let member =
        |number: usize| Member { id: &ids[number], points: &points[number], flags: &parts[number].1 };
    Scores::combined(&(0..parts.len()).map(member).collect::<Vec<_>>(), combination)
}

fn close(ours: Option<f64>, wanted: f64) {
    let ours = ours.expect("a number");
    assert!((ours - wanted).abs() < 1e-12, "{ours} is not {wanted}");
}

#[test]
fn precision_recall_value_and_workload_are_those_counted_by_hand() {
    let events = events(&[
        (0, "a", 1_000, true),
        (HOUR, "b", 250, false),
        (2 * HOUR, "c", 50, true),
        (3 * HOUR, "d", 7, false),
        (DAY, "e", 9, false),
        (DAY + HOUR, "a", 600, true),
    ]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let flags = flags(&[0, 1, 2], &[0, 1]);
    let quality = Quality::of(&case, &flags, &Scores::of_hits(&flags));
    assert_eq!((quality.alerts, quality.hits), (2, 3));
    assert_eq!((quality.frauds_caught, quality.false_positives), (Some(2), Some(1)));
    close(quality.alerts_a_day, 1.0);
    close(quality.alert_precision, 0.5);
    close(quality.precision, 2.0 / 3.0);
    close(quality.recall, 2.0 / 3.0);
    close(quality.f1, 2.0 / 3.0);
    close(quality.false_positives_per_fraud, 0.5);
    assert_eq!(quality.value_caught.unwrap().to_string(), "10.50");
    assert_eq!(quality.value_bothered.unwrap().to_string(), "2.50");
    assert_eq!((case.scope.scored, case.scope.frauds, case.scope.days), (6, Some(3), 2));
    assert_eq!(case.scope.value_of_frauds.unwrap().to_string(), "16.50");
}

#[test]
fn what_has_no_meaning_is_none_and_not_zero() {
    let all = events(&[(0, "a", 1, false), (1, "b", 1, false)]);
    let settings = settings();
    let case = Case::new(&all, &settings);
    let quality = Quality::of(&case, &hits(&[]), &Scores::default());
    assert_eq!((quality.precision, quality.recall, quality.f1), (None, None, None));
    assert_eq!(quality.false_positives_per_fraud, None);

    let unlabelled = Events { fraud: Vec::new(), ..all };
    let case = Case::new(&unlabelled, &settings);
    let quality = Quality::of(&case, &hits(&[0]), &Scores::of_hits(&hits(&[0])));
    assert_eq!((quality.hits, quality.alerts), (1, 1));
    assert_eq!((quality.precision, quality.recall, quality.average_precision), (None, None, None));
    assert_eq!((quality.frauds_caught, quality.value_caught, quality.detection), (None, None, None));
    assert_eq!(quality.card_precision_at_k, None);
}

#[test]
fn average_precision_is_the_recall_gained_times_the_precision() {
    // The example of scikit-learn's documentation: labels 0 0 1 1, scores 0.1 0.4 0.35 0.8.
    let events = events(&[(0, "a", 0, false), (1, "b", 0, false), (2, "c", 0, true), (3, "d", 0, true)]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let parts = [(10, hits(&[0])), (40, hits(&[1])), (35, hits(&[2])), (80, hits(&[3]))];
    let scores = combined(&parts, &Combination::SumCap { cap: 100 });
    close(scores.average_precision(&case), 0.5 + 0.5 * 2.0 / 3.0);
    close(scores.auc_roc(&case), 0.75);
    let curve: Vec<(u32, u64, u64)> =
        scores.curve(&case).iter().map(|point| (point.threshold, point.flagged, point.frauds)).collect();
    assert_eq!(curve, [(80, 1, 1), (40, 2, 1), (35, 3, 2), (10, 4, 2)]);
}

#[test]
fn events_without_points_are_the_last_threshold() {
    let events = events(&[(0, "a", 0, true), (1, "b", 0, false), (2, "c", 0, true), (3, "d", 0, false)]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    // One fraud and one genuine event flagged: 1/2 × 1/2, and the rest 1/2 × 2/4.
    close(Scores::of_hits(&hits(&[0, 1])).average_precision(&case), 0.5);
    // Of four pairs one is right, one is wrong and two are ties.
    close(Scores::of_hits(&hits(&[0, 1])).auc_roc(&case), 0.5);
}

#[test]
fn points_add_up_to_the_cap_or_the_highest_counts() {
    let parts = [(60, hits(&[0, 1])), (50, hits(&[1, 2]))];
    let events = events(&[(0, "a", 0, true), (1, "b", 0, true), (2, "c", 0, true)]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let thresholds = |combination: Combination| -> Vec<u32> {
        combined(&parts, &combination).curve(&case).iter().map(|point| point.threshold).collect()
    };
    assert_eq!(thresholds(Combination::SumCap { cap: 100 }), [100, 60, 50]);
    assert_eq!(thresholds(Combination::SumCap { cap: 1000 }), [110, 60, 50]);
    assert_eq!(thresholds(Combination::Max), [60, 50]);
    assert_eq!(thresholds(Combination::SumCap { cap: 40 }), [40]);
    assert_eq!(thresholds(Combination::NoisyOr { cap: 100 }), [80, 60, 50]);
}

#[test]
fn card_precision_looks_at_k_entities_a_day_and_forgets_those_found() {
    let events = events(&[
        (0, "a", 0, true),          // 3 points, first of the tie with c: looked at, found
        (HOUR, "b", 0, false),      // 5 points: looked at
        (2 * HOUR, "c", 0, true),   // 3 points: third, not looked at
        (DAY, "a", 0, true),        // 9 points, but found the day before
        (DAY + HOUR, "c", 0, true), // 1 point: found
        (2 * DAY, "b", 0, false),   // a day without points
    ]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let parts = [(3, hits(&[0, 2])), (5, hits(&[1])), (9, hits(&[3])), (1, hits(&[4]))];
    let scores = combined(&parts, &Combination::SumCap { cap: 100 });
    close(scores.precision_at_k(&case), (0.5 + 0.5 + 0.0) / 3.0);
    // A perfect score finds a and c on the first day, and nobody new afterwards.
    close(Scores::perfect(&case).precision_at_k(&case), 1.0 / 3.0);
}

#[test]
fn an_entity_counts_by_its_highest_event_even_if_another_one_is_the_fraud() {
    let events = events(&[(0, "a", 0, false), (HOUR, "a", 0, true), (2 * HOUR, "b", 0, false)]);
    let settings = Settings { k: 1, ..settings() };
    let case = Case::new(&events, &settings);
    close(Scores::of_hits(&hits(&[0, 2])).precision_at_k(&case), 1.0);
}

#[test]
fn episodes_end_after_a_long_pause_and_are_found_at_their_first_alert() {
    let half = HOUR / 2;
    let events = events(&[
        (0, "x", 0, true),
        (0, "y", 0, true),
        (half, "x", 0, true),
        (half, "x", 0, false),
        (3 * HOUR, "x", 0, true),
    ]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    // x: frauds at 0 and 0:30 are one episode, 3:00 another one; y is a third and is never found.
    let found = Quality::of(&case, &hits(&[2, 3, 4]), &Scores::default()).detection.unwrap();
    assert_eq!((found.episodes, found.detected, found.at_first), (3, 2, 1));
    close(found.median_seconds, 0.0);
    close(found.p90_seconds, 1800.0);
    close(found.mean_seconds, 900.0);
    close(found.mean_frauds_before, 0.5);
    assert_eq!(found.histogram, [1, 0, 1, 0, 0, 0, 0, 0]);
    // A hit that was held back finds nothing.
    let held_back = Quality::of(&case, &flags(&[2, 3, 4], &[2, 3]), &Scores::default()).detection.unwrap();
    assert_eq!((held_back.episodes, held_back.detected), (3, 1));
}

#[test]
fn a_known_entity_is_left_out_from_the_first_day_that_begins_after_its_label_is_known() {
    let mut all = events(&[
        (10 * HOUR, "a", 0, true),
        (7 * DAY + 20 * HOUR, "a", 0, false),
        (8 * DAY, "a", 0, true),
        (8 * DAY, "b", 0, false),
    ]);
    all.known_at = all.time.iter().map(|time| time + 7 * DAY).collect();
    let known = Settings { skip_known: true, from: Some(EventTime(DAY)), ..settings() };
    let case = Case::new(&all, &known);
    assert_eq!(case.scored, [false, true, false, true]);
    assert_eq!((case.scope.scored, case.scope.frauds, case.scope.left_out_as_known), (2, Some(0), 1));

    let forgotten = Settings { known_from: Some(EventTime(11 * HOUR)), ..known.clone() };
    assert_eq!(Case::new(&all, &forgotten).scored, [false, true, true, true]);

    // A label that becomes known exactly at midnight is not known before that day.
    all.known_at[0] = 8 * DAY;
    assert_eq!(Case::new(&all, &known).scored, [false, true, true, true]);
}

#[test]
fn bounds_hold_the_first_moment_and_not_the_last() {
    let events = events(&[(DAY - 1, "a", 0, false), (DAY, "a", 0, true), (2 * DAY, "a", 0, false)]);
    let bounded = Settings { from: Some(EventTime(DAY)), until: Some(EventTime(2 * DAY)), ..settings() };
    let case = Case::new(&events, &bounded);
    assert_eq!((case.scored.clone(), case.scope.days), (vec![false, true, false], 1));
    assert_eq!(hits(&[0, 1, 2]).within(&case.scored), hits(&[1]));
}

#[test]
fn pairs_and_what_one_rule_alone_adds() {
    let events =
        events(&[(0, "a", 100, true), (1, "b", 200, false), (2, "c", 400, true), (3, "d", 800, false)]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let (first, second) = (hits(&[0, 1, 2]), hits(&[1, 2, 3]));
    let pairs = overlap::overlap(&case, vec!["x".to_owned(), "y".to_owned()], &[&first, &second]);
    assert_eq!(pairs.events, [[3, 2], [2, 3]]);
    assert_eq!(pairs.frauds, [[2, 1], [1, 1]]);
    let [own, other] = overlap::marginals(&case, &[&first, &second])[..] else { panic!("two rules") };
    assert_eq!((own.hits, own.frauds, own.false_positives), (1, 1, 0));
    assert_eq!(own.value_caught.unwrap().to_string(), "1.00");
    assert_eq!((other.hits, other.frauds, other.false_positives), (1, 0, 1));
}

#[test]
fn days_without_alerts_are_days_too() {
    let events = events(&[(0, "a", 0, true), (1, "a", 0, false), (2 * DAY, "a", 0, false)]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let daily: Vec<(String, u64, u64)> = days::daily(&case, &hits(&[0, 1]))
        .into_iter()
        .map(|day| (day.day, day.alerts, day.on_frauds))
        .collect();
    let wanted = [("1970-01-01", 2, 1), ("1970-01-02", 0, 0), ("1970-01-03", 0, 0)];
    assert_eq!(daily, wanted.map(|(day, alerts, frauds)| (day.to_owned(), alerts, frauds)));
}

#[test]
fn flags_of_several_rules_hit_once_and_alert_as_often_as_they_do() {
    let united = Flags::united([&flags(&[1, 3], &[1]), &flags(&[1, 2], &[1, 2])]);
    assert_eq!((united.hits, united.alerts), (vec![1, 2, 3], vec![1, 1, 2]));
}

#[test]
fn of_two_labels_the_one_known_later_counts() {
    let mut labels = Labels::default();
    labels.add("e1".to_owned(), Label { fraud: false, known_at: 20 });
    labels.add("e1".to_owned(), Label { fraud: true, known_at: 10 });
    labels.add("gone".to_owned(), Label { fraud: true, known_at: 10 });
    let columns = EventColumns { event_id: vec![0], ..EventColumns::default() };
    let mut table = EventTable::new(columns, Some(labels));
    table.push(&batch(&["e1", "e2"])).unwrap();
    let events = table.finish();
    assert_eq!((events.fraud, events.known_at), (vec![false, false], vec![20, i64::MAX]));
    assert_eq!(events.labels_unmatched, 1);
}

/// A batch of one stream: id, entity, value, label; the rows stand at offsets 10, 20, ….
fn batch(ids: &[&str]) -> DecodedBatch {
    let count = i64::try_from(ids.len()).unwrap();
    let entities: ArrayRef = Arc::new(StringArray::from(vec!["card"; ids.len()]));
    let values = Decimal128Array::from(vec![Some(1_99), None]).slice(0, ids.len());
    let values: ArrayRef = Arc::new(values.with_precision_and_scale(12, 2).unwrap());
    let labels = BooleanArray::from(vec![Some(true), None]).slice(0, ids.len());
    let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
    let columns = vec![Some(ids), Some(entities), Some(values), Some(Arc::new(labels) as ArrayRef)];
    let rows = Rows {
        event_time: (1..=count).collect(),
        partition: vec![1; ids_len(&columns)],
        offset: (1..=count).map(|row| row * 10).collect(),
        ..Rows::default()
    };
    let streams = vec![StreamRows { rows: (0..u32::try_from(count).unwrap()).collect(), columns }];
    DecodedBatch { rows, streams, ..DecodedBatch::default() }
}

fn ids_len(columns: &[Option<ArrayRef>]) -> usize {
    columns[0].as_ref().map_or(0, arrow::array::Array::len)
}

#[test]
fn columns_become_events_and_records_are_found_again() {
    let columns = EventColumns {
        stream: 0,
        label: Some(3),
        entity: Some(1),
        value: Some(2),
        event_id: Vec::new(),
        label_delay: 7,
    };
    let mut table = EventTable::new(columns, None);
    assert_eq!(table.push(&batch(&["e1", "e2"])).unwrap(), [0, 1]);
    assert_eq!((table.event_at(1, 20), table.event_at(1, 15), table.event_at(0, 10)), (Some(1), None, None));
    let events = table.finish();
    assert_eq!((events.value, events.value_scale), (vec![199, 0], 2));
    assert_eq!((events.fraud, events.known_at), (vec![true, false], vec![8, i64::MAX]));
    assert_eq!((events.entities, events.entity), (vec!["card".to_owned()], vec![0, 0]));
}

#[test]
fn amounts_are_written_with_their_places() {
    let text = |units, scale| Amount { units, scale }.to_string();
    assert_eq!([text(5, 2), text(-123_456, 2), text(7, 0), text(0, 3)], ["0.05", "-1234.56", "7", "0.000"]);
}

#[test]
fn a_sweep_steps_through_its_range_exactly() {
    let values = |text: &str| text.parse::<Sweep>().map(|sweep| sweep.values);
    assert_eq!(values("r:n=3..5").unwrap(), ["3", "4", "5"]);
    assert_eq!(values("r:x=0.5..0.8/0.1").unwrap(), ["0.5", "0.6", "0.7", "0.8"]);
    assert_eq!(values("r:x=-1..1.5/1").unwrap(), ["-1.0", "0.0", "1.0"]);
    for text in
        ["r:x=1", "r=1..2", "r:x=2..1", "r:x=1..2/0", "r:x=a..b", ":x=1..2", "r:x#0=1..2", "r:x=0..900"]
    {
        assert!(values(text).is_err(), "{text}");
    }
}

#[test]
fn a_variant_is_the_rule_with_one_number_and_the_id_replaced() {
    let rule = "-- @id: fast\n-- @title: fast 8\nSELECT count(*) OVER w AS n FROM t WHERE a > 1 AND b > 2 AND b < 9\nQUALIFY n >= 8";
    let source = SourceText::new("fast.sql", rule);
    let variants = |text: &str| text.parse::<Sweep>().unwrap().variants(&source, 4);
    let made = variants("fast:n=7..8").unwrap();
    assert_eq!(made[0].source.text, rule.replace("@id: fast", "@id: sweep-4-0").replace("n >= 8", "n >= 7"));
    assert_eq!(made.iter().map(|variant| variant.current).collect::<Vec<_>>(), [false, true]);
    let second = variants("fast:b#2=5..5").unwrap();
    assert!(second[0].source.text.contains("b > 2 AND b < 5"), "{}", second[0].source.text);
    assert!(variants("fast:b=5..5").unwrap_err().0.contains("b#1"));
    let unknown = variants("fast:m=1..2").unwrap_err().0;
    assert!(unknown.contains("it does with `a`, `b`, `n`"), "{unknown}");
}

#[test]
fn labels_may_be_read_through_windows_that_end_before_they_are_known_and_not_sooner() {
    let contract =
        "CREATE TABLE t (id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR, fraud BOOLEAN)";
    let sources = CatalogSources {
        contract: Some(SourceText::new("schema.sql", contract)),
        ..CatalogSources::default()
    };
    let (catalog, _) = Catalog::build(sources).unwrap();
    let youngest = |text: &str, delay: Span| {
        let query = Query { id: "r".to_owned(), source: SourceText::new("r.sql", text) };
        let compiled = compile(&catalog, &[query]);
        assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
        look_ahead(&compiled.graph, (0, 3), delay).first().map(|early| early.youngest.to_string())
    };
    let window = |end: &str| {
        format!(
            "SELECT id, count(*) FILTER (WHERE fraud) OVER w AS n FROM t WINDOW w AS (PARTITION BY card ORDER BY \
             event_time RANGE BETWEEN INTERVAL '30 days' PRECEDING AND {end}) QUALIFY n >= 1"
        )
    };
    let week = Span::seconds(7 * 86_400);
    assert_eq!(youngest(&window("INTERVAL '7 days' PRECEDING"), week), None);
    assert_eq!(youngest(&window("INTERVAL '6 days' PRECEDING"), week), Some("6d".to_owned()));
    assert_eq!(youngest(&window("CURRENT ROW"), Span(0)), Some("0s".to_owned()));
    assert_eq!(youngest("SELECT id FROM t WHERE fraud", Span(0)), Some("0s".to_owned()));
    assert_eq!(youngest("SELECT id, fraud FROM t WHERE card = 'x'", week), None);
    // A label behind two windows is as old as both make it.
    let nested = "SELECT id FROM (SELECT id, card, event_time, count(*) FILTER (WHERE fraud) OVER (PARTITION BY card \
                  ORDER BY event_time RANGE BETWEEN INTERVAL '9 days' PRECEDING AND INTERVAL '3 days' PRECEDING) AS n \
                  FROM t) QUALIFY max(n) OVER (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '9 days' \
                  PRECEDING AND INTERVAL '4 days' PRECEDING) > 0";
    assert_eq!(youngest(nested, week), None);
    assert_eq!(youngest(nested, Span::seconds(8 * 86_400)), Some("7d".to_owned()));
}

/// Events as (points of r0, points of r1, how many, frauds among them), and the rules' flags.
fn patterns(of: &[(u32, u32, usize, usize)]) -> (Events, [Flags; 2]) {
    let mut rows = Vec::new();
    let mut flags = [Flags::default(), Flags::default()];
    for (first, second, count, frauds) in of {
        for number in 0..*count {
            let event = u32::try_from(rows.len()).unwrap();
            flags[0].hits.extend((*first > 0).then_some(event));
            flags[1].hits.extend((*second > 0).then_some(event));
            flags[1].points.extend((*second > 0).then_some((event, *second)));
            rows.push((0, "a", 0, number < *frauds));
        }
    }
    (events(&rows), flags)
}

#[test]
fn fitted_weights_are_those_of_scikit_learn() {
    // LogisticRegression(C=1, solver="newton-cholesky", tol=1e-14) of scikit-learn 1.9 over [r0 / 60, r1 / 100].
    let (events, flags) = patterns(&[
        (0, 0, 900, 4),
        (60, 0, 40, 10),
        (0, 25, 30, 3),
        (0, 100, 20, 12),
        (60, 50, 8, 6),
        (60, 100, 5, 5),
    ]);
    let settings = settings();
    let case = Case::new(&events, &settings);
    let points = [Points::Fixed(60), Points::Selected { column: "risk".to_owned(), times: 100.0 }];
    let members = ["r0", "r1"].map(|id| usize::from(id == "r1"));
    let members = members.map(|number| Member {
        id: ["r0", "r1"][number],
        points: &points[number],
        flags: &flags[number],
    });
    let found = fit(&case, &members).unwrap();
    assert_eq!((found.events, found.frauds), (1003, 40));
    let near = |ours: f64, wanted: f64| assert!((ours - wanted).abs() < 5e-9, "{ours} is not {wanted}");
    near(found.bias, -4.316_874_12);
    near(found.weights["r0"] * 60.0, 2.938_809_72);
    near(found.weights["r1"] * 100.0, 4.118_081_88);
}

#[test]
fn weights_of_nothing_and_of_one_kind_of_events_are_refused() {
    let settings = settings();
    let refused = |of: &[(u32, u32, usize, usize)]| {
        let (events, flags) = patterns(of);
        let points = Points::Fixed(60);
        fit(&Case::new(&events, &settings), &[Member { id: "r0", points: &points, flags: &flags[0] }])
            .unwrap_err()
    };
    assert_eq!(refused(&[(60, 0, 5, 5)]), FitError::OneKind { events: 5, frauds: 5 });
    assert_eq!(refused(&[(60, 0, 5, 0)]), FitError::OneKind { events: 5, frauds: 0 });
    assert_eq!(refused(&[(0, 0, 5, 2)]), FitError::NoPoints);
    let unlabelled = Events { fraud: Vec::new(), ..patterns(&[(0, 0, 5, 2)]).0 };
    assert_eq!(fit(&Case::new(&unlabelled, &settings), &[]), Err(FitError::NoLabels));
}
