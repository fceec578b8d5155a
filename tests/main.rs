//! The one integration-test binary: each file below is a group of sentences about the whole.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails where it stands")]

mod architecture;
mod backtest;
mod backtest_history;
mod bad_input;
mod broker;
mod budgets;
mod carry_over;
mod check_online_real;
mod dead_letters_real;
mod decisions;
mod deployment;
mod differential;
mod job;
mod kafka_embedded;
mod kafka_real;
mod labels;
mod lints;
mod mistakes;
mod models_in_rules;
mod plan;
mod readme;
mod recovery_real;
mod reload;
mod rule_checks;
mod rule_files;
mod rule_tests;
mod schemas;
mod scores;
mod scratch;
mod sharing;
mod sql_accepted;
mod sql_lists;
mod sql_refused;
mod sql_traps;
mod support;
mod takeover;
mod versions;
mod weights;
mod why;
mod window_reference;
