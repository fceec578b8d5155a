//! Tollgate: Kafka in, SQL rules over exact sliding windows, alerts out.
//!
//! This page is the guide to the code: the path of an event, the decisions that differ from the obvious with
//! their reasons, what always holds and which test holds it, and the limit of every queue. The README is for
//! users; each module says for itself what it takes, hands on, keeps, and how it fails.
//!
//! # The path of an event
//!
//! The modules below stand in the order in which an event meets them, and a module imports only from modules
//! above it. Values go forward by return; the only thing that goes back is the commit of offsets.
//!
//! 1. [`source`]: a thread polls Kafka, or the pipeline's own where records are few, and hands on a
//!    [`RawBatch`](source::RawBatch), one buffer of bytes and where each record stands in it. Files come the same way, columnar ones as columns.
//! 2. [`decode`]: bytes become Arrow columns of the contract's types, only those that rules read. A record
//!    that can't be decoded becomes a dead letter, and its batch goes on as a [`DecodedBatch`](decode::DecodedBatch).
//! 3. [`pipeline`]: repeats of an event id are dropped, the watermark moves on, and rows go to the engine of
//!    the rules answered on arrival, and of those answered in order once the watermark has passed them.
//! 4. [`graph`]: every filter, expression and window of all rules, once, over the batch. A
//!    [`window`] state takes key, argument and filter columns, and answers with one column a function.
//!    What hits leaves as [`RuleHits`](graph::RuleHits).
//! 5. [`alert`]: hits become finished messages with stable ids and reasons; `@dedup` holds some back, and what is past a
//!    `@budget` is summarised.
//!    Where the settings ask for it, [`decision`] makes one answer an event of them.
//! 6. [`sink`]: messages are delivered, in one transaction with the offsets of their input; or a
//!    [`Receipt`](sink::Receipt), which only a sink can make, says up to which step all is durable, and only then
//!    the pipeline commits the offsets of that step. What a commit says is [`checkpoint`]'s.
//! 7. [`history`]: decoded rows are written behind, for windows that must be filled again.
//!
//! Before the first event, [`settings`] and [`rules`] are read; [`sql`] turns the rules into one
//! [`RuleGraph`](sql::RuleGraph), a value without behaviour that [`graph`] schedules and runs.
//!
//! # Decisions that differ from the obvious
//!
//! **Parts of DataFusion, not the crate `datafusion`.** The engine needs DataFusion's planner, type coercion,
//! expressions, functions and accumulators. Tables, execution plans and DataFusion's own window operators are
//! most of the crate and of its build, and nothing here would call them: its streaming window operator costs
//! 1.8 KB a key, visits every key ever seen on each batch and holds the last row back. The whole crate is a
//! dev-dependency: the oracle of the tests.
//!
//! **The analyzer and `SimplifyExpressions`, and no other optimizer rule.** The full optimizer moves predicates
//! on the partition key below windows, pulls common arguments out and inserts projections. That is right for a
//! batch query of its own, and splits state that rules could share.
//!
//! **The statement is rewritten before it is planned.** DataFusion plans neither a named window in `QUALIFY`
//! nor `w2 AS (w1 …)`, and plans `OVER (w ROWS …)` without the window's partition and order, silently wrong. So
//! every `OVER` is written out first, and views are put in place of their names.
//!
//! **Expressions name columns by number, so equal work is equal data.** In a rule graph an expression reads
//! `#0`, `#1`, … of its row set. Aliases, views, sub-selects and projections leave no trace. Two rules that ask
//! for the same thing in other words have equal [`Definition`](sql::Definition)s, and a hash map finds the first one.
//! No search for sharing is needed.
//!
//! **A lookup in a list is a scalar function.** `IN`, `EXISTS` and joins against a list are planned once, over
//! the list, into a function of the key that carries its index. Its name holds the list's content hash, so equal
//! lookups are equal expressions and share like everything else. Nothing streams there: a list is fixed while a
//! rule set is in force.
//!
//! **A job is a row of incarnations.** A transaction whose end is not known, partitions that are lost, and a killed
//! process all take one way back: producers with the same ids, committed offsets and their notes, the history
//! below them, the topic for the rest. There is no second way that would be walked less often. Where brokers have lost
//! the end of a transaction, it is ended first, and what receivers have of it is not sent again. Windows are kept over
//! a rebalance only where the same partitions come back: what waits of a partition that is gone must never be
//! answered here.
//!
//! **The history is a cache of the topic.** It holds rows by partition and offset, perhaps more than were committed, and
//! is cut at the commit. So it may be lost, late, damaged or written by two processes, and only time is at stake while
//! the topic reaches back; where it does not, a start is refused.
//!
//! **What outlives its segment is carried over as rows.** `ROWS` frames and `lag` need the last rows of each key, however
//! old. They are picked out of a segment before it is deleted, by the filters and keys before those windows and nothing
//! else, and stay rows with their offsets: whoever reads them can't tell them from others, and no state is written down
//! that another version would have to understand. A carry-over names the windows it was made for in the contract's words,
//! and since when it is whole for each, so that one of another rule set is never taken for enough. It is made anew once
//! the rows that it lacks were read from the topic. Accumulators of frames without a start would be such a
//! state, and sums of floats would depend on how partitions were put together: those streams keep all rows.
//!
//! **`@dedup` is rebuilt from the alerts that were sent.** While the rows of its last two periods are answered again in
//! silence, a hit whose alert is in the topic starts a period, and any other was held back. Nothing else knows
//! for sure what a receiver has seen. Alerts are forgotten by the watermark, not by the row at hand: partitions
//! may be read far apart.
//!
//! **`@budget` is rebuilt in the same way.** A hit that was not sent, and is in no period of `@dedup`, was past the budget.
//! That can be told because such a hit starts no such period. What a summary says is a set, so the order in which its
//! hits are judged again makes no difference, and every period that the watermark has passed is told of before the
//! commit that holds this watermark. Periods tumble, so that each hit belongs to one.
//!
//! **A changed rule set goes on with the windows of the one before.** A window state is named by what it is made of, down
//! to the streams, so states of two graphs are found equal without a search. Where each state of the new graph is there,
//! states change hands between two batches. Where one is new, a thread fills it from history and topic, by the code
//! that a restart fills windows with, while the rules in force go on answering.
//!
//! **A switch is a record, not a call.** Instances follow the audit topic, so a rule that is switched off is off on all of
//! them and after a restart, and who did it is told where everything else is.
//!
//! **Instances agree on changed rules through the same topic.** Each says there that it is ready, and reads what the others
//! say; nobody leads, and the group protocol of Kafka carries nothing of it. One that died without a word is waited for
//! a minute and no longer, since old rules for ever are worse than mixed ones for a moment. One that starts has only the
//! rules of its folder: where the others answer with another set, it waits in the same way, with its windows filled.
//!
//! **Points of a hit come from SQL.** What maps a model's score to points is a selected column, so there is no second language
//! for it, and it is versioned, tested and replayed as the rest of the rule is.
//!
//! **Weights are fitted here, not by a library.** It is one convex minimum over what rules say, a hundred lines that add no
//! dependency to the job; a test compares it with scikit-learn.
//!
//! **Weights are part of what judges.** They change with the rules or alone, by the same way: prepared aside, agreed on, in
//! force between two batches, their version behind the rule set's in every note and header. Nothing rests on weights but
//! decisions, and a decision before the commit is not made again; so a start needs no weights of before.
//!
//! **A shallow tree asks codes of values, and a whole level at once.** How many thresholds of its feature are below a value is
//! found once a block of rows for all trees, exactly, and fits a byte; so every question of a level can be asked of all rows
//! for less than each row's own would cost. Leaves that stand higher take several places; past eight levels these would be
//! too many.
//!
//! **A call of a model is a column behind a filter of its own.** So it is computed once for all rules, only for rows that
//! cheaper conditions let through, and decisions can tell the score of an event that no rule hit.
//!
//! **A rule past its cost goes into shadow by the switch that operators turn.** So it is audited, holds on every instance
//! and over a restart, and is turned back in the same way. One that still costs too much there leaves the rule set, as if
//! its file were gone: what is not evaluated costs nothing, and the way of changed rules lets its windows go. Its cost is measured on one batch in sixteen, for the clock
//! costs more than a batch of one row.
//!
//! **A shadow version is a rule with an id of its own.** Alerts, `@dedup`, labels and switches follow the id, so none of them
//! has to know of versions; what it is a version of is one line of its header, and only comparisons read it.
//!
//! **A rule's test runs every way at once.** Batches, restarts and shards must not matter, so a case that passes in one
//! batch and fails otherwise is told as a defect of the engine, not of the rule.
//!
//! **Window state past its limit ends the job.** Forgetting events would give wrong answers in silence.
//!
//! **The watermark decides what a late row sees, not what happens to be in memory.** A frame of length L sees
//! rows down to the watermark less L, even where an older row is still held because another window needs it or
//! because no sweep has come by. So a late answer is the same for any batch size, number of shards and set of
//! other rules.
//!
//! **A changed rule set is filled beside the old one and takes its states over.** Windows are compared by definition
//! across graphs, and the states of equal ones change hands between two batches. A state is one buffer for all windows
//! of a key, so a window that is read no longer lives as long as any other of its state (until the next start), and a
//! new window gets a state of its own: filling it never touches another rule's. The new core stands at an offset while
//! history and topic are read, and follows the live batches from there, so no row can be missed or taken twice.
//!
//! **The rules folder is looked at, not watched.** A watch of the kernel is lost when a ConfigMap's link is turned, and
//! a network disk tells nothing. One `stat` a file, twice a second, finds every change.
//!
//! **Two engines for the two orders.** Rules answered on arrival and rules answered in order read the same rows
//! in different sequences, so they can't share window state. Each order has a graph and states of its own;
//! one that has no rules costs nothing.
//!
//! **A batch that fails is evaluated again row by row.** Arrow kernels fail for a batch as a whole. So the rows at
//! fault are found only when there are any: they cost their rule that row, and the vectors stay simple.
//!
//! **Nothing is ever subtracted from a float.** Sums over a range are put together from parts, so they hold
//! only what is in the frame and can't drift. Integers and decimals are differences of running totals, exact.
//!
//! **Build profiles by how often code runs.** Most of a first build is DataFusion. What runs once a rule
//! (parser, planner, optimizer, the command line) is compiled in release with `opt-level = 0`, other
//! dependencies with 1, and what runs for each row (Arrow, Parquet, physical expressions, functions, hash
//! tables, decoding, librdkafka's wrapper, thread pools) with 3. The list is in `Cargo.toml`.
//!
//! # What always holds
//!
//! | invariant | held by |
//! |---|---|
//! | imports go one way, every file has a header, files and functions have a length, one clock | `tests/architecture.rs` |
//! | a window's answer is what a naive loop finds, for any function, frame, filter, ties, lateness, batch and shard | `tests/window_reference.rs` |
//! | in order, a query's answer is DataFusion's batch answer, and the naive loop's | `tests/differential.rs` |
//! | the watermark does not depend on how rows are cut into batches | `pipeline::watermark` |
//! | rows of several files meet the rules in order of event time, however many are read at once | `pipeline::side_by_side`, `tests/labels.rs` |
//! | rows in = answered + dead letters + repeats + waiting | [`Counts::balanced`](pipeline::Counts::balanced), printed by every replay |
//! | one bad record never harms its batch; a panic costs the guilty record only | `decode::tests` |
//! | nothing that reads a clock or a dice can be called from a rule | `sql::functions`, `tests/sql_refused.rs` |
//! | what `check` passes, an engine runs | `tests/rule_checks.rs` |
//! | a warning is said only where it is certain, and this project's rules have none | `sql::lint::tests`, `tests/lints.rs` |
//! | past a `@budget` every hit is in exactly one summary, the same over batches and restarts | `tests/budgets.rs` |
//! | what `/metrics` serves is what is listed, and no series outlives what it names | `metrics::tests` |
//! | a history that is damaged in any way costs time and never a row | `history::tests::damage` |
//! | a restart from a history that let old rows go answers as one that has them all | `tests/carry_over.rs` |
//! | every alert exactly once, whatever is killed, frozen or cut | `tests/faults` |
//! | no receipt before all of its steps are acknowledged; a restart goes on from the commit | `tests/kafka_embedded.rs` |
//! | a model's predictions and contributions are those of its library; a damaged file is refused and never panics | `score::tests` |
//! | the same seed generates the same bytes | `generate::tests` |
//! | what the README shows is what happens | `tests/readme.rs` |
//! | a core that took over at any row answers as one that had its rules from the beginning | `tests/takeover.rs` |
//! | a rule that changes leaves the answers of the others as they are; a new window is exact at once | `tests/reload.rs` |
//! | a history gives the report that its events give as files | `tests/backtest_history.rs` |
//! | a decision is what its hits come to | `tests/decisions.rs` |
//! | shipped rules fire, stay silent and end their windows as their cases say | `tests/rule_tests.rs` |
//! | the events that `why` shows give each window's answer; its alert is the one that was sent | `tests/why.rs` |
//! | settings, image and Compose file name the same topics, brokers and ports | `tests/deployment.rs` |
//!
//! # Limits of queues and stores
//!
//! | what | limit | where | when it is full |
//! |---|---|---|---|
//! | records fetched ahead by the client library | 64 MiB | `source::kafka::properties` | it stops fetching |
//! | a batch | 8192 records or 16 MiB | [`LimitSettings`](settings::LimitSettings) | the rest is the next batch |
//! | batches between reader and pipeline | 4 | [`EVENTS_WAITING_MAX`](source::kafka::EVENTS_WAITING_MAX) | the reader waits, and obeys commits meanwhile |
//! | commands to the reader | 64 | `source::kafka` | the pipeline waits |
//! | a record | 1 MiB, 64 levels deep | [`DecodeLimits`](decode::DecodeLimits) | dead letter |
//! | series of one metric | 10,000 | `metrics::series` | the rest counts under `other` |
//! | HTTP connections | 32, 16 KiB and 10 s each | [`ConnectionLimits`](console::ConnectionLimits) | the next one waits |
//! | rows for a rule set in the making | 2,000,000, or 8,192 batches | `pipeline::reload` | answers wait while its windows are filled |
//! | transactions under way | 3 | [`PRODUCERS`](sink::PRODUCERS) | the open one takes more steps |
//! | rows waiting for the history | 4,000,000 or 256 MiB | [`WriterSettings`](history::WriterSettings) | `append` waits; where the store fails, rows are let go and counted |
//! | rows waiting for the watermark | 5,000,000 | [`CoreSettings`](pipeline::CoreSettings) | the oldest are answered early |
//! | changes of rules and switches | 16 | `cli::run` | who prepared them waits |
//! | repetitions of one event in a test | 10,000 | `rule_test::read` | the test is refused |
//! | events with hits, and labelled ones, that labels are compared with | 5,000,000 of either | `labels` | the oldest are forgotten |
//! | event ids for repeats | 20,000,000 a stream | `pipeline::repeats` | the oldest is forgotten |
//! | values for `@dedup` | 1,000,000 | `alert::suppression` | the oldest is forgotten |
//! | events of one window that `why` shows | 1,000 | `why` | the oldest are counted and not shown |
//! | open periods of `@budget` | 100,000, with 10,000 entities and 10 examples each | `alert::budget` | hits leave as they are; entities are counted together |
//! | messages to be delivered | 100,000 or 128 MiB | `source::kafka::properties` | `publish` waits |
//! | alerts of one Parquet file | 100,000 | `sink::parquet` | the file is completed |
//! | rows of a list | 5,000,000 | `sql::list` | the list is refused |
//! | an ONNX model | 64 MiB, 10,000 operators, 67,108,864 numbers between them, 60 s to load | `score::onnx` | the model is refused |
//! | depth of a rules folder | 16 | `rules::folder` | deeper folders are not read |
//! | window state | what is inside the frames; frames without a bound in time keep every key | [`WindowState::usage`](window::WindowState::usage) | the job ends at `limits.memory` |

