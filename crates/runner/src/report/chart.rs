//! Chart of curves as SVG: axes, one colour per curve, marks. Its size in bytes does not grow with
//! the length of the curves.
//!
//! No plotting library draws it: they write fixed colours into each element, so a page could not
//! follow the reader's light or dark theme. Here colours are variables of the style sheet.

use std::fmt::{self, Display};

use crate::report::axis::{Axis, LossRange, Scale, loss_range, short};
use crate::report::page::Escaped;
use crate::report::polyline::{Point, Polyline};

/// Width and height of a chart, in SVG units. A phone shows about 360 units.
const SIZE: [f64; 2] = [400.0, 230.0];
/// Width and height of a chart as wide as the page, whose text grows on a phone.
const WIDE: [f64; 2] = [840.0, 400.0];
/// Margins for labels: left, right, top, bottom.
const MARGINS: [f64; 4] = [50.0, 12.0, 8.0, 36.0];

/// Number of colours in the style sheet.
pub(crate) const COLOURS: usize = 8;

/// Maximum number of points of a curve that has a dot at each point.
const MAX_DOTS: usize = 40;

/// Curve of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// Name in the legend; a curve with an empty name has no entry.
    pub(crate) name: String,
    /// CSS colour.
    pub(crate) colour: String,
    /// Points from left to right. Points that cannot be drawn are gaps.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curve {
    /// Curve in colour number `colour`, modulo [`COLOURS`].
    pub(crate) fn new(name: impl Into<String>, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour: format!("var(--s{})", colour % COLOURS), points }
    }
}

/// Chart of curves over a common x axis.
#[derive(Clone, Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// Label of the x axis.
    pub(crate) x_label: &'a str,
    /// Scale of the x axis. A linear one has ticks at integers only.
    pub(crate) x_scale: Scale,
    /// Scale of the y axis; not used for `losses`.
    pub(crate) y_scale: Scale,
    /// `true` if values are losses: [`loss_range`] chooses scale and range of the y axis.
    pub(crate) losses: bool,
    /// `true` for a chart as wide as the page.
    pub(crate) wide: bool,
    /// `true` if values are fractions, to be shown in per cent.
    pub(crate) percent: bool,
    pub(crate) curves: Vec<Curve>,
    /// Marked x value, and its label.
    pub(crate) mark: Option<(f64, String)>,
    /// Marked y value, and its label.
    pub(crate) level: Option<(f64, &'a str)>,
}

impl Default for Chart<'_> {
    fn default() -> Self {
        let (curves, mark, level) = (Vec::new(), None, None);
        let (x_scale, y_scale) = (Scale::Linear, Scale::Linear);
        let (losses, wide, percent) = (false, false, false);
        Self {
            title: "",
            x_label: "epoch",
            x_scale,
            y_scale,
            losses,
            wide,
            percent,
            curves,
            mark,
            level,
        }
    }
}

impl Display for Chart<'_> {
    /// Writes the chart; nothing if no value can be drawn.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let scaled = |value: f64| if self.percent { 100.0 * value } else { value };
        let LossRange { scale: y_scale, top: cut } = self.y_range();
        let is_shown = |value: &f64| cut.is_none_or(|cut| *value <= cut);
        let values = points().map(|&(_, y)| scaled(y)).filter(is_shown).chain(cut);
        let Some(y_axis) = Axis::new(y_scale, values) else { return Ok(()) };
        let y_axis = if self.percent { y_axis.within(0.0, 100.0) } else { y_axis };
        let (first, last) = points()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &(x, _)| {
                (low.min(x), high.max(x))
            });
        let x_axis = match self.x_scale {
            Scale::Linear => Some(Axis::integers(first, last)),
            Scale::Log => Axis::new(Scale::Log, points().map(|&(x, _)| x)),
        };
        let Some(x_axis) = x_axis else { return Ok(()) };

        let [width, height] = if self.wide { WIDE } else { SIZE };
        let [left, right, top, bottom] = MARGINS;
        let (end, base) = (width - right, height - bottom);
        let x = |value: f64| x_axis.position(value).map(|share| left + share * (end - left));
        let y = |value: f64| y_axis.position(value).map(|share| base - share * (base - top));

        write!(f, "<figure><figcaption>{}", Escaped(self.title))?;
        for Curve { name, colour, .. } in self.curves.iter().filter(|curve| !curve.name.is_empty())
        {
            write!(
                f,
                " <span class=\"key\"><i style=\"background:{colour}\"></i>{}</span>",
                Escaped(name)
            )?;
        }
        writeln!(
            f,
            "</figcaption><svg{} viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{} over {}\">",
            if self.wide { " class=\"wide\"" } else { "" },
            Escaped(self.title),
            self.x_label
        )?;
        let unit = if self.percent { " %" } else { "" };
        for &tick in &y_axis.ticks {
            let Some(y) = y(tick) else { continue };
            write!(
                f,
                "<path class=\"grid\" d=\"M{left} {y:.1}H{end}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}{unit}</text>",
                left - 5.0,
                y + 4.0,
                y_axis.label(tick)
            )?;
        }
        write!(f, "<path class=\"base\" d=\"M{left} {base}H{end}\"/>")?;
        for &tick in &x_axis.ticks {
            if let Some(x) = x(tick) {
                let label = x_axis.label(tick);
                write!(
                    f,
                    "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                    base + 15.0
                )?;
            }
        }
        let middle = (left + end) / 2.0;
        writeln!(
            f,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height - 5.0,
            self.x_label
        )?;
        if let Some((value, name)) = self.level
            && let Some(y) = y(scaled(value)).filter(|y| (top..=base).contains(y))
        {
            write!(
                f,
                "<path class=\"mark\" d=\"M{left} {y:.1}H{end}\"/><text x=\"{end}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                y - 4.0,
                Escaped(name)
            )?;
        }
        if let Some((value, name)) = &self.mark
            && let Some(x) = x(*value)
        {
            // The label is on the side with more space.
            let (anchor, text_x) = if x > middle { ("end", x - 4.0) } else { ("start", x + 4.0) };
            write!(
                f,
                "<path class=\"mark\" d=\"M{x:.1} {top}V{base}\"/><text x=\"{text_x:.1}\" \
                 y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                top + 9.0,
                Escaped(name)
            )?;
        }
        for Curve { colour, points, .. } in &self.curves {
            let drawn: Vec<_> =
                points.iter().map(|&(at, value)| x(at).zip(y(scaled(value)))).collect();
            let line = Polyline::clipped(&drawn, top);
            writeln!(
                f,
                "<path class=\"curve\" style=\"stroke:{colour}\" d=\"{}\"/>",
                line.reduced()
            )?;
            let dots =
                drawn.iter().flatten().filter(|(_, y)| *y >= top && points.len() <= MAX_DOTS);
            for (x, y) in dots {
                write!(
                    f,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" style=\"fill:{colour}\"/>"
                )?;
            }
        }
        if let Some(cut) = cut {
            let above = || points().filter(|(_, y)| y.is_finite() && *y > cut);
            let max = above().fold(cut, |max, &(_, y)| max.max(y));
            let first = above().filter_map(|&(at, _)| x(at)).fold(end, f64::min);
            write!(f, "{}", CutMark { at: (first, top), max, is_left: first > middle })?;
        }
        writeln!(f, "</svg></figure>")
    }
}

