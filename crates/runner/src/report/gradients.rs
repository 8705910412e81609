//! Health of the gradients: norms over time, update-to-weight ratios, magnitudes of the elements,
//! dead and saturated units.

use std::fmt::{self, Display};

use crate::report::axis::{Axis, Scale, short, superscript};
use crate::report::chart::{Chart, Curve};
use crate::report::page::Escaped;
use crate::run::health::{Health, Magnitudes, TensorHealth};

/// Maximum number of rows of the heat map. Deeper networks show evenly spaced layers.
const MAX_LAYERS: usize = 48;

/// Maximum number of histograms. Deeper networks show evenly spaced layers.
const MAX_HISTOGRAMS: usize = 16;

/// Maximum number of columns of the heat map: in longer runs, a column is the mean of neighbouring
/// sampled steps.
const MAX_COLUMNS: usize = 120;

/// Number of shades of the heat map.
const SHADES: usize = 9;

/// Section on the gradients; empty if nothing was recorded.
pub(crate) struct Gradients<'a> {
    pub(crate) record: &'a [Health],
    /// Unit name of an example, such as `images`.
    pub(crate) unit_name: &'static str,
}

impl Display for Gradients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, unit_name } = self;
        let layers = Layers::new(record);
        if layers.0.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "<h2>Gradients</h2>\n\
             <p>Sampled at a few evenly spaced steps of each epoch, before clipping. Healthy \
             gradients have similar norms in all layers, throughout the run. Vanishing gradients \
             shrink towards the first layer, exploding ones grow.</p>"
        )?;
        write!(f, "{}", HeatMap { layers: &layers })?;
        writeln!(f, "<div class=\"charts\">")?;
        write!(f, "{}", ratios(&layers, record))?;
        write!(f, "{}", rate(record))?;
        writeln!(f, "</div>")?;
        write!(f, "{}", Histograms { layers: &layers })?;
        write!(f, "{}", Units { record, unit_name })?;
        write!(f, "{}", Table { record })
    }
}

/// Health of each weight tensor, epoch by epoch. Biases are left out.
struct Layers<'a>(Vec<Vec<&'a TensorHealth>>);

impl<'a> Layers<'a> {
    fn new(record: &'a [Health]) -> Self {
        let tensors = record.first().map_or(&[][..], |health| &health.tensors);
        let weights = (0..tensors.len())
            .filter(|&index| tensors[index].name.rsplit('.').next().is_some_and(is_weight));
        let epochs = |index| record.iter().filter_map(|health| health.tensors.get(index)).collect();
        Self(weights.map(epochs).collect())
    }

    /// At most `max` layers, evenly spaced.
    fn spaced(&self, max: usize) -> impl Iterator<Item = &[&'a TensorHealth]> {
        let all = &self.0;
        let shown = all.len().min(max);
        (0..shown)
            .map(move |i| &all[if shown < 2 { 0 } else { i * (all.len() - 1) / (shown - 1) }][..])
    }
}

fn is_weight(name: &str) -> bool {
    name.contains("weight")
}

/// Name of a tensor without its prefix: `0.weight` for `layers.0.weight`.
fn name(tensors: &[&TensorHealth]) -> String {
    let name = tensors.first().map_or("", |tensor| &tensor.name);
    name.strip_prefix("layers.").unwrap_or(name).into()
}

/// Heat map of gradient norms: a row for each layer, a column for each sampled step. Larger norms
/// are darker, in the dark theme brighter.
struct HeatMap<'a> {
    layers: &'a Layers<'a>,
}

