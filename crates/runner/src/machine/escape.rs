//! Escaping of control characters in text of unknown origin, such as class names, columns and
//! paths. Unescaped, they could clear a terminal, move its cursor or reorder a line.
//!
//! ```text
//! name(text)     for a single line: names from files, in tables and messages
//! lines(text)    the same, but keeps line feeds and tabs: text for stdout and stderr
//! ```
//!
//! An escape has the form of JSON and TOML (`\u001b`), so that machine-readable output keeps its
//! meaning. [`print`](crate::commands::output::print) and [`say`](crate::machine::terminal::say)
//! call [`lines`] for every command.

use std::borrow::Cow;

/// Escapes all control characters of `text`.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Escapes the control characters of `text` other than line feeds and tabs.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_unsafe = |c: char| (c.is_control() || reorders(c)) && !is_allowed(c);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // All are in the basic multilingual plane: four digits.
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// `true` for the formatting characters of bidirectional text, which reorder the text after them
/// (UAX #9, section 2).
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            name("\u{1b}[2Ja\nb\t\u{9b}c\u{7f}\u{202e}d"),
            "\\u001b[2Ja\\u000ab\\u0009\\u009bc\\u007f\\u202ed"
        );
        assert_eq!(lines("a\r\n\tb\u{1b}"), "a\\u000d\n\tb\\u001b");
        assert!(matches!(name("Größe in µm, 「字」"), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_json_has_the_same_meaning() {
        let text = "\u{1b}\u{9b}\u{7f}\n\t\u{202e}\\";
        let json = serde_json::to_string_pretty(&[text]).expect("a string");
        let back: Vec<String> = serde_json::from_str(&lines(&json)).expect("JSON");
        assert_eq!(back, [text]);
    }
}
