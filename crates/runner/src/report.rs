//! `report.html`: network, data, results, gradients and test predictions of a run.
//!
//! ```text
//! page  axis  chart  polyline    elements of every report
//! findings       what the doctor finds in the run
//! recovery       non-finite steps
//! gradients      norms over time, magnitudes, update ratios    from health.jsonl
//! test_set       confusion matrix, images, attribution maps    from predictions on the test set
//! environment    machine, configuration, command line
//! comparison     several runs
//! diagnosis      what `diagnose` found, tried and cured
//! ```
//!
//! A report is one file that needs no other file and no network: styles, curves (SVG) and images
//! (PNG) are embedded. It follows the reader's light or dark theme. `train` writes it, and
//! `evenkeel report` re-renders it from the files of the run folder.

mod axis;
mod chart;
pub(crate) mod comparison;
pub mod diagnosis;
mod environment;
mod findings;
mod gradients;
pub(crate) mod page;
mod polyline;
mod recovery;
mod test_set;

use std::fmt::Write;

use axis::{Scale, short};
use chart::{Chart, Curve};
use environment::Environment;
pub(crate) use environment::command_line;
use findings::Findings;
use gradients::Gradients;
use kernels::Cpu;
use page::{Escaped, Page, capitalised};
use recovery::Recovery;
use test_set::TestSet;

use crate::Error;
use crate::data::element::Element;
use crate::diagnosis::run_record;
use crate::evaluation::attribution::Mapper;
use crate::evaluation::classification::{ClassificationMetrics, percent};
use crate::evaluation::predictions::Predictions;
use crate::evaluation::regression::loss_unit_note;
use crate::run::epoch::Epoch;
use crate::run::health::Health;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::summary::{Status, Summary};
use crate::run::weights::ModelWeights;

/// Input of a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// Setup of the run.
    pub setup: &'a Setup,
    /// Summary of the run.
    pub summary: &'a Summary,
    /// Epochs of the run.
    pub history: &'a [Epoch],
    /// Health of the gradients, epoch by epoch.
    pub health: &'a [Health],
}

