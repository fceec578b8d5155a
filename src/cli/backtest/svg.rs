//! Plots as SVG: bars, a precision-recall plane, a heat map.
//!
//! Takes numbers and names, hands on markup for a page whose style sheet gives the classes their colours, so
//! that light and dark are the page's business. Coordinates are in pixels of a fixed view box that scales.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 14.0;

/// One bar, its lower part of one kind and its upper part of another.
pub(super) struct Bar {
    pub name: String,
    pub lower: u64,
    pub upper: u64,
    /// What a pointer over it shows.
    pub tip: String,
}

/// A named point of the precision-recall plane.
pub(super) struct Point {
    pub recall: f64,
    pub precision: f64,
    pub mark: String,
    pub tip: String,
}

/// Text that may stand in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn open(title: &str, width: f64, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n"
    )
}

/// Bars over a common axis of counts; a name stands under every so many bars.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let mut out = open(title, WIDTH, HEIGHT);
    let most = bars.iter().map(|bar| bar.lower + bar.upper).max().unwrap_or(0);
    let step = tick_step(most);
    let top = most.div_ceil(step).max(1) * step;
    let height = |count: u64| float(count) / float(top) * (HEIGHT - BOTTOM - TOP);
    for tick in (0..=top / step).map(|index| index * step) {
        let y = HEIGHT - BOTTOM - height(tick);
        grid_line(&mut out, (LEFT, y), (WIDTH - 8.0, y));
        label(&mut out, "end", (LEFT - 6.0, y + 4.0), &tick.to_string());
    }
    let slot = (WIDTH - LEFT - 8.0) / float(bars.len().max(1) as u64);
    let longest = bars.iter().map(|bar| bar.name.len()).max().unwrap_or(1);
    let every = (float(longest as u64) * 7.0 / slot).ceil().max(1.0);
    for (index, bar) in bars.iter().enumerate() {
        let index = float(index as u64);
        let (x, width) = (LEFT + slot * index + slot * 0.1, slot * 0.8);
        let (lower, upper) = (height(bar.lower), height(bar.upper));
        let base = HEIGHT - BOTTOM;
        let _ = write!(out, "<g><title>{}</title>", escaped(&bar.tip));
        for (class, y, height) in [("hit", base - lower, lower), ("miss", base - lower - upper, upper)] {
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
        out.push_str("</g>\n");
        if index % every < 0.5 {
            label(&mut out, "middle", (x + width / 2.0, base + 18.0), &bar.name);
        }
    }
    out + "</svg>\n"
}

/// The precision-recall plane: a line through points of one series, and marked points.
pub(super) fn precision_recall(title: &str, line: &[(f64, f64)], points: &[Point]) -> String {
    let height = 360.0;
    let mut out = open(title, WIDTH, height);
    let x = |recall: f64| LEFT + recall * (WIDTH - LEFT - 24.0);
    let top = TOP + 16.0;
    let y = |precision: f64| height - BOTTOM - precision * (height - BOTTOM - top);
    for tenth in (0..=10_u32).step_by(2) {
        let value = f64::from(tenth) / 10.0;
        grid_line(&mut out, (x(0.0), y(value)), (x(1.0), y(value)));
        grid_line(&mut out, (x(value), y(0.0)), (x(value), y(1.0)));
        label(&mut out, "end", (LEFT - 6.0, y(value) + 4.0), &format!("{value:.1}"));
        label(&mut out, "middle", (x(value), height - BOTTOM + 18.0), &format!("{value:.1}"));
    }
    label(&mut out, "end", (x(1.0), height - BOTTOM + 33.0), "recall →");
    label(&mut out, "start", (4.0, 14.0), "↑ precision");
    let path: Vec<String> =
        line.iter().map(|(recall, precision)| format!("{:.1},{:.1}", x(*recall), y(*precision))).collect();
    if path.len() > 1 {
        let _ = writeln!(out, "<polyline class=\"line\" points=\"{}\"/>", path.join(" "));
    }
    for point in points {
        let (x, y) = (x(point.recall), y(point.precision));
        let _ = writeln!(
            out,
            "<g><title>{}</title><circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"10\"/>\
             <text class=\"on-dot\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>",
            escaped(&point.tip),
            y + 3.5,
            escaped(&point.mark)
        );
    }
    out + "</svg>\n"
}

