//! Rows that are absorbed leave the windows as rows that are answered do.
//!
//! The same batches go through two engines: one answers all of them, the other absorbs the first ones. From
//! the first answered batch on, hits, selected values and failed rows must be the same.

use rand::{RngExt, SeedableRng};
use tollgate::diagnostic::SourceText;
use tollgate::event::Span;
use tollgate::graph::{Engine, EngineInput, Reach};
use tollgate::sql::RuleGraph;
use tollgate::window::{Ties, WindowSettings};

use super::data::{CONTRACT, Data, World};
use super::engine::{batch_end, compiled};
use super::naive::{Order, Sequence};
use super::value::read;
use super::{Rng, data, in_order, on_arrival};

/// A line a hit and a line a failed row, from the first batch at or past a place on; what is before it is
/// absorbed or answered.
fn lines(
    (world, data): (&World, &Data),
    graph: &RuleGraph,
    sequence: &Sequence,
    (shards, size): (usize, usize),
    (first_answered, absorb): (usize, bool),
) -> Vec<String> {
    let settings = WindowSettings { shards, parallel_rows_min: 16, ..WindowSettings::default() };
    let mut engine = Engine::new(graph.clone(), &settings).unwrap();
    let contract = tollgate::sql::parse_contract(&SourceText::new("schema.sql", CONTRACT)).unwrap();
    let used = engine.columns_read(&contract);
    let ties = if sequence.order == Order::InOrder { Ties::Together } else { Ties::ByArrival };
    let mut lines = Vec::new();
    let mut from = 0;
    while from < sequence.events.len() {
        let to = batch_end(data, sequence, from, size);
        let batch = world.batch(data, &sequence.events[from..to], &used);
        let input = EngineInput { batch: &batch, watermarks: &sequence.watermarks[from..to], ties };
        if from >= first_answered {
            let found = engine.process(&input).unwrap();
            for hits in &found.hits {
                for (hit, row) in hits.rows.iter().enumerate() {
                    let values = hits.columns.iter().map(|column| read(column, hit).to_string());
                    let values = values.collect::<Vec<_>>().join(" ");
                    lines.push(format!("query {} row {}: {values}", hits.query, from + *row as usize));
                }
            }
            let errors = found.errors.iter();
            lines.extend(
                errors.map(|e| format!("query {} row {}: {}", e.query, from + e.row as usize, e.message)),
            );
        } else if absorb {
            engine.absorb(&input).unwrap();
        } else {
            engine.process(&input).unwrap();
        }
        from = to;
    }
    lines
}

/// What differs between the two ways, in words.
pub(super) fn difference(
    rng: &mut Rng,
    world: &World,
    data: &Data,
    graph: &RuleGraph,
    sequence: &Sequence,
) -> Option<String> {
    let size = [1, 7, 40][rng.random_range(0..3)];
    let shards = rng.random_range(1..=3);
    let first_answered = rng.random_range(0..=sequence.events.len());
    let run = |absorb| lines((world, data), graph, sequence, (shards, size), (first_answered, absorb));
    let (answered, absorbed) = (run(false), run(true));
    if answered == absorbed {
        return None;
    }
    let differs = answered.iter().zip(&absorbed).find(|(left, right)| left != right);
    Some(format!(
        "{} and {} lines from row {first_answered} on, the first that differ: {differs:?}",
        answered.len(),
        absorbed.len()
    ))
}

const HOUR: &str = "ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW";

