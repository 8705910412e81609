//! Detection of numbers that lose too much by rounding to f32, the type of inputs in memory.
//!
//! Most decimals are rounded without harm. Two kinds are no longer distinct after it:
//!
//! ```text
//! non-zero, below f32's range     1e-50 is rounded to 0
//! 2^24 to 2^53, not an f32        16777217 is rounded to 16777216, its neighbour (ids, times)
//! ```
//!
//! [`table`](super::table) and [`npy`](super::npy) count them; a data set emits one notice.

use std::fmt::Display;
use std::path::Path;

/// Bound from which f32 has no numbers between integers: 2^24.
const COARSE: f32 = 16_777_216.0;
/// Bound from which f64, the type that floats are written from, has none: 2^53.
const COARSE_F64: f64 = 9_007_199_254_740_992.0;

/// `true` if `exact` and its neighbours have the same f32, `rounded`.
fn merges(exact: f64, rounded: f32) -> bool {
    rounded.abs() >= COARSE && exact.abs() < COARSE_F64 && f64::from(rounded) != exact
}

/// Counter of numbers that are no longer distinct after rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rounding {
    /// Text about the first one: the number, its position, and the rounded number.
    first: Option<String>,
    count: u64,
}

impl Rounding {
    /// Counts the number written as `text`, whose f32 is `rounded`, if it loses too much.
    /// `position` is called for the first such number.
    pub(crate) fn text<P: Display>(
        &mut self,
        text: &str,
        rounded: f32,
        position: impl FnOnce() -> P,
    ) {
        let lossy = if rounded == 0.0 {
            let digits = text.bytes().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'));
            digits.into_iter().any(|byte| (b'1'..=b'9').contains(&byte))
        } else {
            rounded.abs() >= COARSE
                && match text.parse::<i128>() {
                    Ok(exact) => exact != rounded as i128,
                    Err(_) => text.parse().is_ok_and(|exact| merges(exact, rounded)),
                }
        };
        self.count(lossy, text, rounded, position);
    }

    /// Counts an f64, as [`text`](Self::text) does.
    pub(crate) fn float<P: Display>(
        &mut self,
        exact: f64,
        rounded: f32,
        position: impl FnOnce() -> P,
    ) {
        let lossy = (rounded == 0.0 && exact != 0.0) || merges(exact, rounded);
        self.count(lossy, exact, rounded, position);
    }

    /// Counts an integer, as [`text`](Self::text) does.
    pub(crate) fn integer<P: Display>(
        &mut self,
        exact: i64,
        rounded: f32,
        position: impl FnOnce() -> P,
    ) {
        self.count(i128::from(exact) != rounded as i128, exact, rounded, position);
    }

    fn count<P: Display>(
        &mut self,
        lossy: bool,
        exact: impl Display,
        rounded: f32,
        position: impl FnOnce() -> P,
    ) {
        if lossy {
            self.count += 1;
            self.first.get_or_insert_with(|| {
                format!("{exact} in {}, which becomes {rounded}", position())
            });
        }
    }

    /// Returns the notice about the data in `path`, if any number was counted.
    pub(crate) fn notice(&self, path: &Path) -> Option<String> {
        let Self { first, count } = self;
        let first = first.as_ref()?;
        Some(format!(
            "{}: numbers are rounded to f32, and {count} of them no longer differ from their \
             neighbours, such as {first}: leave such a column out, or subtract an offset or scale \
             it before",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_longer_distinct_are_counted() {
        let is_lossy = |text: &str| {
            let mut rounding = Rounding::default();
            rounding.text(text, text.parse().expect("a number"), || "line 2");
            let of_f64 = {
                let (mut rounding, exact) =
                    (Rounding::default(), text.parse::<f64>().expect("a number"));
                rounding.float(exact, exact as f32, || "line 2");
                rounding.count == 1
            };
            (rounding.count == 1, of_f64)
        };
        for text in [
            "1e-50",
            "-1E-50",
            "0.00000000000000000000000000000000000000000000000001",
            "16777217",
            "1700000000.5",
        ] {
            assert_eq!(is_lossy(text), (true, true), "{text}");
        }
        for text in
            ["0", "-0.0", "0e5", "0.1", "3.14159265358979", "16777216", "16777215", "1e-40", "1e25"]
        {
            assert_eq!(is_lossy(text), (false, false), "{text}");
        }
        // Beyond f64.
        assert_eq!(
            (is_lossy("9007199254740993"), is_lossy("1e-400")),
            ((true, false), (true, false))
        );
    }

    #[test]
    fn the_notice_has_the_first_number_and_the_count() {
        let mut rounding = Rounding::default();
        assert_eq!(rounding.notice(Path::new("t.csv")), None);
        rounding.integer(7, 7.0, || "line 2");
        rounding.integer(16_777_217, 16_777_216.0, || "line 3, column `id`");
        rounding.integer(i64::MAX, i64::MAX as f32, || "line 4, column `id`");
        let notice = rounding.notice(Path::new("t.csv")).expect("two of them");
        let expected = "16777217 in line 3, column `id`, which becomes 16777216";
        assert!(
            notice.starts_with("t.csv: ")
                && notice.contains(expected)
                && notice.contains("2 of them"),
            "{notice}"
        );
    }
}