impl Display for HeatMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<(String, Vec<f64>)> = self
            .layers
            .spaced(MAX_LAYERS)
            .map(|tensors| {
                let norms: Vec<f64> =
                    tensors.iter().flat_map(|tensor| &tensor.grad_norms).copied().collect();
                (name(tensors), averaged(&norms))
            })
            .collect();
        let norms = || rows.iter().flat_map(|(_, norms)| norms).copied();
        let positive = || norms().filter(|norm| norm.is_finite() && *norm > 0.0);
        let (low, high) =
            positive().fold((f64::INFINITY, 0.0_f64), |(low, high), n| (low.min(n), high.max(n)));
        let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 1.0) };
        let spread = (libm::log10(high) - libm::log10(low)).max(1e-9);
        // A norm of 0 has the faintest shade; a non-finite one has a colour of its own.
        let shade = |norm: f64| {
            let position = (libm::log10(norm) - libm::log10(low)) / spread;
            norm.is_finite()
                .then_some((position * SHADES as f64).clamp(0.0, SHADES as f64 - 1.0) as usize)
        };
        writeln!(
            f,
            "<figure id=\"heat\"><figcaption>Norm of each layer's gradient \
             <span class=\"soft\">over the run, from left to right</span></figcaption>\n\
             <div class=\"heat\">"
        )?;
        for (name, norms) in &rows {
            let columns = norms.len();
            let (first, last) =
                (norms.first().map_or(f64::NAN, |n| *n), norms.last().map_or(f64::NAN, |n| *n));
            write!(
                f,
                "<span>{0}</span><svg viewBox=\"0 0 {columns} 1\" preserveAspectRatio=\"none\" \
                 shape-rendering=\"crispEdges\" role=\"img\" \
                 aria-label=\"{0}: from {1} to {2}\"><title>{0}: from {1} to {2}</title>",
                Escaped(name),
                short(first),
                short(last)
            )?;
            for level in (0..SHADES).map(Some).chain([None]) {
                let cells = norms.iter().enumerate().filter(|(_, norm)| shade(**norm) == level);
                let path: String = cells.map(|(x, _)| format!("M{x} 0h1v1h-1z")).collect();
                if !path.is_empty() {
                    let level = level.map_or("x".to_owned(), |level| level.to_string());
                    write!(f, "<path class=\"h{level}\" d=\"{path}\"/>")?;
                }
            }
            writeln!(f, "</svg>")?;
        }
        write!(
            f,
            "</div>\n\
             <div class=\"ramp\">{}<svg viewBox=\"0 0 {SHADES} 1\" preserveAspectRatio=\"none\" \
             shape-rendering=\"crispEdges\" aria-hidden=\"true\">",
            short(low)
        )?;
        for level in 0..SHADES {
            write!(f, "<path class=\"h{level}\" d=\"M{level} 0h1v1h-1z\"/>")?;
        }
        write!(f, "</svg>{}", short(high))?;
        if norms().any(|norm| !norm.is_finite()) {
            write!(
                f,
                " <svg style=\"width:.7rem\" viewBox=\"0 0 1 1\" aria-hidden=\"true\">\
                 <path class=\"hx\" d=\"M0 0h1v1h-1z\"/></svg>non-finite"
            )?;
        }
        writeln!(f, "</div></figure>")
    }
}

