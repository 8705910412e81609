//! Events of [`load`](super::load), and their display on stderr: notices as lines, downloads as a
//! progress bar.
//!
//! The bar is drawn on terminals only; a pipe gets only the notices. The command line passes
//! [`Terminal::on_event`] to [`load`](super::load).

use indicatif::{ProgressBar, ProgressStyle};

use crate::machine::terminal::say;

/// Event of [`load`](super::load). [`Terminal`] displays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Sentence that the user should read.
    Notice(&'a str),
    /// A download from this URL has started.
    Started(&'a str),
    /// A part of the download has arrived.
    Received {
        /// Bytes so far.
        bytes: u64,
        /// Length of the download, if the server states it.
        total: Option<u64>,
    },
    /// The download has succeeded or failed.
    Finished,
}

/// Template of the progress bar.
const TEMPLATE: &str = "{msg} {bytes} of {total_bytes} {wide_bar} {eta}";

/// Displays events on stderr.
#[derive(Debug, Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Displays one event.
    pub fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Notice(text) => say(text),
            // indicatif draws to stderr, and only if that is a terminal.
            Event::Started(url) => {
                let style = ProgressStyle::with_template(TEMPLATE)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::no_length().with_style(style);
                self.bar = Some(bar.with_message(url.to_owned()));
            }
            Event::Received { bytes, total } => {
                if let Some(bar) = &self.bar {
                    if let Some(total) = total {
                        bar.set_length(total);
                    }
                    bar.set_position(bytes);
                }
            }
            Event::Finished => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_one_download_and_is_cleared_after_it() {
        let mut terminal = Terminal::default();
        terminal.on_event(Event::Received { bytes: 1, total: None });
        terminal.on_event(Event::Started("http://mirror/file.gz"));
        terminal.on_event(Event::Received { bytes: 10, total: Some(40) });
        terminal.on_event(Event::Received { bytes: 20, total: Some(40) });
        let bar = terminal.bar.clone().expect("a bar for the download");
        assert_eq!((bar.position(), bar.length()), (20, Some(40)));
        assert_eq!(bar.message(), "http://mirror/file.gz");
        terminal.on_event(Event::Finished);
        assert!(bar.is_finished() && terminal.bar.is_none());
    }

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
