//! Sudden rises of the loss.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::{median, spread};

pub(super) static RULE: Rule = Rule {
    id: "loss-spikes",
    title: "The loss rises suddenly",
    meaning: "A step that was too long throws the parameters far from where they were, and what \
              was learnt is learnt again. Rare examples with a huge gradient, a learning rate at \
              the edge of stability, or a second moment that lags behind the gradient do that.",
    formula: "Steps whose ln(loss) exceeds the median of the 20 recorded ones before by more than \
              `deviations` times their spread (1.4826 MAD, 0.05 at least) and by ln 2, and whose \
              loss exceeds a quarter of the initial one. A rise counts once, until the loss is \
              back. Two of them are a finding, or one to twice the initial loss.",
    origin: "Late in a training, losses of batches differ by orders of magnitude, at a level that \
             does not matter: so the level counts too. Eight deviations leave room for heavy \
             tails.",
    references: "Chowdhery et al., PaLM, J. Machine Learning Research 24, 2023, section 5.1; \
                 Cohen et al., Adaptive Gradient Methods at the Edge of Stability, 2022; Hampel, \
                 J. American Statistical Association 69, 1974.",
    thresholds: &[Threshold {
        key: "deviations",
        default: 8.0,
        meaning: "spreads of ln(loss) by which a loss exceeds those before",
    }],
    cures: &[Cure::LowerRate, Cure::ClipNorm, Cure::WarmUp, Cure::LargerBatch],
    causes: &[&["plateau", "underfitting", "loss-not-decreasing", "accuracy-at-chance"]],
    check,
};

/// Recorded losses before a step that it is compared with.
const WINDOW: usize = 20;

/// Least spread of ln(loss).
const SPREAD: f64 = 0.05;

/// Fraction of the initial loss below which a rise does not matter.
const LEVEL: f64 = 0.25;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let losses = curve::losses(context.record);
    let Some(first) = context.progress.first_loss.filter(|&first| first > 0.0) else {
        return Vec::new();
    };
    let positive: Vec<(u64, f64)> = losses.into_iter().filter(|&(_, loss)| loss > 0.0).collect();
    let deviations = context.threshold("deviations");
    let logs: Vec<f64> = positive.iter().map(|&(_, loss)| libm::log(loss)).collect();
    let mut spikes: Vec<(u64, f64, f64)> = Vec::new();
    let mut bound = f64::INFINITY;
    let mut is_high = false;
    for (index, &(step, loss)) in positive.iter().enumerate() {
        let Some(window) = index.checked_sub(WINDOW).and_then(|from| logs.get(from..index)) else {
            continue;
        };
        let Some(&log) = logs.get(index) else { continue };
        if is_high && log > bound {
            continue;
        }
        is_high = false;
        let (Some(centre), Some(spread)) = (median(window.iter().copied()), spread(window)) else {
            continue;
        };
        let spread = spread.max(SPREAD);
        bound = centre + (deviations * spread).max(core::f64::consts::LN_2);
        if log > bound && loss > LEVEL * first {
            spikes.push((step, loss, (log - centre) / spread));
            is_high = true;
        }
    }
    let Some(&(step, loss, z)) = spikes.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Vec::new();
    };
    if spikes.len() < 2 && loss <= 2.0 * first {
        return Vec::new();
    }
    let times = if spikes.len() == 1 { "once".into() } else { format!("{} times", spikes.len()) };
    let message = format!("The loss rises suddenly {times}, highest at step {step} to {loss:.3e}.");
    let finding = context
        .finding(message)
        .at_step(spikes.first().map_or(step, |spike| spike.0))
        .with("spreads by which the highest exceeds the losses before", z, deviations)
        .with("highest loss over the initial one", loss / first, LEVEL)
        .with("sudden rises", spikes.len() as f64, None)
        .with_confidence(0.45);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, record_of_losses};

    /// A falling loss with 5 % of noise, multiplied by `spike` at two steps.
    fn losses(rate: f64, spike: f64) -> Vec<f64> {
        let noise = |i: i32| 1.0 + 0.05 * f64::from(i * 7 % 11 - 5) / 5.0;
        let at = |i: i32| if i == 60 || i == 100 { spike } else { 1.0 };
        (0..150).map(|i| 2.3 * libm::exp(-rate * f64::from(i)) * noise(i) * at(i)).collect()
    }

    #[test]
    fn spikes_are_found_and_noise_at_a_low_level_is_not() {
        let finding = check_rule(&RULE, &record_of_losses(losses(0.005, 10.0))).expect("two");
        assert_eq!((finding.step, finding.evidence[2].value), (Some(61), 2.0));
        assert_eq!(check_rule(&RULE, &record_of_losses(losses(0.005, 1.2))), None);
        assert_eq!(check_rule(&RULE, &record_of_losses(losses(0.1, 10.0))), None, "low level");
        let mut one = losses(0.005, 1.0);
        one[70] = 2.5;
        assert_eq!(check_rule(&RULE, &record_of_losses(one.clone())), None, "one small spike");
        one[70] = 50.0;
        assert!(check_rule(&RULE, &record_of_losses(one)).is_some());
    }
}
