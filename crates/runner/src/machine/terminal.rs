//! Output of lines on stderr, with control characters escaped.

use std::io::Write;

use crate::machine::escape;

/// Prints a line on stderr, with control characters escaped. Ignores a closed stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escape::lines(line));
}
