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
    non_finite,
    vanishing_gradient,

    // The network and the optimizer.
    gradient_check,
    output_count,
    loss_mismatch,
    output_layer,
    zero_initialisation,
    symmetric_units,
    frozen_layer,
    large_biases,
    initialisation_too_small,
    initialisation_too_large,
    batch_norm_small_batch,
    dropout_too_strong,
    regularisation_too_strong,
    optimizer_momentum,
    too_deep,
    bottleneck,
    exploding_gradient,
    learning_rate_too_high,
    saturation,
    dead_relu,
    clip_always,
    optimizer_epsilon,
    learning_rate_too_low,
    precision_too_low,
    unchanged_parameters,
    initial_loss,
    exploding_updates,
    constant_output,
    overfit_one_batch_fails,
    clip_never,
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod testing;

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
