//! Non-finite steps, and how the run recovered from them.

use std::fmt::{self, Display};

use crate::report::page::Escaped;
use crate::run::epoch::Epoch;
use crate::run::health::Health;

/// Maximum number of rows in the table.
const MAX_ROWS: usize = 400;

/// Section on non-finite steps; empty if there are none.
pub(crate) struct Recovery<'a> {
    pub(crate) history: &'a [Epoch],
    pub(crate) record: &'a [Health],
}

impl Display for Recovery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divergences = self.record.iter().flat_map(|health| &health.non_finite).peekable();
        if divergences.peek().is_none() {
            return Ok(());
        }
        let skipped: u64 = self.history.iter().map(|epoch| epoch.skipped).sum();
        let rollbacks: u32 = self.history.iter().map(|epoch| epoch.rollbacks).sum();
        writeln!(
            f,
            "<h2>Non-finite steps</h2>\n\
             <p>In the finished epochs, {skipped} steps were skipped. The run rolled back \
             {rollbacks} times to the end of the epoch before, and halved the learning rate each \
             time. The table has the first few non-finite steps of each epoch, at most \
             {MAX_ROWS}:</p>\n\
             <div class=\"scroll\"><table id=\"recovery\">\n\
             <tr><th>Epoch</th><th>Step</th><th>Loss</th><th>Origin</th></tr>"
        )?;
        for divergence in divergences.take(MAX_ROWS) {
            let origin = divergence.location.as_deref().unwrap_or("unknown");
            writeln!(
                f,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                divergence.epoch,
                divergence.step,
                divergence.loss,
                Escaped(origin)
            )?;
        }
        writeln!(f, "</table></div>")
    }
}
