//! A trace drawn for a terminal.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry::trace::Status;

use super::{
    outline::{self, COMPONENT, printable},
    span::RecordedSpan,
    trace::Trace,
};

/// How many cells the whole trace takes as a bar.
const BAR: usize = 32;

/// The texts of one line, in columns.
struct Row {
    cells: [String; 6],
    bar: String,
    notes: String,
}

const HEAD: [&str; 6] = ["SPAN", "KIND", "SERVICE", "COMPONENT", "START", "TIME"];

/// Times are aligned at their right end.
const RIGHT: [bool; 6] = [false, false, false, false, true, true];

pub(super) fn render(trace: &Trace) -> String {
    let total = total(trace);
    let mut rows = Vec::new();
    for root in trace.roots() {
        push_rows(trace, root, "", "", total, &mut rows);
    }
    let mut widths = HEAD.map(width);
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(&row.cells) {
            *widest = (*widest).max(width(cell));
        }
    }
    let services: BTreeSet<_> = trace.spans().map(RecordedSpan::service).collect();
    let mut text = format!(
        "trace {}, {}, {}, {}\n",
        trace.trace_id(),
        plural(rows.len(), "span"),
        plural(services.len(), "service"),
        human(total)
    );
    text.push_str(&line(&HEAD.map(str::to_owned), &widths, ""));
    for row in &rows {
        text.push_str(&line(&row.cells, &widths, &format!("{:BAR$}  {}", row.bar, row.notes)));
    }
    text
}

/// The row of a span and those of the spans below it.
fn push_rows(trace: &Trace, node: usize, first: &str, rest: &str, total: Duration, rows: &mut Vec<Row>) {
    let span = trace.span_at(node);
    let begin = trace.start().unwrap_or(span.start());
    let offset = span.start().duration_since(begin).unwrap_or_default();
    let component = span.attribute(COMPONENT).map(ToString::to_string).unwrap_or_default();
    rows.push(Row {
        cells: [
            format!("{first}{}", printable(span.name())),
            outline::kind(span.kind()).to_owned(),
            printable(span.service()),
            printable(&component),
            human(offset),
            human(span.duration()),
        ],
        bar: bar(offset, span.duration(), total),
        notes: notes(trace, span),
    });
    let children = trace.children(node);
    for (at, child) in children.iter().enumerate() {
        let (branch, below) = if at + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        push_rows(trace, *child, &format!("{rest}{branch}"), &format!("{rest}{below}"), total, rows);
    }
}

/// Error and links.
fn notes(trace: &Trace, span: &RecordedSpan) -> String {
    let mut notes = Vec::new();
    if let Status::Error { description } = span.status() {
        // What conventions call the error stands in an attribute, the text in the status.
        let kind = span.attribute("error.type").map(|kind| printable(&kind.to_string()));
        let texts = kind.into_iter().chain([printable(description)]).filter(|text| !text.is_empty());
        let texts: Vec<_> = texts.collect();
        notes.push(format!("ERROR {}", texts.join(": ")).trim_end().to_owned());
    }
    notes.extend(trace.link_names(span).iter().map(|name| format!("-> {}", printable(name))));
    notes.join("  ")
}

fn line(cells: &[String; 6], widths: &[usize; 6], tail: &str) -> String {
    let mut line = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(RIGHT) {
        let padded = if right { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") };
        line.push_str(&padded);
    }
    line.push_str(tail);
    format!("{}\n", line.trim_end())
}

/// From the start of the first span to the end of the last.
fn total(trace: &Trace) -> Duration {
    let end = trace.spans().map(RecordedSpan::end).max();
    let between = trace.start().zip(end).map(|(start, end)| end.duration_since(start).unwrap_or_default());
    between.unwrap_or_default()
}

fn bar(offset: Duration, duration: Duration, total: Duration) -> String {
    let cells = |time: Duration| {
        if total.is_zero() { 0.0 } else { (time.as_secs_f64() / total.as_secs_f64() * BAR as f64).min(BAR as f64) }
    };
    let start = (cells(offset) as usize).min(BAR - 1);
    let length = (cells(duration).round() as usize).min(BAR - start);
    let block = if length == 0 { "▏".to_owned() } else { "█".repeat(length) };
    format!("{}{block}", " ".repeat(start))
}

/// `0 µs`, `412 µs`, `12.3 ms`, `1.24 s`.
fn human(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn width(text: &str) -> usize {
    text.chars().count()
}
