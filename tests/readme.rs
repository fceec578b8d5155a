//! The README shows what is: its commands are run, its tables of SQL are compiled, its lists are compared.
//!
//! A fence whose first line names a file (` ```sql rules/a.sql `) is written to a folder; in a fence
//! ` ```console run ` each `$ ` line is run there, and must print what stands below it. Tables below a
//! comment `<!-- tested: NAME -->` have a fragment of SQL in each code span of their first column.

use std::sync::Arc;

use datafusion_expr::planner::ContextProvider;
use tollgate::alert::{AlertMaker, AlertSettings};
use tollgate::decode::{DecodeLimits, Decoders, StreamBinding};
use tollgate::diagnostic::{Diagnostic, SourceText};
use tollgate::event::{Partition, Span};
use tollgate::graph::Engine;
use tollgate::metrics::METRICS;
use tollgate::pipeline::{Core, CoreSettings, StreamPolicy, columns_read, engines};
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use tollgate::source::{Fetched, RawBatch, RawRecord, SourcePartition};
use tollgate::sql::{Catalog, CatalogSources, List, Query, compile};
use tollgate::window::WindowSettings;

use crate::scratch::Scratch;

fn project_file(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// Info string and text of each fence.
fn fences(markdown: &str) -> Vec<(String, String)> {
    let mut fences = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    fences
}

/// Commands of a console fence, each with what it prints.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((command, printed))) if printed.is_empty() && command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, printed))) => {
                printed.push_str(line);
                printed.push('\n');
            }
            (None, None) => panic!("a console fence starts with a command, not with {line}"),
        }
    }
    commands
}

/// What was printed, without how long it took and without blank ends of lines.
fn settled(printed: &str) -> String {
    let timeless = |line: &str| match (line.trim_start().strip_prefix("in "), line.rsplit_once("; ")) {
        (Some(rest), _) if rest.ends_with("rows a second") => "in … s, … rows a second".to_owned(),
        (_, Some((told, rest))) if rest.ends_with("rows a second") => {
            format!("{told}; … s, … rows a second")
        }
        _ => line.trim_end().to_owned(),
    };
    printed.trim().lines().map(timeless).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_of_the_readme_prints_what_stands_below_it() {
    let scratch = Scratch::new();
    let mut run = 0;
    for (info, text) in fences(&project_file("README.md")) {
        match info.split_whitespace().collect::<Vec<_>>()[..] {
            ["console", "run"] => {
                for (command, expected) in commands(&text) {
                    let printed = scratch.shell(&command).text;
                    assert_eq!(settled(&printed), settled(&expected), "`{command}` printed\n{printed}");
                    run += 1;
                }
            }
            [_, path] if path.contains('.') => scratch.write(path, &text),
            _ => {}
        }
    }
    assert!(run >= 4, "only {run} commands were found");
}

/// The lines of a file as records of partition 0 of the topic `payments`.
fn records(text: &str) -> Fetched {
    let partition = Partition { topic: "payments".into(), partition: 0 };
    let mut batch = RawBatch {
        partitions: Arc::new(vec![SourcePartition { partition, stream: 0 }]),
        ..RawBatch::default()
    };
    for (offset, line) in (0..).zip(text.lines()) {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(line.as_bytes());
        let payload = Some(start..batch.bytes.len());
        batch.records.push(RawRecord { offset, payload, ..RawRecord::default() });
    }
    Fetched::Records(batch)
}

/// The alerts that a folder of rules gives for records, as the deployed job would send them.
fn alerts(rules: &std::path::Path, events: &str) -> Vec<serde_json::Value> {
    let files = RuleFiles::open(rules, None).expect("the folder can be read");
    let set = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)).expect("the contract is sound");
    let contract = set.catalog.contract.clone();
    let policy = StreamPolicy { lateness: Span::seconds(5), repeats: Span::seconds(3600) };
    let settings = CoreSettings::uniform(&contract, policy);
    let [arrival, ordered] =
        engines(&set.on_arrival, &set.in_order, &settings.windows).expect("the rules can be run");
    let used = columns_read(&contract, [&arrival, &ordered]);
    let bindings = [StreamBinding::default()];
    let decoders =
        Decoders::of_contract(&contract, &bindings, &used, DecodeLimits::default()).expect("it can be bound");
    let mut core = Core::new(&contract, decoders, arrival, ordered, settings);
    let alerts =
        AlertSettings { cluster: "payments-eu".to_owned(), generations: vec![1], ..AlertSettings::default() };
    let mut maker = AlertMaker::new(alerts, contract, Arc::from(set.on_arrival.rules));
    let outcome = core.step(records(events)).expect("the batch is answered");
    let made =
        outcome.answered.iter().flat_map(|step| maker.make(&step.batch, &step.hits, step.times()).alerts);
    made.map(|alert| serde_json::from_slice(&alert.value).expect("an alert is JSON")).collect()
}

