//! Steps over JSON text value by value: takes what `serde_json` takes as raw values, and nothing else, but in fewer steps.
//! Of the reason why it does not take a text it says nothing: that is left to `serde_json`, whose errors have a place.

/// One in each byte.
pub(super) const ONES: u64 = u64::MAX / 255;

/// A JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
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

impl Token<'_> {
    pub(super) const fn end(&self) -> usize {
        self.start + self.json.len()
    }

    fn is_string(&self) -> bool {
        self.json.as_bytes().first() == Some(&b'"')
    }
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid;

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Calls `each` with the members of the object that the text is.
    pub(super) fn members<E: From<Invalid>>(
        &self,
        mut each: impl FnMut(Token<'a>, Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let json = self.text.as_bytes();
        let mut at = behind(json, 0, b'{').ok_or(Invalid)?;
        let end = match behind(json, at, b'}') {
            Some(end) => end,
            None => loop {
                let name = self.token(space(json, at)).filter(Token::is_string).ok_or(Invalid)?;
                at = behind(json, name.end(), b':').ok_or(Invalid)?;
                let value = self.token(space(json, at)).ok_or(Invalid)?;
                at = value.end();
                each(name, value)?;
                match behind(json, at, b'}') {
                    Some(end) => break end,
                    None => at = behind(json, at, b',').ok_or(Invalid)?,
                }
            },
        };
        if space(json, end) == json.len() { Ok(()) } else { Err(Invalid.into()) }
    }

    fn token(&self, start: usize) -> Option<Token<'a>> {
        let json = self.text.as_bytes();
        let (end, is_escaped) =
            if peek(json, start) == b'"' { read_string(json, start + 1) } else { (value(json, start)?, false) };
        Some(Token { json: self.text.get(start..end)?, start, is_escaped })
    }
}

// What follows steps over a part of the text that begins at a place, and says where it ends: `NOWHERE`, if the part is not
// there. Places are passed and given back by value, so that they stay in registers.

/// Where no text is: whatever is looked for there, is not there either.
const NOWHERE: usize = usize::MAX;

/// The byte at a place. Behind the end it is NUL, which JSON has nowhere.
#[inline]
fn peek(json: &[u8], at: usize) -> u8 {
    json.get(at).copied().unwrap_or(0)
}

/// Where the next byte is that is no white space.
#[inline]
fn space(json: &[u8], at: usize) -> usize {
    if peek(json, at) > b' ' { at } else { behind_space(json, at) }
}

#[inline(never)]
fn behind_space(json: &[u8], mut at: usize) -> usize {
    while let b'\t' | b'\n' | b'\r' | b' ' = peek(json, at) {
        at += 1;
    }
    at
}

/// A value of any depth: that costs a bit a level, and not the stack.
#[inline(never)]
fn value(json: &[u8], mut at: usize) -> Option<usize> {
    let mut open = Open::default();
    let mut is_named = false;
    loop {
        if is_named {
            at = behind(json, at, b'"')?;
            at = behind(json, name(json, at), b':')?;
        }
        let byte = peek(json, at);
        // The usual first: what is told by a table of jumps takes longer.
        at = if byte == b'"' {
            string(json, at + 1)
        } else if byte.is_ascii_digit() || byte == b'-' {
            number(json, at, byte)
        } else {
            match byte {
                b'{' | b'[' => {
                    is_named = byte == b'{';
                    // In ASCII, a closing bracket comes two after its opening one.
                    match behind(json, at + 1, byte + 2) {
                        Some(at) => at,
                        None => {
                            open.push(is_named);
                            at += 1;
                            continue;
                        }
                    }
                }
                b't' => literal(json, at, b"true"),
                b'f' => literal(json, at, b"false"),
                b'n' => literal(json, at, b"null"),
                b'\t' | b'\n' | b'\r' | b' ' => {
                    is_named = false;
                    at = behind_space(json, at);
                    continue;
                }
                _ => return None,
            }
        };
        // Behind a value: what ends its brackets, up to a comma.
        loop {
            let Some(is_object) = open.last() else { return (at != NOWHERE).then_some(at) };
            let byte = peek(json, at);
            if byte == b',' {
                is_named = is_object;
                break;
            }
            match byte {
                b'}' if is_object => open.pop(),
                b']' if !is_object => open.pop(),
                b'\t' | b'\n' | b'\r' | b' ' => {
                    at = behind_space(json, at);
                    continue;
                }
                _ => return None,
            }
            at += 1;
        }
        at += 1;
    }
}

/// The place behind this one byte, before which there may be white space.
#[inline]
fn behind(json: &[u8], at: usize, byte: u8) -> Option<usize> {
    if peek(json, at) == byte {
        return Some(at + 1);
    }
    let at = space(json, at);
    (peek(json, at) == byte).then(|| at + 1)
}

/// The rest of a member's name, behind its opening quote: a string, but mostly a short one.
#[inline]
fn name(json: &[u8], at: usize) -> usize {
    match near(json, at) {
        Some(special) => closed(json, special),
        None => string(json, at),
    }
}

/// The rest of a string, behind its opening quote.
#[inline(never)]
fn string(json: &[u8], at: usize) -> usize {
    closed(json, special(json, at))
}

/// As [`string`], and whether it has escapes.
#[inline]
fn read_string(json: &[u8], at: usize) -> (usize, bool) {
    let special = near(json, at).unwrap_or_else(|| special(json, at));
    (closed(json, special), peek(json, special) != b'"')
}

