//! The demo's face: a screen that is redrawn, or plain lines.

use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossterm::{cursor, execute, queue, style, terminal};

use super::Shared;
use super::audience::{Audience, Shown};
use crate::cli::terminal::grouped;
use crate::decision::Outcome;

/// How the demo is shown.
pub(super) struct View {
    title: String,
    screen: bool,
    colour: bool,
    /// Rows at the last reading, and when that was.
    last: (u64, Duration),
    rate: f64,
    printed_alerts: u64,
}

/// How often rates are read and plain lines printed.
const READING: Duration = Duration::from_secs(1);

impl View {
    /// Takes over the screen, unless lines are asked for or there is no terminal.
    pub(super) fn open(plain: bool, title: String) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = !plain && std::io::stdout().is_terminal();
        if screen {
            let _ = execute!(std::io::stdout(), terminal::EnterAlternateScreen, cursor::Hide);
        } else {
            println!("{title}");
            println!("starting: the broker gives the job its partitions after about 3 seconds");
        }
        let colour = colour && std::io::stdout().is_terminal();
        Self { title, screen, colour, last: (0, Duration::ZERO), rate: 0.0, printed_alerts: 0 }
    }

    /// Gives the screen back.
    pub(super) fn close(&mut self) {
        if self.screen {
            let _ = execute!(std::io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
            self.screen = false;
        }
    }

    /// Shows how things stand.
    pub(super) fn draw(&mut self, shared: &Shared, audience: &Audience, running: Duration) {
        let rows = shared.rows.load(Ordering::Relaxed);
        let since = running.saturating_sub(self.last.1);
        let read = since >= READING;
        if read {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let new = (rows - self.last.0) as f64;
            self.rate = new / since.as_secs_f64();
            self.last = (rows, running);
        }
        if self.screen {
            let _ = self.draw_screen(shared, audience, running);
        } else {
            self.print_lines(shared, audience, running, read);
        }
    }

    fn status(&self, shared: &Shared, audience: &Audience, running: Duration) -> String {
        let percentile =
            |percentile| audience.percentile_ms(percentile).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        format!(
            "{:>4} s  {:>7.0} events/s  {} events  {} alerts  {} dead letters  end-to-end p50 {} ms  p99 {} ms",
            running.as_secs(),
            self.rate,
            grouped(shared.rows.load(Ordering::Relaxed)),
            grouped(audience.alerts),
            grouped(shared.dead_letters.load(Ordering::Relaxed)),
            percentile(50.0),
            percentile(99.0),
        )
    }

    fn draw_screen(&self, shared: &Shared, audience: &Audience, running: Duration) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let (width, height) = terminal::size().unwrap_or((100, 30));
        let mut lines = vec![
            format!("tollgate demo   {}   Ctrl-C ends", self.title),
            String::new(),
            self.status(shared, audience, running),
            format!("        decisions  {}", decisions(audience)),
            String::new(),
            "alerts by rule".to_owned(),
        ];
        if !shared.ready.load(Ordering::Relaxed) {
            lines
                .push("  starting: the broker gives the job its partitions after about 3 seconds".to_owned());
        }
        let mut rules: Vec<(&String, &u64)> = audience.by_rule.iter().collect();
        rules.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let room = usize::from(height).saturating_sub(lines.len() + audience.latest.len() + 3).max(3);
        for pair in rules.chunks(2).take(room) {
            let cell = |(rule, count): &(&String, &u64)| format!("{:>9}  {rule:<34}", grouped(**count));
            lines.push(pair.iter().map(cell).collect());
        }
        lines.push(String::new());
        lines.push("latest alerts".to_owned());
        lines.extend(audience.latest.iter().map(|alert| format!("  {}", self.alert_line(alert))));
        queue!(out, cursor::MoveTo(0, 0))?;
        for line in lines.iter().take(usize::from(height)) {
            let shown: String = line.chars().take(usize::from(width)).collect();
            queue!(
                out,
                style::Print(shown),
                terminal::Clear(terminal::ClearType::UntilNewLine),
                cursor::MoveToNextLine(1)
            )?;
        }
        queue!(out, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        out.flush()
    }

    fn alert_line(&self, alert: &Shown) -> String {
        let time = alert.time.get(11..19).unwrap_or(&alert.time);
        let mark = if alert.shadow { " (shadow)" } else { "" };
        format!("{time} {:<8} {}{mark}: {} [{}]", alert.severity, alert.rule, alert.reason, alert.entity)
    }

    fn print_lines(&mut self, shared: &Shared, audience: &Audience, running: Duration, read: bool) {
        let new = usize::try_from(audience.alerts - self.printed_alerts)
            .unwrap_or(usize::MAX)
            .min(audience.latest.len());
        for alert in audience.latest.iter().take(new).rev() {
            let line = self.alert_line(alert);
            if self.colour { println!("\x1b[33m{line}\x1b[0m") } else { println!("{line}") }
        }
        self.printed_alerts = audience.alerts;
        if read {
            println!("{}", self.status(shared, audience, running));
            println!("        decisions  {}", decisions(audience));
        }
    }

    /// The last word, on the ordinary screen.
    pub(super) fn summary(&self, shared: &Shared, audience: &Audience) {
        println!(
            "{} events sent, {} answered, {} dead letters, {} alerts",
            grouped(shared.sent.load(Ordering::Relaxed)),
            grouped(shared.rows.load(Ordering::Relaxed)),
            grouped(shared.dead_letters.load(Ordering::Relaxed)),
            grouped(audience.alerts)
        );
        println!("decisions: {}", decisions(audience));
        if let (Some(p50), Some(p99)) = (audience.percentile_ms(50.0), audience.percentile_ms(99.0)) {
            println!(
                "end-to-end latency, event made to alert read: p50 {p50:.1} ms, p99 {p99:.1} ms, {} alerts",
                grouped(audience.latency.len())
            );
        }
        for (rule, count) in &audience.by_rule {
            println!("{:>9}  {rule}", grouped(*count));
        }
    }
}

/// How many events were decided how: `9,104 allow, 61 review, 0 challenge, 12 block`.
fn decisions(audience: &Audience) -> String {
    let counts = Outcome::ALL.iter().zip(&audience.decisions);
    counts
        .map(|(outcome, count)| format!("{} {}", grouped(*count), outcome.name()))
        .collect::<Vec<_>>()
        .join(", ")
}
