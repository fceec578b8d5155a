//! Decisions of a job, compared with what a plain computation over the same payments says.

use std::path::Path;

use arrow::array::Float64Array;
use serde_json::{Value, json};
use tollgate::event::{Clock, EventTime, SystemClock};
use tollgate::score::Model;

use crate::job::{Bench, rule, stop};

/// What the rules below must come to for one payment: outcome, what decided, score, rules that hit, those held back.
fn expected(
    card: &str,
    amount: i64,
    before: Option<usize>,
) -> (String, String, i64, Vec<&'static str>, usize) {
    let mut hits = Vec::new();
    let mut score = 0;
    if amount > 500 {
        hits.push("b-large");
        score += 60;
    }
    if card == "c7" {
        hits.push("c-known");
    }
    if amount > 100 {
        hits.push("a-some");
        score += 30;
    }
    hits.sort_unstable();
    let held_back = usize::from(amount > 500 && before.is_some());
    let (outcome, by) = match () {
        () if card == "c7" => ("allow", "rule:c-known"),
        () if score >= 80 => ("block", "threshold:block"),
        () if amount > 100 => ("review", "rule:a-some"),
        () => ("allow", "default"),
    };
    (outcome.to_owned(), by.to_owned(), score.min(85), hits, held_back)
}

#[test]
fn every_event_gets_the_decision_that_its_hits_come_to() {
    let rules = [
        (
            "a.sql",
            rule("a-some", "live", 30, "", "SELECT tx_id, card_id, amount FROM payments WHERE amount > 100"),
        ),
        (
            "b.sql",
            rule(
                "b-large",
                "live",
                60,
                "-- @action: review\n-- @dedup: card_id 1h\n",
                "SELECT tx_id, card_id, amount FROM payments WHERE amount > 500",
            ),
        ),
        (
            "c.sql",
            rule(
                "c-known",
                "live",
                0,
                "-- @action: trust\n",
                "SELECT tx_id, amount FROM payments WHERE card_id = 'c7'",
            ),
        ),
        (
            "d.sql",
            rule("d-shadow", "shadow", 90, "-- @action: block\n", "SELECT tx_id, amount FROM payments"),
        ),
    ];
    let bench = Bench::new(&rules, "[decisions]\ncap = 85\nreview = 50\nblock = 80\n");
    let payments: Vec<(String, String, i64)> = (0..60_i64)
        .map(|index| (format!("t{index}"), format!("c{}", index % 10), (index * 37) % 700))
        .collect();
    for (index, (tx_id, card, amount)) in payments.iter().enumerate() {
        bench.pay(tx_id, &format!("2026-11-22T10:{index:02}:00Z"), card, &format!("{amount}.00"));
    }
    bench.flush();
    let job = bench.start();
    bench.wait_until("60 decisions", || bench.lines("decisions.ndjson").len() >= 60);
    assert_eq!(stop(job), Some(0));

    let decisions = bench.lines("decisions.ndjson");
    assert_eq!(decisions.len(), payments.len());
    for (index, (tx_id, card, amount)) in payments.iter().enumerate() {
        let decision =
            decisions.iter().find(|decision| decision["event_id"] == json!(tx_id)).expect("a decision");
        let large = |(at, _): &(usize, &(String, String, i64))| index - at < 60;
        let earlier = payments[..index].iter().enumerate().filter(|(_, p)| p.1 == *card && p.2 > 500);
        // The rule alerts once an hour for a card, and all payments lie within one.
        let before = earlier.filter(large).map(|(at, _)| at).next();
        let (outcome, by, score, hits, held_back) = expected(card, *amount, before);
        let told: Vec<&str> = texts(&decision["hits"], "rule_id");
        assert_eq!(decision["outcome"], json!(outcome), "{decision}");
        assert_eq!(decision["decided_by"], json!(by), "{decision}");
        assert_eq!(decision["score"], json!(score), "{decision}");
        assert_eq!(told, hits, "{decision}");
        let suppressed =
            decision["hits"].as_array().expect("hits").iter().filter(|hit| hit["suppressed"] == json!(true));
        assert_eq!(suppressed.count(), held_back, "{decision}");
    }
    // What a decision says of its hits is what the alerts say.
    let alerts = bench.lines("alerts.ndjson");
    for hit in decisions.iter().flat_map(|decision| decision["hits"].as_array().expect("hits")) {
        let alert = alerts.iter().find(|alert| alert["alert_id"] == hit["alert_id"]);
        assert_eq!(alert.is_none(), hit["suppressed"] == json!(true), "{hit}");
        assert!(alert.is_none_or(|alert| alert["reason"] == hit["reason"]), "{hit}");
    }
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry[key].as_str()).collect()
}

