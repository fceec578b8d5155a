//! Shadow versions of a live rule: what stands in their headers, and how they are compared with it.

use serde_json::{Value, json};

use crate::job::{Bench, SCHEMA, rule, stop};
use crate::labels::{free_port, metric};
use crate::scratch::Scratch;

/// The n-th payments of a card within an hour from a threshold on, but for every fifth; they share one window.
fn often(id: &str, status: &str, more: &str, least: u32) -> String {
    let query = format!(
        "SELECT tx_id, card_id, amount, count(*) OVER (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL \
         '1 hour' PRECEDING AND CURRENT ROW) AS n FROM payments QUALIFY n >= {least} AND n % 5 <> {least}"
    );
    rule(id, status, 10, more, &query)
}

/// The live rule, a version that hits sooner, and one that hits later.
fn three() -> [(&'static str, String); 3] {
    [
        ("often.sql", often("often", "live", "", 3)),
        ("often-2.sql", often("often-2", "shadow", "-- @shadow_of: often\n", 2)),
        ("often-4.sql", often("often-4", "shadow", "-- @shadow_of: often\n", 4)),
    ]
}

/// Of the n-th payments of a card, those that `often` with a threshold hits.
fn hits(least: u32, count: u32) -> Vec<u32> {
    (1..=count).filter(|n| *n >= least && n % 5 != least).collect()
}

/// Hits of both, of the live rule alone and of the version alone.
fn agreement(version: u32, count: u32) -> [usize; 3] {
    let (live, own) = (hits(3, count), hits(version, count));
    let both = live.iter().filter(|n| own.contains(n)).count();
    [both, live.len() - both, own.len() - both]
}

#[test]
fn a_version_of_what_is_not_there_or_can_not_be_compared_is_told_with_file_and_line() {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    for (file, text) in three() {
        scratch.write(&format!("rules/{file}"), &text);
    }
    scratch.write("rules/resting.sql", &often("resting", "off", "", 3));
    let sound = scratch.shell("tollgate check rules");
    assert_eq!(sound.code, Some(0), "{}", sound.text);
    let of = |id: &str| format!("-- @shadow_of: {id}\n");
    for (status, more, code, words) in [
        ("shadow", of("offen"), 1, "did you mean often?"),
        ("shadow", of("nothing-like-it"), 1, "name the id of the live rule"),
        ("shadow", of("new"), 1, "new can't be a shadow version of itself"),
        ("shadow", of("often-2"), 1, "write `-- @shadow_of: often`"),
        ("shadow", of("Often"), 1, "@shadow_of can't be `Often`"),
        ("shadow", of("often") + "-- @emit: in_order\n", 1, "often is answered in another order"),
        ("live", of("often"), 1, "write `-- @status: shadow`; to promote it, give often its query"),
        ("shadow", of("resting"), 0, "resting is not live (off), so there is nothing to compare with"),
        ("draft", of("often"), 0, "0 errors"),
    ] {
        scratch.write("rules/new.sql", &often("new", status, &more, 2));
        let printed = scratch.shell("tollgate check rules");
        assert_eq!(printed.code, Some(code), "{status} {more}: {}", printed.text);
        assert!(printed.text.contains(words), "{status} {more}: {}", printed.text);
        assert!(code == 0 || printed.text.contains("rules/new.sql:"), "{}", printed.text);
    }
    // Of one file alone the others are not known.
    scratch.write("rules/new.sql", &often("new", "shadow", &of("often"), 2));
    let alone = scratch.shell("tollgate check rules/new.sql");
    assert_eq!(alone.code, Some(0), "{}", alone.text);
}

#[test]
fn shadow_versions_name_their_live_rule_in_alerts_and_are_counted_beside_it() {
    let bench = Bench::new(&three(), "");
    let address = format!("127.0.0.1:{}", free_port());
    bench.set("listen = \"off\"", &format!("listen = \"{address}\""));
    let job = bench.start();
    for n in 1..=12 {
        bench.pay(&format!("t{n}"), &format!("2026-11-22T10:00:{n:02}Z"), "c1", "10.00");
    }
    bench.flush();
    bench.wait_until("12 decisions", || bench.lines("decisions.ndjson").len() >= 12);
    let name = |version: u32, which: &str| {
        format!(
            "tollgate_shadow_agreement_total{{rule=\"often-{version}\",shadow_of=\"often\",agreement=\"{which}\"}}"
        )
    };
    for version in [2, 4] {
        for (which, count) in ["both", "live_only", "shadow_only"].into_iter().zip(agreement(version, 12)) {
            let counted =
                || metric(&address, &name(version, which)) == Some(f64::from(u32::try_from(count).unwrap()));
            bench.wait_until(&format!("{version} {which} {count}"), counted);
        }
    }
    // The version takes the live rule's place, and its file goes.
    bench.scratch.write("rules/often.sql", &often("often", "live", "", 2));
    std::fs::remove_file(bench.path("rules/often-2.sql")).expect("it is there");
    bench.wait_until("the promotion", || bench.log().contains("changed rules are in force"));
    bench.wait_until("its series end", || metric(&address, &name(2, "both")).is_none());
    assert_eq!(
        metric(&address, &name(4, "both")),
        Some(f64::from(u32::try_from(agreement(4, 12)[0]).unwrap()))
    );
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    let live = bench.lines("alerts.ndjson");
    assert_eq!(live.len(), hits(3, 12).len());
    assert!(live.iter().all(|alert| alert["rule"].get("shadow_of").is_none()), "{live:?}");
    let shadow = bench.lines("shadow.ndjson");
    assert_eq!(shadow.len(), hits(2, 12).len() + hits(4, 12).len());
    assert!(shadow.iter().all(|alert| alert["rule"]["shadow_of"] == json!("often")), "{shadow:?}");
    let listed = bench.scratch.shell("tollgate rules ls").text;
    assert!(listed.contains("shadow of often"), "{listed}");
}

/// Fifteen payments of a card within an hour, every third a fraud; folders without and with versions.
fn world() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["old", "new"] {
        scratch.write(&format!("{folder}/schema.sql"), SCHEMA);
    }
    for (index, (file, text)) in three().into_iter().enumerate() {
        scratch.write(&format!("new/{file}"), &text);
        if index == 0 {
            scratch.write(&format!("old/{file}"), &text);
        }
    }
    let (mut events, mut labels) = (String::new(), String::new());
    for n in 1..=15 {
        let (id, at) = (format!("t{n}"), format!("2026-11-22T10:00:{n:02}Z"));
        let event = json!({"tx_id": id, "event_time": at, "card_id": "c1", "amount": "10.00"});
        events += &format!("{event}\n");
        let label = json!({"id": id, "known_at": "2026-11-23T00:00:00Z", "fraud": n % 3 == 0});
        labels += &format!("{label}\n");
    }
    scratch.write("events.ndjson", &events);
    scratch.write("labels.ndjson", &labels);
    scratch
}

