//! A hidden layer too narrow for what has to pass it.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{layer_name, weight_layers};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "bottleneck",
    title: "A hidden layer is too narrow",
    meaning: "All that later layers know of an example passes through the narrowest hidden layer. \
              With fewer units than it takes to tell the classes apart, some are confused \
              whatever is learnt; and a few units of ReLU easily die together.",
    formula: "Units of a hidden layer with weights. For classification the rule fires below the \
              larger of 2, log2 of the classes, and `share` times the smaller of inputs and \
              classes; for regression below 2, if there are several inputs. It fires unless the \
              training goes well. Residual blocks and reconstruction, where the narrow layer is \
              the purpose, are left out.",
    origin: "Two units can separate many classes, but hardly learn to. n binary units tell 2^n \
             classes apart.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.4; Lu et al., \
                 NeurIPS 2017.",
    thresholds: &[Threshold {
        key: "share",
        default: 0.25,
        meaning: "units over the smaller of inputs and classes, below which a layer is narrow",
    }],
    cures: &[Cure::MoreWidth],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["overfit-one-batch-fails", "dead-relu", "constant-output"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let model = &context.record.model;
    if context.progress.is_well() {
        return None;
    }
    let weights = weight_layers(model);
    let (_, hidden) = weights.split_last()?;
    let first = model.layers.get(*weights.first()?)?.inputs;
    let inputs = if first > 0 { first } else { context.record.data.as_ref()?.inputs };
    let least = match model.task {
        Task::Classification if model.classes > 1 => {
            let classes = model.classes as f64;
            let share = context.threshold("share") * classes.min(inputs as f64);
            libm::log2(classes).max(share).max(2.0)
        }
        Task::Regression if inputs > 1 => 2.0,
        _ => return None,
    };
    let units = |&index: &usize| {
        let layer = model.layers.get(index).filter(|layer| !layer.residual && layer.outputs > 0)?;
        Some((layer.outputs, index))
    };
    let (units, index) = hidden.iter().filter_map(units).min()?;
    if units as f64 >= least {
        return None;
    }
    let name = layer_name(model, index);
    let message = match model.task {
        Task::Classification => format!(
            "{name} has {units} units for {} classes, and at least {:.0} are needed.",
            model.classes,
            libm::ceil(least)
        ),
        _ => format!("{name} has {units} units for {inputs} inputs."),
    };
    let finding = context.finding(message).at_layer(name);
    Some(finding.with("units", units as f64, least).with_confidence(0.8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{healthy, make_slow};
    use crate::rules::testing::check_rule;

    #[test]
    fn a_narrow_layer_is_found_where_it_does_harm() {
        let find = |widths: &[u64], change: fn(&mut crate::record::Model)| {
            let mut record = healthy(widths, "relu");
            change(&mut record.model);
            assert_eq!(check_rule(&RULE, &record), None);
            make_slow(&mut record);
            check_rule(&RULE, &record)
        };
        let finding = find(&[784, 64, 2, 64, 10], |_| {}).expect("2 units for 10 classes");
        assert_eq!(finding.layer.as_deref(), Some("layers.2"));
        assert_eq!(find(&[784, 64, 4, 64, 10], |_| {}), None);
        assert_eq!(find(&[2, 2, 2], |model| model.classes = 2), None);
        assert!(find(&[784, 20, 100], |model| model.classes = 100).is_some());
        assert_eq!(find(&[784, 32, 100], |model| model.classes = 100), None);
        assert!(find(&[8, 1, 1], |model| model.task = Task::Regression).is_some());
        assert_eq!(find(&[784, 1, 784], |model| model.task = Task::Reconstruction), None);
        let residual = |model: &mut crate::record::Model| {
            model.layers.iter_mut().for_each(|layer| layer.residual = true);
        };
        assert_eq!(find(&[784, 64, 2, 64, 10], residual), None);
    }
}
