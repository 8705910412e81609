//! What was probably meant by a word that is none of those that are known.
//!
//! Configuration files are read with this, so that a misspelt key is an error that names the right one.

/// The word of `known` that is nearest to `word`, if it is near: at most a third of its letters, and at least one, may be wrong,
/// missing, too many, or exchanged with their neighbour.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    let measured = known.into_iter().map(|known| (distance(word, known), known));
    measured.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// The least number of such changes that make `b` of `a` (Damerau 1964, in the form that changes no letter twice).
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
                    let least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if exchanged { least.min(rows[i - 2][j - 2] + 1) } else { least }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

/// A parser's message about an unknown word, with what was probably meant: `unknown field `bacth`, expected one of ...` is serde's.
pub(crate) fn with_suggestion(message: &str) -> String {
    let meant = message.lines().find_map(|line| {
        let (kind, rest) = line.split_once('`').filter(|(kind, _)| {
            kind.ends_with("unknown field ") || kind.ends_with("unknown variant ")
        })?;
        let _ = kind;
        let (word, rest) = rest.split_once('`')?;
        // Every second piece stands between two marks.
        nearest(word, rest.split('`').skip(1).step_by(2))
    });
    match meant {
        Some(meant) => format!("{message}\ndid you mean `{meant}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
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
    fn what_is_near_is_suggested_and_nothing_else() {
        let keys = ["preset", "epochs", "batch", "lr", "seed"];
        assert_eq!(nearest("bacth", keys), Some("batch"));
        assert_eq!(nearest("epoch", keys), Some("epochs"));
        assert_eq!(nearest("rl", keys), Some("lr"));
        assert_eq!(nearest("momentum", keys), None);
        let message =
            "TOML parse error at line 2\nunknown field `bacth`, expected one of `preset`, `batch`";
        assert!(with_suggestion(message).ends_with("did you mean `batch`?"));
        let two = "unknown variant `rleu`, expected `relu` or `dense`";
        assert!(with_suggestion(two).ends_with("did you mean `relu`?"));
        assert_eq!(with_suggestion("something else"), "something else");
    }
}