/// Share of frauds among what `often` with a threshold hits.
fn precision(least: u32) -> f64 {
    let hits = hits(least, 15);
    let frauds = hits.iter().filter(|n| *n % 3 == 0).count();
    f64::from(u32::try_from(frauds).unwrap()) / f64::from(u32::try_from(hits.len()).unwrap())
}

/// Those of the live rule and of a version, but for the last digit of the text.
fn assert_precisions(told: &Value, version: u32) {
    for (told, least) in told.as_array().expect("two").iter().zip([3, version]) {
        assert!((told.as_f64().expect("a share") - precision(least)).abs() < 1e-12, "{told} of {least}");
    }
}

#[test]
fn a_backtest_compares_versions_with_their_live_rule() {
    let scratch = world();
    let line = "tollgate backtest --rules new --input events.ndjson --labels labels.ndjson --report r.html";
    let printed = scratch.shell(&format!("{line} --format json 2>errors.txt"));
    let report: Value = serde_json::from_str(&printed.text).unwrap_or_else(|_| panic!("{}", printed.text));
    for (own, version) in report["versions"].as_array().expect("versions").iter().zip([2, 4]) {
        assert_eq!((&own["rule"], &own["shadow_of"]), (&json!(format!("often-{version}")), &json!("often")));
        let [both, live_only, shadow_only] = agreement(version, 15);
        let events = json!({"both": both, "live_only": live_only, "shadow_only": shadow_only});
        assert_eq!(own["events"], events);
        assert_precisions(&own["precision"], version);
        let frauds: u64 = own["frauds"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
        assert!(frauds > 0 && frauds < (both + live_only + shadow_only) as u64, "{own}");
    }
    let table = scratch.shell(line).text;
    assert!(table.contains("shadow versions beside their live rules"), "{table}");
    let page = std::fs::read_to_string(scratch.path("r.html")).expect("a page");
    assert!(page.contains("<h2>Shadow versions</h2>"), "{page}");
}

#[test]
fn a_plan_says_what_promoting_a_version_would_do_and_that_it_holds_no_window_of_its_own() {
    let scratch = world();
    let line = "tollgate plan old new --input events.ndjson --labels labels.ndjson";
    let printed = scratch.shell(&format!("{line} --format json 2>errors.txt"));
    let plan: Value = serde_json::from_str(&printed.text).unwrap_or_else(|_| panic!("{}", printed.text));
    for (own, version) in plan["events"]["versions"].as_array().expect("versions").iter().zip([2, 4]) {
        let [both, live_only, shadow_only] = agreement(version, 15);
        let alerts = json!({"both": both, "live_only": live_only, "shadow_only": shadow_only});
        assert_eq!(own["alerts"], alerts, "{version}");
        assert_precisions(&own["precision"], version);
    }
    assert_eq!(plan["windows"]["built"], json!([]));
    let cost = plan["events"]["cost"].as_array().expect("before and after");
    assert_eq!(cost[0]["state_bytes"], cost[1]["state_bytes"], "they hold the same states");
    let text = scratch.shell(line).text;
    let [both, live_only, shadow_only] = agreement(2, 15);
    let words = format!(
        "often-2 in shadow of often: {both} alerts of both, {shadow_only} of it alone, {live_only} of often alone; precision"
    );
    assert!(text.contains(&words), "{text}");
}