/// Reduces `values` to at most [`MAX_COLUMNS`] means of neighbours.
fn averaged(values: &[f64]) -> Vec<f64> {
    let size = values.len().div_ceil(MAX_COLUMNS).max(1);
    values.chunks(size).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

/// Chart of the update-to-weight ratio: a curve per layer. Colours are stronger in later layers.
fn ratios(layers: &Layers<'_>, record: &[Health]) -> Chart<'static> {
    let steps: Vec<f64> =
        record.iter().flat_map(|health| &health.steps).map(|&step| step as f64).collect();
    let shown: Vec<_> = layers.spaced(super::chart::COLOURS).collect();
    let curve = |(index, tensors): (usize, &&[&TensorHealth])| {
        let ratios = tensors.iter().flat_map(|tensor| &tensor.update_ratios);
        let points = steps.iter().copied().zip(ratios.copied()).collect();
        let colour = match shown.len() {
            0 | 1 => 6,
            count => 3 + index * 5 / (count - 1),
        };
        // With many layers, the legend names the first and the last.
        let is_named = shown.len() <= 4 || index == 0 || index + 1 == shown.len();
        let name = if is_named { name(tensors) } else { String::new() };
        Curve { name, colour: format!("var(--h{colour})"), points }
    };
    Chart {
        title: "Update-to-weight ratio",
        x_label: "step",
        y_scale: Scale::Log,
        curves: shown.iter().enumerate().map(curve).collect(),
        level: Some((1e-3, "0.001 is usual")),
        ..Chart::default()
    }
}

/// Chart of the learning rate at each sampled step.
fn rate(record: &[Health]) -> Chart<'static> {
    let sampled = record.iter().flat_map(|health| health.steps.iter().zip(&health.learning_rates));
    let points = sampled.map(|(&step, &rate)| (step as f64, rate)).collect();
    Chart {
        title: "Learning rate",
        x_label: "step",
        curves: vec![Curve::new("", 0, points)],
        ..Chart::default()
    }
}

/// Histograms of the magnitudes of each layer's gradient, in the first epoch and in the last.
struct Histograms<'a> {
    layers: &'a Layers<'a>,
}

/// Width and height of a histogram, in SVG units.
const PANEL: [f64; 2] = [220.0, 86.0];

/// Height of the labels below a histogram.
const FOOT: f64 = 16.0;

impl Display for Histograms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = || {
            self.layers
                .spaced(MAX_HISTOGRAMS)
                .filter_map(|tensors| Some((tensors, tensors.first()?, tensors.last()?)))
        };
        let magnitudes =
            || ends().flat_map(|(_, first, last)| [&first.magnitudes, &last.magnitudes]);
        let low = magnitudes().filter_map(|counts| extent(counts).map(|(low, _)| low)).min();
        let high = magnitudes().filter_map(|counts| extent(counts).map(|(_, high)| high)).max();
        let (Some(low), Some(high)) = (low, high) else { return Ok(()) };
        // At least 12 powers of two, so that a narrow spike does not fill the panel.
        let (low, high) = (low.min(high - 12), high);
        let axis = Axis::integers(f64::from(low), f64::from(high));
        writeln!(
            f,
            "<figure id=\"histograms\"><figcaption>Magnitudes of the gradient elements, by powers \
             of two <span class=\"key\"><i style=\"background:var(--s0)\"></i>last epoch</span>\
             <span class=\"key\"><i style=\"background:var(--soft)\"></i>first epoch</span>\
             </figcaption>\n<div class=\"small\">"
        )?;
        for (tensors, first, last) in ends() {
            let (name, zero) = (name(tensors), 100.0 * last.magnitudes.zero_fraction());
            write!(f, "<div><small class=\"soft\">{}", Escaped(&name))?;
            if zero >= 0.05 {
                write!(f, ", {zero:.1} % are 0")?;
            }
            if last.magnitudes.non_finite > 0 {
                write!(f, ", {} non-finite", last.magnitudes.non_finite)?;
            }
            // `overflow:hidden` cuts off magnitudes outside the axis.
            write!(
                f,
                "</small><svg style=\"overflow:hidden\" viewBox=\"0 0 {} {}\" role=\"img\" \
                 aria-label=\"magnitudes of the gradient of {}\">",
                PANEL[0],
                PANEL[1] + FOOT,
                Escaped(&name)
            )?;
            let x = |exponent: i32| PANEL[0] * f64::from(exponent - low) / f64::from(high - low);
            let tallest = tallest(&first.magnitudes).max(tallest(&last.magnitudes));
            write!(
                f,
                "<path style=\"fill:var(--s0);opacity:.55\" d=\"{}\"/>",
                Outline { magnitudes: &last.magnitudes, x: &x, tallest }
            )?;
            write!(
                f,
                "<path class=\"curve\" style=\"stroke:var(--soft);stroke-width:1.3\" d=\"{}\"/>",
                Outline { magnitudes: &first.magnitudes, x: &x, tallest }
            )?;
            write!(f, "<path class=\"base\" d=\"M0 {0}H{1}\"/>", PANEL[1], PANEL[0])?;
            for &tick in &axis.ticks {
                let exponent = tick as i32;
                let x = x(exponent);
                if (12.0..PANEL[0] - 12.0).contains(&x) {
                    write!(
                        f,
                        "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">2{}</text>",
                        PANEL[1] + 13.0,
                        superscript(exponent)
                    )?;
                }
            }
            writeln!(f, "</svg></div>")?;
        }
        writeln!(f, "</div></figure>")
    }
}

