//! Inputs that are the same in every training example. Standardisation makes them 0, and the
//! network learns nothing from them: `train` names them.

use nn::{LayerSpec, Standardise};

use crate::data::{Inputs, Labelled};
use crate::run::setup::Setup;

/// Maximum number of inputs that the notice names.
const MAX_NAMED: usize = 12;

/// Returns the notice about constant inputs of the run `setup`, if it standardises and has some.
pub(crate) fn notice(setup: &Setup) -> Option<String> {
    let layers = setup.config.layers.as_deref().unwrap_or_default();
    if layers.first() != Some(&LayerSpec::Standardise(Standardise {})) {
        return None;
    }
    let (count, columns) = (setup.dataset.train.image_len(), &setup.dataset.names.columns);
    let constant = constant(&setup.dataset.train, &setup.split.train);
    let first = constant.iter().take(MAX_NAMED);
    let names: Vec<_> = first
        .map(|&i| columns.get(i).map_or_else(|| i.to_string(), |name| format!("`{name}`")))
        .collect();
    let more = match constant.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!constant.is_empty()).then(|| {
        format!(
            "{} of {count} columns are equal in all training rows, in f32, and are left out (0 \
             after standardisation): {}{more}",
            constant.len(),
            names.join(", ")
        )
    })
}

/// Returns the inputs that are the same in all examples `indices` of `set`.
pub(crate) fn constant(set: &Labelled, indices: &[u32]) -> Vec<usize> {
    match set.inputs() {
        Inputs::Bytes(bytes) => constant_columns(bytes, set.image_len(), indices),
        Inputs::Numbers(numbers) => constant_columns(numbers, set.image_len(), indices),
    }
}

fn constant_columns<T: Copy + PartialEq>(
    values: &[T],
    width: usize,
    indices: &[u32],
) -> Vec<usize> {
    let row = |index: u32| &values[index as usize * width..][..width];
    let Some((&first, rest)) = indices.split_first() else { return Vec::new() };
    let first = row(first);
    let mut constant: Vec<usize> = (0..width).collect();
    for &index in rest {
        let row = row(index);
        constant.retain(|&column| row[column] == first[column]);
    }
    constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;

    #[test]
    fn inputs_are_constant_if_no_training_row_differs() {
        let numbers = vec![1.0, 7.0, 3.0, 2.0, 7.0, 3.0, 1.0, 7.0, 4.0];
        let set = Labelled::table(Inputs::Numbers(numbers), Targets::Classes(vec![0, 1, 0]), 3)
            .expect("3 x 3");
        assert_eq!(constant(&set, &[0, 1, 2]), [1]);
        assert_eq!(constant(&set, &[0, 1]), [1, 2]);
        assert_eq!(constant(&set, &[0]), [0, 1, 2]);
        assert_eq!(constant(&set, &[]), [0; 0]);
    }
}
