//! Predictions on the test set: confusion matrix, metrics of each class, images with their
//! predictions, and attribution maps.

use std::fmt::{self, Display};

use nn::metrics::Confusion;
use png::ColorType;

use crate::Error;
use crate::data::Labelled;
use crate::data::image::{data_uri, png};
use crate::evaluation::attribution::Maps;
use crate::evaluation::classification::percent;
use crate::evaluation::predictions::Predictions;
use crate::report::page::{Escaped, capitalised};

/// Maximum number of misclassified images, the most confident first.
const MAX_WRONG: usize = 36;

/// Maximum number of correctly classified images, in the order of the test set.
const MAX_RIGHT: usize = 24;

/// Maximum number of images with maps, both of misclassified and of correctly classified ones.
const MAX_MAPS: usize = 3;

/// The confusion matrix of more classes shows no counts: they would be too small to read.
const MAX_CLASSES_WITH_COUNTS: usize = 20;

/// Rows of `predictions` that are misclassified, the most confident first; those without a
/// prediction last.
fn misclassified(predictions: &Predictions) -> Vec<usize> {
    let mut wrong: Vec<usize> =
        (0..predictions.len()).filter(|&row| !predictions.is_right(row)).collect();
    let confidence = |row| predictions.confidence(row).unwrap_or(f64::NEG_INFINITY);
    wrong.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
    wrong
}

/// Rows of `predictions` that are shown with maps: misclassified and correctly classified ones.
pub(crate) fn with_maps(predictions: &Predictions) -> Vec<usize> {
    let right = (0..predictions.len()).filter(|&row| predictions.is_right(row)).take(MAX_MAPS);
    let wrong = misclassified(predictions).into_iter();
    let wrong = wrong.filter(|&row| predictions.predicted[row].is_some());
    wrong.take(MAX_MAPS).chain(right).collect()
}

/// Section on the test set.
pub(crate) struct TestSet<'a> {
    predictions: &'a Predictions,
    confusion: &'a Confusion,
    /// Unit name of an example, such as `images`.
    unit_name: &'static str,
    /// Names of a table's classes; empty for other data.
    class_names: &'a [String],
    images: Vec<Image>,
    maps: Vec<ImageMaps>,
}

/// Image with its prediction.
struct Image {
    row: usize,
    /// Data URI of the image.
    uri: String,
}

/// Image with its attribution maps.
struct ImageMaps {
    row: usize,
    /// Data URIs of the image, its saliency and its integrated gradient.
    uris: [String; 3],
}

impl<'a> TestSet<'a> {
    /// Section on `predictions` for examples of `set`. `maps` holds the attribution maps of the
    /// rows that [`with_maps`] returns.
    ///
    /// # Errors
    /// [`Error::Usage`] if an image cannot be encoded.
    pub(crate) fn new(
        predictions: &'a Predictions,
        confusion: &'a Confusion,
        class_names: &'a [String],
        set: &Labelled,
        maps: &[(usize, Maps)],
    ) -> Result<Self, Error> {
        let grey = |row: usize| {
            let image = set.image(predictions.examples[row] as usize).unwrap_or_default();
            Ok::<_, Error>(data_uri(&png(set.cols(), set.rows(), ColorType::Grayscale, image)?))
        };
        let coloured = |pixels: &[u8]| {
            Ok::<_, Error>(data_uri(&png(set.cols(), set.rows(), ColorType::Rgba, pixels)?))
        };
        let right = (0..predictions.len()).filter(|&row| predictions.is_right(row));
        let wrong = misclassified(predictions).into_iter().take(MAX_WRONG);
        // Only images in bytes are drawn.
        let shown = wrong.chain(right.take(MAX_RIGHT)).filter(|_| !set.pixels().is_empty());
        let images = shown.map(|row| Ok(Image { row, uri: grey(row)? }));
        let images = images.collect::<Result<_, Error>>()?;
        let maps = maps.iter().map(|(row, maps)| {
            let saliency: Vec<f64> = maps.saliency.iter().map(|slope| slope.abs()).collect();
            let (saliency, integrated) = (tinted(&saliency), tinted(&maps.integrated));
            let uris = [grey(*row)?, coloured(&saliency)?, coloured(&integrated)?];
            Ok(ImageMaps { row: *row, uris })
        });
        let maps = maps.collect::<Result<_, Error>>()?;
        Ok(Self { predictions, confusion, unit_name: set.noun(), class_names, images, maps })
    }

