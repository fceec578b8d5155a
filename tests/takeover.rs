//! Rules change while rows flow: nobody's answers change but those of the rules that did.
//!
//! Core against core: one that took the place of another at any row, and one that had its rules from the beginning.

use tollgate::pipeline::{Filled, StepOutcome};

use crate::support::{Order, Running, World};

/// Queries over shared, nested, filtered and unbounded windows.
const QUERIES: [&str; 12] = [
    "SELECT tx, count(*) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING)",
    "SELECT tx, count(*) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING) QUALIFY k > 2",
    "SELECT tx, sum(n) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '5 minutes' PRECEDING)",
    "SELECT tx, count(DISTINCT merchant) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '3 minutes' PRECEDING)",
    "SELECT tx, count(*) OVER w AS k FROM payments WHERE n > 4 WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '4 minutes' PRECEDING)",
    "SELECT tx, lag(n, 2) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments",
    "SELECT tx, max(k) OVER (PARTITION BY card ORDER BY event_time RANGE INTERVAL '5 minutes' PRECEDING) AS m
     FROM (SELECT tx, card, event_time, count(*) OVER (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING) AS k FROM payments)",
    "SELECT tx, sum(n) FILTER (WHERE ok) OVER w AS k FROM payments WHERE n < 9 WINDOW w AS (PARTITION BY merchant ORDER BY event_time RANGE INTERVAL '2 minutes' PRECEDING)",
    "SELECT tx, min(n) OVER w AS k FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
    "SELECT login, count(*) OVER w AS k FROM logins WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '10 minutes' PRECEDING)",
    "SELECT tx, n FROM payments WHERE n > 7",
    "SELECT tx, count(*) OVER w AS k FROM (SELECT * FROM (SELECT tx, card, event_time, sum(n) OVER (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 minute' PRECEDING) AS s FROM payments) WHERE s > 8)
     WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE INTERVAL '2 minutes' PRECEDING)",
];

/// Numbers that look random, the same on each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

/// Payments and logins, some of them late and some too late.
fn rows(numbers: &mut Numbers, count: usize) -> Vec<String> {
    let row = |number: usize| {
        let late = [0, 0, 0, 2, 4, 9][numbers.below(6)];
        let at = (100 + number).saturating_sub(late);
        let at = format!("{:02}:{:02} card=c{}", at / 60, at % 60, numbers.below(3));
        if numbers.below(5) == 0 {
            return format!("logins {at} kind=k");
        }
        let (n, merchant, ok) = (numbers.below(10), numbers.below(4), numbers.below(2) == 0);
        format!("payments {at} n={n} merchant=m{merchant} ok={ok}")
    };
    (0..count).map(row).collect()
}

/// Every hit: query, where its row stands, and what was selected.
fn hits(chosen: &[usize], running: &Running, outcome: &StepOutcome) -> Vec<String> {
    let mut all = Vec::new();
    for answered in &outcome.answered {
        for found in &answered.hits.hits {
            for (hit, row) in found.rows.iter().enumerate() {
                let values = found.columns.iter().map(|column| tollgate::alert::json_value(column, hit));
                let values: Vec<String> = values.map(|value| value.to_string()).collect();
                let offset = answered.batch.rows.offset[*row as usize];
                all.push(format!("{} at {offset}: {}", chosen[found.query], values.join(" ")));
            }
        }
    }
    assert_eq!(running.names.len(), chosen.len());
    all.sort_unstable();
    all
}

fn some(numbers: &mut Numbers) -> Vec<usize> {
    (0..QUERIES.len()).filter(|_| numbers.below(2) == 0).collect()
}

fn texts(chosen: &[usize]) -> Vec<&'static str> {
    chosen.iter().map(|index| QUERIES[*index]).collect()
}