/// Range of exponents, without outer bins that hold less than a thousandth of all numbers.
fn extent(magnitudes: &Magnitudes) -> Option<(i32, i32)> {
    let few = magnitudes.counts.iter().sum::<u64>() / 1000;
    let first = magnitudes.counts.iter().position(|&count| count > few)?;
    let last = magnitudes.counts.iter().rposition(|&count| count > few)?;
    Some((magnitudes.exponent + first as i32, magnitudes.exponent + last as i32 + 1))
}

/// Fraction of all numbers in the fullest bin.
fn tallest(magnitudes: &Magnitudes) -> f64 {
    let most = magnitudes.counts.iter().max().copied().unwrap_or_default();
    most as f64 / magnitudes.total().max(1) as f64
}

/// Outline of a histogram: the `d` attribute of an SVG path.
struct Outline<'a, X> {
    magnitudes: &'a Magnitudes,
    x: &'a X,
    tallest: f64,
}

impl<X: Fn(i32) -> f64> Display for Outline<'_, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { magnitudes, x, tallest } = self;
        let base = PANEL[1];
        write!(f, "M{:.1} {base}", x(magnitudes.exponent))?;
        for (exponent, &count) in (magnitudes.exponent..).zip(&magnitudes.counts) {
            let share = count as f64 / magnitudes.total().max(1) as f64;
            let top = base - (base - 4.0) * share / tallest.max(1e-300);
            write!(f, "V{top:.1}H{:.1}", x(exponent + 1))?;
        }
        write!(f, "V{base}")
    }
}

/// Table of dead and saturated units, in the first epoch and in the last.
struct Units<'a> {
    record: &'a [Health],
    unit_name: &'static str,
}

impl Display for Units<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded: Vec<_> =
            self.record.iter().filter(|health| !health.activity.is_empty()).collect();
        let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else {
            return Ok(());
        };
        writeln!(
            f,
            "<figure id=\"units\"><figcaption>Dead and saturated units <span class=\"soft\">\
             on validation {}, after epoch {} and after epoch {}. A dead unit outputs 0 for all of \
             them, a saturated one a bound of its activation</span></figcaption>\n\
             <div class=\"scroll\"><table><tr><th>Layer</th><th>Units</th><th>Dead</th>\
             <th>Saturated</th><th>Outputs of 0</th><th>Outputs at a bound</th></tr>",
            self.unit_name, first.epoch, last.epoch
        )?;
        for (first, last) in first.activity.iter().zip(&last.activity) {
            writeln!(
                f,
                "<tr><td>{} {}</td><td>{}</td><td>{} → {}</td><td>{} → {}</td>\
                 <td>{:.1} → {:.1} %</td><td>{:.1} → {:.1} %</td></tr>",
                last.layer,
                Escaped(&last.kind),
                last.units,
                first.dead,
                last.dead,
                first.saturated,
                last.saturated,
                100.0 * first.zero_fraction,
                100.0 * last.zero_fraction,
                100.0 * first.saturated_fraction,
                100.0 * last.saturated_fraction,
            )?;
        }
        writeln!(f, "</table></div></figure>")
    }
}

