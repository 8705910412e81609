//! Several runs side by side: a table, what their configurations differ in, and their curves over one another.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::evaluation::classification::percent;
use crate::report::axis::{Scale, short};
use crate::report::chart::Chart;
use crate::report::over_epochs;
use crate::report::page::Escaped;
use crate::run::epoch::Epoch;
use crate::run::summary::{Summary, Task};

/// A run, as its folder has it.
pub(crate) struct Compared {
    /// Its folder.
    pub(crate) name: String,
    pub(crate) summary: Summary,
    pub(crate) history: Vec<Epoch>,
    /// Its configuration, each key with its value.
    pub(crate) settings: BTreeMap<String, String>,
}

/// The page's body.
pub(crate) struct Comparison<'a>(pub(crate) &'a [Compared]);

impl Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(runs) = self;
        let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
        if let Some((best, result)) = best(runs) {
            writeln!(
                f,
                "<p class=\"lead\">{} runs. The best on its validation set is <b>{}</b>, with {result}; results on test sets are \
                 shown, but chose nothing.</p>",
                runs.len(),
                Escaped(&best.name),
            )?;
        }
        let has_accuracy = runs.iter().any(|run| run.summary.task == Task::Classification);
        writeln!(
            f,
            "<div class=\"scroll\"><table id=\"runs\">\n<tr><th>Run</th><th>Network</th><th>Data</th><th>Parameters</th><th>Epochs</th>\
             <th>Best</th>{}<th>Test loss</th><th>Epoch, s</th><th>Seconds</th><th>Weights</th></tr>",
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
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>{results}<td>{}</td><td>{}</td><td>{:.1}</td>\
                 <td><code>{}</code></td></tr>",
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
        let chart = |title: &'static str, scale, percent, value: fn(&Epoch) -> f64| {
            let losses = title.ends_with("loss");
            let curves = runs.iter().enumerate();
            let curves =
                curves.map(|(at, run)| over_epochs(&*run.name, at, &run.history, value)).collect();
            Chart { title, scale, losses, percent, curves, ..Chart::default() }
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
    /// The keys whose values are not the same in all runs.
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
            return writeln!(f, "<p>Their configurations are the same.</p>");
        }
        writeln!(
            f,
            "<h2>What they differ in</h2>\n<div class=\"scroll\"><table class=\"texts\" id=\"differences\"><tr><th>Key</th>"
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

/// The run with the best validation accuracy, and that; where none has any, with the least validation loss. Of equals the first.
fn best(runs: &[Compared]) -> Option<(&Compared, String)> {
    let by = |measure: fn(&Summary) -> Option<f64>| {
        let measured = runs.iter().rev().filter_map(move |run| Some((run, measure(&run.summary)?)));
        measured.max_by(|(_, a), (_, b)| a.total_cmp(b))
    };
    let accurate =
        by(|summary| summary.val_accuracy).map(|(run, share)| (run, percent(Some(share))));
    let near = || by(|summary| summary.val_loss.map(|loss| -loss));
    accurate.or_else(|| near().map(|(run, loss)| (run, format!("a loss of {}", short(-loss)))))
}

/// Each key of a configuration with its value; those of tables as `table.key`.
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

/// A value in a line; of a list of tables, such as layers, the kinds.
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
        let text = "lr = 0.1\ndata = \"x\"\n[optimizer]\nkind = \"adam\"\n[[layers]]\nkind = \"relu\"\n[[layers]]\nkind = \"relu\"\n\
                    [[layers]]\nkind = \"dense\"\nunits = 3\n";
        let all = settings(&text.parse().expect("TOML"));
        let all: Vec<_> = all.iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(all, ["data x", "layers 2 x relu, dense", "lr 0.1", "optimizer.kind adam"]);
    }
}
