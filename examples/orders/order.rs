//! What an order is, and where orders come from.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub id: String,
    pub customer: String,
    pub sku: String,
    pub quantity: u32,
}

impl Order {
    /// What makes an order acceptable, apart from the stock.
    pub fn check(&self) -> Result<(), String> {
        let texts = [("id", &self.id), ("customer", &self.customer), ("sku", &self.sku)];
        for (name, text) in texts {
            if text.trim().is_empty() {
                return Err(format!("`{name}` is empty"));
            }
            if text.len() > 200 {
                return Err(format!("`{name}` is longer than 200 bytes"));
            }
            if text.chars().any(char::is_control) {
                return Err(format!("`{name}` holds a control character"));
            }
        }
        if self.id.contains("||") || self.sku.contains("||") {
            return Err("`||` cannot be part of a key in Dapr".to_owned());
        }
        if self.quantity == 0 {
            return Err("`quantity` is 0".to_owned());
        }
        Ok(())
    }
}

/// The orders that ship with the example.
const SAMPLE: &str = include_str!("orders.jsonl");

/// `count` orders out of the sample, with ids of their own.
pub fn sample(count: usize) -> Vec<Order> {
    let sample: Vec<Order> =
        SAMPLE.lines().map(|line| serde_json::from_str(line).expect("the sample holds orders")).collect();
    let numbered = (0..count).map(|n| Order { id: format!("order-{}", n + 1), ..sample[n % sample.len()].clone() });
    numbered.collect()
}

/// The most orders that are read, and the longest line.
const MAX_ORDERS: usize = 100_000;
const MAX_LINE: u64 = 16 * 1024;

/// A line that is no order.
#[derive(Debug)]
pub struct BadLine {
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Reads one order a line; empty lines are skipped, bad ones reported.
pub fn read(path: &Path) -> io::Result<(Vec<Order>, Vec<BadLine>)> {
    read_lines(BufReader::new(File::open(path)?))
}

fn read_lines(mut input: impl BufRead) -> io::Result<(Vec<Order>, Vec<BadLine>)> {
    let (mut orders, mut bad) = (Vec::new(), Vec::new());
    for line in 1.. {
        let mut text = Vec::new();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        if text.len() as u64 == MAX_LINE && !text.ends_with(b"\n") {
            bad.push(BadLine { line, reason: format!("longer than {MAX_LINE} bytes") });
            input.skip_until(b'\n')?;
            continue;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        if orders.len() == MAX_ORDERS {
            bad.push(BadLine { line, reason: format!("only the first {MAX_ORDERS} orders are taken") });
            break;
        }
        match parse(&text) {
            Ok(order) => orders.push(order),
            Err(reason) => bad.push(BadLine { line, reason }),
        }
    }
    Ok((orders, bad))
}

fn parse(text: &[u8]) -> Result<Order, String> {
    let text = str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let order: Order = serde_json::from_str(text).map_err(|error| {
        // A line is a document of its own: its "line 1" would only confuse.
        let message = error.to_string();
        message.split(" at line ").next().unwrap_or_default().to_owned() + &format!(" (column {})", error.column())
    })?;
    order.check().map(|()| order)
}

#[cfg(test)]
mod tests {
    use super::{read_lines, sample};

    #[test]
    fn bad_lines_are_named_and_the_others_kept() {
        let good = r#"{"id":"1","customer":"Zoë","sku":"tea","quantity":1}"#;
        let long = "x".repeat(40_000);
        let text = format!("{good}\n\n{{\n{long}\n{{\"id\":\"2\"}}\n{}\n{good}", good.replace("1}", "0}"));
        let (orders, bad) = read_lines(text.as_bytes()).unwrap();
        assert_eq!(orders.len(), 2);
        let bad: Vec<_> = bad.iter().map(ToString::to_string).collect();
        assert_eq!(bad.len(), 4, "{bad:?}");
        for (bad, start) in
            bad.iter().zip(["line 3: EOF", "line 4: longer", "line 5: missing field", "line 6: `quantity`"])
        {
            assert!(bad.starts_with(start), "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_line() {
        let (orders, bad) = read_lines(&b"\xff\xfe\n"[..]).unwrap();
        assert!(orders.is_empty());
        assert_eq!(bad[0].to_string(), "line 1: not UTF-8");
    }

    #[test]
    fn the_sample_is_varied_and_goes_on() {
        assert_eq!(sample(120).len(), 120);
        assert!(sample(50).iter().any(|order| !order.customer.is_ascii()));
        assert!(sample(50).iter().all(|order| order.check().is_ok()));
    }
}