/// Table of all tensors in the last epoch.
struct Table<'a> {
    record: &'a [Health],
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.record.last() else { return Ok(()) };
        writeln!(
            f,
            "<details><summary>All tensors, in epoch {}</summary><div class=\"scroll\"><table>\n\
             <tr><th>Tensor</th><th>Elements</th><th>Gradient norm</th><th>Parameter norm</th>\
             <th>Update / weight</th><th>Gradient 0</th><th>Non-finite</th></tr>",
            last.epoch
        )?;
        let mean =
            |values: &[f64]| crate::run::health::finite_mean(values).map_or("-".to_owned(), short);
        for tensor in &last.tensors {
            writeln!(
                f,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1} %</td>\
                 <td>{}</td></tr>",
                Escaped(&tensor.name),
                tensor.elements,
                mean(&tensor.grad_norms),
                mean(&tensor.param_norms),
                mean(&tensor.update_ratios),
                100.0 * tensor.magnitudes.zero_fraction(),
                tensor.magnitudes.non_finite,
            )?;
        }
        writeln!(f, "</table></div></details>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, grad_norms: &[f64]) -> TensorHealth {
        TensorHealth {
            name: name.into(),
            elements: 4,
            grad_norms: grad_norms.into(),
            param_norms: vec![1.0; grad_norms.len()],
            update_ratios: vec![1e-3; grad_norms.len()],
            magnitudes: Magnitudes {
                exponent: -3,
                counts: vec![1, 2],
                zero: 1,
                ..Magnitudes::default()
            },
        }
    }

    fn health(epoch: u32, tensors: Vec<TensorHealth>) -> Health {
        Health {
            epoch,
            steps: vec![1, 2],
            learning_rates: vec![0.1, 0.05],
            tensors,
            ..Health::default()
        }
    }

    #[test]
    fn every_weight_has_a_row_and_every_sampled_step_a_cell() {
        let epoch = |epoch| {
            health(
                epoch,
                vec![
                    tensor("layers.0.weight", &[1e-6, 1e-3]),
                    tensor("layers.0.bias", &[1.0, 1.0]),
                ],
            )
        };
        let record = [epoch(1), epoch(2)];
        let text = Gradients { record: &record, unit_name: "rows" }.to_string();
        assert!(
            text.contains("<span>0.weight</span><svg viewBox=\"0 0 4 1\"")
                && !text.contains("<span>0.bias")
        );
        assert!(text.contains("class=\"h0\" d=\"M0 0h1v1h-1zM2 0h1v1h-1z\""), "{text}");
        assert!(text.contains("class=\"h8\" d=\"M1 0h1v1h-1zM3 0h1v1h-1z\""), "{text}");
        assert!(text.contains("25.0 % are 0") && text.contains("Learning rate"));
        assert_eq!(Gradients { record: &[], unit_name: "rows" }.to_string(), "");
    }

    #[test]
    fn non_finite_norms_and_norms_of_0_are_shown() {
        let record = [health(1, vec![tensor("layers.0.weight", &[f64::NAN, 0.0])])];
        let text = Gradients { record: &record, unit_name: "rows" }.to_string();
        assert!(
            text.contains("class=\"hx\" d=\"M0 0h1v1h-1z\"") && text.contains("non-finite"),
            "{text}"
        );
        assert!(!text.contains("NaN\"") && !text.contains("inf\""));
    }

    #[test]
    fn long_runs_and_deep_networks_are_reduced() {
        assert_eq!(averaged(&[1.0, 3.0]), [1.0, 3.0]);
        assert_eq!(averaged(&[2.0; 1000]).len(), 112);
        let tensors =
            (0..500).map(|i| tensor(&format!("layers.{i}.weight"), &[1.0, 2.0])).collect();
        let text = Gradients { record: &[health(1, tensors)], unit_name: "rows" }.to_string();
        assert_eq!(text.matches("preserveAspectRatio").count(), MAX_LAYERS + 1);
        assert!(text.contains(">0.weight<") && text.contains(">499.weight<"));
    }
}
