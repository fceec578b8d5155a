//! The published schemas of what leaves a job, and messages of a real one against them.
//!
//! Only the words of JSON Schema that the schemas use are understood; another one fails the test.

use std::path::Path;

use serde_json::{Value, json};

use crate::job::{Bench, rule, stop};

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON")
}

/// What of a value is not as the schema says, each with its path.
fn faults(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, wanted) in schema.as_object().expect("a schema is an object") {
        let fits = match word.as_str() {
            "$schema" | "title" | "description" | "format" => true,
            "type" => types(wanted).iter().any(|kind| is(kind, value)),
            "const" => wanted == value,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "required" => wanted.as_array().expect("names").iter().all(|name| {
                !value[name.as_str().unwrap()].is_null()
                    || value.as_object().is_some_and(|own| own.contains_key(name.as_str().unwrap()))
            }),
            "items" => {
                for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(wanted, entry, &format!("{path}[{index}]")));
                }
                true
            }
            "properties" => {
                for (name, own) in value.as_object().into_iter().flatten() {
                    if let Some(known) = wanted.get(name) {
                        found.extend(faults(known, own, &format!("{path}.{name}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &str| schema["properties"].get(name).is_some();
                for (name, own) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    match wanted {
                        Value::Bool(true) => {}
                        Value::Bool(false) => found.push(format!("{path}.{name} is not in the schema")),
                        wanted => found.extend(faults(wanted, own, &format!("{path}.{name}"))),
                    }
                }
                true
            }
            other => panic!("`{other}` is a word that this test does not know"),
        };
        if !fits {
            found.push(format!("{path} is {value}, against {word}: {wanted}"));
        }
    }
    found
}

fn types(wanted: &Value) -> Vec<&str> {
    wanted.as_str().map_or_else(
        || wanted.as_array().expect("types").iter().filter_map(Value::as_str).collect(),
        |one| vec![one],
    )
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is a type that this test does not know"),
    }
}

fn holds(name: &str, messages: &[Value]) {
    assert!(!messages.is_empty(), "no {name}");
    let schema = schema(name);
    for message in messages {
        assert_eq!(faults(&schema, message, name), Vec::<String>::new(), "{message}");
    }
}

#[test]
fn a_message_that_lacks_a_key_has_one_too_many_or_a_wrong_type_is_found() {
    let schema = schema("audit");
    let good = json!({"schema": "tollgate.audit/1", "what": "stopped", "at": "2026-11-22T10:00:00Z"});
    assert_eq!(faults(&schema, &good, ""), Vec::<String>::new());
    for (key, value) in [
        ("what", json!("paused")),
        ("at", json!(7)),
        ("colour", json!("red")),
        ("offsets", json!({"p": "x"})),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert_eq!(faults(&schema, &bad, "").len(), 1, "{bad}");
    }
    assert_eq!(faults(&schema, &json!({"schema": "tollgate.audit/1"}), "").len(), 1);
}

#[test]
fn what_a_job_sends_is_what_its_schemas_say() {
    let query = "SELECT tx_id, card_id, amount FROM payments WHERE amount > 100";
    let more = "-- @entity: card_id\n-- @max_age: 1h\n-- @typology: card-testing\n-- @tags: a, b\n";
    let rules = [
        ("a.sql", rule("a", "live", 30, &format!("{more}-- @dedup: card_id 1h\n"), query)),
        ("b.sql", rule("b", "live", 20, "-- @budget: 2/m\n", query)),
        (
            "c.sql",
            rule(
                "c",
                "live",
                20,
                "",
                "SELECT tx_id, 100 / (amount - 200) AS amount FROM payments WHERE amount > 100",
            ),
        ),
        ("s.sql", rule("s", "shadow", 20, "-- @shadow_of: a\n", query)),
    ];
    let bench = Bench::new(&rules, "");
    bench.set("[http]", "audit = \"file:audit.ndjson\"\n[http]");
    for index in 0..20 {
        let amount = if index == 3 { "200.00" } else { "150.00" };
        bench.pay(&format!("t{index}"), &format!("2026-11-22T10:00:{index:02}Z"), "c1", amount);
    }
    for (index, card) in ["c1", "c2"].iter().enumerate() {
        bench.pay(&format!("last{index}"), "2026-11-22T11:00:00Z", card, "1.00");
    }
    bench.pay("bad", "yesterday", "c1", "1.00");
    bench.flush();
    let job = bench.start();
    bench.wait_until("all decisions", || bench.lines("decisions.ndjson").len() >= 22);
    assert_eq!(stop(job), Some(0));
    let (alerts, summaries): (Vec<Value>, Vec<Value>) = bench
        .lines("alerts.ndjson")
        .into_iter()
        .partition(|message| message["schema"] == json!("tollgate.alert/1"));
    holds("alert", &alerts);
    holds("alert_summary", &summaries);
    holds("alert", &bench.lines("shadow.ndjson"));
    holds("decision", &bench.lines("decisions.ndjson"));
    holds("audit", &bench.lines("audit.ndjson"));
    holds("dead_letter", &bench.lines("dead.ndjson"));
    let decisions = bench.lines("decisions.ndjson");
    let failed = decisions.iter().find(|decision| decision["event_id"] == json!("t3")).expect("a decision");
    assert_eq!(failed["degraded"], json!([{"rule_id": "c", "outcome": "error"}]));
}
