//! Units of ReLU that no example activates.

use alloc::format;

use crate::activity::{Dead, dead_units};
use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::layer_name;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "dead-relu",
    title: "Units of ReLU are dead",
    meaning: "A unit whose input is negative for every example has the output 0 and the slope 0: \
              it gets no gradient and does not come back. A step that is too large, or a large \
              negative bias, puts it there. A layer all of whose units are dead cuts the network \
              in two: the output no longer depends on the input.",
    formula: "Units that are 0 for every example of the batch over all units of the layer, median \
              over the last recorded steps, or else in the initial network. The rule fires above \
              `fraction` for batches of at least 16 examples, and for a layer without any living \
              unit. The latter is critical unless it is in a residual block or the training goes \
              well.",
    origin: "Healthy networks have some ten to thirty percent of dead units, and wide ones more. A \
             unit that is active for a fifth of the examples is 0 throughout a batch of 16 with a \
             probability of 3 %.",
    references: "Glorot, Bordes, Bengio, AISTATS 2011; Maas, Hannun, Ng, ICML 2013; Lu, Shin, Su, \
                 Karniadakis, Communications in Computational Physics 28, 2020.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.5,
        meaning: "fraction of dead units of a layer, above which it is dying",
    }],
    cures: &[
        Cure::LowerRate,
        Cure::LeakyRelu,
        Cure::MatchedInitialiser,
        Cure::ZeroBiases,
        Cure::BatchNorm,
        Cure::WarmUp,
    ],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "vanishing-gradient",
            "constant-output",
            "frozen-layer",
            "unchanged-parameters",
            "learning-rate-too-low",
            "optimizer-epsilon",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let threshold = context.threshold("fraction");
    let larger = |a: Dead, b: Dead| if b.after > a.after { b } else { a };
    let dead = dead_units(record).into_iter().reduce(larger)?;
    let is_whole = dead.after >= 1.0;
    let is_large_enough = model.batch == 0 || model.batch >= if is_whole { 2 } else { 16 };
    if dead.after <= threshold || !is_large_enough {
        return None;
    }
    let name = layer_name(model, dead.layer);
    let is_initial = dead.before.is_some_and(|before| before > threshold);
    let mut message = format!(
        "{:.0} of {} units of {name} are 0 for every example",
        dead.after * dead.units as f64,
        dead.units
    );
    match dead.step {
        _ if is_initial => message += ", since before the first step",
        Some(step) => message += &format!(", from step {step} on"),
        None => {}
    }
    message += ".";
    let mut finding = context.finding(message).at_layer(name);
    let is_residual = model.layers.get(dead.layer).is_some_and(|layer| layer.residual);
    if is_whole && !is_residual && !context.progress.is_well() {
        finding.severity = Severity::Critical;
    }
    finding.step = dead.step;
    finding = finding.with("fraction of dead units", dead.after, threshold);
    if let Some(before) = dead.before {
        finding = finding.with("same, in the initial network", before, None);
    }
    if is_initial {
        // No step has killed them.
        finding = finding.cured_by(INITIAL_CURES);
    }
    Some(finding.with_confidence(if is_whole { 0.75 } else { 0.6 }))
}

/// Cures of units that are dead before the first step.
const INITIAL_CURES: &[Cure] = &[
    Cure::ZeroBiases,
    Cure::MatchedInitialiser,
    Cure::BatchNorm,
    Cure::LeakyRelu,
    Cure::StandardiseInputs,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::fixtures::{for_layers, healthy, make_slow, make_stuck};
    use crate::rules::testing::check_rule;

    fn dying(activation: &str, dead: impl Fn(u64) -> u64) -> Record {
        let mut record = healthy(&[784, 64, 10], activation);
        for_layers(&mut record, |step, layer, sample| {
            sample.dead = if layer.kind == activation { dead(step) } else { 0 };
        });
        record
    }

    #[test]
    fn dying_layers_are_found_from_their_step_on() {
        let record = dying("relu", |step| if step < 100 { 10 } else { 60 });
        let finding = check_rule(&RULE, &record).expect("60 of 64");
        assert_eq!((finding.severity, finding.step), (Severity::Info, Some(101)));
        assert_eq!(finding.cures, RULE.cures);
        let from_the_start = check_rule(&RULE, &dying("relu", |_| 60)).expect("60 of 64");
        assert_eq!(from_the_start.cures, INITIAL_CURES);
        assert_eq!(check_rule(&RULE, &dying("relu", |_| 19)), None);
        assert_eq!(check_rule(&RULE, &dying("tanh", |_| 64)), None);
        let mut small = record;
        small.model.batch = 8;
        assert_eq!(check_rule(&RULE, &small), None);
    }

    #[test]
    fn a_dead_layer_is_critical_outside_residual_blocks() {
        let mut record = dying("relu", |_| 64);
        make_slow(&mut record);
        let finding = check_rule(&RULE, &record).expect("all units");
        assert_eq!((finding.severity, finding.confidence), (Severity::Critical, 0.75));
        assert!(finding.message.contains("before the first step"));
        record.model.layers[1].residual = true;
        let finding = check_rule(&RULE, &record).expect("all units");
        assert_eq!(finding.severity, Severity::Warning);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record).map(|f| f.severity), Some(Severity::Critical));
    }
}
