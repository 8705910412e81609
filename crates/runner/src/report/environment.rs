//! Environment of a run: network, data, machine, configuration, and the command that repeats it.

use std::ffi::OsString;
use std::fmt::{self, Display};

use crate::report::page::Escaped;
use crate::run::summary::Summary;

/// Section on the environment of a run.
pub(crate) struct Environment<'a> {
    pub(crate) summary: &'a Summary,
    /// Widths of the network's layers.
    pub(crate) widths: String,
    /// Unit name of an example, capitalised, and the number of examples in each set.
    pub(crate) examples: (String, String),
    /// Resolved configuration.
    pub(crate) config: &'a str,
}

impl Display for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary, widths, examples: (unit_name, counts), config } = self;
        let unknown = || "unknown".to_owned();
        let rows = [
            (
                "Network",
                format!(
                    "{} ({widths}), {} parameters, {}",
                    summary.preset, summary.params, summary.dtype
                ),
            ),
            ("Data", format!("{} ({})", summary.dataset, summary.data_origin)),
            (unit_name.as_str(), counts.clone()),
            ("Seed", summary.seed.to_string()),
            ("Machine", summary.platform.clone()),
            ("Computed with", format!("{} threads, {}", summary.threads, summary.isa)),
            ("Seconds in all", format!("{:.2}", summary.seconds_total)),
            (
                "Fastest epoch",
                summary.train_seconds_best_epoch.map_or_else(unknown, |s| format!("{s:.3} s")),
            ),
            (
                "Peak memory",
                summary
                    .peak_rss_bytes
                    .map_or_else(unknown, |b| format!("{:.0} MB", b as f64 / 1e6)),
            ),
            ("Program", format!("evenkeel {}", summary.version)),
            ("SHA-256 of the data", summary.data_sha256.clone()),
            ("SHA-256 of the weights", summary.params_sha256.clone().unwrap_or_else(unknown)),
            ("Started as", summary.command.clone()),
        ];
        writeln!(
            f,
            "<h2>How to repeat it</h2>\n\
             <p>The configuration below is the run folder's <code>config.toml</code>. It repeats \
             the run, to the same SHA-256 of the weights, on any machine and with any number of \
             threads:</p>\n\
             <pre>evenkeel train --config config.toml</pre>\n\
             <div class=\"scroll\"><table class=\"facts\" id=\"environment\">"
        )?;
        for (name, value) in rows {
            writeln!(f, "<tr><td>{name}</td><td>{}</td></tr>", Escaped(&value))?;
        }
        writeln!(
            f,
            "</table></div>\n<details><summary>config.toml</summary><pre>{}</pre></details>",
            Escaped(config)
        )
    }
}

/// Command line of this process, quoted for a POSIX shell.
pub(crate) fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(quoted);
    ["evenkeel".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: OsString) -> String {
    let text = argument.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_a_shell_would_split_are_quoted() {
        let quoted = |text: &str| quoted(text.into());
        assert_eq!(quoted("--out=runs/a-1.2"), "--out=runs/a-1.2");
        assert_eq!(quoted("my run"), "'my run'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
