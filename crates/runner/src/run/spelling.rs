//! Suggestions for misspelt names: the known name with the smallest edit distance.
//!
//! Errors about a configuration file have one, so that they name the key that was meant.

/// Returns the name in `known` with the smallest [`distance`] to `name`, if that is at most a third
/// of the letters of `name`, or 1.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let max = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|known| (distance(name, known), known));
    distances.filter(|(distance, _)| *distance <= max).min().map(|(_, known)| known)
}

/// Edit distance of `a` and `b`: the minimum number of replaced, removed, inserted or transposed
/// letters (Damerau 1964; optimal string alignment, which changes no letter twice).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    // `rows[i][j]` is the distance of the first i letters of a and the first j of b.
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, j) => j,
                (i, 0) => i,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let min = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let is_transposed =
                        i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if is_transposed { min.min(rows[i - 2][j - 2] + 1) } else { min }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// Adds a suggestion to serde's message about an unknown name, such as ``unknown field `bacth`,
/// expected one of ...``.
pub(crate) fn with_suggestion(message: &str) -> String {
    let suggestion = message.lines().find_map(|line| {
        let (_, rest) = line.split_once('`').filter(|(kind, _)| {
            kind.ends_with("unknown field ") || kind.ends_with("unknown variant ")
        })?;
        let (name, rest) = rest.split_once('`')?;
        // The known names are between backticks: every second part.
        nearest(name, rest.split('`').skip(1).step_by(2))
    });
    match suggestion {
        Some(name) => format!("{message}\ndid you mean `{name}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_changes() {
        for (a, b, changes) in [
            ("", "abc", 3),
            ("batch", "batch", 0),
            ("bacth", "batch", 1),
            ("sead", "seed", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (changes, changes), "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let keys = ["preset", "epochs", "batch", "lr", "seed"];
        assert_eq!(nearest("bacth", keys), Some("batch"));
        assert_eq!(nearest("epoch", keys), Some("epochs"));
        assert_eq!(nearest("rl", keys), Some("lr"));
        assert_eq!(nearest("momentum", keys), None);
        let message =
            "TOML parse error at line 2\nunknown field `bacth`, expected one of `preset`, `batch`";
        assert!(with_suggestion(message).ends_with("did you mean `batch`?"));
        let variant = "unknown variant `rleu`, expected `relu` or `dense`";
        assert!(with_suggestion(variant).ends_with("did you mean `relu`?"));
        assert_eq!(with_suggestion("something else"), "something else");
    }
}
