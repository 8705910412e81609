//! How the test set was answered: which class was taken for which, and single images with what the network made of them.

use std::fmt::{self, Display};

use nn::metrics::Confusion;
use png::ColorType;

use crate::Error;
use crate::data::Labelled;
use crate::data::image::{data_uri, png};
use crate::evaluation::attribution::Maps;
use crate::evaluation::classification::percent;
use crate::evaluation::predictions::Predictions;
use crate::report::page::{Escaped, capital};

/// How many images are shown: those read wrongly with the most confidence, and the first that are read rightly.
const MISTAKES: usize = 36;
const RIGHT: usize = 24;

/// Images with maps, of either kind.
const MAPS: usize = 3;

/// With more classes than this the counts of the confusion matrix would be too small to read.
const MOST_COUNTS: usize = 20;

/// The places in `answers` of the mistakes, the most confident first; those without a prediction
/// last.
pub(crate) fn mistakes(answers: &Predictions) -> Vec<usize> {
    let mut wrong: Vec<usize> = (0..answers.len()).filter(|&at| !answers.is_right(at)).collect();
    let confidence = |at| answers.confidence(at).unwrap_or(f64::NEG_INFINITY);
    wrong.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
    wrong
}

/// The places of those whose maps are shown: mistakes, and the first images that are read rightly.
pub(crate) fn explained(answers: &Predictions) -> Vec<usize> {
    let right = (0..answers.len()).filter(|&at| answers.is_right(at)).take(MAPS);
    let wrong = mistakes(answers).into_iter().filter(|&at| answers.predicted[at].is_some());
    wrong.take(MAPS).chain(right).collect()
}

/// The section on a test set.
pub(crate) struct Reading<'a> {
    pub(crate) answers: &'a Predictions,
    pub(crate) confusion: &'a Confusion,
    /// What examples are called.
    pub(crate) noun: &'static str,
    /// What the classes of a table are called; nothing of images.
    pub(crate) names: &'a [String],
    pub(crate) digits: Vec<Digit>,
    pub(crate) explained: Vec<Explained>,
}

/// An image and what was made of it.
pub(crate) struct Digit {
    at: usize,
    picture: String,
}

/// An image with its maps.
pub(crate) struct Explained {
    at: usize,
    pictures: [String; 3],
}

impl<'a> Reading<'a> {
    /// Of `answers` to examples of `set`, whose classes are called `names`, with the maps of those that [`explained`] names.
    ///
    /// # Errors
    /// [`Error::Usage`] if a picture cannot be encoded.
    pub(crate) fn new(
        answers: &'a Predictions,
        confusion: &'a Confusion,
        names: &'a [String],
        set: &Labelled,
        maps: &[(usize, Maps)],
    ) -> Result<Self, Error> {
        let image = |at: usize| set.image(answers.examples[at] as usize).unwrap_or_default();
        let picture = |at: usize| {
            Ok::<_, Error>(data_uri(&png(set.cols(), set.rows(), ColorType::Grayscale, image(at))?))
        };
        let right = (0..answers.len()).filter(|&at| answers.is_right(at)).take(RIGHT);
        let shown = mistakes(answers).into_iter().take(MISTAKES).chain(right);
        // What is not in bytes is not drawn.
        let shown = shown.filter(|_| !set.pixels().is_empty());
        let digits = shown
            .map(|at| Ok(Digit { at, picture: picture(at)? }))
            .collect::<Result<_, Error>>()?;
        let explained = maps.iter().map(|(at, maps)| {
            let map = |pixels: &[u8]| {
                Ok::<_, Error>(data_uri(&png(set.cols(), set.rows(), ColorType::Rgba, pixels)?))
            };
            let saliency: Vec<f64> = maps.saliency.iter().map(|slope| slope.abs()).collect();
            let pictures =
                [picture(*at)?, map(&tinted(&saliency))?, map(&tinted(&maps.integrated))?];
            Ok(Explained { at: *at, pictures })
        });
        let explained = explained.collect::<Result<_, Error>>()?;
        Ok(Self { answers, confusion, noun: set.noun(), names, digits, explained })
    }

    /// `3 read as 5`, `3`.
    fn caption(&self, at: usize) -> String {
        let label = self.answers.labels[at];
        let confidence =
            self.answers.confidence(at).map(|share| format!("{:.1}\u{a0}%", 100.0 * share));
        match self.answers.predicted[at].zip(confidence) {
            None => format!("{label}, no prediction"),
            Some((answer, confidence)) if answer == label => format!("{label}, {confidence}"),
            Some((answer, confidence)) => format!("{label} read as {answer}, {confidence}"),
        }
    }
}

/// Values as shades: blue above 0, red below, the fainter the nearer to 0.
fn tinted(values: &[f64]) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let shade = |value: &f64| {
        let [r, g, b] = if *value >= 0.0 { [45, 120, 230] } else { [225, 60, 50] };
        // NaN, and all of a map of zeros, are clear.
        [r, g, b, (255.0 * value.abs() / largest.max(1e-300)) as u8]
    };
    values.iter().flat_map(shade).collect()
}

