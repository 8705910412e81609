//! What [`load`](super::load) tells, shown to a person: notices as lines on stderr, downloads as a bar there.
//!
//! The bar is drawn on a terminal alone; in a pipe there are only the notices. The command line hands this to
//! [`load`](super::load).

use indicatif::{ProgressBar, ProgressStyle};

use crate::machine::terminal::say;

/// What [`load`] tells while it works. [`Terminal`] shows it to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something that the user ought to know, in a sentence.
    Notice(&'a str),
    /// A download of this address begins.
    Begun(&'a str),
    /// Part of it has arrived.
    Received {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, if the server says.
        total: Option<u64>,
    },
    /// It has ended, well or badly.
    Ended,
}

/// What the bar shows.
const TEMPLATE: &str = "{msg} {bytes} of {total_bytes} {wide_bar} {eta}";

/// Shows events on stderr.
#[derive(Debug, Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Shows one event.
    pub fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Notice(text) => say(text),
            // indicatif draws to stderr, and not at all where that is no terminal.
            Event::Begun(url) => {
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
            Event::Ended => {
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
    fn the_bar_follows_one_download_and_goes_with_it() {
        let mut terminal = Terminal::default();
        terminal.on_event(Event::Received { bytes: 1, total: None });
        terminal.on_event(Event::Begun("http://mirror/file.gz"));
        terminal.on_event(Event::Received { bytes: 10, total: Some(40) });
        terminal.on_event(Event::Received { bytes: 20, total: Some(40) });
        let bar = terminal.bar.clone().expect("a bar for what has begun");
        assert_eq!((bar.position(), bar.length()), (20, Some(40)));
        assert_eq!(bar.message(), "http://mirror/file.gz");
        terminal.on_event(Event::Ended);
        assert!(bar.is_finished() && terminal.bar.is_none());
    }

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
