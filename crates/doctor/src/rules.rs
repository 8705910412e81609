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
    // The data.
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

    // The course of the training.
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
pub(crate) mod fixtures;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use super::*;
    use crate::judge::judge;
    use crate::record::{Initial, Reference, Task};
    use crate::settings::Settings;

    #[test]
    fn names_are_distinct_and_those_of_causes_exist() {
        let names: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(names.len(), ALL.len());
        for rule in ALL {
            for id in rule.symptoms() {
                assert!(names.contains(&id), "{} causes {id}, which is no rule", rule.id);
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(rule.id.chars().all(is_plain), "{}", rule.id);
        }
    }

    #[test]
    fn no_rule_fires_on_a_healthy_training() {
        let record = testing::healthy();
        let verdict = judge(&record, &Settings::default());
        assert!(verdict.progress.is_well(), "{:?}", verdict.progress);
        assert_eq!(verdict.findings, Vec::new());
    }

    #[test]
    fn no_rule_panics_on_a_record_whose_parts_do_not_fit() {
        let healthy = testing::healthy();
        let odd = [f64::NAN, f64::INFINITY, -1e300, 0.0, 5e-324];
        for seed in 0..200_usize {
            let mut record = healthy.clone();
            let pick = |salt: usize| odd.get((seed * 7 + salt * 3) % 8).copied();
            record.model.tensors.truncate(seed % 3);
            record.model.layers.truncate(seed % 2);
            record.model.classes = [0, 1, 10, u64::MAX][seed % 4];
            record.model.batch = [0, 1, 50, u64::MAX][seed / 4 % 4];
            record.model.planned_steps = [0, 1, 400, u64::MAX][seed / 16 % 4];
            record.model.task =
                [Task::Classification, Task::Regression, Task::Reconstruction][seed % 3];
            for (index, step) in record.steps.iter_mut().enumerate() {
                if index % (seed + 1) == 0 {
                    (step.loss, step.cosine) = (pick(index), pick(index + 1));
                    (step.learning_rate, step.step) = (pick(index + 2), (seed * index) as u64);
                    step.tensors.truncate(index % 3);
                }
            }
            for (index, epoch) in record.epochs.iter_mut().enumerate() {
                epoch.correct_counts.truncate((seed + index) % 12);
                epoch.predicted_counts.truncate((seed + 3 * index) % 12);
                (epoch.val_loss, epoch.val_accuracy) = (pick(index), pick(index + 4));
                (epoch.train_loss, epoch.train_accuracy) = (pick(index + 2), pick(index + 5));
                epoch.step = [0, 7, u64::MAX][(seed + index) % 3];
            }
            let data = record.data.as_mut().expect("the healthy record has data");
            data.class_counts.truncate(seed % 11);
            data.validation_class_counts.truncate(seed / 2 % 11);
            (data.train, data.validation) = ([0, 1, u64::MAX][seed % 3], [0, 1][seed % 2]);
            (data.rms, data.mean, data.min, data.max) = (pick(0), pick(1), pick(2), pick(3));
            (data.scale_ratio, data.range_ratio) = (pick(4), pick(5));
            (data.neighbour_agreement, data.same_label_by_chance) = (pick(6), pick(7));
            (data.validation_agreement, data.neighbour_vote) = (pick(8), pick(9));
            (data.target_mean, data.target_std) = (pick(10), pick(11));
            (data.target_min, data.target_max) = (pick(12), pick(13));
            (data.validation_shift, data.same_label_successors) = (pick(14), pick(15));
            (data.duplicates, data.leaked_validation) = (u64::MAX, u64::MAX);
            record.reference = (seed % 2 == 0).then(|| Reference {
                val_loss: pick(16),
                val_accuracy: pick(17),
                ..healthy_reference()
            });
            record.initial = Some(Initial { loss: pick(18), ..Initial::default() });
            for finding in judge(&record, &Settings::default()).findings {
                assert!(finding.message.ends_with('.'), "{finding:?}");
            }
        }
    }

    fn healthy_reference() -> Reference {
        testing::healthy().reference.expect("the healthy record has a reference")
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