fn class(right: bool) -> &'static str {
    if right { "right" } else { "wrong" }
}

impl Display for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers;
        let (verb, wrongly) = match self.noun {
            "images" => ("read as", "read wrongly"),
            _ => ("taken for", "classified wrongly"),
        };
        writeln!(
            f,
            "<h2>Predictions by class</h2>\n<div class=\"charts pair\">{}{}</div>",
            Matrix { confusion: self.confusion, verb },
            Table { confusion: self.confusion, noun: self.noun, names: self.names }
        )?;
        let wrong = mistakes(answers).len();
        write!(f, "<h2>Test {}</h2>\n<p>{wrong} of {} are {wrongly}.", self.noun, answers.len())?;
        match answers.unpredicted().len() {
            0 => {}
            count => write!(
                f,
                " {count} of them have no prediction: their outputs are NaN or infinite."
            )?,
        }
        if self.digits.is_empty() {
            return writeln!(f, "</p>");
        }
        writeln!(
            f,
            " First come the mistakes that the network was surest of, then some images that it reads rightly; bars are the \
             probabilities of the classes, <span style=\"color:var(--right)\">blue</span> the right one, <span \
             style=\"color:var(--wrong)\">red</span> a wrong answer.</p>\n<div class=\"digits\" id=\"digits\">"
        )?;
        for digit in &self.digits {
            let right = answers.is_right(digit.at);
            writeln!(
                f,
                "<figure class=\"digit {}\"><figcaption>{}</figcaption><img src=\"{}\" alt=\"image {}\">{}</figure>",
                class(right),
                self.caption(digit.at),
                digit.picture,
                answers.examples[digit.at],
                Bars { answers, at: digit.at },
            )?;
        }
        writeln!(f, "</div>")?;
        if self.explained.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "<h2>Attribution maps</h2>\n<p>Saliency is how much each pixel would change the logarithm of the answer's \
             probability, d log p / dx. The integrated gradient is what the pixel did to it on the way from a black image to this \
             one: blue spoke for the answer, red against it. Pixels that are black have done nothing, but what they could do is \
             part of the saliency.</p>\n<div class=\"maps\" id=\"maps\">"
        )?;
        for Explained { at, pictures } in &self.explained {
            let right = answers.is_right(*at);
            write!(
                f,
                "<figure class=\"map {}\"><figcaption>{}</figcaption><div>",
                class(right),
                self.caption(*at)
            )?;
            for (picture, name) in pictures.iter().zip(["image", "saliency", "integrated gradient"])
            {
                write!(
                    f,
                    "<span><img src=\"{picture}\" alt=\"{name}\"><small>{name}</small></span>"
                )?;
            }
            writeln!(f, "</div></figure>")?;
        }
        writeln!(f, "</div>")
    }
}

/// The probabilities of an image's classes.
struct Bars<'a> {
    answers: &'a Predictions,
    at: usize,
}

impl Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, at } = self;
        let row = answers.row(*at);
        let (width, height) = (10 * row.len(), 40.0);
        write!(
            f,
            "<svg class=\"bars\" viewBox=\"0 0 {width} {}\" aria-hidden=\"true\">",
            height + 11.0
        )?;
        for (class, &p) in (0..).zip(row) {
            let colour = match class {
                class if class == answers.labels[*at] => "isright",
                class if answers.predicted[*at] == Some(class) => "iswrong",
                _ => "bar",
            };
            let (x, tall) = (10 * class, if p.is_finite() { p * height } else { 0.0 });
            // A hair for what is nearly 0.
            let tall = tall.max(0.6);
            write!(
                f,
                "<rect class=\"{colour}\" x=\"{}\" y=\"{:.1}\" width=\"8\" height=\"{tall:.1}\"/>",
                x + 1,
                height - tall
            )?;
            if row.len() <= 10 {
                write!(f, "<text x=\"{}\" y=\"{}\">{class}</text>", x + 5, height + 10.0)?;
            }
        }
        write!(f, "</svg>")
    }
}

/// Rows are labels, columns answers.
struct Matrix<'a> {
    confusion: &'a Confusion,
    /// What the network did to them: `read as`, say.
    verb: &'static str,
}

