//! HTML page in a single file: head, style sheet, and escaped text.

use std::fmt::{self, Display, Write};

/// Style sheet: colours for light, dark and print, and a layout that fits a phone.
const STYLE: &str = include_str!("style.css");

/// Page with this title. `body` is markup.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) body: &'a str,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, body } = self;
        let title = Escaped(title);
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\"><title>{title}</title>\n\
             <style>\n{STYLE}</style></head>\n\
             <body><main>\n<h1>{title}</h1>\n{body}</main></body></html>\n"
        )
    }
}

/// `word` with a capital first letter.
pub(crate) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Text with the characters of markup escaped.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Escaped("<b a='\"'>&").to_string(), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        let page = Page { title: "<script>", body: "<p>as it is</p>" }.to_string();
        assert!(!page.contains("<script>") && page.contains("<p>as it is</p>"));
    }
}
