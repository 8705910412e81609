//! Steps that were not finite, and what was done about them.

use std::fmt::{self, Display};

use crate::report::page::Escaped;
use crate::run::epoch::Epoch;
use crate::run::health::Health;

/// Rows of the table, at most.
const MOST_ROWS: usize = 400;

/// The section; nothing if every step was finite.
pub(crate) struct Recovered<'a> {
    pub(crate) history: &'a [Epoch],
    pub(crate) record: &'a [Health],
}

impl Display for Recovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut places = self.record.iter().flat_map(|health| &health.non_finite).peekable();
        if places.peek().is_none() {
            return Ok(());
        }
        let skipped: u64 = self.history.iter().map(|epoch| epoch.skipped).sum();
        let rollbacks: u32 = self.history.iter().map(|epoch| epoch.rollbacks).sum();
        writeln!(
            f,
            "<h2>Steps that were not finite</h2>\n<p>In the epochs that were finished, {skipped} steps were left out, and {rollbacks} \
             times the run went back to the end of the epoch before, with half the learning rate from there on. The table has the \
             first few of each epoch, and {MOST_ROWS} at most:</p>\n<div class=\"scroll\"><table id=\"recovery\">\n<tr><th>Epoch</th><th>Step</th><th>Loss</th><th>It began in</th></tr>"
        )?;
        for place in places.take(MOST_ROWS) {
            let origin = place.location.as_deref().unwrap_or("no place that could be found");
            writeln!(
                f,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                place.epoch,
                place.step,
                place.loss,
                Escaped(origin)
            )?;
        }
        writeln!(f, "</table></div>")
    }
}
