//! Compares a recorded trace with an expected tree.

use std::{collections::HashSet, error::Error, fmt};

use super::{
    outline::{self, value},
    span::RecordedSpan,
    trace::Trace,
    tree::SpanTree,
};

/// Why a trace does not look as expected: `Display` gives the first difference and both trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    reason: String,
    expected: String,
    recorded: String,
    /// How many traces there were to choose from.
    traces: usize,
}

/// The first difference, and the way to it.
struct Difference {
    path: Vec<String>,
    what: String,
}

pub(super) fn check(trace: &Trace, tree: &SpanTree) -> Result<(), Mismatch> {
    let compared = sound(trace).and_then(|()| match tree.name {
        None => children(trace, tree, &trace.roots()),
        Some(_) => one_root(trace, tree),
    });
    compared.map_err(|difference| Mismatch {
        reason: difference.to_string(),
        expected: outline::of_tree(tree),
        recorded: outline::of_trace(trace, &outline::stated_keys(tree)),
        traces: 1,
    })
}

/// Has the trace a root with the name that the tree's root has?
pub(super) fn same_root(trace: &Trace, tree: &SpanTree) -> bool {
    let name = tree.name.as_ref().or_else(|| tree.children.first()?.name.as_ref());
    trace.roots().into_iter().any(|root| Some(trace.span_at(root).name()) == name.map(String::as_str))
}

/// Is it a tree at all?
fn sound(trace: &Trace) -> Result<(), Difference> {
    let mut ids = HashSet::new();
    for span in trace.spans() {
        if !ids.insert(span.span_id()) {
            return differs(format!("two spans have the id of `{}` ({})", span.name(), span.span_id()));
        }
    }
    for span in trace.spans() {
        let orphan = span.parent_span_id().filter(|parent| !ids.contains(parent) && !span.is_parent_remote());
        if let Some(parent) = orphan {
            let name = span.name();
            return differs(format!("`{name}` is an orphan: its parent ({parent}) was not recorded, nor is it remote"));
        }
    }
    let mut below = trace.roots();
    let mut reached = 0;
    while let Some(node) = below.pop() {
        reached += 1;
        below.extend(trace.children(node));
    }
    if reached < ids.len() {
        return differs("a span is its own ancestor".to_owned());
    }
    Ok(())
}

fn one_root(trace: &Trace, tree: &SpanTree) -> Result<(), Difference> {
    match trace.roots()[..] {
        [] => differs("no span was recorded".to_owned()),
        [root] => span(trace, tree, root),
        ref roots => differs(format!("has {} roots: {}", roots.len(), names(trace, roots))),
    }
}

fn span(trace: &Trace, tree: &SpanTree, node: usize) -> Result<(), Difference> {
    let recorded = trace.span_at(node);
    let compared = own(trace, tree, recorded).or_else(differs);
    compared.and_then(|()| children(trace, tree, trace.children(node))).map_err(|mut difference| {
        difference.path.insert(0, recorded.name().to_owned());
        difference
    })
}

/// Compares a span without its children.
fn own(trace: &Trace, tree: &SpanTree, span: &RecordedSpan) -> Result<(), String> {
    let text = |what: &str, recorded: &str, expected: Option<&str>| match expected {
        Some(expected) if expected != recorded => Err(format!("{what} is `{recorded}`, expected `{expected}`")),
        _ => Ok(()),
    };
    text("name", span.name(), tree.name.as_deref())?;
    text("kind", outline::kind(span.kind()), tree.kind.as_ref().map(outline::kind))?;
    text("service", span.service(), tree.service.as_deref())?;
    for (key, expected) in &tree.attributes {
        match (span.attribute(key), expected) {
            (None, None) => {}
            (Some(recorded), Some(expected)) if recorded == expected => {}
            (Some(recorded), Some(expected)) => {
                return Err(format!("attribute `{key}` is {}, expected {}", value(recorded), value(expected)));
            }
            (None, Some(expected)) => {
                return Err(format!("attribute `{key}` is missing, expected {}", value(expected)));
            }
            (Some(recorded), None) => return Err(format!("attribute `{key}` is {}, expected none", value(recorded))),
        }
    }
    if let Some(is_error) = tree.is_error.filter(|is_error| *is_error != span.is_error()) {
        let expected = if is_error { "an error" } else { "no error" };
        return Err(format!("status is {:?}, expected {expected}", span.status()));
    }
    let mut links = trace.link_names(span);
    for expected in &tree.links {
        match links.iter().position(|link| link == expected) {
            Some(at) => drop(links.swap_remove(at)),
            None => return Err(format!("has no link to `{expected}`, its links: {:?}", trace.link_names(span))),
        }
    }
    Ok(())
}

