//! Comparison of several runs: a table, the differences of their configurations, and their curves.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::evaluation::classification::percent;
use crate::report::axis::{Scale, short};
use crate::report::chart::Chart;
use crate::report::over_epochs;
use crate::report::page::Escaped;
use crate::run::epoch::Epoch;
use crate::run::summary::{Summary, Task};

/// Run of a comparison, read from its folder.
pub(crate) struct Compared {
    /// Path of the run folder.
    pub(crate) name: String,
    pub(crate) summary: Summary,
    pub(crate) history: Vec<Epoch>,
    /// Configuration: each key with its value.
    pub(crate) settings: BTreeMap<String, String>,
}

/// Body of the comparison's page.
pub(crate) struct Comparison<'a>(pub(crate) &'a [Compared]);

impl Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(runs) = self;
        let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
        if let Some((best, result)) = best(runs) {
            writeln!(
                f,
                "<p class=\"lead\">{} runs. The best on its validation set is <b>{}</b>, with \
                 {result}; test sets are not used to choose.</p>",
                runs.len(),
                Escaped(&best.name),
            )?;
        }
        let has_accuracy = runs.iter().any(|run| run.summary.task == Task::Classification);
        writeln!(
            f,
            "<div class=\"scroll\"><table id=\"runs\">\n\
             <tr><th>Run</th><th>Network</th><th>Data</th><th>Parameters</th><th>Epochs</th>\
             <th>Best epoch</th>{}<th>Test loss</th><th>Fastest epoch, s</th><th>Total, s</th>\
             <th>SHA-256</th></tr>",
            if has_accuracy {
                "<th>Validation</th><th>Test</th><th>95 % interval</th>"
            } else {
                "<th>Validation loss</th>"
            }
        )?;
        for Compared { name, summary, .. } in *runs {
            let interval = summary.test_accuracy_low.zip(summary.test_accuracy_high);
            let interval = interval.map_or("-".to_owned(), |(low, high)| {
                format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high)
            });
            let results = if has_accuracy {
                let (validation, test) =
                    (percent(summary.val_accuracy), percent(summary.test_accuracy));
                format!("<td>{validation}</td><td>{test}</td><td>{interval}</td>")
            } else {
                format!("<td>{}</td>", number(summary.val_loss))
            };
            let sha = summary.params_sha256.as_deref().and_then(|sha| sha.get(..8)).unwrap_or("-");
            writeln!(
                f,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>{results}\
                 <td>{}</td><td>{}</td><td>{:.1}</td><td><code>{}</code></td></tr>",
                Escaped(name),
                Escaped(&summary.preset),
                Escaped(&summary.dataset),
                super::grouped(summary.params),
                summary.epochs,
                summary.best_epoch.map_or("-".to_owned(), |epoch| epoch.to_string()),
                number(summary.test_loss),
                number(summary.train_seconds_best_epoch),
                summary.seconds_total,
                Escaped(sha),
            )?;
        }
        writeln!(f, "</table></div>")?;
        self.differences(f)?;

        writeln!(f, "<h2>Curves</h2>\n<div class=\"charts\" id=\"curves\">")?;
        let chart = |title: &'static str, y_scale, percent, value: fn(&Epoch) -> f64| {
            let losses = title.ends_with("loss");
            let curve = |(colour, run): (usize, &Compared)| {
                over_epochs(&*run.name, colour, &run.history, value)
            };
            let curves = runs.iter().enumerate().map(curve).collect();
            Chart { title, y_scale, losses, percent, curves, ..Chart::default() }
        };
        write!(f, "{}", chart("Training loss", Scale::Linear, false, |epoch| epoch.train_loss))?;
        write!(f, "{}", chart("Validation loss", Scale::Linear, false, |epoch| epoch.val_loss))?;
        if has_accuracy {
            write!(
                f,
                "{}",
                chart("Validation accuracy", Scale::Linear, true, |epoch| epoch.val_accuracy)
            )?;
        }
        write!(f, "{}", chart("Gradient norm", Scale::Log, false, |epoch| epoch.grad_norm))?;
        writeln!(f, "</div>")
    }
}