#[test]
fn the_alert_of_the_readme_is_what_its_first_rule_sends() {
    let scratch = Scratch::new();
    let mut events = String::new();
    let mut shown = None;
    for (info, text) in fences(&project_file("README.md")) {
        match info.split_whitespace().collect::<Vec<_>>()[..] {
            ["json", "alert"] => shown = serde_json::from_str::<serde_json::Value>(&text).ok(),
            [_, "payments.ndjson"] => events = text,
            [_, path] if path.starts_with("rules/") => scratch.write(path, &text),
            _ => {}
        }
    }
    let sent = alerts(&scratch.path("rules"), &events);
    assert_eq!(sent, [shown.expect("the README shows an alert")], "{sent:#?}");
}

/// Code spans in the first column of the table below `<!-- tested: NAME -->`.
fn table(name: &str) -> Vec<String> {
    let readme = project_file("README.md");
    let mark = format!("<!-- tested: {name} -->");
    let (_, below) = readme.split_once(&mark).unwrap_or_else(|| panic!("the README has no {mark}"));
    let rows = below.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split(" | ").next());
    cells.flat_map(spans).collect()
}

fn spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

const WINDOW: &str = "WINDOW w AS (PARTITION BY card_id ORDER BY event_time \
                      RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)";

/// The query that a fragment stands for, by its first word.
fn query_of(fragment: &str) -> String {
    match fragment.split([' ', '(']).next().unwrap_or_default() {
        "SELECT" | "WITH" | "INSERT" | "CREATE" | "VALUES" => fragment.to_owned(),
        "FROM" => format!("SELECT * {fragment}"),
        "RANGE" | "ROWS" | "GROUPS" => {
            format!(
                "SELECT count(*) OVER (PARTITION BY card_id ORDER BY event_time {fragment}) AS n FROM payments"
            )
        }
        "WHERE" | "ORDER" | "LIMIT" | "OFFSET" | "FETCH" | "GROUP" | "HAVING" | "QUALIFY" | "UNION"
        | "INTERSECT" | "EXCEPT" | "JOIN" | "LEFT" | "RIGHT" | "FULL" | "CROSS" => {
            format!("SELECT tx_id FROM payments {fragment}")
        }
        _ => format!("SELECT {fragment} AS x FROM payments {WINDOW}"),
    }
}

/// The catalog of the project's own rules.
fn catalog() -> Catalog {
    let text = |path: &str| SourceText::new(path, project_file(path));
    let list = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/lists").join(name);
        List::open(&path).expect("the list can be read")
    };
    let sources = CatalogSources {
        contract: Some(text("rules/schema.sql")),
        views: vec![text("rules/views/account_activity.sql")],
        lists: vec![list("high_risk_countries.csv"), list("blocked_devices.csv")],
        models: Vec::new(),
        baselines: Vec::new(),
    };
    let (catalog, findings) = Catalog::build(sources).expect("the contract is sound");
    assert!(findings.is_empty(), "{findings:?}");
    catalog
}

/// Compiles a query as far as an engine that could run it.
fn compiled(catalog: &Catalog, text: &str) -> Result<(), Vec<Diagnostic>> {
    let source = SourceText::new("fragment.sql", text);
    let compiled = compile(catalog, &[Query { id: "fragment".to_owned(), source: Arc::clone(&source) }]);
    if !compiled.diagnostics.is_empty() {
        return Err(compiled.diagnostics);
    }
    let engine = Engine::new(compiled.graph, &WindowSettings::default());
    engine.map(|_| ()).map_err(|cause| vec![Diagnostic::error(&source, 0..0, cause.to_string())])
}

#[test]
fn sql_that_the_readme_calls_accepted_can_be_run() {
    let catalog = catalog();
    for name in ["accepted", "windows", "frames"] {
        for fragment in table(name) {
            if let Err(findings) = compiled(&catalog, &query_of(&fragment)) {
                panic!("`{fragment}` is refused: {}", findings[0]);
            }
        }
    }
}

#[test]
fn sql_that_the_readme_calls_refused_is_refused() {
    let catalog = catalog();
    for fragment in table("refused") {
        assert!(compiled(&catalog, &query_of(&fragment)).is_err(), "`{fragment}` is accepted");
    }
}

#[test]
fn the_readme_lists_every_function_and_no_other() {
    let readme = project_file("README.md");
    let (_, below) = readme.split_once("<!-- tested: functions -->").expect("the list of functions");
    let (list, _) = below.split_once("<!-- end -->").expect("the end of the list");
    let mut listed = spans(list);
    listed.sort_unstable();
    let catalog = catalog();
    let mut known = ContextProvider::udf_names(&catalog);
    // Known to the planner, and refused as different on each machine.
    known.retain(|name| name != "version");
    known.sort_unstable();
    assert_eq!(listed, known, "write in the README: `{}`", known.join("` `"));
}

#[test]
fn the_readme_lists_every_header_key_and_no_other() {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", &project_file("rules/schema.sql"));
    scratch.write("rules/a.sql", "-- @zzzzzzzz: x\nSELECT tx_id FROM payments\n");
    let printed = scratch.shell("tollgate check --format json").text;
    let help = printed.lines().find(|line| line.contains("valid keys are")).expect("the keys are listed");
    let mut known = spans(help);
    let mut listed = table("header");
    known.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn the_readme_and_the_library_list_the_same_modules() {
    let library = project_file("src/lib.rs");
    let modules: Vec<_> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(table("modules"), modules);
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let mut listed = table("metrics");
    let mut known: Vec<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}
