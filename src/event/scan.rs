//! Steps over JSON text value by value: takes what `serde_json` takes as raw values, and nothing else, but in fewer steps.
//! Of the reason why it does not take a text it says nothing: that is left to `serde_json`, whose errors have a place.

/// One in each byte.
const ONES: u64 = u64::MAX / 255;

/// A place in a JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A member's name or a value, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) json: &'a str,
    /// Where it starts in the text.
    pub(super) start: usize,
    /// Of a string: has it escapes?
    pub(super) is_escaped: bool,
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid;

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Calls `each` with the members of the object that the text is.
    pub(super) fn members<E: From<Invalid>>(
        mut self,
        mut each: impl FnMut(Token<'a>, Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{').ok_or(Invalid)?;
        let mut is_over = self.next() == Some(b'}');
        while !is_over {
            let name = self.token(string).ok_or(Invalid)?;
            self.expect(b':').ok_or(Invalid)?;
            let value = self.token(value).ok_or(Invalid)?;
            each(name, value)?;
            is_over = match self.next() {
                Some(b'}') => true,
                Some(b',') => {
                    self.at += 1;
                    false
                }
                _ => return Err(Invalid.into()),
            };
        }
        self.at += 1;
        if self.next().is_none() { Ok(()) } else { Err(Invalid.into()) }
    }

    fn token(&mut self, step: impl FnOnce(&[u8], usize) -> Option<Stepped>) -> Option<Token<'a>> {
        self.next();
        let start = self.at;
        let Stepped { end, is_escaped } = step(self.text.as_bytes(), start)?;
        self.at = end;
        Some(Token { json: self.text.get(start..end)?, start, is_escaped })
    }

    /// The next byte that is no white space; the place is then at it.
    fn next(&mut self) -> Option<u8> {
        self.at = space(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }
}

// What follows steps over a part of the text that begins at a place, and says where it ends. Places are passed by value, so
// that they stay in registers.

struct Stepped {
    end: usize,
    is_escaped: bool,
}

#[inline]
fn space(json: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = json.get(at) {
        at += 1;
    }
    at
}

/// A value of any depth: that costs a bit a level, and not the stack. A string may have escapes.
fn value(json: &[u8], mut at: usize) -> Option<Stepped> {
    let mut open = Open::default();
    loop {
        let mut is_escaped = false;
        match *json.get(at)? {
            b'"' => Stepped { end: at, is_escaped } = string(json, at)?,
            b'-' | b'0'..=b'9' => at = number(json, at)?,
            bracket @ (b'{' | b'[') => {
                at = space(json, at + 1);
                let is_object = bracket == b'{';
                // In ASCII, a closing bracket comes two after its opening one.
                if *json.get(at)? == bracket + 2 {
                    at += 1;
                } else {
                    open.push(is_object);
                    if is_object {
                        at = name(json, at)?;
                    }
                    continue;
                }
            }
            b't' => at = literal(json, at, b"true")?,
            b'f' => at = literal(json, at, b"false")?,
            b'n' => at = literal(json, at, b"null")?,
            _ => return None,
        }
        // Behind a value: what ends its brackets, up to a comma.
        let is_object = loop {
            let Some(is_object) = open.last() else { return Some(Stepped { end: at, is_escaped }) };
            at = space(json, at);
            match *json.get(at)? {
                b',' => break is_object,
                b'}' if is_object => open.pop(),
                b']' if !is_object => open.pop(),
                _ => return None,
            }
            at += 1;
        };
        at = space(json, at + 1);
        if is_object {
            at = name(json, at)?;
        }
    }
}

/// A member's name, up to its value.
#[inline]
fn name(json: &[u8], at: usize) -> Option<usize> {
    let at = space(json, string(json, at)?.end);
    (*json.get(at)? == b':').then(|| space(json, at + 1))
}

#[inline]
fn string(json: &[u8], mut at: usize) -> Option<Stepped> {
    if *json.get(at)? != b'"' {
        return None;
    }
    at += 1;
    let mut is_escaped = false;
    loop {
        at = special(json, at)?;
        match *json.get(at)? {
            b'"' => return Some(Stepped { end: at + 1, is_escaped }),
            b'\\' => {
                is_escaped = true;
                at += escape(json.get(at + 1..)?)?;
            }
            _ => return None,
        }
    }
}

#[inline]
fn number(json: &[u8], mut at: usize) -> Option<usize> {
    if json.get(at) == Some(&b'-') {
        at += 1;
    }
    // What follows a leading zero is looked at by whoever expects a comma.
    at = if json.get(at) == Some(&b'0') { at + 1 } else { digits(json, at)? };
    if json.get(at) == Some(&b'.') {
        at = digits(json, at + 1)?;
    }
    if let Some(b'e' | b'E') = json.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = json.get(at) {
            at += 1;
        }
        at = digits(json, at)?;
    }
    Some(at)
}

/// At least one.
#[inline]
fn digits(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while json.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    (at > start).then_some(at)
}

