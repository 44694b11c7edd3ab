use std::fmt::{self, Write};

/// A stranger's text on one line of a log: of bounded length, and without characters that steer a terminal or a reader.
#[derive(Clone, Copy)]
pub(crate) struct Printable<'a> {
    text: &'a str,
    longest: usize,
}

impl<'a> Printable<'a> {
    /// A name: at most 128 characters.
    pub(crate) const fn name(text: &'a str) -> Self {
        Self { text, longest: 128 }
    }

    /// A reason: at most 1,024 characters.
    pub(crate) const fn reason(text: &'a str) -> Self {
        Self { text, longest: 1024 }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text.chars();
        for c in rest.by_ref().take(self.longest) {
            if is_steering(c) { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        if rest.next().is_some() { f.write_str("..") } else { Ok(()) }
    }
}

/// Control characters, line and paragraph separators, and what changes the direction of text.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::Printable;

    #[test]
    fn a_text_stays_on_its_line() {
        let shown = |text: &str| Printable::name(text).to_string();
        assert_eq!(shown("an order ä"), "an order ä");
        assert_eq!(shown("a\r\n\u{1b}[31mb\u{2028}\u{202e}"), r"a\u{d}\u{a}\u{1b}[31mb\u{2028}\u{202e}");
        assert_eq!(shown(&"ä".repeat(128)), "ä".repeat(128));
        assert_eq!(shown(&"ä".repeat(129)), format!("{}..", "ä".repeat(128)));
    }
}
