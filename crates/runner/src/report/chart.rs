//! A chart of curves, as SVG: axes, a colour a curve, and marks. Its size does not grow with the
//! length of curves.
//!
//! Written by hand and not by a library: those that draw SVG write fixed colours into each element, so that one page could not
//! follow the reader's light or dark theme. Here colours are the style's variables.

use std::fmt::{self, Display};

use crate::report::axis::{Axis, Scale, Usual, short, usual};
use crate::report::page::Escaped;
use crate::report::polyline::{Place, Polyline};

/// Width and height, and the margins for labels: left, right, top, bottom. In units of which a phone shows about 360.
const SIZE: [f64; 2] = [400.0, 230.0];
/// The size of a chart as wide as the page, whose text grows on a phone.
const WIDE: [f64; 2] = [840.0, 400.0];
const MARGINS: [f64; 4] = [50.0, 12.0, 8.0, 36.0];

/// How many colours there are.
pub(crate) const COLOURS: usize = 8;

/// Points are marked where a curve has no more than this.
const MOST_DOTS: usize = 40;

/// A curve.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// What it is called; a curve without a name has no entry in the key.
    pub(crate) name: String,
    /// Its colour in CSS.
    pub(crate) colour: String,
    /// Its points, from left to right; those with a value that has no place are gaps.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curve {
    /// A curve in colour number `colour`.
    pub(crate) fn new(name: impl Into<String>, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour: format!("var(--s{})", colour % COLOURS), points }
    }
}

/// Curves over the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// What is counted along the bottom.
    pub(crate) below: &'a str,
    /// How that is laid out; numbers that are not whole are on a logarithmic scale alone.
    pub(crate) across: Scale,
    pub(crate) scale: Scale,
    /// Values are losses: the axis shows the [`usual`] ones, and `scale` is chosen by them.
    pub(crate) losses: bool,
    /// As wide as the page.
    pub(crate) wide: bool,
    /// Whether values are shares, to be shown in per cent.
    pub(crate) percent: bool,
    pub(crate) curves: Vec<Curve>,
    /// A place along the bottom to mark, and what it is.
    pub(crate) mark: Option<(f64, String)>,
    /// A value to mark, and what it is.
    pub(crate) level: Option<(f64, &'a str)>,
}

impl Default for Chart<'_> {
    fn default() -> Self {
        let (curves, mark, level) = (Vec::new(), None, None);
        let (across, scale) = (Scale::Linear, Scale::Linear);
        let (losses, wide, percent) = (false, false, false);
        Self {
            title: "",
            below: "epoch",
            across,
            scale,
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
    /// Nothing if no value has a place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let scaled = |value: f64| if self.percent { 100.0 * value } else { value };
        let Usual { scale, top: cut } = self.range();
        let shown = |value: &f64| cut.is_none_or(|cut| *value <= cut);
        let values = points().map(|&(_, y)| scaled(y)).filter(shown).chain(cut);
        let Some(y_axis) = Axis::new(scale, values) else { return Ok(()) };
        let y_axis = if self.percent { y_axis.within(0.0, 100.0) } else { y_axis };
        let (first, last) = points()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &(x, _)| {
                (low.min(x), high.max(x))
            });
        let x_axis = match self.across {
            Scale::Linear => Some(Axis::whole(first, last)),
            Scale::Log => Axis::new(Scale::Log, points().map(|&(x, _)| x)),
        };
        let Some(x_axis) = x_axis else { return Ok(()) };

        let [width, height] = if self.wide { WIDE } else { SIZE };
        let [left, right, top, bottom] = MARGINS;
        let (end, base) = (width - right, height - bottom);
        let x = |value: f64| x_axis.place(value).map(|place| left + place * (end - left));
        let y = |value: f64| y_axis.place(scaled(value)).map(|place| base - place * (base - top));

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
            "</figcaption><svg{} viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} by {}\">",
            if self.wide { " class=\"wide\"" } else { "" },
            Escaped(self.title),
            self.below
        )?;
        let unit = if self.percent { " %" } else { "" };
        for &tick in &y_axis.ticks {
            let Some(place) = y_axis.place(tick) else { continue };
            let at = base - place * (base - top);
            write!(
                f,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{end}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}{unit}</text>",
                left - 5.0,
                at + 4.0,
                y_axis.label(tick)
            )?;
        }
        write!(f, "<path class=\"base\" d=\"M{left} {base}H{end}\"/>")?;
        for &tick in &x_axis.ticks {
            if let Some(at) = x(tick) {
                let label = x_axis.label(tick);
                write!(
                    f,
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                    base + 15.0
                )?;
            }
        }
        let middle = (left + end) / 2.0;
        writeln!(
            f,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height - 5.0,
            self.below
        )?;
        if let Some((value, name)) = self.level
            && let Some(at) = y(value).filter(|at| (top..=base).contains(at))
        {
            write!(
                f,
                "<path class=\"mark\" d=\"M{left} {at:.1}H{end}\"/><text x=\"{end}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                at - 4.0,
                Escaped(name)
            )?;
        }
        if let Some((value, name)) = &self.mark
            && let Some(at) = x(*value)
        {
            // On the side that has more room.
            let (anchor, beside) =
                if at > middle { ("end", at - 4.0) } else { ("start", at + 4.0) };
            write!(
                f,
                "<path class=\"mark\" d=\"M{at:.1} {top}V{base}\"/><text x=\"{beside:.1}\" y=\"{}\" \
                 text-anchor=\"{anchor}\">{}</text>",
                top + 9.0,
                Escaped(name)
            )?;
        }
        for Curve { colour, points, .. } in &self.curves {
            let placed: Vec<_> = points.iter().map(|&(at, value)| x(at).zip(y(value))).collect();
            let line = Polyline::below(&placed, top);
            writeln!(
                f,
                "<path class=\"curve\" style=\"stroke:{colour}\" d=\"{}\"/>",
                line.thinned()
            )?;
            let dots =
                placed.iter().flatten().filter(|(_, y)| *y >= top && points.len() <= MOST_DOTS);
            for (x, y) in dots {
                write!(
                    f,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" style=\"fill:{colour}\"/>"
                )?;
            }
        }
        if let Some(cut) = cut {
            let above = || points().filter(|(_, y)| y.is_finite() && *y > cut);
            let greatest = above().fold(cut, |greatest, &(_, y)| greatest.max(y));
            let at = above().filter_map(|&(at, _)| x(at)).fold(end, f64::min);
            write!(f, "{}", Above { at: (at, top), greatest, is_left: at > middle })?;
        }
        writeln!(f, "</svg></figure>")
    }
}