impl Display for Matrix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confusion, verb } = self;
        let classes = confusion.classes();
        let (cell, edge) = (320.0 / classes as f64, 34.0);
        let most = |label: usize| {
            (0..classes).filter(move |&a| a != label).map(move |a| confusion.count(label, a)).max()
        };
        let most = (0..classes).filter_map(most).max().unwrap_or(0).max(1);
        writeln!(
            f,
            "<figure class=\"confusion\" id=\"confusion\"><figcaption>Confusion matrix</figcaption><svg viewBox=\"0 0 360 360\" \
             role=\"img\" aria-label=\"Confusion matrix: {} of {} right\"><text x=\"{middle}\" y=\"8\">{verb}</text><text \
             x=\"8\" y=\"{middle}\" transform=\"rotate(-90 8 {middle})\">was</text>",
            confusion.correct(),
            confusion.total(),
            middle = edge + 160.0,
        )?;
        for label in 0..classes {
            let middle = edge + (label as f64 + 0.5) * cell;
            if classes <= MOST_COUNTS {
                write!(
                    f,
                    "<text x=\"{middle:.1}\" y=\"24\">{label}</text><text x=\"24\" y=\"{middle:.1}\">{label}</text>"
                )?;
            }
            for answer in 0..classes {
                let count = confusion.count(label, answer);
                let (x, y) = (edge + answer as f64 * cell, edge + label as f64 * cell);
                let (colour, share) = if label == answer {
                    ("cr", confusion.recall(label).unwrap_or(0.0) * 0.55)
                } else {
                    ("cw", count as f64 / most as f64 * 0.75)
                };
                if count > 0 {
                    write!(
                        f,
                        "<rect class=\"{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{0:.1}\" height=\"{0:.1}\" \
                         opacity=\"{share:.2}\"/>",
                        cell - 1.0
                    )?;
                    if classes <= MOST_COUNTS {
                        let size = (cell * 0.38).min(12.0);
                        write!(
                            f,
                            "<text class=\"n\" style=\"font-size:{size:.1}px\" x=\"{:.1}\" y=\"{:.1}\">{count}</text>",
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
            "<rect x=\"{edge}\" y=\"{edge}\" width=\"{side}\" height=\"{side}\" style=\"fill:none\" class=\"grid\"/></svg></figure>"
        )
    }
}

/// The classes one by one.
struct Table<'a> {
    confusion: &'a Confusion,
    noun: &'static str,
    names: &'a [String],
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confusion, noun, names } = self;
        writeln!(
            f,
            "<figure id=\"classes\"><figcaption>Class by class</figcaption><div class=\"scroll\"><table>\n<tr><th>Class</th>\
             <th>{}</th><th>Precision</th><th>Recall</th><th>F1</th></tr>",
            capital(noun)
        )?;
        for class in 0..confusion.classes() {
            writeln!(
                f,
                "<tr><td>{class}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                Escaped(&names.get(class).map(|name| format!(" {name}")).unwrap_or_default()),
                confusion.support(class),
                percent(confusion.precision(class)),
                percent(confusion.recall(class)),
                percent(confusion.f1(class)),
            )?;
        }
        writeln!(
            f,
            "<tr><th>mean</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n</table></div></figure>",
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

    /// Three images of two pixels: read rightly, wrongly, and wrongly with more confidence.
    fn answers() -> (Predictions, Labelled) {
        let answers = Predictions {
            classes: 2,
            examples: vec![0, 1, 2],
            labels: vec![0, 0, 1],
            predicted: vec![Some(0), Some(1), Some(0)],
            probabilities: vec![0.9, 0.1, 0.4, 0.6, 0.8, 0.2],
            score: Score { rows: 3, loss: 1.0, weight: 3.0, correct: 1 },
        };
        (
            answers,
            Labelled::new(vec![0, 255, 9, 9, 3, 4], vec![0, 0, 1], 1, 2)
                .expect("as many as it takes"),
        )
    }

    #[test]
    fn the_surest_mistakes_come_first() {
        let (answers, set) = answers();
        assert_eq!(mistakes(&answers), [2, 1]);
        assert_eq!(explained(&answers), [2, 1, 0]);
        let confusion = answers.confusion().expect("classes");
        let maps = Maps { saliency: vec![0.0, -2.0], integrated: vec![1.0, -0.5] };
        let reading =
            Reading::new(&answers, &confusion, &[], &set, &[(2, maps)]).expect("pictures");
        let text = reading.to_string();
        let [surest, other, right] =
            ["1 read as 0, 80.0\u{a0}%", "0 read as 1, 60.0\u{a0}%", "0, 90.0\u{a0}%"];
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no `{part}` in {text}"));
        assert!(place(surest) < place(other) && place(other) < place(right));
        assert_eq!(
            (text.matches("digit wrong").count(), text.matches("digit right").count()),
            (2, 1)
        );
        assert_eq!(text.matches("<img src=\"data:image/png;base64,").count(), 3 + 3);
        assert!(text.contains("2 of 3 are read wrongly"));
    }

    #[test]
    fn an_image_without_a_prediction_is_a_mistake_without_a_map() {
        let (mut answers, set) = answers();
        (answers.predicted[2], answers.probabilities[4]) = (None, f64::NAN);
        assert_eq!((mistakes(&answers), explained(&answers)), (vec![1, 2], vec![1, 0]));
        let confusion = answers.confusion().expect("classes");
        let text =
            Reading::new(&answers, &confusion, &[], &set, &[]).expect("pictures").to_string();
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
