//! JSON of a run's files: one object per line, and numbers that are not finite, which are the
//! strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
//!
//! Fields name it with `#[serde(with = "crate::run::json")]`, as in [`epoch`](crate::run::epoch).

use std::fs;
use std::path::Path;

pub(crate) use doctor::number::{deserialize, option, serialize};
use serde::de::DeserializeOwned;

use crate::Error;
use crate::data::DataError;

/// Reads a file of one object per line, each `expected`; empty if there is no such file. A last
/// line without a line end is the rest of a killed process, and is ignored.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; [`Error::Malformed`] names the first other line.
pub(crate) fn read_lines<T: DeserializeOwned>(
    path: &Path,
    expected: &str,
) -> Result<Vec<T>, Error> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(DataError::io("read", path))?;
    let parse = |(index, line): (usize, &str)| {
        let expected = format!("{expected} in line {}", index + 1);
        serde_json::from_str(line).map_err(|error| Error::malformed(path, expected, error))
    };
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete.enumerate().map(parse).collect()
}

/// Encoding of lists of such numbers: `#[serde(with = "crate::run::json::list")]`.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Number(#[serde(with = "super")] f64);

    /// Writes `values`.
    pub(crate) fn serialize<S: Serializer>(
        values: &[f64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|&value| Number(value)))
    }

    /// Reads the encoding of [`serialize`].
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<Number>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|Number(value)| value).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Wrapper(#[serde(with = "crate::run::json")] f64);

    #[derive(Serialize, Deserialize)]
    struct Optional(#[serde(with = "crate::run::json::option")] Option<f64>);

    #[test]
    fn an_absent_number_is_null() {
        for (value, text) in [(None, "null"), (Some(0.5), "0.5"), (Some(f64::NAN), "\"NaN\"")] {
            let written = serde_json::to_string(&Optional(value)).expect("a number or none");
            assert_eq!(written, text);
            let Optional(read) = serde_json::from_str(&written).expect("what was written");
            assert_eq!(read.map(f64::to_bits), value.map(f64::to_bits));
        }
    }

    #[test]
    fn every_number_is_read_back_to_the_bit() {
        for (value, text) in [
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
            (f64::NAN, "\"NaN\""),
            (-0.0, "-0.0"),
            (f64::MIN_POSITIVE / 3.0, "7.4167974381786e-309"),
        ] {
            let written = serde_json::to_string(&Wrapper(value)).expect("a number");
            if value.is_normal() || !value.is_finite() {
                assert_eq!(written, text);
            }
            let read: Wrapper = serde_json::from_str(&written).expect("what was written");
            assert!(
                read.0.to_bits() == value.to_bits() || (read.0.is_nan() && value.is_nan()),
                "{written}"
            );
        }
        assert!(serde_json::from_str::<Wrapper>("\"nan\"").is_err());
    }
}