/// Squares whose strength is their share of the row's own count; `numbers` are shown where they fit.
pub(super) fn heat_map(title: &str, names: &[String], counts: &[Vec<u64>]) -> String {
    let size = (560.0 / float(names.len().max(1) as u64)).clamp(18.0, 58.0);
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = (float(longest as u64) * 7.4 + 40.0).min(280.0);
    let side = size * float(names.len() as u64);
    let mut out = open(title, left + side + 8.0, side + 32.0);
    for (row, (name, own)) in names.iter().zip(counts).enumerate() {
        let y = 24.0 + size * float(row as u64);
        let number = row + 1;
        label(&mut out, "end", (left - 8.0, y + size / 2.0 + 4.0), &format!("{number}  {name}"));
        label(&mut out, "middle", (left + size * (float(row as u64) + 0.5), 16.0), &number.to_string());
        let all = own.get(row).copied().unwrap_or(0).max(1);
        for (column, both) in own.iter().enumerate() {
            let x = left + size * float(column as u64);
            let share = (float(*both) / float(all)).min(1.0);
            let opacity = if *both == 0 { 0.04 } else { 0.12 + 0.78 * share };
            let tip = match names.get(column) {
                Some(other) if column != row => format!("{name} and {other}: {both} events"),
                _ => format!("{name}: {both} events"),
            };
            let _ = write!(
                out,
                "<g><title>{}</title><rect class=\"heat\" fill-opacity=\"{opacity:.2}\" x=\"{x:.1}\" y=\"{y:.1}\" \
                 width=\"{:.1}\" height=\"{:.1}\"/>",
                escaped(&tip),
                size - 2.0,
                size - 2.0
            );
            if size > 34.0 {
                let class = if opacity > 0.5 { "on-heat" } else { "in-heat" };
                let _ = write!(
                    out,
                    "<text class=\"{class}\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    x + size / 2.0 - 1.0,
                    y + size / 2.0 + 3.0,
                    short(*both)
                );
            }
            out.push_str("</g>\n");
        }
    }
    out + "</svg>\n"
}

/// `12k` for 12,345.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{:.1}M", float(count) / 1e6),
    }
}

fn grid_line(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line class=\"grid\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn label(out: &mut String, anchor: &str, at: (f64, f64), text: &str) {
    let text = escaped(text);
    let _ = writeln!(out, "<text text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>", at.0, at.1);
}

/// 1, 2 or 5 times a power of ten, so that there are at most five steps.
fn tick_step(most: u64) -> u64 {
    let mut step = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            if most <= step.saturating_mul(factor).saturating_mul(5) {
                return step.saturating_mul(factor);
            }
        }
        step = step.saturating_mul(10);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on the screen")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_at_most_five_steps_of_round_numbers() {
        assert_eq!([0, 5, 6, 11, 26, 51, 394].map(tick_step), [1, 1, 2, 5, 10, 20, 100]);
    }

    #[test]
    fn names_can_not_break_out_of_the_markup() {
        let bar = Bar { name: "<b>".to_owned(), lower: 1, upper: 2, tip: "\"&<script>".to_owned() };
        let drawn = bars("a < b", &[bar]);
        assert!(!drawn.contains("<b>") && !drawn.contains("<script>"), "{drawn}");
        assert!(drawn.contains("&quot;&amp;&lt;script&gt;"), "{drawn}");
    }

    #[test]
    fn a_bar_is_as_high_as_its_share_of_the_axis() {
        let bar = |lower, upper| Bar { name: String::new(), lower, upper, tip: String::new() };
        let drawn = bars("t", &[bar(1, 0), bar(2, 3)]);
        // The axis goes to 5 over 210 pixels: 42 pixels an event.
        for height in ["height=\"42.0\"", "height=\"84.0\"", "height=\"126.0\""] {
            assert!(drawn.contains(height), "{height} is not in {drawn}");
        }
    }
}
