//! `diagnosis.html`: verdict, findings with their evidence, layers, loss, trials, and the cure.
//!
//! ```text
//! verdict          two sentences, and a notice for each severe finding
//! layers           standard deviation of the outputs, gradient relative to the weights; before and
//!                  after the cure, and by mean-field theory
//! loss             of the probe; before and after the cure
//! trials           what was tried, with its quality
//! configuration    the lines that the cure changes
//! ```
//!
//! `diagnose --html` writes it.

use std::fmt::{self, Display};

use doctor::mean_field::plain_layers;
use doctor::{Finding, MeanField, Record, Severity, Verdict};

use crate::diagnosis::treatment::Treatment;
use crate::report::axis::{Scale, short};
use crate::report::chart::{Chart, Curve};
use crate::report::page::{Escaped, Page, capitalised};

/// Page of a diagnosis.
#[derive(Clone, Copy, Debug)]
pub struct DiagnosisPage<'a> {
    /// Name of what was diagnosed.
    pub subject: &'a str,
    /// Measurements of the training.
    pub record: &'a Record,
    /// Findings, and how the training goes.
    pub verdict: &'a Verdict,
    /// Trials and cure, if cures were tried.
    pub treatment: Option<&'a Treatment>,
    /// Lines of the configuration that the cure changes.
    pub difference: &'a [String],
}

impl Display for DiagnosisPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("Diagnosis of {}", self.subject);
        Page { title: &title, body: &Body(*self).to_string() }.fmt(f)
    }
}

struct Body<'a>(DiagnosisPage<'a>);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(page) = self;
        let DiagnosisPage { record, verdict, treatment, difference, .. } = *page;
        write_verdict(f, page)?;
        for finding in &verdict.findings {
            write_finding(f, finding)?;
        }
        let after = treatment.and_then(|treatment| treatment.after.as_ref());
        let records: Vec<(&str, &Record)> = std::iter::once(("as it is", record))
            .chain(after.map(|(record, _)| ("cured", record)))
            .collect();
        write_layers(f, &records)?;
        write_losses(f, &records)?;
        if let Some(treatment) = treatment {
            write_trials(f, treatment)?;
        }
        if !difference.is_empty() {
            writeln!(f, "<h2>The cure</h2>\n<pre>{}</pre>", Escaped(&difference.join("\n")))?;
        }
        Ok(())
    }
}

fn write_verdict(f: &mut fmt::Formatter<'_>, page: &DiagnosisPage<'_>) -> fmt::Result {
    let DiagnosisPage { record, verdict, treatment, .. } = page;
    let progress = verdict.progress;
    let steps = record.steps.last().map_or(0, |step| step.step);
    let severe = verdict.findings.iter().filter(|finding| finding.severity > Severity::Info);
    let health = match severe.count() {
        0 => "Nothing is wrong".to_owned(),
        1 => "One fault was found".to_owned(),
        count => format!("{count} faults were found"),
    };
    let percent = |accuracy: f64| format!("{:.1} %", 100.0 * accuracy);
    let accuracy = match (progress.accuracy, progress.reference_accuracy) {
        (Some(accuracy), Some(reference)) => format!(
            ", with a validation accuracy of {} (a linear model: {})",
            percent(accuracy),
            percent(reference)
        ),
        (Some(accuracy), None) => format!(", with an accuracy of {}", percent(accuracy)),
        _ => String::new(),
    };
    write!(
        f,
        "<p class=\"lead\">{health} in {steps} steps. The training {}{accuracy}.",
        progress.state
    )?;
    if let Some(treatment) = treatment {
        let changes: Vec<_> = treatment.cures.iter().map(|form| &form.change[..]).collect();
        match (treatment.data_at_fault, changes.is_empty()) {
            (true, _) => write!(f, " The data are at fault: no configuration helps.")?,
            (false, true) if verdict.is_healthy() => {}
            (false, true) => write!(f, " No cure was better than the network as it is.")?,
            (false, false) => {
                write!(f, " It is cured by: {}.", Escaped(&changes.join("; then ")))?;
            }
        }
    }
    writeln!(f, "</p>")
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Finding { id, severity, message, evidence, cures, symptoms, .. } = finding;
    let class = if *severity == Severity::Info { "lead" } else { "notice" };
    writeln!(
        f,
        "<p class=\"{class}\"><b>{}: {}.</b> {}</p>",
        capitalised(severity.name()),
        Escaped(id),
        Escaped(message)
    )?;
    if *severity == Severity::Info {
        return Ok(());
    }
    writeln!(
        f,
        "<div class=\"scroll\"><table>\n<tr><th>Evidence</th><th>Value</th>\
                 <th>Threshold</th></tr>"
    )?;
    for number in evidence {
        let threshold = number.threshold.map_or(String::new(), short);
        writeln!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{threshold}</td></tr>",
            Escaped(&number.quantity),
            short(number.value)
        )?;
    }
    writeln!(f, "</table></div>")?;
    let cures: Vec<_> = cures.iter().map(|cure| cure.text()).collect();
    write!(f, "<p>Cures: {}.", Escaped(&cures.join("; ")))?;
    if !symptoms.is_empty() {
        write!(f, " Symptoms: {}.", Escaped(&symptoms.join(", ")))?;
    }
    writeln!(f, "</p>")
}

