//! Classes of a table's label column: which texts name the same class, and the name printed for it.
//!
//! ```text
//! setosa, virginica       a class for each text
//! 0, 0.0, 1, 1e0          all are numbers: a class for each value, named by its shortest text
//! ```
//!
//! [`table`](super::table) reads labels with this, in a training set and in new rows.

/// Classes of a table, in order.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    names: Vec<String>,
    /// Values of the names, if all are numbers.
    numbers: Option<Vec<f64>>,
}

/// Bound below which f64 represents every integer: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Classes {
    /// Collects the classes that `texts` name: in numeric order if all are numbers, else in
    /// lexicographic order.
    pub(crate) fn collect(texts: &[String]) -> Self {
        let mut names: Vec<&String> = texts.iter().collect();
        names.sort_unstable();
        names.dedup();
        let Some(numbers) = numbers(&names) else {
            return Self { names: names.into_iter().cloned().collect(), numbers: None };
        };
        let mut all: Vec<_> = numbers.into_iter().zip(names).collect();
        // Sorts the shortest text of a value first, so that it survives.
        all.sort_by(|(a, text), (b, other)| {
            a.total_cmp(b).then(text.len().cmp(&other.len())).then(text.cmp(other))
        });
        all.dedup_by(|(a, _), (b, _)| are_same(*a, *b));
        let (numbers, names) = all.into_iter().map(|(number, name)| (number, name.clone())).unzip();
        Self { names, numbers: Some(numbers) }
    }

    /// Restores the classes of a trained run from their names.
    pub(crate) fn from_names(names: &[String]) -> Self {
        Self { names: names.into(), numbers: numbers(names) }
    }

    /// Names of the classes.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of the classes.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Returns the class that `text` names.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        let by_text = || self.names.iter().position(|name| name == text);
        let by_number = || {
            let (numbers, wanted) = (self.numbers.as_ref()?, number(text)?);
            numbers.iter().position(|&number| are_same(number, wanted))
        };
        by_text().or_else(by_number)
    }
}

/// Returns the values of `texts`, if all are numbers.
fn numbers(texts: &[impl AsRef<str>]) -> Option<Vec<f64>> {
    texts.iter().map(|text| number(text.as_ref())).collect()
}

/// Parses `text` as a finite number; -0 is read as 0.
fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// `true` if texts with these values name the same class. From 2^53 on, different integers may be
/// the same f64.
fn are_same(a: f64, b: f64) -> bool {
    a == b && a.abs() < EXACT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(texts: &[&str]) -> Classes {
        Classes::collect(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_are_classes_by_their_value() {
        let classes = collect(&["10", "1.00", "9", "1.0", "-0.0", "0", "1.0"]);
        assert_eq!(classes.names(), ["0", "1.0", "9", "10"]);
        for (text, class) in [
            ("1", Some(1)),
            ("1e0", Some(1)),
            ("-0", Some(0)),
            ("1e1", Some(3)),
            ("2", None),
            ("x", None),
        ] {
            assert_eq!(classes.find(text), class, "{text}");
        }
    }

    #[test]
    fn texts_are_classes_by_their_characters() {
        let classes = collect(&["b", "1.0", "1", "a"]);
        assert_eq!(classes.names(), ["1", "1.0", "a", "b"]);
        assert_eq!((classes.find("1.00"), classes.find("1.0")), (None, Some(1)));
        // NaN is no value.
        assert_eq!(collect(&["nan", "NaN", "1", "1.0"]).names().len(), 4);
    }

    #[test]
    fn integers_beyond_f64_stay_distinct() {
        let classes = collect(&["9007199254740993", "9007199254740992.0", "9007199254740995"]);
        assert_eq!(classes.names().len(), 3);
        assert_eq!(classes.find("9007199254740995"), Some(2));
    }

    #[test]
    fn a_run_with_a_class_per_spelling_still_finds_each() {
        let names = ["0", "0.0", "1"].map(str::to_owned);
        assert_eq!(
            ["0", "0.0", "1.0"].map(|text| Classes::from_names(&names).find(text)),
            [Some(0), Some(1), Some(2)]
        );
    }
}