fn children(trace: &Trace, tree: &SpanTree, nodes: &[usize]) -> Result<(), Difference> {
    let pairs = if tree.in_order { pair_in_order(trace, tree, nodes) } else { pair(trace, tree, nodes) };
    let lonely: Vec<_> = nodes.iter().copied().filter(|node| !pairs.contains(&Some(*node))).collect();
    for (child, pair) in tree.children.iter().zip(&pairs) {
        if pair.is_none() {
            return missing(trace, tree, child, &lonely);
        }
    }
    if tree.at_least || lonely.is_empty() {
        return Ok(());
    }
    differs(format!("has {} not expected: {}", count(lonely.len()), names(trace, &lonely)))
}

/// Says why `child` has no counterpart: by the difference to the one that comes nearest, if one has its name.
fn missing(trace: &Trace, tree: &SpanTree, child: &SpanTree, lonely: &[usize]) -> Result<(), Difference> {
    let name = child.name.as_deref().unwrap_or_default();
    let same_name = |node: &&usize| trace.span_at(**node).name() == name;
    let same_kind = |node: &&usize| child.kind.as_ref().is_none_or(|kind| kind == trace.span_at(**node).kind());
    let nearest = lonely.iter().filter(same_name).find(same_kind).or_else(|| lonely.iter().find(same_name));
    if let Some(nearest) = nearest {
        span(trace, child, *nearest)?;
        // They do fit: it is the order that does not.
        return differs(format!("`{name}` did not start where it should"));
    }
    let instead = match lonely {
        [] => String::new(),
        _ if tree.at_least => String::new(),
        lonely => format!(", has instead: {}", names(trace, lonely)),
    };
    differs(format!("misses the child `{name}`{instead}"))
}

/// Gives as many of the expected children as possible a recorded one, each its own (Kuhn's algorithm).
fn pair(trace: &Trace, tree: &SpanTree, nodes: &[usize]) -> Vec<Option<usize>> {
    fn place(child: usize, fits: &[Vec<bool>], taken_by: &mut [Option<usize>], tried: &mut [bool]) -> bool {
        for node in 0..taken_by.len() {
            if !fits[child][node] || std::mem::replace(&mut tried[node], true) {
                continue;
            }
            let free = taken_by[node].is_none_or(|other| place(other, fits, taken_by, tried));
            if free {
                taken_by[node] = Some(child);
                return true;
            }
        }
        false
    }
    let fits = |child| nodes.iter().map(|node| span(trace, child, *node).is_ok()).collect();
    let fits: Vec<Vec<bool>> = tree.children.iter().map(fits).collect();
    let mut taken_by = vec![None; nodes.len()];
    for child in 0..fits.len() {
        place(child, &fits, &mut taken_by, &mut vec![false; nodes.len()]);
    }
    let node_of = |child| Some(nodes[taken_by.iter().position(|by| *by == Some(child))?]);
    (0..fits.len()).map(node_of).collect()
}

/// The same, where each must have started after the one before.
fn pair_in_order(trace: &Trace, tree: &SpanTree, nodes: &[usize]) -> Vec<Option<usize>> {
    let mut left = nodes.iter().copied();
    let mut next = |child| {
        let mut ahead = left.clone();
        let found = ahead.find(|node| span(trace, child, *node).is_ok());
        // The next children may still fit if this one does not.
        if found.is_some() {
            left = ahead;
        }
        found
    };
    tree.children.iter().map(&mut next).collect()
}

fn names(trace: &Trace, nodes: &[usize]) -> String {
    let quoted: Vec<_> = nodes.iter().map(|node| format!("`{}`", trace.span_at(*node).name())).collect();
    quoted.join(", ")
}

fn count(children: usize) -> String {
    if children == 1 { "a child".to_owned() } else { format!("{children} children") }
}

fn differs(what: String) -> Result<(), Difference> {
    Err(Difference { path: Vec::new(), what })
}

// ===== impl Difference =====

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join(" > "))?;
        }
        f.write_str(&self.what)
    }
}

// ===== impl Mismatch =====

impl Mismatch {
    /// The first difference, in one line: the way to the span, and what is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn nothing_recorded(tree: &SpanTree) -> Self {
        let reason = "no span was recorded".to_owned();
        Self { reason, expected: outline::of_tree(tree), recorded: String::new(), traces: 0 }
    }

    pub(super) fn among(mut self, traces: usize) -> Self {
        self.traces = traces;
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |text: &str| -> String { text.lines().map(|line| format!("  {line}\n")).collect() };
        writeln!(f, "spans are not as expected: {}", outline::printable(&self.reason))?;
        write!(f, "\nexpected:\n{}", indented(&self.expected))?;
        match self.traces {
            0 => Ok(()),
            1 => write!(f, "\nrecorded:\n{}", indented(&self.recorded)),
            traces => write!(f, "\nrecorded (the nearest of {traces} traces):\n{}", indented(&self.recorded)),
        }
    }
}

impl Error for Mismatch {}