impl Comparison<'_> {
    /// Writes the keys whose values differ between runs.
    fn differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(runs) = self;
        let keys: std::collections::BTreeSet<_> =
            runs.iter().flat_map(|run| run.settings.keys()).collect();
        let value = |run: &Compared, key: &str| {
            run.settings.get(key).cloned().unwrap_or_else(|| "-".into())
        };
        let differs =
            |key: &&String| runs.iter().any(|run| value(run, key) != value(&runs[0], key));
        let keys: Vec<_> = keys.into_iter().filter(differs).collect();
        if keys.is_empty() {
            return writeln!(f, "<p>Their configurations are identical.</p>");
        }
        writeln!(
            f,
            "<h2>Differences of the configurations</h2>\n\
             <div class=\"scroll\"><table class=\"texts\" id=\"differences\"><tr><th>Key</th>"
        )?;
        for run in *runs {
            write!(f, "<th>{}</th>", Escaped(&run.name))?;
        }
        writeln!(f, "</tr>")?;
        for key in keys {
            write!(f, "<tr><td>{}</td>", Escaped(key))?;
            for run in *runs {
                write!(f, "<td><code>{}</code></td>", Escaped(&value(run, key)))?;
            }
            writeln!(f, "</tr>")?;
        }
        writeln!(f, "</table></div>")
    }
}

/// Run with the highest validation accuracy, and that accuracy; if no run has one, the run with the
/// lowest validation loss. The first of equal runs.
fn best(runs: &[Compared]) -> Option<(&Compared, String)> {
    let best_by = |metric: fn(&Summary) -> Option<f64>| {
        let scored = runs.iter().rev().filter_map(move |run| Some((run, metric(&run.summary)?)));
        scored.max_by(|(_, a), (_, b)| a.total_cmp(b))
    };
    let by_accuracy = best_by(|summary| summary.val_accuracy)
        .map(|(run, accuracy)| (run, percent(Some(accuracy))));
    let by_loss = || best_by(|summary| summary.val_loss.map(|loss| -loss));
    by_accuracy
        .or_else(|| by_loss().map(|(run, loss)| (run, format!("a loss of {}", short(-loss)))))
}

/// Each key of a configuration with its value; keys in tables are `table.key`.
pub(crate) fn settings(config: &toml::Table) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, value) in config {
        match value {
            toml::Value::Table(table) => {
                all.extend(
                    settings(table)
                        .into_iter()
                        .map(|(inner, value)| (format!("{key}.{inner}"), value)),
                );
            }
            toml::Value::String(text) => drop(all.insert(key.clone(), text.clone())),
            value => drop(all.insert(key.clone(), brief(value))),
        }
    }
    all
}

/// `value` in one line; a list of tables, such as layers, as the kinds of its elements.
fn brief(value: &toml::Value) -> String {
    let kind = |value: &toml::Value| Some(value.get("kind")?.as_str()?.to_owned());
    let kinds = value.as_array().and_then(|all| all.iter().map(kind).collect::<Option<Vec<_>>>());
    let Some(kinds) = kinds.filter(|kinds| !kinds.is_empty()) else { return value.to_string() };
    let runs = kinds.chunk_by(|a, b| a == b).map(|run| match run {
        [one] => one.clone(),
        several => format!("{} x {}", several.len(), several[0]),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_one_line_each() {
        let text = "lr = 0.1\ndata = \"x\"\n[optimizer]\nkind = \"adam\"\n\
                    [[layers]]\nkind = \"relu\"\n[[layers]]\nkind = \"relu\"\n\
                    [[layers]]\nkind = \"dense\"\nunits = 3\n";
        let all = settings(&text.parse().expect("TOML"));
        let all: Vec<_> = all.iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(all, ["data x", "layers 2 x relu, dense", "lr 0.1", "optimizer.kind adam"]);
    }
}