#[test]
fn a_decision_says_what_models_said_of_the_event_whether_their_rule_hit_it_or_not() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/fixtures/xgb_logistic.json");
    let model = Model::open(&fixture).expect("a model");
    let amounts: Vec<i32> = (0..30).map(|index| index * 20).collect();
    let score = |amount: &i32| {
        let row = [f64::from(*amount) / 100.0 - 2.0, 1.0, 2.0, 3.0];
        let columns = row.map(|value| Float64Array::from(vec![value]));
        model.predict(&columns.each_ref()).expect("trees never fail")[0]
    };
    let scores: Vec<f64> = amounts.iter().map(score).collect();
    let middle = scores.iter().sum::<f64>() / 30.0;
    let call = |model: &str| format!("predict('{model}', amount / 100 - 2, 1, 2, 3)");
    let risky = format!(
        "SELECT tx_id, amount, risk FROM (SELECT *, {} AS risk FROM payments) WHERE risk > {middle}",
        call("risk")
    );
    let large = format!("SELECT tx_id, amount FROM payments WHERE {} > 2 AND amount > 100", call("large"));
    let unseen = format!("SELECT tx_id, amount FROM payments WHERE {} > 0", call("unseen"));
    let rules = [
        ("a.sql", rule("a", "live", 60, "", &risky)),
        ("b.sql", rule("b", "live", 60, "", &large)),
        ("c.sql", rule("c", "shadow", 60, "", &unseen)),
    ];
    let bench = Bench::new(&rules, "");
    let text = std::fs::read_to_string(&fixture).expect("a model");
    for name in ["risk", "large", "unseen"] {
        bench.scratch.write(&format!("rules/models/{name}.json"), &text);
    }
    for (index, amount) in amounts.iter().enumerate() {
        bench.pay(
            &format!("t{index}"),
            &format!("2026-11-22T10:{index:02}:00Z"),
            "c1",
            &format!("{amount}.00"),
        );
    }
    bench.flush();
    let job = bench.start();
    bench.wait_until("30 decisions", || bench.lines("decisions.ndjson").len() >= 30);
    assert_eq!(stop(job), Some(0));
    let mut hits = 0;
    for decision in bench.lines("decisions.ndjson") {
        let index: usize = decision["event_id"].as_str().expect("an id")[1..].parse().expect("a number");
        let asked = if amounts[index] > 100 { vec!["risk", "large"] } else { vec!["risk"] };
        assert_eq!(decision["models"].as_object().expect("models").len(), asked.len(), "{decision}");
        for name in asked {
            let said = &decision["models"][name];
            assert_eq!(said["version"], json!(model.version));
            assert!((said["score"].as_f64().expect("a number") - scores[index]).abs() < 1e-12, "{decision}");
        }
        let hit = usize::from(scores[index] > middle);
        assert_eq!(decision["hits"].as_array().expect("hits").len(), hit, "{decision}");
        hits += hit;
    }
    assert!(hits > 0 && hits < 30, "{hits} of 30 events hit");
}

#[test]
fn only_what_was_touched_is_decided_where_the_settings_say_so_and_an_old_event_is_never_blocked() {
    let query = "SELECT tx_id, amount FROM payments WHERE amount > 100";
    let more = "-- @action: block\n-- @max_age: 1h\n";
    let rules = [("a.sql", rule("a", "live", 95, more, query))];
    let bench = Bench::new(&rules, "");
    bench.set("[http]", "decide = \"touched\"\n[http]");
    let now = EventTime(SystemClock::start().now_micros()).to_string();
    bench.pay("old", "2026-01-01T10:00:00Z", "c1", "200.00");
    bench.pay("small", &now, "c1", "20.00");
    bench.pay("new", &now, "c1", "200.00");
    bench.flush();
    let job = bench.start();
    bench.wait_until("two decisions", || bench.lines("decisions.ndjson").len() >= 2);
    assert_eq!(stop(job), Some(0));
    let decisions = bench.lines("decisions.ndjson");
    let told: Vec<_> = decisions
        .iter()
        .map(|decision| {
            (decision["event_id"].clone(), decision["outcome"].clone(), decision["score"].clone())
        })
        .collect();
    assert_eq!(told, [(json!("old"), json!("review"), json!(0)), (json!("new"), json!("block"), json!(95))]);
    let alerts = bench.lines("alerts.ndjson");
    assert_eq!((&alerts[0]["action"], &alerts[0]["past_max_age"]), (&json!("review"), &json!(true)));
    assert_eq!((&alerts[1]["action"], &alerts[1]["past_max_age"]), (&json!("block"), &Value::Null));
}