/// Curves of `of` over the layers, one for each record.
fn over_layers(records: &[(&str, &Record)], of: impl Fn(&Record) -> Vec<(f64, f64)>) -> Vec<Curve> {
    records
        .iter()
        .enumerate()
        .map(|(colour, (name, record))| Curve::new(*name, colour, of(record)))
        .collect()
}

fn write_layers(f: &mut fmt::Formatter<'_>, records: &[(&str, &Record)]) -> fmt::Result {
    let outputs = over_layers(records, |record| {
        let samples = record.initial.iter().flat_map(|initial| &initial.layers).enumerate();
        samples.filter_map(|(index, sample)| Some((index as f64, sample.std?))).collect()
    });
    let mut gradients = over_layers(records, |record| {
        let samples = record.initial.iter().flat_map(|initial| &initial.tensors);
        let weights = record.model.tensors.iter().zip(samples).filter(|(tensor, _)| tensor.weight);
        weights
            .filter_map(|(tensor, sample)| {
                let relative = sample.grad_norm? / sample.param_norm?;
                Some((tensor.layer as f64, relative))
            })
            .collect()
    });
    if outputs.iter().chain(&gradients).all(|curve| curve.points.is_empty()) {
        return Ok(());
    }
    let theory = records.first().and_then(|(_, record)| MeanField::of(record));
    if let (Some(field), Some(measured)) = (theory, gradients.first()) {
        let expected = expected_gradients(&field, &measured.points);
        gradients.push(Curve::new("theory", records.len(), expected));
    }
    let chart = |title, curves, level| Chart {
        title,
        x_label: "layer",
        y_scale: Scale::Log,
        curves,
        level,
        ..Chart::default()
    };
    let level = match theory {
        Some(field) => (field.activation_std, "theory, deep in the network"),
        None => (1.0, "criticality"),
    };
    writeln!(
        f,
        "<h2>Layers of the initial network</h2>\n\
         <p>Where a signal keeps its size from layer to layer, both curves are flat: initial \
         weights at criticality keep the standard deviation of the outputs, and the gradient of \
         all layers at one level.</p>"
    )?;
    if let Some(field) = theory {
        let MeanField { chi, depth_scale, .. } = field;
        let layers = plain_layers(&records[0].1.model);
        let factor = short(chi.sqrt());
        write!(f, "<p>By mean-field theory, each layer multiplies the gradient by {factor}, and ")?;
        match field.trainable() {
            trainable if trainable < UNLIMITED => writeln!(
                f,
                "two inputs are told apart over {} layers, the depth scale: such a network trains \
                 up to about {}, and has {layers}.</p>",
                short(depth_scale),
                short(trainable)
            )?,
            _ => writeln!(f, "any depth trains; there are {layers}.</p>")?,
        }
    }
    writeln!(
        f,
        "<div class=\"charts\">{}{}</div>",
        chart("Standard deviation of the outputs", outputs, Some(level)),
        chart("Gradient over weights, L2 norms", gradients, None)
    )
}

/// Gradients of `field` that end in the last one of those `measured`: each layer multiplies the
/// gradient by the root of chi on the way back.
fn expected_gradients(field: &MeanField, measured: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(&(_, last)) = measured.last() else { return Vec::new() };
    let behind = |index: usize| (measured.len() - 1 - index) as f64;
    let expected = |(index, &(layer, _)): (usize, &(f64, f64))| {
        (layer, last * libm::pow(field.chi, 0.5 * behind(index)))
    };
    measured.iter().enumerate().map(expected).collect()
}

/// Depth above which there is no limit in practice.
pub(crate) const UNLIMITED: f64 = 1e4;

fn write_losses(f: &mut fmt::Formatter<'_>, records: &[(&str, &Record)]) -> fmt::Result {
    let curve = |(colour, (name, record)): (usize, &(&str, &Record))| {
        let losses = record.steps.iter();
        let points = losses.filter_map(|step| Some((step.step as f64, step.loss?))).collect();
        Curve::new(*name, colour, points)
    };
    let curves: Vec<_> = records.iter().enumerate().map(curve).collect();
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Ok(());
    }
    let chart = Chart {
        title: "Loss of each step",
        x_label: "step",
        losses: true,
        wide: true,
        curves,
        ..Chart::default()
    };
    writeln!(f, "<h2>Loss</h2>\n{chart}")
}

fn write_trials(f: &mut fmt::Formatter<'_>, treatment: &Treatment) -> fmt::Result {
    if treatment.trials.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "<h2>Trials</h2>\n\
         <p>Each trial trains from the same seed on the same examples, and differs by its change \
         alone. The quality is the accuracy on the validation set, or the fraction of the targets' \
         variance that is explained. The better half of each round goes on to twice as many \
         examples; the winner is confirmed on other seeds.</p>\n\
         <div class=\"scroll\"><table>\n\
         <tr><th>Change</th><th>Seed</th><th>Examples</th><th>Quality</th></tr>"
    )?;
    for trial in &treatment.trials {
        let quality = match trial.quality.is_nan() {
            true => "diverged".into(),
            false => format!("{:.4}", trial.quality),
        };
        writeln!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{quality}</td></tr>",
            Escaped(&trial.change),
            trial.seed,
            trial.examples
        )?;
    }
    writeln!(f, "</table></div>")?;
    if treatment.out_of_time {
        writeln!(f, "<p>There was no time for all forms, rounds or seeds.</p>")?;
    }
    Ok(())
}
