//! Text of unknown origin made safe to print: control characters of class names, columns, paths and
//! the like would clear a terminal, move its cursor or reorder a line.
//!
//! ```text
//! name(text)     one line: what a file calls something, on its way into a table or a message
//! lines(text)    the same, but for line feeds: what stdout and stderr are given
//! ```
//!
//! An escape is that of JSON and TOML (`\u001b`), so that machine-readable output stays what it
//! was. [`print`](crate::commands::output::print) and [`say`](crate::machine::terminal::say) call [`lines`] for every
//! command.

use std::borrow::Cow;

/// `text` without control characters.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// `text` without control characters other than line feeds and tabs.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_unsafe = |c: char| (c.is_control() || reorders(c)) && !stays(c);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // All of them are in the basic plane: four digits.
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// `true` for the marks of bidirectional text that change the order of what follows (UAX #9,
/// section 2).
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_left() {
        assert_eq!(
            name("\u{1b}[2Ja\nb\t\u{9b}c\u{7f}\u{202e}d"),
            "\\u001b[2Ja\\u000ab\\u0009\\u009bc\\u007f\\u202ed"
        );
        assert_eq!(lines("a\r\n\tb\u{1b}"), "a\\u000d\n\tb\\u001b");
        assert!(matches!(name("Größe in µm, 「字」"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_means_the_same() {
        let text = "\u{1b}\u{9b}\u{7f}\n\t\u{202e}\\";
        let json = serde_json::to_string_pretty(&[text]).expect("a string");
        let back: Vec<String> = serde_json::from_str(&lines(&json)).expect("JSON");
        assert_eq!(back, [text]);
    }
}
