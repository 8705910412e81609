//! Schedules: the learning rate as a pure function of the step, so that a resumed run goes on with the same rate.

use kernels::{Cpu, math};

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    #[default]
    Constant,
    /// From the full rate down to `end` times it along half a cosine (Loshchilov, Hutter 2017, "SGDR", equation 5,
    /// without restarts).
    Cosine {
        /// The last step's share of the rate, 0 to 1.
        end: f64,
    },
    /// From the full rate down to `end` times it along a straight line.
    Linear {
        /// The last step's share of the rate, 0 to 1.
        end: f64,
    },
}

impl Schedule {
    /// The factor on the rate at `step` (from 0) of a run of `steps`. Steps past the end have the last one's. `cpu`
    /// changes no bit of it.
    pub fn factor(&self, cpu: Cpu<'_>, step: u64, steps: u64) -> f64 {
        let progress = if steps <= 1 { 0.0 } else { step.min(steps - 1) as f64 / (steps - 1) as f64 };
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { end } => {
                let mut cosine = [0.0];
                // Both slices have one element, so there is nothing to refuse.
                let _ = math::cos_pi(cpu, &[progress], &mut cosine);
                end + (1.0 - end) * 0.5 * (1.0 + cosine[0])
            }
            Self::Linear { end } => end + (1.0 - end) * (1.0 - progress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_at_one_and_end_where_they_say() {
        let cpu = Cpu::detect();
        for schedule in [Schedule::Cosine { end: 0.1 }, Schedule::Linear { end: 0.1 }] {
            assert_eq!(schedule.factor(cpu, 0, 101), 1.0);
            assert!((schedule.factor(cpu, 50, 101) - 0.55).abs() < 1e-15);
            assert!((schedule.factor(cpu, 100, 101) - 0.1).abs() < 1e-15);
            assert_eq!(schedule.factor(cpu, 1000, 101), schedule.factor(cpu, 100, 101));
            let falls =
                (0..100).all(|step| schedule.factor(cpu, step, 101) > schedule.factor(cpu, step + 1, 101));
            assert!(falls);
        }
        assert_eq!(Schedule::Constant.factor(cpu, 7, 10), 1.0);
        assert_eq!(Schedule::Linear { end: 0.0 }.factor(cpu, 0, 1), 1.0);
    }
}