// The vocabulary: event time, spans, offsets and coordinates, the contract's streams, the one clock.
pub mod event;

// What the job tells about itself: the one list of metrics, and whether it lives and answers.
pub mod metrics;

// What is wrong in a file that a person wrote, and where: drawn with the words pointed at, or as JSON.
pub mod diagnostic;

// `tollgate.toml` as values that hold together, or all its faults at once.
pub mod settings;

// Records in: Kafka, files, and a broker inside the process for demo and tests.
pub mod source;

// Bytes to Arrow columns; what can't be decoded is set aside.
pub mod decode;

// Keyed sliding windows, exact for every row; knows no SQL and no Kafka.
pub mod window;

// Models of trees trained elsewhere, with their libraries' own numbers.
pub mod score;

// Rule text to logical plan to the shared graph.
pub mod sql;

// Runs the shared graph over a batch.
pub mod graph;

// Rule files: headers, versions, the folder as a compiled set.
pub mod rules;

// Hits to alerts: ids, reasons, suppression.
pub mod alert;

// Hits to one decision an event: points, thresholds, what decided.
pub mod decision;

// What became known of events later: which hits were fraud, and which frauds were missed.
pub mod labels;

// Delivery to topics and files; the maker of receipts.
pub mod sink;

// What a commit says, and what the next start must know besides.
pub mod checkpoint;

// Decoded events in Parquet segments, so that a restart need not read the topics back.
pub mod history;

// The step that puts all of it in a row, and the job that repeats it.
pub mod pipeline;

// Why a rule hit an event or did not: conditions with values and margins, and the events behind each window.
pub mod why;

// Named cases for a rule, run every way that must not matter.
pub mod rule_test;

// What rules would have caught, missed and cost on labelled events of the past.
pub mod backtest;

// Synthetic payments, account events and transfers with labelled fraud.
pub mod generate;

// Metrics and health over HTTP.
pub mod console;

// The verbs of the command line.
pub mod cli;
