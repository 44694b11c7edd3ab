//! Trees as text without ids and times: of what was recorded, and of what was expected, in the same form.

use std::fmt::Write as _;

use opentelemetry::{Value, trace::SpanKind};

use super::{span::RecordedSpan, trace::Trace, tree::SpanTree};

/// The attribute that tells spans of one rpc apart.
pub(super) const COMPONENT: &str = "dapr.component.name";

/// The recorded tree, with the attributes of these keys.
pub(super) fn of_trace(trace: &Trace, keys: &[&str]) -> String {
    fn block(trace: &Trace, node: usize, keys: &[&str]) -> Block {
        let children = trace.children(node).iter().map(|child| block(trace, *child, keys)).collect();
        Block::new(line_of_span(trace, trace.span_at(node), keys), sorted(children))
    }
    let roots = trace.roots().into_iter().map(|root| block(trace, root, keys)).collect();
    sorted(roots).iter().map(Block::to_text).collect()
}

/// The expected tree.
pub(super) fn of_tree(tree: &SpanTree) -> String {
    fn block(tree: &SpanTree) -> Block {
        let mut children: Vec<_> = tree.children.iter().map(block).collect();
        if tree.at_least {
            children.push(Block::new("..".to_owned(), Vec::new()));
        }
        let line = tree.name.as_deref().map_or_else(String::new, |name| line_of_tree(tree, name));
        // In the order of the recorded tree, so that the two can be compared line by line.
        Block::new(line, if tree.in_order { children } else { sorted(children) })
    }
    let block = block(tree);
    if tree.name.is_some() { block.to_text() } else { block.children.iter().map(Block::to_text).collect() }
}

/// All keys of attributes that a tree states.
pub(super) fn stated_keys(tree: &SpanTree) -> Vec<&str> {
    let own = tree.attributes.iter().map(|(key, _)| key.as_str());
    let mut keys: Vec<_> = own.chain(tree.children.iter().flat_map(stated_keys)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

pub(super) fn kind(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}

/// A value as it would stand in code, so that `"200"` and `200` look different.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.as_str()),
        other => other.to_string(),
    }
}

/// Text of a span may come from anywhere: it must not move the cursor or break the line.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn line_of_span(trace: &Trace, span: &RecordedSpan, keys: &[&str]) -> String {
    let mut line = format!("{} ({}, {})", printable(span.name()), kind(span.kind()), printable(span.service()));
    for key in keys {
        if let Some(found) = span.attribute(key) {
            push(&mut line, &format!("{key}={}", value(found)));
        }
    }
    if span.is_error() {
        push(&mut line, "error");
    }
    let mut links = trace.link_names(span);
    links.sort_unstable();
    for link in links {
        push(&mut line, &format!("-> {}", printable(&link)));
    }
    line
}

fn line_of_tree(tree: &SpanTree, name: &str) -> String {
    let mut line = name.to_owned();
    let stated: Vec<_> = tree.kind.as_ref().map(kind).into_iter().chain(tree.service.as_deref()).collect();
    if !stated.is_empty() {
        push(&mut line, &format!("({})", stated.join(", ")));
    }
    let mut attributes: Vec<_> = tree.attributes.iter().collect();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, stated) in attributes {
        let stated = stated.as_ref().map_or_else(|| format!("no {key}"), |stated| format!("{key}={}", value(stated)));
        push(&mut line, &stated);
    }
    match tree.is_error {
        Some(true) => push(&mut line, "error"),
        Some(false) => push(&mut line, "no error"),
        None => {}
    }
    let mut links = tree.links.clone();
    links.sort_unstable();
    for link in links {
        push(&mut line, &format!("-> {link}"));
    }
    line
}

fn push(line: &mut String, part: &str) {
    write!(line, " {part}").expect("a string takes all text");
}

/// A line and the lines below it.
struct Block {
    line: String,
    children: Vec<Block>,
}

impl Block {
    fn new(line: String, children: Vec<Block>) -> Self {
        Self { line, children }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.line);
        for (at, child) in self.children.iter().enumerate() {
            let (first, rest) = if at + 1 == self.children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            for (at, line) in child.to_text().lines().enumerate() {
                writeln!(text, "{}{line}", if at == 0 { first } else { rest }).expect("a string takes all text");
            }
        }
        text
    }
}

fn sorted(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.sort_by_cached_key(Block::to_text);
    blocks
}