    /// Caption of an image: `3 predicted as 5, 80.0 %`, or `3, 80.0 %` if the prediction is right.
    fn caption(&self, row: usize) -> String {
        let label = self.predictions.labels[row];
        let confidence =
            self.predictions.confidence(row).map(|share| format!("{:.1}\u{a0}%", 100.0 * share));
        match self.predictions.predicted[row].zip(confidence) {
            None => format!("{label}, no prediction"),
            Some((class, confidence)) if class == label => format!("{label}, {confidence}"),
            Some((class, confidence)) => format!("{label} predicted as {class}, {confidence}"),
        }
    }

    /// CSS class of an image.
    fn css_class(&self, row: usize) -> &'static str {
        if self.predictions.is_right(row) { "right" } else { "wrong" }
    }
}

/// RGBA pixels of `values`: blue above 0, red below. Alpha is the magnitude relative to the largest
/// one.
fn tinted(values: &[f64]) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let shade = |value: &f64| {
        let [r, g, b] = if *value >= 0.0 { [45, 120, 230] } else { [225, 60, 50] };
        // NaN, and all of a map of zeros, are transparent.
        [r, g, b, (255.0 * value.abs() / largest.max(1e-300)) as u8]
    };
    values.iter().flat_map(shade).collect()
}

impl Display for TestSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { predictions, confusion, unit_name, class_names, .. } = self;
        writeln!(
            f,
            "<h2>Predictions by class</h2>\n<div class=\"charts pair\">{}{}</div>",
            Matrix { confusion },
            Table { confusion, unit_name, class_names }
        )?;
        let wrong = misclassified(predictions).len();
        write!(
            f,
            "<h2>Test {unit_name}</h2>\n<p>{wrong} of {} are misclassified.",
            predictions.len()
        )?;
        match predictions.unpredicted().len() {
            0 => {}
            count => write!(
                f,
                " {count} of them have no prediction: their outputs are NaN or infinite."
            )?,
        }
        if self.images.is_empty() {
            return writeln!(f, "</p>");
        }
        writeln!(
            f,
            " Misclassified images come first, the most confident ones at the top, then correctly \
             classified ones. Bars are the probabilities of the classes: \
             <span style=\"color:var(--right)\">blue</span> the true class, \
             <span style=\"color:var(--wrong)\">red</span> a wrong prediction.</p>\n\
             <div class=\"digits\" id=\"digits\">"
        )?;
        for &Image { row, ref uri } in &self.images {
            writeln!(
                f,
                "<figure class=\"digit {}\"><figcaption>{}</figcaption>\
                 <img src=\"{uri}\" alt=\"image {}\">{}</figure>",
                self.css_class(row),
                self.caption(row),
                predictions.examples[row],
                Bars { predictions, row },
            )?;
        }
        writeln!(f, "</div>")?;
        if self.maps.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "<h2>Attribution maps</h2>\n\
             <p>Saliency is the magnitude of the gradient d log p / dx, where p is the probability \
             of the predicted class and x a pixel. The integrated gradient attributes the change \
             of log p, from a black image to this one, to the pixels: blue ones raise it, red ones \
             lower it. Black pixels have an integrated gradient of 0, but may have saliency.</p>\n\
             <div class=\"maps\" id=\"maps\">"
        )?;
        for &ImageMaps { row, ref uris } in &self.maps {
            write!(
                f,
                "<figure class=\"map {}\"><figcaption>{}</figcaption><div>",
                self.css_class(row),
                self.caption(row)
            )?;
            for (uri, name) in uris.iter().zip(["image", "saliency", "integrated gradient"]) {
                write!(f, "<span><img src=\"{uri}\" alt=\"{name}\"><small>{name}</small></span>")?;
            }
            writeln!(f, "</div></figure>")?;
        }
        writeln!(f, "</div>")
    }
}