/// The rest of a string, from the first quote, backslash or control character on.
#[inline]
fn closed(json: &[u8], special: usize) -> usize {
    if peek(json, special) == b'"' { special + 1 } else { escaped(json, special) }
}

/// The rest of a string, from a backslash on.
#[inline(never)]
fn escaped(json: &[u8], mut at: usize) -> usize {
    loop {
        match peek(json, at) {
            b'"' => return at + 1,
            b'\\' => at = special(json, escape(json, at)),
            _ => return NOWHERE,
        }
    }
}

#[inline]
fn number(json: &[u8], mut at: usize, mut byte: u8) -> usize {
    if byte == b'-' {
        at += 1;
        byte = peek(json, at);
    }
    // What follows a leading zero is looked at by whoever expects a comma.
    (at, byte) = if byte == b'0' { (at + 1, peek(json, at + 1)) } else { digits(json, at, byte) };
    if byte == b'.' {
        (at, byte) = digits(json, at + 1, peek(json, at + 1));
    }
    if byte | 0x20 == b'e' {
        let is_signed = matches!(peek(json, at + 1), b'+' | b'-');
        at += 1 + usize::from(is_signed);
        (at, _) = digits(json, at, peek(json, at));
    }
    at
}

/// At least one, the first of which is this; and the byte behind them.
#[inline]
fn digits(json: &[u8], mut at: usize, mut byte: u8) -> (usize, u8) {
    if !byte.is_ascii_digit() {
        return (NOWHERE, 0);
    }
    while byte.is_ascii_digit() {
        at += 1;
        byte = peek(json, at);
    }
    (at, byte)
}

#[inline(never)]
fn literal(json: &[u8], at: usize, literal: &[u8]) -> usize {
    match json.get(at..) {
        Some(rest) if rest.starts_with(literal) => at + literal.len(),
        _ => NOWHERE,
    }
}

/// As [`special`], if it is among the next eight bytes.
#[inline]
fn near(json: &[u8], at: usize) -> Option<usize> {
    let bytes = json.get(at..)?.first_chunk()?;
    special_in(bytes).map(|ahead| at + ahead)
}

/// Where the next quote, backslash or control character is.
#[inline(always)] // A call of its own would take as long as most texts.
fn special(json: &[u8], at: usize) -> usize {
    let mut rest = json.get(at..).unwrap_or_default();
    while let Some((bytes, behind)) = rest.split_first_chunk::<16>() {
        // Without a way out of it, this is a few instructions.
        if bytes.iter().fold(false, |found, byte| found | (byte ^ 0b10 <= 0b10_0000) | (*byte == b'\\')) {
            break;
        }
        rest = behind;
    }
    while let Some((bytes, behind)) = rest.split_first_chunk() {
        if let Some(ahead) = special_in(bytes) {
            return json.len() - rest.len() + ahead;
        }
        rest = behind;
    }
    match rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')) {
        Some(ahead) => json.len() - rest.len() + ahead,
        None => NOWHERE,
    }
}

/// How far ahead the first of them is in these bytes.
#[inline]
fn special_in(bytes: &[u8; 8]) -> Option<usize> {
    let bytes = u64::from_le_bytes(*bytes);
    // The highest bit of each ASCII byte that is less than another, after Mycroft: exact for the lowest of them. With one bit
    // changed, a quote comes right behind the control characters.
    let below = |changed: u8, least: u8| (bytes ^ (ONES * u64::from(changed))).wrapping_sub(ONES * u64::from(least));
    let found = (below(0b10, (b'"' ^ 0b10) + 1) | below(b'\\', 1)) & !bytes & (ONES << 7);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// An escape, which begins with a backslash.
fn escape(json: &[u8], at: usize) -> usize {
    match peek(json, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at + 2,
        b'u' => match json.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => at + 6,
            _ => NOWHERE,
        },
        _ => NOWHERE,
    }
}

/// The brackets that are open: one bit each, set for an object.
struct Open {
    /// The innermost ones, up to 63, behind a bit that is always set.
    inner: u64,
    outer: Vec<u64>,
}

impl Default for Open {
    fn default() -> Self {
        Self { inner: 1, outer: Vec::new() }
    }
}

impl Open {
    #[inline]
    fn push(&mut self, is_object: bool) {
        if self.inner >> 63 == 1 {
            self.outer.push(self.inner);
            self.inner = 1;
        }
        self.inner = self.inner << 1 | u64::from(is_object);
    }

    #[inline]
    fn pop(&mut self) {
        self.inner >>= 1;
        if self.inner == 1 {
            self.inner = self.outer.pop().unwrap_or(1);
        }
    }

    #[inline]
    fn last(&self) -> Option<bool> {
        (self.inner > 1).then_some(self.inner & 1 == 1)
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

    #[test]
    fn what_ends_a_string_is_found_wherever_it_stands() {
        for special in
            ["\"", "\\\"", "\\\\", "\\", "\\u00e4", "\\u00", "\u{1f}", "\0", "\n", " ", "!", "#", "ä", "\u{80}"]
        {
            for length in 0..70 {
                for at in 0..=length {
                    let (ahead, behind) = ("a".repeat(at), "b".repeat(length - at));
                    compare(&format!("{{\"{ahead}{special}{behind}\":\"{ahead}{special}{behind}\"}}"));
                    compare(&format!("{{\"n\":[\"{ahead}{special}{behind}\",{{\"{ahead}{special}{behind}\":1}}]}}"));
                }
            }
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
