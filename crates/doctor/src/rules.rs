//! The rules, one file each.
//!
//! A rule is harmless where training goes well: it asks [`Context::finding`] for the severity, or
//! says why it is severe nevertheless.

use crate::rule::Rule;

/// Lists the modules of the rules; each has a `RULE`.
macro_rules! rules {
    ($($module:ident,)*) => {
        $(mod $module;)*

        /// All rules. Of findings that are equally severe and likely, the earlier rule's is first.
        pub static ALL: &[&Rule] = &[$(&$module::RULE,)*];
    };
}

rules! {
    non_finite_inputs,
    constant_inputs,
    outlier_inputs,
    outlier_targets,
    random_labels,
    split_shift,
    shifted_labels,
    split_leak,
    missing_class,
    sorted_examples,
    unscaled_inputs,
    small_inputs,
    target_scale,
    label_noise,
    conflicting_duplicates,
    class_imbalance,
    small_data,
    duplicated_examples,
    non_finite,
    vanishing_gradient,
    unchanged_parameters,
    schedule_starves,
    batch_too_large,
    batch_too_small,
    skipped_steps,
    loss_spikes,
    oscillation,
    overfitting,
    too_few_steps,
    stalled_training,
    collapsed_predictions,
    confusion,
    plateau,
    underfitting,
    overtraining,
    loss_not_decreasing,
    accuracy_at_chance,
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_those_of_causes_exist() {
        let names: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(names.len(), ALL.len());
        for rule in ALL {
            for id in rule.causes {
                assert!(names.contains(id), "{} causes {id}, which is no rule", rule.id);
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(rule.id.chars().all(is_plain), "{}", rule.id);
        }
    }

    #[test]
    fn every_rule_explains_itself() {
        for rule in ALL {
            for text in [rule.meaning, rule.formula, rule.origin, rule.references] {
                assert!(text.len() > 20 && text.ends_with('.'), "{}: {text}", rule.id);
            }
            assert!(!rule.title.ends_with('.') && !rule.cures.is_empty(), "{}", rule.id);
        }
    }
}
