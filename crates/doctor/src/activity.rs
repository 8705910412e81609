//! Units that no example activates.

use alloc::vec::Vec;

use crate::network::{initial_layers, is_rectifier, layer_steps};
use crate::record::{LayerSample, Record};
use crate::statistics::median;

/// Recorded steps at the end, over which fractions are medians.
const STEPS: usize = 3;

/// Dead units of a layer of rectifiers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dead {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Units of the layer.
    pub(crate) units: u64,
    /// Fraction of dead units of the initial network, if measured.
    pub(crate) before: Option<f64>,
    /// Fraction of dead units at the last recorded steps, or else of the initial network.
    pub(crate) after: f64,
    /// First recorded step from which on at least half of the units are dead.
    pub(crate) step: Option<u64>,
}

fn fraction(sample: &LayerSample) -> Option<f64> {
    (sample.units > 0).then(|| sample.dead.min(sample.units) as f64 / sample.units as f64)
}

/// Dead units of each layer of rectifiers that was measured, in order.
pub(crate) fn dead_units(record: &Record) -> Vec<Dead> {
    let initial = initial_layers(record);
    let of_layer = |layer: usize| {
        let before = initial.get(layer).and_then(fraction);
        let steps = || {
            layer_steps(record).filter_map(move |s| Some((s.step, fraction(s.layers.get(layer)?)?)))
        };
        let last = steps().collect::<Vec<_>>();
        let latest = last.iter().rev().take(STEPS).map(|&(_, fraction)| fraction);
        let after = median(latest).or(before)?;
        let lasting = last.iter().rev().take_while(|&&(_, fraction)| fraction >= 0.5).last();
        let sample = layer_steps(record).next_back().and_then(|s| s.layers.get(layer));
        let units = sample.or_else(|| initial.get(layer))?.units;
        Some(Dead { layer, units, before, after, step: lasting.map(|&(step, _)| step) })
    };
    let layers = record.model.layers.iter().enumerate();
    let rectifiers = layers.filter(|(_, layer)| is_rectifier(&layer.kind));
    rectifiers.filter_map(|(index, _)| of_layer(index)).collect()
}