/// Bar chart of an image's class probabilities.
struct Bars<'a> {
    predictions: &'a Predictions,
    row: usize,
}

impl Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { predictions, row } = self;
        let probabilities = predictions.row(*row);
        let (width, height) = (10 * probabilities.len(), 40.0);
        write!(
            f,
            "<svg class=\"bars\" viewBox=\"0 0 {width} {}\" aria-hidden=\"true\">",
            height + 11.0
        )?;
        for (class, &p) in (0..).zip(probabilities) {
            let css_class = match class {
                class if class == predictions.labels[*row] => "isright",
                class if predictions.predicted[*row] == Some(class) => "iswrong",
                _ => "bar",
            };
            let (x, bar) = (10 * class, if p.is_finite() { p * height } else { 0.0 });
            // A hairline for probabilities near 0.
            let bar = bar.max(0.6);
            write!(
                f,
                "<rect class=\"{css_class}\" x=\"{}\" y=\"{:.1}\" width=\"8\" \
                 height=\"{bar:.1}\"/>",
                x + 1,
                height - bar
            )?;
            if probabilities.len() <= 10 {
                write!(f, "<text x=\"{}\" y=\"{}\">{class}</text>", x + 5, height + 10.0)?;
            }
        }
        write!(f, "</svg>")
    }
}

/// Confusion matrix: rows are labels, columns are predictions.
struct Matrix<'a> {
    confusion: &'a Confusion,
}

impl Display for Matrix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confusion } = self;
        let classes = confusion.classes();
        let (cell, edge) = (320.0 / classes as f64, 34.0);
        let wrong = (0..classes).flat_map(|label| {
            let others = (0..classes).filter(move |&predicted| predicted != label);
            others.map(move |predicted| confusion.count(label, predicted))
        });
        let max_wrong = wrong.max().unwrap_or(0).max(1);
        writeln!(
            f,
            "<figure class=\"confusion\" id=\"confusion\"><figcaption>Confusion matrix</figcaption>\
             <svg viewBox=\"0 0 360 360\" role=\"img\" \
             aria-label=\"Confusion matrix: {} of {} right\">\
             <text x=\"{middle}\" y=\"8\">predicted class</text>\
             <text x=\"8\" y=\"{middle}\" transform=\"rotate(-90 8 {middle})\">true class</text>",
            confusion.correct(),
            confusion.total(),
            middle = edge + 160.0,
        )?;
        for label in 0..classes {
            let middle = edge + (label as f64 + 0.5) * cell;
            if classes <= MAX_CLASSES_WITH_COUNTS {
                write!(
                    f,
                    "<text x=\"{middle:.1}\" y=\"24\">{label}</text>\
                     <text x=\"24\" y=\"{middle:.1}\">{label}</text>"
                )?;
            }
            for predicted in 0..classes {
                let count = confusion.count(label, predicted);
                let (x, y) = (edge + predicted as f64 * cell, edge + label as f64 * cell);
                let (css_class, opacity) = if label == predicted {
                    ("cr", confusion.recall(label).unwrap_or(0.0) * 0.55)
                } else {
                    ("cw", count as f64 / max_wrong as f64 * 0.75)
                };
                if count > 0 {
                    write!(
                        f,
                        "<rect class=\"{css_class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{0:.1}\" \
                         height=\"{0:.1}\" opacity=\"{opacity:.2}\"/>",
                        cell - 1.0
                    )?;
                    if classes <= MAX_CLASSES_WITH_COUNTS {
                        let size = (cell * 0.38).min(12.0);
                        write!(
                            f,
                            "<text class=\"n\" style=\"font-size:{size:.1}px\" x=\"{:.1}\" \
                             y=\"{:.1}\">{count}</text>",
                            x + cell / 2.0,
                            y + cell / 2.0
                        )?;
                    }
                }
            }
        }
        let side = cell * classes as f64;
        writeln!(
            f,
            "<rect x=\"{edge}\" y=\"{edge}\" width=\"{side}\" height=\"{side}\" \
             style=\"fill:none\" class=\"grid\"/></svg></figure>"
        )
    }
}

