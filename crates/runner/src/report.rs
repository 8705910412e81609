//! `report.html`: what was trained, on what, how well, and how loss, accuracy and gradient norm went.
//!
//! One file that needs no other and no network: styles and curves (SVG) are part of it. `train` writes it.

use std::fmt::{self, Write};

use crate::Error;
use crate::metrics::{Epoch, Status, Summary};
use crate::setup::Setup;

/// Width and height of a chart, and the margin for its labels, in CSS pixels.
const SIZE: [f64; 2] = [420.0, 220.0];
const MARGIN: f64 = 44.0;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}code,pre{font-size:.85rem;\
overflow-wrap:anywhere;white-space:pre-wrap}figure{display:inline-block;margin:0 1rem 1rem 0}\
.notice{background:#fff3cd;padding:.5rem 1rem}svg text{font-size:11px;fill:#555}";

/// The page for a run with this `history`.
///
/// # Errors
/// [`Error::Usage`] if the configuration cannot be written.
pub(crate) fn html(setup: &Setup, summary: &Summary, history: &[Epoch]) -> Result<String, Error> {
    let config = setup.config.to_toml()?;
    let mut page = String::new();
    write_page(&mut page, setup, summary, history, &config)
        .map_err(|_| Error::Usage("report: a value cannot be written".into()))?;
    Ok(page)
}

fn write_page(
    page: &mut String,
    setup: &Setup,
    summary: &Summary,
    history: &[Epoch],
    config: &str,
) -> fmt::Result {
    let title = format!("{} on {}", summary.preset, summary.dataset);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{0}</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
        Escaped(&title)
    )?;
    writeln!(page, "<p>{}</p>", Escaped(&verdict(summary)))?;
    if summary.data_generated {
        page.push_str("<p class=\"notice\">The images were generated; no person wrote them. Accuracies on them say nothing \
                       about MNIST.</p>\n");
    }

    page.push_str("<h2>Run</h2>\n<table>\n");
    let images = format!(
        "{} to train on, {} to validate, {} to test",
        setup.split.train.len(),
        setup.split.validation.len(),
        setup.dataset.test.len()
    );
    let unknown = || "unknown".to_owned();
    let rows = [
        ("Network", format!("{}, {} parameters, {}", setup.widths(), summary.params, summary.dtype)),
        ("Data", format!("{} ({})", summary.dataset, summary.data_origin)),
        ("Images", images),
        ("SHA-256 of the data", summary.data_sha256.clone()),
        ("SHA-256 of the weights", summary.params_sha256.clone().unwrap_or_else(unknown)),
        ("Seconds in all", format!("{:.2}", summary.seconds_total)),
        (
            "Fastest epoch, seconds",
            summary.train_seconds_best_epoch.map_or_else(unknown, |s| format!("{s:.3}")),
        ),
        (
            "Peak memory, MB",
            summary.peak_rss_bytes.map_or_else(unknown, |b| format!("{:.0}", b as f64 / 1e6)),
        ),
        ("Machine", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("Computed with", format!("{} threads, {}", summary.threads, summary.isa)),
        ("Program", format!("evenkeel {}", summary.version)),
        ("Command", command()),
    ];
    for (name, value) in rows {
        writeln!(page, "<tr><td>{name}</td><td>{}</td></tr>", Escaped(&value))?;
    }
    page.push_str("</table>\n<h2>Curves</h2>\n");
    chart(
        page,
        history,
        "Loss",
        &[("training", |epoch| epoch.train_loss), ("validation", |epoch| epoch.val_loss)],
    )?;
    chart(page, history, "Accuracy", &[("validation", |epoch| epoch.val_accuracy)])?;
    chart(
        page,
        history,
        "Gradient norm",
        &[("mean", |epoch| epoch.grad_norm), ("largest", |epoch| epoch.grad_norm_max)],
    )?;

    page.push_str(
        "<h2>Epochs</h2>\n<table>\n<tr><th>Epoch</th><th>Train loss</th><th>Val loss</th><th>Val accuracy</th>\
         <th>Gradient norm</th><th>Largest</th><th>Last rate</th><th>Seconds</th></tr>\n",
    );
    for epoch in history {
        writeln!(
            page,
            "<tr><td>{}{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.2} %</td><td>{:.3}</td><td>{:.3}</td><td>{:.2e}</td>\
             <td>{:.2}</td></tr>",
            epoch.epoch,
            if Some(epoch.epoch) == summary.best_epoch { " (kept)" } else { "" },
            epoch.train_loss,
            epoch.val_loss,
            100.0 * epoch.val_accuracy,
            epoch.grad_norm,
            epoch.grad_norm_max,
            epoch.lr,
            epoch.train_seconds,
        )?;
    }
    write!(
        page,
        "</table>\n<h2>Configuration</h2>\n<p>This file alone repeats the run, to the bit: <code>evenkeel train --config \
         config.toml</code></p>\n<pre>{}</pre>\n</body></html>\n",
        Escaped(config)
    )
}

/// How the run ended, in a sentence.
fn verdict(summary: &Summary) -> String {
    match (summary.status, summary.test_accuracy, summary.test_accuracy_low, summary.test_accuracy_high) {
        (Status::Done, Some(accuracy), Some(low), Some(high)) => format!(
            "Test accuracy {:.2} % (95 % interval {:.2} to {:.2} %) on {} images that took no part in training.",
            100.0 * accuracy,
            100.0 * low,
            100.0 * high,
            summary.test_images
        ),
        (Status::Diverged, ..) => "The run diverged: loss or gradient was no longer finite.".into(),
        _ => "The run was interrupted; --resume goes on with it.".into(),
    }
}

/// The command line of this process, each argument quoted for a POSIX shell where need be.
fn command() -> String {
    let quoted = |argument: std::ffi::OsString| {
        let text = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args_os().skip(1).map(quoted);
    ["evenkeel".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

/// What a line is called, and its height at an epoch.
type Series = (&'static str, fn(&Epoch) -> f64);

/// A line for each of `series` over the epochs. Values that are not finite leave no point.
fn chart(page: &mut String, history: &[Epoch], title: &str, series: &[Series]) -> fmt::Result {
    let [width, height] = SIZE;
    let values = || history.iter().flat_map(|epoch| series.iter().map(|(_, value)| value(epoch)));
    let finite = || values().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return Ok(());
    }
    let span = if high > low { high - low } else { 1.0 };
    let last = (history.len() - 1).max(1) as f64;
    let x = |at: usize| MARGIN + at as f64 / last * (width - 2.0 * MARGIN);
    let y = |value: f64| height - MARGIN - (value - low) / span * (height - 2.0 * MARGIN);
    write!(
        page,
        "<figure><figcaption>{title}</figcaption><svg width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{title} over the epochs\">\n<path d=\"M{MARGIN} {MARGIN}V{bottom}H{right}\" fill=\"none\" \
         stroke=\"#999\"/><text x=\"2\" y=\"{MARGIN}\">{high:.4}</text><text x=\"2\" y=\"{bottom}\">{low:.4}</text>\
         <text x=\"{MARGIN}\" y=\"{below}\">epoch 1</text><text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{last_epoch}</text>\n",
        bottom = height - MARGIN,
        right = width - MARGIN,
        below = height - MARGIN + 16.0,
        last_epoch = history.len(),
    )?;
    for ((name, value), (colour, legend)) in series.iter().zip([("#0b6", 0.0), ("#c40", 100.0)]) {
        let points = history.iter().map(value).enumerate().filter(|(_, value)| value.is_finite());
        let points: Vec<_> = points.map(|(at, value)| format!("{:.1},{:.1}", x(at), y(value))).collect();
        write!(
            page,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        )?;
        writeln!(
            page,
            "<text x=\"{}\" y=\"{}\" style=\"fill:{colour}\">{name}</text>",
            MARGIN + legend,
            height - 6.0
        )?;
    }
    page.push_str("</svg></figure>\n");
    Ok(())
}

/// Text in a page, wherever it comes from.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Escaped("<b a='\"'>&").to_string(), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn a_chart_leaves_out_what_is_not_finite() {
        let epoch = |epoch, val_loss| Epoch {
            epoch,
            step: 1,
            train_seconds: 1.0,
            train_loss: 1.0,
            val_loss,
            val_accuracy: 0.5,
            lr: 0.1,
            grad_norm: 1.0,
            grad_norm_max: 1.0,
        };
        let mut page = String::new();
        let history = [epoch(1, 2.0), epoch(2, f64::NAN), epoch(3, 1.0)];
        chart(&mut page, &history, "Loss", &[("validation", |epoch| epoch.val_loss)]).expect("text");
        assert!(page.contains("points=\"44.0,44.0 376.0,176.0\""), "{page}");
        let mut nothing = String::new();
        chart(&mut nothing, &[], "Loss", &[("validation", |epoch| epoch.val_loss)]).expect("text");
        assert_eq!(nothing, "");
    }
}
