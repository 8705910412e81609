//! Lines on stderr, control characters escaped.

use std::io::Write;

use crate::machine::escape;

/// Prints a line on stderr, control characters escaped. Where nobody listens, nothing is lost.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escape::lines(line));
}