/// Table of the metrics of each class.
struct Table<'a> {
    confusion: &'a Confusion,
    unit_name: &'static str,
    class_names: &'a [String],
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confusion, unit_name, class_names } = self;
        writeln!(
            f,
            "<figure id=\"classes\"><figcaption>Metrics by class</figcaption>\
             <div class=\"scroll\"><table>\n<tr><th>Class</th>\
             <th>{}</th><th>Precision</th><th>Recall</th><th>F1</th></tr>",
            capitalised(unit_name)
        )?;
        for class in 0..confusion.classes() {
            let name = class_names.get(class).map(|name| format!(" {name}")).unwrap_or_default();
            writeln!(
                f,
                "<tr><td>{class}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                Escaped(&name),
                confusion.support(class),
                percent(confusion.precision(class)),
                percent(confusion.recall(class)),
                percent(confusion.f1(class)),
            )?;
        }
        writeln!(
            f,
            "<tr><th>mean</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n\
             </table></div></figure>",
            confusion.total(),
            percent(confusion.macro_precision()),
            percent(confusion.macro_recall()),
            percent(confusion.macro_f1()),
        )
    }
}

#[cfg(test)]
mod tests {
    use nn::Score;

    use super::*;

    /// Three images of two pixels: a right prediction, a wrong one, and a wrong one with more
    /// confidence.
    fn predictions() -> (Predictions, Labelled) {
        let predictions = Predictions {
            classes: 2,
            examples: vec![0, 1, 2],
            labels: vec![0, 0, 1],
            predicted: vec![Some(0), Some(1), Some(0)],
            probabilities: vec![0.9, 0.1, 0.4, 0.6, 0.8, 0.2],
            score: Score { rows: 3, loss: 1.0, weight: 3.0, correct: 1 },
        };
        let pixels = vec![0, 255, 9, 9, 3, 4];
        let set = Labelled::new(pixels, vec![0, 0, 1], 1, 2).expect("three images of 1 x 2");
        (predictions, set)
    }

    #[test]
    fn the_most_confident_mistakes_come_first() {
        let (predictions, set) = predictions();
        assert_eq!(misclassified(&predictions), [2, 1]);
        assert_eq!(with_maps(&predictions), [2, 1, 0]);
        let confusion = predictions.confusion().expect("classes");
        let maps = [(2, Maps { saliency: vec![0.0, -2.0], integrated: vec![1.0, -0.5] })];
        let section = TestSet::new(&predictions, &confusion, &[], &set, &maps).expect("images");
        let text = section.to_string();
        let captions =
            ["1 predicted as 0, 80.0\u{a0}%", "0 predicted as 1, 60.0\u{a0}%", "0, 90.0\u{a0}%"];
        let positions =
            captions.map(|part| text.find(part).unwrap_or_else(|| panic!("no `{part}` in {text}")));
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(
            (text.matches("digit wrong").count(), text.matches("digit right").count()),
            (2, 1)
        );
        assert_eq!(text.matches("<img src=\"data:image/png;base64,").count(), 3 + 3);
        assert!(text.contains("2 of 3 are misclassified"));
    }

    #[test]
    fn an_image_without_a_prediction_is_misclassified_and_has_no_map() {
        let (mut predictions, set) = predictions();
        (predictions.predicted[2], predictions.probabilities[4]) = (None, f64::NAN);
        assert_eq!(
            (misclassified(&predictions), with_maps(&predictions)),
            (vec![1, 2], vec![1, 0])
        );
        let confusion = predictions.confusion().expect("classes");
        let section = TestSet::new(&predictions, &confusion, &[], &set, &[]).expect("images");
        let text = section.to_string();
        assert!(
            text.contains("1, no prediction") && text.contains(" 1 of them have no prediction"),
            "{text}"
        );
    }

    #[test]
    fn a_map_is_blue_above_0_and_red_below() {
        assert_eq!(
            tinted(&[2.0, -1.0, 0.0]),
            [45, 120, 230, 255, 225, 60, 50, 127, 45, 120, 230, 0]
        );
        assert_eq!(tinted(&[0.0])[3], 0);
        assert_eq!(tinted(&[f64::NAN])[3], 0);
    }
}