/// Has other queries take over after `taken`, as a reload does: the bulk, then the fork, then the rest.
fn reload(
    world: &World,
    live: &mut Running,
    (order, chosen): (Order, &[usize]),
    taken: &[&str],
    bulk: usize,
    standing_at_bulk: &tollgate::pipeline::Standing,
) {
    let before = live.core.before(&live.used);
    let mut next = world.running_after(&texts(chosen), order, |_| {}, Some(&before));
    let more = |(used, before): (&Vec<bool>, &Vec<bool>)| used.iter().zip(before).any(|(u, b)| *u && !*b);
    let reads_more = next.used.iter().zip(&before.used).any(more);
    let mut filled = Filled::Not;
    if next.core.to_fill(&before, reads_more).is_some() {
        filled = if reads_more { Filled::Rows } else { Filled::Windows };
        next.core.begin_filling(standing_at_bulk);
        taken[..bulk].chunks(37).for_each(|rows| next.absorb(rows));
        let fork = live.core.standing([(0, 0), (1, 1)]);
        next.core.begin_filling(&fork);
        taken[bulk..].chunks(53).for_each(|rows| next.absorb(rows));
        next.core.catch_up(fork).expect("it catches up");
    }
    let Running { core, names, used, .. } = next;
    live.core.succeed(core, filled).expect("it takes over");
    live.names = names;
    live.used = used;
}

#[test]
fn a_core_that_took_over_at_any_row_answers_as_one_that_had_its_rules_from_the_beginning() {
    let world = World::default();
    for seed in 0..10 {
        let mut numbers = Numbers(seed);
        let order = if seed % 2 == 0 { Order::OnArrival } else { Order::InOrder };
        let rows = rows(&mut numbers, 700);
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let mut chosen = some(&mut numbers);
        if order == Order::InOrder && chosen.is_empty() {
            chosen.push(0);
        }
        let mut live = world.running(&texts(&chosen), order);
        let mut next_reload = 100 + numbers.below(150);
        let mut scratch = world.running(&texts(&chosen), order);
        let mut at = 0;
        let mut standing = live.core.standing([(0, 0), (1, 1)]);
        let mut bulk = 0;
        let mut compared = 0;
        while at < rows.len() {
            if at >= next_reload {
                chosen = some(&mut numbers);
                chosen.push(numbers.below(QUERIES.len()));
                chosen.sort_unstable();
                chosen.dedup();
                reload(&world, &mut live, (order, &chosen), &rows[..at], bulk, &standing);
                // The reference has seen every row under the same batches.
                scratch = world.running(&texts(&chosen), order);
                rows[..at].chunks(10).for_each(|rows| drop(scratch.step(rows)));
                next_reload = at + 60 + numbers.below(150);
            }
            if numbers.below(4) == 0 {
                (bulk, standing) = (at, live.core.standing([(0, 0), (1, 1)]));
            }
            let end = (at + 10).min(rows.len());
            let (own, expected) = (live.step(&rows[at..end]), scratch.step(&rows[at..end]));
            let (own, expected) = (hits(&chosen, &live, &own), hits(&chosen, &scratch, &expected));
            assert_eq!(own, expected, "seed {seed}, rows {at} to {end}, {order:?}, queries {chosen:?}");
            compared += own.len();
            at = end;
        }
        assert!(compared > 100, "seed {seed}: {compared} hits");
        let counts = live.core.counts().into_owned();
        assert!(counts.balanced(), "seed {seed}: {counts:?}");
    }
}

#[test]
fn what_stays_goes_on_with_what_it_holds_and_only_what_is_new_is_to_be_filled() {
    let world = World::default();
    let mut live = world.run(&[QUERIES[0], QUERIES[2]]);
    live.step(&["00:00 card=a n=1", "00:01 card=a n=2", "00:02 card=b n=3"]);
    let before = live.core.before(&live.used);
    let filled = |queries: &[&str]| {
        let next = world.running_after(queries, Order::OnArrival, |_| {}, Some(&before));
        next.core.to_fill(&before, false).map(|reach| reach.longest.0 / 1_000_000)
    };
    assert_eq!(filled(&[QUERIES[1]]), None, "another threshold over the same window");
    assert_eq!(filled(&[QUERIES[2]]), None, "a rule less");
    assert_eq!(filled(&[QUERIES[10]]), None, "no window at all");
    assert_eq!(filled(&[QUERIES[0], QUERIES[3]]), Some(180), "three minutes of merchants");
    assert_eq!(filled(&[QUERIES[6]]), Some(360), "five minutes over answers that look one minute back");
}
