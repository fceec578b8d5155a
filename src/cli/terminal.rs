//! What is common to everything that is printed: colours, progress, the last word of a failure.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::Failure;
use crate::diagnostic::Colour;

/// Shape of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
}

/// Colours on standard error, unless it is no terminal or `NO_COLOR` is set.
pub(super) fn colour_of_errors() -> Colour {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if !plain && std::io::stderr().is_terminal() { Colour::On } else { Colour::Off }
}

/// Prints why a verb failed.
pub(super) fn say_error(failure: &Failure) {
    let (start, end) = match colour_of_errors() {
        Colour::On => ("\x1b[1;31m", "\x1b[0m"),
        Colour::Off => ("", ""),
    };
    eprintln!("{start}error{end}: {failure}");
}

/// A panic that is caught must not print what the record held.
pub(super) fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        eprintln!("a defect at {place} was caught; the record it met is set aside");
    }));
}

/// A bar on standard error; hidden where that is no terminal.
pub(super) fn progress(total: u64, unit: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let numbers = if unit == "bytes" {
        "{bytes}/{total_bytes} {bytes_per_sec}"
    } else {
        "{human_pos}/{human_len} rows {per_sec}"
    };
    let style = ProgressStyle::with_template(&format!("{{bar:40.cyan/blue}} {numbers} {{eta}} {{msg}}"));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
    }
}
