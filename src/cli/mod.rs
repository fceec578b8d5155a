//! The terminal face: verbs, help, exit codes.
//!
//! Takes the command line, hands on an [`Exit`]. Each verb is one file; what it prints for programs goes to
//! standard output, and what it says to people goes to standard error.

mod backtest;
mod bench;
mod check;
mod dead_letters;
mod decision_settings;
mod demo;
mod events;
mod explain;
mod failure;
mod feed;
mod generate;
mod history;
mod in_force;
mod job;
mod kept;
mod label_columns;
mod models;
mod plan;
mod replay;
mod rules;
mod run;
mod service;
mod terminal;
mod test;
mod why;

use clap::{CommandFactory, Parser, Subcommand};

pub use failure::{Exit, Failure};

/// Real-time fraud detection on Kafka: rules as standard SQL over exact sliding windows.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  tollgate demo                                   watch payments, rules and alerts, no set-up needed
  tollgate check rules                            compile all rules, print every finding
  tollgate test rules                             run the cases beside each rule
  tollgate replay --rules rules --input day.ndjson --output hits.ndjson
  tollgate run --config tollgate.toml             the deployed job

Exit codes: 0 fine; 1 findings; 2 usage or settings; 3 broker, disk or network; 4 refused for safety.")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Rules(rules::Arguments),
    Models(models::Arguments),
    Explain(explain::Arguments),
    Why(Box<why::Arguments>),
    Test(test::Arguments),
    Replay(replay::Arguments),
    Backtest(Box<backtest::Arguments>),
    Bench(bench::Arguments),
    Plan(plan::Arguments),
    Generate(generate::Arguments),
    History(history::Arguments),
    DeadLetters(dead_letters::Arguments),
    Completions(Completions),
}

/// Print a script that completes verbs and options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tollgate completions bash > /etc/bash_completion.d/tollgate")]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Runs the command line; the program's `main`.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { Exit::Usage } else { Exit::Fine };
        }
    };
    terminal::quiet_panics();
    let done = match cli.verb {
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Rules(arguments) => rules::run(&arguments),
        Verb::Models(arguments) => models::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Why(arguments) => why::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::Backtest(arguments) => backtest::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::History(arguments) => history::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::DeadLetters(arguments) => dead_letters::run(&arguments),
        Verb::Completions(arguments) => {
            clap_complete::generate(arguments.shell, &mut Cli::command(), "tollgate", &mut std::io::stdout());
            Ok(Exit::Fine)
        }
    };
    done.unwrap_or_else(|failure| {
        terminal::say_error(&failure);
        failure.exit
    })
}