fn literal(json: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    let end = at + literal.len();
    (json.get(at..end)? == literal).then_some(end)
}

/// Where the next quote, backslash or control character is.
fn special(json: &[u8], mut at: usize) -> Option<usize> {
    while let Some(bytes) = json.get(at..)?.first_chunk::<8>() {
        let bytes = u64::from_le_bytes(*bytes);
        // The highest bit of each ASCII byte that is less than another, after Mycroft: exact for the lowest of them. With one
        // bit changed, a quote comes right behind the control characters.
        let below =
            |changed: u8, least: u8| (bytes ^ (ONES * u64::from(changed))).wrapping_sub(ONES * u64::from(least));
        let found = (below(0b10, (b'"' ^ 0b10) + 1) | below(b'\\', 1)) & !bytes & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = json.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')).map(|ahead| at + ahead)
}

/// How long the escape is that goes on with these bytes, its backslash included.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// The brackets that are open: one bit each, set for an object.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost ones, up to 64.
    inner: u64,
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.inner >>= 1;
        self.depth -= 1;
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.inner & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::{Invalid, Scanner};

    /// What the scanner makes of a text is what `serde_json` makes of it.
    fn compare(text: &str) {
        let mut scanned = Vec::new();
        let result = Scanner::new(text).members(|name, value| {
            assert_eq!(&text[value.start..][..value.json.len()], value.json);
            assert!(name.is_escaped == name.json.contains('\\'));
            assert!(!value.json.starts_with('"') || value.is_escaped == value.json.contains('\\'));
            scanned.push((name.json.to_owned(), value.json.to_owned()));
            Ok::<_, Invalid>(())
        });
        let expected = serde_json::from_str::<HashMap<String, &RawValue>>(text);
        let Ok(expected) = expected else {
            // Only `serde_json` looks at what the escapes of a name mean.
            let names = scanned.iter().all(|(name, _)| serde_json::from_str::<String>(name).is_ok());
            return assert!(result.is_err() || !names, "{text}");
        };
        assert_eq!(result, Ok(()), "{text}");
        let scanned: HashMap<String, String> =
            scanned.into_iter().map(|(name, value)| (serde_json::from_str(&name).unwrap(), value)).collect();
        let expected: HashMap<_, _> =
            expected.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
        assert_eq!(scanned, expected);
    }

    #[test]
    fn it_takes_what_serde_json_takes() {
        for value in [
            "0",
            "-0",
            "01",
            "1.",
            ".5",
            "1.5",
            "-",
            "-1e",
            "1e+",
            "1E-05",
            "1e5.",
            "+1",
            "0x1",
            "1_0",
            "--1",
            "00",
            "-01",
            "true",
            "tru",
            "trues",
            "false",
            "null",
            "nul",
            "Null",
            "",
            " ",
            "\t\r\n1 ",
            "\u{b}1",
            "\u{a0}1",
            "[]",
            "[ ]",
            "[1,]",
            "[,]",
            "[1 2]",
            "[[],[[ ]]]",
            "[}",
            "{]",
            "{}",
            "{ }",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{1:2}",
            "{,}",
            "{\"a\":{\"b\":[{}]} , \"c\" : \"d\"}",
            "\"",
            "\"\\\"",
            "\"\\\\\"",
            "\"\\u12\"",
            "\"\\u12G4\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"a\u{1f}\"",
            "\"1234567\\\"8\"",
            "\"12345678\n\"",
            "\"ä€😀\u{7f}\"",
            "1}",
            "1,2",
            "\"\\b\\f\\n\\r\\t\\/\\u00e4\"",
            "[[1}]",
            "{\"a\":[}",
        ] {
            compare(&format!("{{\"a\":{value}}}"));
            compare(&format!("{{\"a\":[{value}] }}"));
            compare(&format!(" {{ \"a\" :{value}, \"b\":{{\"c\":{value}}}}} "));
            compare(value);
        }
        for depth in [63, 64, 65, 127, 128, 129, 200] {
            let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
            compare(&format!("{{\"a\":{open}1{close}}}"));
            compare(&format!("{{\"a\":{open}1,{close}}}"));
            compare(&format!("{{\"a\":{open}1{}]]}}", &close[2..]));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_as_by_serde_json(text in r#"\{"a":([\[\]{}:,"\\ 0-9eE.+tfnul-]|"[a-z\\"]{0,12}"|true|null){0,16}\}"#) {
            compare(&text);
        }

        #[test]
        fn any_json_with_one_byte_changed(at in any::<prop::sample::Index>(), byte in r#"[\[\]{}:,"\\ 0-9eE.+tfn-]"#) {
            let mut text = r#"{"id":"1","n":[-1.5e+3,0,true,{"k":"v\u00e4 long enough for words","l":[]}],"o":{}}"#.to_owned();
            let at = at.index(text.len());
            text.replace_range(at..=at, &byte);
            compare(&text);
        }
    }
}