impl Chart<'_> {
    /// How values are laid out, and where they are cut off.
    fn range(&self) -> Usual {
        if !self.losses {
            return Usual { scale: self.scale, top: None };
        }
        let values: Vec<Vec<f64>> = self
            .curves
            .iter()
            .map(|curve| curve.points.iter().map(|point| point.1).collect())
            .collect();
        usual(values.iter().map(|values| &values[..]))
    }
}

/// The mark where curves leave the chart: what their values come to.
struct Above {
    at: Place,
    greatest: f64,
    /// The text lies to the left of the mark.
    is_left: bool,
}

impl Display for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: (x, y), greatest, is_left } = self;
        let (anchor, beside) = if *is_left { ("end", x - 7.0) } else { ("start", x + 7.0) };
        // Below the text of a chart's other mark.
        writeln!(
            f,
            "<path class=\"above\" d=\"M{x:.1} {y:.1}l-4 6h8z\"/><text x=\"{beside:.1}\" y=\"{:.1}\" \
             text-anchor=\"{anchor}\">cut off: up to {}</text>",
            y + 24.0,
            short(*greatest)
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
    fn what_has_no_place_is_a_gap() {
        let text = chart(&[(1.0, 2.0), (2.0, 1.0), (3.0, f64::NAN), (4.0, 1.0)]).to_string();
        assert!(text.contains("d=\"M50.0 8.0L162.7 194.0M388.0 194.0h0\""), "{text}");
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(text.contains("stroke:var(--s1)") && text.contains("validation"));
        assert_eq!(chart(&[]).to_string(), "");
        assert_eq!(chart(&[(1.0, f64::INFINITY)]).to_string(), "");
        let log = Chart { scale: Scale::Log, ..chart(&[(1.0, 0.0), (2.0, 1e-3), (3.0, 1.0)]) };
        assert_eq!(log.to_string().matches("<circle").count(), 2);
    }

    #[test]
    fn a_loss_that_explodes_is_cut_off_and_marked() {
        let points: Vec<_> =
            (1..=40).map(|at| (f64::from(at), if at > 38 { 1e9 } else { 2.0 })).collect();
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
        let whole = chart(&points).to_string();
        assert!(!whole.contains("cut off") && whole.matches("<circle").count() == 40);
    }

    #[test]
    fn a_million_points_take_no_more_bytes_than_the_paper_has_columns() {
        let point = |at: u32| (f64::from(at), f64::from(at % 1009 * 7919 % 1009) + 1.0);
        for across in [Scale::Linear, Scale::Log] {
            let points: Vec<_> = (1..=1_000_000).map(point).collect();
            let text = Chart { across, losses: true, wide: true, ..chart(&points) }.to_string();
            assert!((20_000..120_000).contains(&text.len()), "{}", text.len());
        }
    }

    #[test]
    fn marks_are_drawn_where_they_are_named() {
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