impl Chart<'_> {
    /// Scale of the y axis, and the value at which curves are cut off.
    fn y_range(&self) -> LossRange {
        if !self.losses {
            return LossRange { scale: self.y_scale, top: None };
        }
        let values: Vec<Vec<f64>> = self
            .curves
            .iter()
            .map(|curve| curve.points.iter().map(|point| point.1).collect())
            .collect();
        loss_range(values.iter().map(|values| &values[..]))
    }
}

/// Mark at the first point that is cut off, with the maximum of the curves.
struct CutMark {
    at: Point,
    max: f64,
    /// `true` if the text is to the left of the mark.
    is_left: bool,
}

impl Display for CutMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: (x, y), max, is_left } = self;
        let (anchor, text_x) = if *is_left { ("end", x - 7.0) } else { ("start", x + 7.0) };
        // The text is below the label of `Chart::mark`.
        writeln!(
            f,
            "<path class=\"above\" d=\"M{x:.1} {y:.1}l-4 6h8z\"/><text x=\"{text_x:.1}\" \
             y=\"{:.1}\" text-anchor=\"{anchor}\">cut off: up to {}</text>",
            y + 24.0,
            short(*max)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart<'static> {
        Chart {
            title: "Loss",
            curves: vec![Curve::new("validation", 1, points.into())],
            ..Chart::default()
        }
    }

    #[test]
    fn a_value_that_cannot_be_drawn_is_a_gap() {
        let text = chart(&[(1.0, 2.0), (2.0, 1.0), (3.0, f64::NAN), (4.0, 1.0)]).to_string();
        assert!(text.contains("d=\"M50.0 8.0L162.7 194.0M388.0 194.0h0\""), "{text}");
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(text.contains("stroke:var(--s1)") && text.contains("validation"));
        assert_eq!(chart(&[]).to_string(), "");
        assert_eq!(chart(&[(1.0, f64::INFINITY)]).to_string(), "");
        let log = Chart { y_scale: Scale::Log, ..chart(&[(1.0, 0.0), (2.0, 1e-3), (3.0, 1.0)]) };
        assert_eq!(log.to_string().matches("<circle").count(), 2);
    }

    #[test]
    fn a_loss_that_explodes_is_cut_off_and_marked() {
        let points: Vec<_> =
            (1..=40).map(|x| (f64::from(x), if x > 38 { 1e9 } else { 2.0 })).collect();
        let text = Chart { losses: true, ..chart(&points) }.to_string();
        assert!(
            text.contains("cut off: up to 1.0e9") && text.contains("class=\"above\""),
            "{text}"
        );
        assert_eq!(text.matches("<circle").count(), 38);
        assert!(
            !text.contains("e9<") || text.matches("e9").count() == 1,
            "no tick is that large: {text}"
        );
        let complete = chart(&points).to_string();
        assert!(!complete.contains("cut off") && complete.matches("<circle").count() == 40);
    }

    #[test]
    fn the_size_of_a_chart_does_not_grow_with_the_number_of_points() {
        let point = |x: u32| (f64::from(x), f64::from(x % 1009 * 7919 % 1009) + 1.0);
        for x_scale in [Scale::Linear, Scale::Log] {
            let points: Vec<_> = (1..=1_000_000).map(point).collect();
            let text = Chart { x_scale, losses: true, wide: true, ..chart(&points) }.to_string();
            assert!((20_000..120_000).contains(&text.len()), "{}", text.len());
        }
    }

    #[test]
    fn marks_and_levels_are_drawn_inside_the_chart() {
        let marked = Chart {
            mark: Some((2.0, "best < all".into())),
            level: Some((0.75, "level")),
            percent: true,
            ..chart(&[(1.0, 0.5), (2.0, 1.0)])
        };
        let text = marked.to_string();
        assert_eq!(text.matches("class=\"mark\"").count(), 2);
        assert!(text.contains("best &lt; all") && text.contains("100 %"), "{text}");
        let outside = Chart { level: Some((9.0, "level")), ..chart(&[(1.0, 1.0), (2.0, 2.0)]) };
        assert!(!outside.to_string().contains("class=\"mark\""));
    }
}
