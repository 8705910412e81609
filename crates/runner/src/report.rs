//! `report.html`: what was trained, on what, how well, what the gradients did, and how the test set was answered.
//!
//! ```text
//! page  axis  chart  polyline  the parts of every report
//! recovery              steps that were not finite
//! gradients             norms over time, sizes, ratios         from health.jsonl
//! reading               confusion, images, maps                from the answers to the test set
//! environment           what it was made with
//! comparison            several runs side by side
//! ```
//!
//! One file that needs no other and no network: styles, curves (SVG) and pictures (PNG) are part of it, and it follows the
//! reader's light or dark theme. `train` writes it; `evenkeel report` writes it anew, from the files of the run folder.

mod axis;
mod chart;
pub(crate) mod comparison;
mod environment;
mod gradients;
pub(crate) mod page;
mod polyline;
mod reading;
mod recovery;

use std::fmt::Write;

use axis::{Scale, short};
use chart::{Chart, Curve};
use environment::Environment;
pub(crate) use environment::command_line;
use gradients::Gradients;
use kernels::Cpu;
use page::{Escaped, Page, capital};
use reading::Reading;
use recovery::Recovered;

use crate::Error;
use crate::data::element::Element;
use crate::evaluation::attribution::Mapper;
use crate::evaluation::classification::{ClassificationMetrics, percent};
use crate::evaluation::predictions::Predictions;
use crate::run::epoch::Epoch;
use crate::run::health::Health;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::summary::{Status, Summary};
use crate::run::weights::ModelWeights;

/// Everything that a report is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The run.
    pub setup: &'a Setup,
    /// What it came to.
    pub summary: &'a Summary,
    /// Its epochs.
    pub history: &'a [Epoch],
    /// What was seen of its gradients.
    pub health: &'a [Health],
}

/// The page for a run; `test` are its best weights and their answers to the test set, if it is done.
///
/// # Errors
/// [`Error::Usage`] if the configuration cannot be written, [`Error::Network`] if there is no memory for the maps.
pub fn html<T: Element>(
    material: Material<'_>,
    cpu: Cpu<'_>,
    test: Option<(&mut ModelWeights<T>, &Predictions)>,
) -> Result<String, Error> {
    let Material { setup, summary, history, health } = material;
    let noun = setup.dataset.train.noun();
    let mut body = String::new();
    let unwritable = |_| Error::Usage("report: a value cannot be written".into());
    introduction(&mut body, material).map_err(unwritable)?;
    tiles(&mut body, material, test.as_ref().map(|(_, answers)| *answers))?;
    curves(&mut body, summary, history).map_err(unwritable)?;
    write!(body, "{}{}", Recovered { history, record: health }, Gradients { record: health, noun })
        .map_err(unwritable)?;
    if let Some((weights, answers)) = test {
        let set = &setup.dataset.test;
        // Whatever the loss of the run, what is explained is a probability.
        let layers = setup.config.layers.as_deref().unwrap_or_default();
        let network = setup::network(&setup.config, setup.network.input(), layers, false)?;
        let mut mapper = Mapper::new(&network, cpu)?;
        // What is not in bytes is not drawn.
        let drawn = if set.pixels().is_empty() { Vec::new() } else { reading::explained(answers) };
        let maps = drawn.into_iter().filter_map(|at| Some((at, answers.predicted[at]?))).map(
            |(at, class)| {
                let image = set.image(answers.examples[at] as usize).unwrap_or_default();
                Ok((at, mapper.maps(&network, cpu, weights, image, class)?))
            },
        );
        let maps = maps.collect::<Result<Vec<_>, Error>>()?;
        let confusion = answers.confusion()?;
        write!(
            body,
            "{}",
            Reading::new(answers, &confusion, &setup.dataset.names.classes, set, &maps)?
        )
        .map_err(unwritable)?;
    }
    let config = setup.config.to_toml()?;
    let counts = format!(
        "{} to train on, {} to validate, {} to test",
        setup.split.train.len(),
        setup.split.validation.len(),
        setup.dataset.test.len()
    );
    write!(
        body,
        "{}",
        Environment {
            summary,
            widths: setup.widths(),
            examples: (capital(noun), counts),
            config: &config
        }
    )
    .map_err(unwritable)?;
    let title = format!("{} on {}", summary.preset, summary.dataset);
    Ok(Page { title: &title, body: &body }.to_string())
}