/// Renders the page of a run. `test` holds its best weights and their predictions on the test set,
/// if the run is done.
///
/// # Errors
/// [`Error::Usage`] if the configuration cannot be written; [`Error::Network`] if there is no
/// memory for the attribution maps.
pub fn html<T: Element>(
    input: ReportInput<'_>,
    cpu: Cpu<'_>,
    test: Option<(&mut ModelWeights<T>, &Predictions)>,
) -> Result<String, Error> {
    let ReportInput { setup, summary, history, health } = input;
    let unit_name = setup.dataset.train.noun();
    let mut body = String::new();
    let unwritable = |_| Error::Usage("report: a value cannot be written".into());
    introduction(&mut body, input).map_err(unwritable)?;
    // Without the data: inspecting them takes longer than the rest of the report.
    let record = run_record::record(setup, history, health);
    let verdict = doctor::judge(&record, &setup.config.doctor);
    write!(body, "{}", Findings { verdict: &verdict, run: &summary.run }).map_err(unwritable)?;
    tiles(&mut body, input, test.as_ref().map(|(_, predictions)| *predictions))?;
    curves(&mut body, summary, history).map_err(unwritable)?;
    let recovery = Recovery { history, record: health };
    write!(body, "{recovery}{}", Gradients { record: health, unit_name }).map_err(unwritable)?;
    if let Some((weights, predictions)) = test {
        let set = &setup.dataset.test;
        // Maps attribute a probability, whatever the run's loss: the network without its loss.
        let layers = setup.config.layers.as_deref().unwrap_or_default();
        let network = setup::network(&setup.config, setup.network.input(), layers, false)?;
        let mut mapper = Mapper::new(&network, cpu)?;
        // Only images in bytes are drawn.
        let rows =
            if set.pixels().is_empty() { Vec::new() } else { test_set::with_maps(predictions) };
        let maps = rows
            .into_iter()
            .filter_map(|row| Some((row, predictions.predicted[row]?)))
            .map(|(row, class)| {
                let image = set.image(predictions.examples[row] as usize).unwrap_or_default();
                Ok((row, mapper.maps(&network, cpu, weights, image, class)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let confusion = predictions.confusion()?;
        let names = &setup.dataset.names.classes;
        let section = TestSet::new(predictions, &confusion, names, set, &maps)?;
        write!(body, "{section}").map_err(unwritable)?;
    }
    let config = setup.config.to_toml()?;
    let counts = format!(
        "{} to train on, {} to validate, {} to test",
        setup.split.train.len(),
        setup.split.validation.len(),
        setup.dataset.test.len()
    );
    let environment = Environment {
        summary,
        widths: setup.widths(),
        examples: (capitalised(unit_name), counts),
        config: &config,
    };
    write!(body, "{environment}").map_err(unwritable)?;
    let title = format!("{} on {}", summary.preset, summary.dataset);
    Ok(Page { title: &title, body: &body }.to_string())
}

/// Writes a paragraph on the run, and a warning if the data are generated digits.
fn introduction(body: &mut String, input: ReportInput<'_>) -> std::fmt::Result {
    let ReportInput { setup, summary, .. } = input;
    let unit_name = setup.dataset.train.noun();
    let optimizer = toml::Table::try_from(setup.config.optimizer).ok();
    let kind = optimizer.as_ref().and_then(|table| table.get("kind")?.as_str());
    let optimizer = kind.unwrap_or("its optimizer");
    let plural = if summary.epochs == 1 { "" } else { "s" };
    let training = format!(
        "A network of {} parameters ({}) was trained on {} {unit_name} of {} for {} epoch{plural} \
         with {optimizer}, in batches of {}.",
        grouped(summary.params),
        setup.widths(),
        grouped(setup.split.train.len()),
        summary.dataset,
        summary.epochs,
        setup.config.batch,
    );
    let result = summary.val_accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy));
    let result = result.or_else(|| Some(format!("loss {:.4}", summary.val_loss?)));
    let time = match (summary.best_epoch, result) {
        (Some(epoch), Some(result)) => format!(
            "The run took {:.1} seconds on {} thread{}. Its weights are those of epoch {epoch}, \
             the best on the {} validation {unit_name} ({result}).",
            summary.seconds_total,
            summary.threads,
            if summary.threads == 1 { "" } else { "s" },
            grouped(setup.split.validation.len()),
        ),
        _ => {
            format!("The run took {:.1} seconds, and finished no epoch.", summary.seconds_total)
        }
    };
    writeln!(
        body,
        "<p class=\"lead\">{} {} {}</p>",
        Escaped(&training),
        Escaped(&result_sentence(summary, unit_name)),
        Escaped(&time)
    )?;
    // The names of other generated data sets tell that they are generated.
    if summary.data_synthetic && summary.dataset == "digits" {
        writeln!(
            body,
            "<p class=\"notice\">The images were generated, not written by hand. Accuracies on \
             them do not carry over to MNIST.</p>"
        )?;
    }
    Ok(())
}

/// Sentence on the result of the run.
fn result_sentence(summary: &Summary, unit_name: &str) -> String {
    match (
        summary.status,
        summary.test_accuracy,
        summary.test_accuracy_low,
        summary.test_accuracy_high,
    ) {
        (Status::Done, Some(accuracy), Some(low), Some(high)) => format!(
            "Test accuracy: {:.2} % (95 % interval {:.2} to {:.2} %) on {} {unit_name} that took \
             no part in training.",
            100.0 * accuracy,
            100.0 * low,
            100.0 * high,
            grouped(summary.test_examples)
        ),
        (Status::Done, ..) => format!(
            "Test loss: {}{} on {} {unit_name} that took no part in training.",
            summary.test_loss.map_or("-".to_owned(), short),
            loss_unit_note(summary.target_std),
            grouped(summary.test_examples)
        ),
        (Status::Diverged, ..) => "The run diverged: loss or gradient became non-finite.".into(),
        _ => "The run was interrupted; it can be resumed.".into(),
    }
}

/// Writes one tile per metric of the test set.
fn tiles(
    body: &mut String,
    input: ReportInput<'_>,
    predictions: Option<&Predictions>,
) -> Result<(), Error> {
    let Some(predictions) = predictions else { return Ok(()) };
    let ReportInput { setup, summary, .. } = input;
    let (unit_name, names) = (setup.dataset.test.noun(), &setup.dataset.names.classes);
    let metrics = ClassificationMetrics::new(predictions, unit_name, names)?;
    let tiles = [
        (percent(summary.test_accuracy), "test accuracy"),
        (summary.test_loss.map_or("-".to_owned(), short), "test loss, nats"),
        (percent(metrics.f1_macro), "F1, mean of classes"),
        (metrics.roc_auc_macro.map_or("-".to_owned(), |auc| format!("{auc:.4}")), "ROC AUC"),
        (percent(Some(metrics.calibration_error)), "calibration error"),
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

/// Renders a page with one chart of losses, over a logarithmic x axis.
pub(crate) fn plot(
    title: &str,
    name: &str,
    x_label: &str,
    curves: Vec<(&str, Vec<(f64, f64)>)>,
    mark: Option<(f64, String)>,
) -> String {
    // Grey for the first curve, so that the second one stands out.
    let colours = [7, 0];
    let curve = |((name, points), colour): ((&str, _), usize)| Curve::new(name, colour, points);
    let curves = curves.into_iter().zip(colours).map(curve).collect();
    let (x_scale, losses, wide) = (Scale::Log, true, true);
    let chart =
        Chart { title: name, x_label, x_scale, losses, wide, curves, mark, ..Chart::default() };
    Page { title, body: &chart.to_string() }.to_string()
}

/// Curve of a metric over the epochs.
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

/// Maximum number of rows in the table of epochs, about. Longer runs show evenly spaced epochs.
const MAX_ROWS: usize = 400;

/// Writes the curves of loss, accuracy and gradient norm, and the table of epochs.
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
            y_scale: Scale::Log,
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
    let stride = history.len().div_ceil(MAX_ROWS);
    let rows = match stride {
        0 | 1 => "All epochs".to_owned(),
        _ => format!("One epoch in {stride}; metrics.csv has all of them"),
    };
    writeln!(
        body,
        "</div>\n<details><summary>{rows}</summary><div class=\"scroll\"><table>\n\
         <tr><th>Epoch</th><th>Training loss</th><th>Validation loss</th>{}<th>Gradient norm</th>\
         <th>Largest</th><th>Last learning rate</th><th>Seconds</th></tr>",
        if has_accuracy { "<th>Validation accuracy</th>" } else { "" }
    )?;
    let is_shown = |index: usize, epoch: &Epoch| {
        index.is_multiple_of(stride)
            || index + 1 == history.len()
            || Some(epoch.epoch) == summary.best_epoch
    };
    for (_, epoch) in history.iter().enumerate().filter(|(index, epoch)| is_shown(*index, epoch)) {
        let accuracy = format!("<td>{:.2} %</td>", 100.0 * epoch.val_accuracy);
        let accuracy = if has_accuracy { accuracy } else { String::new() };
        writeln!(
            body,
            "<tr><td>{}{}</td><td>{:.4}</td><td>{:.4}</td>{accuracy}<td>{:.3}</td><td>{:.3}</td>\
             <td>{:.2e}</td><td>{:.2}</td></tr>",
            epoch.epoch,
            if Some(epoch.epoch) == summary.best_epoch { " (best)" } else { "" },
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

/// `count` with a comma between groups of three digits: `407,050`.
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