#[test]
fn thresholds_that_can_not_be_reached_are_refused() {
    let bench = Bench::new(&[], "[decisions]\nreview = 90\nblock = 80\ncap = 60\n");
    let printed = bench.scratch.shell("tollgate run --config tollgate.toml");
    assert_eq!(printed.code, Some(2), "{}", printed.text);
    for part in
        ["`decisions.review` (90) is more than `decisions.block` (80)", "is more than `decisions.cap` (60)"]
    {
        assert!(printed.text.contains(part), "{}", printed.text);
    }
}

#[test]
fn a_rule_in_shadow_does_not_take_the_decision_from_live_rules_of_the_other_order() {
    let query = "SELECT tx_id, amount FROM payments WHERE amount > 100";
    let rules = [
        ("a.sql", rule("a", "live", 95, "-- @action: block\n-- @emit: in_order\n", query)),
        ("s.sql", rule("s", "shadow", 10, "-- @emit: on_arrival\n", query)),
    ];
    let bench = Bench::new(&rules, "");
    for (index, card) in ["c1", "c2", "c1", "c2"].iter().enumerate() {
        bench.pay(&format!("t{index}"), &format!("2026-11-22T10:0{index}:00Z"), card, "200.00");
    }
    bench.flush();
    let job = bench.start();
    // The last payment of each partition waits for the time to move on.
    bench.wait_until("decisions", || bench.lines("decisions.ndjson").len() >= 2);
    assert_eq!(stop(job), Some(0));
    let decisions = bench.lines("decisions.ndjson");
    assert!(decisions.iter().all(|decision| decision["outcome"] == json!("block")), "{decisions:?}");
    assert!(!bench.lines("shadow.ndjson").is_empty());
}

#[test]
fn fitted_weights_and_points_of_a_column_make_the_score_and_bring_their_thresholds() {
    let sized = rule("sized", "live", 1, "-- @action: allow\n", "SELECT tx_id, amount FROM payments");
    let sized = sized.replace("@score: 1", "@score: {amount} * 0.1");
    let rules = [
        ("a.sql", sized),
        (
            "b.sql",
            rule(
                "new",
                "live",
                90,
                "-- @action: allow\n",
                "SELECT tx_id, amount FROM payments WHERE amount > 100",
            ),
        ),
    ];
    let bench = Bench::new(&rules, "[decisions]\nmethod = \"logistic\"\nweights = \"weights.toml\"\n");
    let printed = bench.scratch.shell("tollgate run --config tollgate.toml");
    assert_eq!(printed.code, Some(2), "{}", printed.text);
    assert!(printed.text.contains("weights.toml can't be read"), "{}", printed.text);
    let weights = "schema = \"tollgate.weights/1\"\ncap = 1000\nbias = -3.0\nreview = 300\nblock = 700\n[weights]\nsized = 0.1\ngone = 1.0\n";
    bench.scratch.write("weights.toml", weights);
    let amounts = [10, 200, 300, 500];
    for (index, amount) in amounts.iter().enumerate() {
        bench.pay(
            &format!("t{index}"),
            &format!("2026-11-22T10:0{index}:00Z"),
            "c1",
            &format!("{amount}.00"),
        );
    }
    bench.flush();
    let job = bench.start();
    bench.wait_until("four decisions", || bench.lines("decisions.ndjson").len() >= 4);
    assert_eq!(stop(job), Some(0));
    for part in ["live rule new has no weight", "fitted with rule gone, which is not live now"] {
        assert!(bench.log().contains(part), "{}", bench.log());
    }
    let decisions = bench.lines("decisions.ndjson");
    // 1000 / (1 + exp(3 - 0.1 * points)), a tenth of the amount in points; the rule without a weight moves nothing.
    for (at, (score, outcome)) in
        [(52, "allow"), (269, "allow"), (500, "review"), (881, "block")].into_iter().enumerate()
    {
        let decision =
            decisions.iter().find(|one| one["event_id"] == json!(format!("t{at}"))).expect("a decision");
        assert_eq!(
            (&decision["score"], &decision["outcome"]),
            (&json!(score), &json!(outcome)),
            "{decision}"
        );
        assert_eq!(
            (&decision["method"], &decision["thresholds"]["block"]),
            (&json!("logistic"), &json!(700))
        );
        let own =
            decision["hits"].as_array().expect("hits").iter().find(|hit| hit["rule_id"] == json!("sized"));
        assert_eq!(own.expect("a hit")["points"], json!(amounts[at] / 10), "{decision}");
    }
}