/// Three sentences, and a warning where the data were generated.
fn introduction(body: &mut String, material: Material<'_>) -> std::fmt::Result {
    let Material { setup, summary, .. } = material;
    let noun = setup.dataset.train.noun();
    let optimizer = toml::Table::try_from(setup.config.optimizer).ok();
    let kind = optimizer.as_ref().and_then(|table| table.get("kind")?.as_str());
    let optimizer = kind.unwrap_or("its optimizer");
    let plural = if summary.epochs == 1 { "" } else { "s" };
    let what = format!(
        "A network of {} parameters ({}) was trained on {} {noun} of {} for {} epoch{plural} with {optimizer}, in batches of {}.",
        grouped(summary.params),
        setup.widths(),
        grouped(setup.split.train.len()),
        summary.dataset,
        summary.epochs,
        setup.config.batch,
    );
    let result = summary.val_accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy));
    let result = result.or_else(|| Some(format!("loss {:.4}", summary.val_loss?)));
    let took = match (summary.best_epoch, result) {
        (Some(epoch), Some(result)) => format!(
            "That took {:.1} seconds on {} thread{}; kept are the weights of epoch {epoch}, the best on {} {noun} that were held out \
             ({result}).",
            summary.seconds_total,
            summary.threads,
            if summary.threads == 1 { "" } else { "s" },
            grouped(setup.split.validation.len()),
        ),
        _ => format!("That took {:.1} seconds; no epoch was finished.", summary.seconds_total),
    };
    writeln!(
        body,
        "<p class=\"lead\">{} {} {}</p>",
        Escaped(&what),
        Escaped(&verdict(summary, noun)),
        Escaped(&took)
    )?;
    // Of other generated data, the name says what they are.
    if summary.data_synthetic && summary.dataset == "digits" {
        writeln!(
            body,
            "<p class=\"notice\">The images were generated; no person wrote them. Accuracies on them say nothing about MNIST.</p>"
        )?;
    }
    Ok(())
}

/// How the run ended, in a sentence.
fn verdict(summary: &Summary, noun: &str) -> String {
    match (
        summary.status,
        summary.test_accuracy,
        summary.test_accuracy_low,
        summary.test_accuracy_high,
    ) {
        (Status::Done, Some(accuracy), Some(low), Some(high)) => format!(
            "Test accuracy: {:.2} % (95 % interval {:.2} to {:.2} %) on {} {noun} that took no part in training.",
            100.0 * accuracy,
            100.0 * low,
            100.0 * high,
            grouped(summary.test_examples)
        ),
        (Status::Done, ..) => format!(
            "Test loss: {}{} on {} {noun} that took no part in training.",
            summary.test_loss.map_or("-".to_owned(), short),
            summary
                .target_std
                .map(|std| format!(" (values in units of {})", short(std)))
                .unwrap_or_default(),
            grouped(summary.test_examples)
        ),
        (Status::Diverged, ..) => "The run diverged: loss or gradient was no longer finite.".into(),
        _ => "The run was interrupted; it can be resumed.".into(),
    }
}

/// The figures of the test set.
fn tiles(
    body: &mut String,
    material: Material<'_>,
    answers: Option<&Predictions>,
) -> Result<(), Error> {
    let Some(answers) = answers else { return Ok(()) };
    let Material { setup, summary, .. } = material;
    let measures = ClassificationMetrics::new(
        answers,
        setup.dataset.test.noun(),
        &setup.dataset.names.classes,
    )?;
    let tiles = [
        (percent(summary.test_accuracy), "test accuracy"),
        (summary.test_loss.map_or("-".to_owned(), short), "test loss, nats"),
        (percent(measures.f1_macro), "F1, mean of classes"),
        (
            measures.roc_auc_macro.map_or("-".to_owned(), |area| format!("{area:.4}")),
            "area under ROC",
        ),
        (percent(Some(measures.calibration_error)), "calibration error"),
        (
            summary.train_seconds_best_epoch.map_or("-".to_owned(), |s| format!("{s:.2} s")),
            "fastest epoch",
        ),
    ];
    body.push_str("<div class=\"tiles\">");
    for (value, name) in tiles {
        body.push_str(&format!(
            "<div class=\"tile\"><b>{}</b><span>{name}</span></div>",
            Escaped(&value)
        ));
    }
    body.push_str("</div>\n");
    Ok(())
}