fn rules() -> Vec<String> {
    [
        "SELECT payment_id, event_time, count(*) OVER w AS n, sum(amount) OVER w AS total FROM payments
         WINDOW w AS (PARTITION BY card {HOUR}) QUALIFY n >= 2",
        // A window over another's answers, and one over rows that another's answers let through.
        "SELECT payment_id, event_time, max(n) OVER (PARTITION BY shop {HOUR}) AS most FROM
         (SELECT *, count(*) OVER (PARTITION BY card {HOUR}) AS n FROM payments) AS c",
        "SELECT payment_id, event_time, count(*) OVER (PARTITION BY shop ORDER BY event_time) AS k FROM
         (SELECT * FROM payments QUALIFY count(*) OVER (PARTITION BY card {HOUR}) >= 2) AS c",
        "SELECT payment_id, event_time, count(*) FILTER (WHERE approved) OVER w AS yes,
         count(DISTINCT shop) FILTER (WHERE items > 1) OVER w AS shops, avg(score) OVER w AS score
         FROM payments WINDOW w AS (PARTITION BY card {HOUR})",
        "SELECT id, event_time, kind, count(*) OVER w AS n, count(*) FILTER (WHERE kind = 'login') OVER w AS logins
         FROM (SELECT payment_id AS id, event_time, card, 'payment' AS kind FROM payments
               UNION ALL SELECT login_id, at, card, 'login' FROM logins) AS both
         WINDOW w AS (PARTITION BY card {HOUR})",
        // Rows that fail: in an argument, in a filter below a window, and in what is only selected.
        "SELECT payment_id, event_time, sum(10 / (items - 1)) OVER (PARTITION BY card {HOUR}) AS s FROM payments",
        "SELECT payment_id, event_time, count(*) OVER (PARTITION BY card {HOUR}) AS k FROM payments
         WHERE 10 / (items - 2) > 2",
        "SELECT payment_id, event_time, 7 / (items - 1) AS q, lag(items) OVER (PARTITION BY card ORDER BY event_time) AS before
         FROM payments WHERE items < 9",
        "SELECT payment_id, event_time FROM payments WHERE amount > 2",
    ]
    .map(|rule| rule.replace("{HOUR}", HOUR))
    .to_vec()
}

#[test]
fn rows_absorbed_count_for_later_answers_as_rows_answered_do() {
    let world = World::new();
    let mut lines_compared = 0;
    for seed in 0..12 {
        let mut rng = Rng::seed_from_u64(seed);
        let unique_times = rng.random_bool(0.5);
        let data = data::random(&mut rng, &world, unique_times);
        let graph = compiled(&world.catalog(&data), &rules()).unwrap();
        for sequence in [in_order(&data), on_arrival(&mut rng, &data)] {
            let middle = sequence.events.len() / 2;
            lines_compared += lines((&world, &data), &graph, &sequence, (2, 9), (middle, true)).len();
            for _ in 0..3 {
                let found = difference(&mut rng, &world, &data, &graph, &sequence);
                assert!(found.is_none(), "seed {seed}, {:?}: {}", sequence.order, found.unwrap());
            }
        }
    }
    assert!(lines_compared > 1000, "only {lines_compared} lines");
}

#[test]
fn lengths_of_windows_over_windows_add_up() {
    let world = World::new();
    let data = data::random(&mut Rng::seed_from_u64(1), &world, true);
    let catalog = world.catalog(&data);
    let reach = |texts: &[String]| {
        let graph = compiled(&catalog, texts).unwrap();
        Engine::new(graph, &WindowSettings::default()).unwrap().longest_frame()
    };
    let bounded = |hours: i64| Reach { longest: Span::seconds(3600 * hours), unbounded: false };
    let rules = rules();
    assert_eq!(reach(&rules[8..]), bounded(0), "no window");
    assert_eq!(reach(&rules[..1]), bounded(1));
    assert_eq!(reach(&rules[1..2]), bounded(2), "a window over another's answers");
    assert_eq!(
        reach(&rules[2..3]),
        Reach { unbounded: true, ..bounded(1) },
        "and one without a start over rows it let through"
    );
    assert_eq!(reach(&rules[4..5]), bounded(1), "a union");
    assert_eq!(reach(&rules[7..8]), Reach { unbounded: true, ..bounded(0) }, "lag");
    assert_eq!(reach(&rules), Reach { unbounded: true, ..bounded(2) });
    let gap = "SELECT payment_id, event_time, count(*) OVER (PARTITION BY card ORDER BY event_time
        RANGE BETWEEN INTERVAL '7 days' PRECEDING AND INTERVAL '2 days' PRECEDING) AS k FROM payments";
    assert_eq!(reach(&[gap.to_owned()]), bounded(24 * 7), "a frame that ends before the row");
}
