//! `dead-letters ls`: the newest letters, without the bytes of their records.

use std::collections::{HashSet, VecDeque};
use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::letter::{Entry, Letter, path, printable, read};
use super::{Config, Place, Selection, Shape, clock};
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::grouped;
use crate::event::Offset;

/// List dead letters: where the record stands, what was wrong, and whether it was sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate dead-letters ls --last 20
  tollgate dead-letters ls --since 2h --reason amount --format ndjson

Prints no value of any record. What is still in an open transaction is not shown.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    selection: Selection,
    /// The most that are listed, the newest of those selected.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    last: usize,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Shape,
}

/// The newest letters of a selection.
#[derive(Default)]
struct Newest {
    letters: VecDeque<Letter>,
    selected: u64,
    redriven: HashSet<(i32, Offset)>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let place = Place::of(&arguments.config)?;
    let from = arguments.selection.from(&clock())?;
    let mut newest = Newest::default();
    place.open(&place.topic)?.read(from, |record| {
        newest.take(read(&record), &arguments.selection, arguments.last);
        Ok::<_, Failure>(())
    })?;
    let letters = newest.in_order(arguments.last);
    print(&letters, &newest.redriven, arguments.format)?;
    if arguments.format == Shape::Table {
        let shown = letters.len() as u64;
        let older = match newest.selected - shown {
            0 => String::new(),
            older => format!("; {} older ones: --last", grouped(older)),
        };
        eprintln!("{} dead letters in {}{older}", grouped(shown), place.topic);
    }
    Ok(Exit::Fine)
}

impl Newest {
    /// Partitions come mixed, each in its order: of each the newest `last` are kept until all are read.
    fn take(&mut self, entry: Entry, selection: &Selection, last: usize) {
        match entry {
            Entry::Letter(letter) if selection.takes(&letter) => {
                self.selected += 1;
                self.letters.push_back(letter);
                if self.letters.len() >= last.saturating_mul(2).max(1024) {
                    let kept = self.in_order(last);
                    self.letters = kept.into();
                }
            }
            Entry::Redriven(partition, offset) => {
                self.redriven.insert((partition, offset));
            }
            Entry::Letter(_) | Entry::Other => {}
        }
    }

    /// The newest letters by the time they were written.
    fn in_order(&mut self, last: usize) -> Vec<Letter> {
        let mut letters: Vec<Letter> = self.letters.drain(..).collect();
        letters.sort_by(|a, b| (&a.written, &a.position).cmp(&(&b.written, &b.position)));
        letters.split_off(letters.len().saturating_sub(last))
    }
}

fn print(letters: &[Letter], redriven: &HashSet<(i32, Offset)>, format: Shape) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let object = |letter: &Letter| Value::Object(letter.to_json(redriven.contains(&letter.place())));
    match format {
        Shape::Json => {
            let all: Vec<Value> = letters.iter().map(object).collect();
            writeln!(out, "{:#}", json!({"dead_letters": all}))
        }
        Shape::Ndjson => letters.iter().try_for_each(|letter| writeln!(out, "{}", object(letter))),
        Shape::Table if letters.is_empty() => Ok(()),
        Shape::Table => writeln!(out, "{}", table(letters, redriven)),
    }
    .map_err(Failure::outside)
}

fn table(letters: &[Letter], redriven: &HashSet<(i32, Offset)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["position", "written", "record", "stage", "rule", "sent again", "reason"]);
    for letter in letters {
        let (partition, offset) = letter.place();
        table.add_row([
            format!("{partition}/{}", offset.0),
            letter.written_text().unwrap_or_default(),
            printable(&path(&letter.record)),
            printable(&letter.stage),
            printable(letter.rule.as_deref().unwrap_or_default()),
            if redriven.contains(&letter.place()) { "yes".to_owned() } else { String::new() },
            printable(&letter.reason).replace('\n', " "),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::letter::tests::stored;
    use crate::event::EventTime;
    use crate::sink::Masking;

    const ALL: Selection = Selection { reason: None, rule: None, since: None };

    fn newest(last: usize, offsets: impl Iterator<Item = i64>) -> Newest {
        let mut newest = Newest::default();
        for offset in offsets {
            let mut record = stored(offset, Masking::Mask);
            record.timestamp = Some(EventTime(1_763_806_503_000_000 + offset));
            newest.take(read(&record), &ALL, last);
        }
        newest
    }

    #[test]
    fn only_the_newest_are_listed_in_the_order_of_their_time() {
        let mut newest = newest(3, (0..5_000).rev());
        assert_eq!(newest.selected, 5_000);
        let offsets: Vec<i64> = newest.in_order(3).iter().map(|letter| letter.position.offset.0).collect();
        assert_eq!(offsets, [4_997, 4_998, 4_999]);
    }

    #[test]
    fn the_table_says_where_what_and_whether_it_was_sent_again() {
        let letters = newest(10, 7..9).in_order(10);
        let shown = table(&letters, &HashSet::from([(1, Offset(8))])).to_string();
        let rows: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            rows,
            [
                "position written record stage rule sent again reason",
                "1/7 2025-11-22T10:15:03.000007Z payments/3/88 decode `amount` is missing",
                "1/8 2025-11-22T10:15:03.000008Z payments/3/88 decode yes `amount` is missing",
            ]
        );
    }

    #[test]
    fn a_selection_by_reason_and_rule_leaves_the_others_out() {
        let Entry::Letter(letter) = read(&stored(7, Masking::Mask)) else { panic!("a letter") };
        let by = |reason: Option<&str>, rule: Option<&str>| Selection {
            reason: reason.map(str::to_owned),
            rule: rule.map(str::to_owned),
            since: None,
        };
        assert!(by(Some("amount"), None).takes(&letter));
        assert!(!by(Some("card"), None).takes(&letter) && !by(None, Some("card-testing")).takes(&letter));
    }
}