/// A page with one chart of losses, over numbers on a logarithmic scale.
pub(crate) fn plot(
    title: &str,
    name: &str,
    below: &str,
    curves: Vec<(&str, Vec<(f64, f64)>)>,
    mark: Option<(f64, String)>,
) -> String {
    // The last curve stands out.
    let colours = [7, 0];
    let curve = |((name, points), colour): ((&str, _), usize)| Curve::new(name, colour, points);
    let curves = curves.into_iter().zip(colours).map(curve).collect();
    let (across, losses, wide) = (Scale::Log, true, true);
    let chart =
        Chart { title: name, below, across, losses, wide, curves, mark, ..Chart::default() };
    Page { title, body: &chart.to_string() }.to_string()
}

/// A curve over the epochs.
pub(crate) fn over_epochs(
    name: impl Into<String>,
    colour: usize,
    history: &[Epoch],
    value: impl Fn(&Epoch) -> f64,
) -> Curve {
    Curve::new(
        name,
        colour,
        history.iter().map(|epoch| (f64::from(epoch.epoch), value(epoch))).collect(),
    )
}

/// Rows of the table of epochs, about: of a longer run, some are left out evenly.
const MOST_ROWS: usize = 400;

/// How loss, accuracy and gradient norm went, and the same in numbers.
fn curves(body: &mut String, summary: &Summary, history: &[Epoch]) -> std::fmt::Result {
    if history.is_empty() {
        return Ok(());
    }
    let best = || summary.best_epoch.map(|epoch| (f64::from(epoch), format!("best: {epoch}")));
    let charts = [
        Chart {
            title: "Loss",
            losses: true,
            curves: vec![
                over_epochs("training", 0, history, |epoch| epoch.train_loss),
                over_epochs("validation", 1, history, |epoch| epoch.val_loss),
            ],
            mark: best(),
            ..Chart::default()
        },
        Chart {
            title: "Accuracy",
            percent: true,
            curves: vec![over_epochs("validation", 1, history, |epoch| epoch.val_accuracy)],
            mark: best(),
            ..Chart::default()
        },
        Chart {
            title: "Gradient norm",
            scale: Scale::Log,
            curves: vec![
                over_epochs("mean", 0, history, |epoch| epoch.grad_norm),
                over_epochs("largest", 1, history, |epoch| epoch.grad_norm_max),
            ],
            ..Chart::default()
        },
    ];
    writeln!(body, "<h2>Training</h2>\n<div class=\"charts\" id=\"curves\">")?;
    let has_accuracy = history.iter().any(|epoch| !epoch.val_accuracy.is_nan());
    for chart in charts.iter().filter(|chart| !chart.percent || has_accuracy) {
        write!(body, "{chart}")?;
    }
    let apart = history.len().div_ceil(MOST_ROWS);
    let rows = match apart {
        0 | 1 => "Every epoch".to_owned(),
        _ => format!("One epoch in {apart}; all of them are in metrics.csv"),
    };
    writeln!(
        body,
        "</div>\n<details><summary>{rows}</summary><div class=\"scroll\"><table>\n<tr><th>Epoch</th>\
         <th>Training loss</th><th>Validation loss</th>{}<th>Gradient norm</th><th>Largest</th><th>Last rate</th><th>Seconds</th></tr>",
        if has_accuracy { "<th>Validation accuracy</th>" } else { "" }
    )?;
    let is_shown = |at: usize, epoch: &Epoch| {
        at.is_multiple_of(apart)
            || at + 1 == history.len()
            || Some(epoch.epoch) == summary.best_epoch
    };
    for (_, epoch) in history.iter().enumerate().filter(|(at, epoch)| is_shown(*at, epoch)) {
        let accuracy = format!("<td>{:.2} %</td>", 100.0 * epoch.val_accuracy);
        let accuracy = if has_accuracy { accuracy } else { String::new() };
        writeln!(
            body,
            "<tr><td>{}{}</td><td>{:.4}</td><td>{:.4}</td>{accuracy}<td>{:.3}</td><td>{:.3}</td><td>{:.2e}</td>\
             <td>{:.2}</td></tr>",
            epoch.epoch,
            if Some(epoch.epoch) == summary.best_epoch { " (kept)" } else { "" },
            epoch.train_loss,
            epoch.val_loss,
            epoch.grad_norm,
            epoch.grad_norm_max,
            epoch.lr,
            epoch.train_seconds,
        )?;
    }
    writeln!(body, "</table></div></details>")
}

/// `407,050`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 407_050, 1_234_567].map(grouped),
            ["0", "999", "1,000", "407,050", "1,234,567"]
        );
    }
}
