//! Inspection of the data before any step: scale, classes, order, duplicates, neighbours, shift.
//!
//! ```text
//! moments      per input, over at most 4096 training examples, evenly spaced
//! duplicates   a 64-bit hash of every example, and of every example with its label
//! neighbours   of at most 512 training and as many validation examples, the nearest of at most
//!              2048 other training examples, by the distance of standardised inputs
//! ```
//!
//! Labels that agree with the neighbours' no more than by chance have nothing to do with the
//! inputs. The test set is looked at only for examples that are in the training set too, and for
//! the mean of its inputs; nothing is tuned on it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use doctor::record::Data;
use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, MatMut, MatRef};

use crate::Error;
use crate::data::{Inputs, Labelled, Targets};
use crate::diagnosis::model;
use crate::run::batch::BatchBuffers;
use crate::run::constant_inputs;
use crate::run::setup::Setup;

/// Examples of a set for the moments of its inputs.
const MOMENT_EXAMPLES: usize = 4096;

/// Examples whose nearest neighbours are searched.
const QUERIES: usize = 512;

/// Nearest neighbours that vote on the label of an example.
const VOTERS: usize = 15;

/// Examples among which they are searched.
const CANDIDATES: usize = 2048;

/// Steps whose examples show the order of training.
const ORDERED: usize = 8192;

/// Moments of each input over some examples.
struct Moments {
    mean: Vec<f64>,
    std: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    non_finite: u64,
}

/// Inspects the data of `setup`.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn inspect(setup: &Setup, cpu: Cpu<'_>) -> Result<Data, Error> {
    let (mut data, moments) = inspect_without_neighbours(setup, cpu)?;
    if let Targets::Classes(labels) = setup.dataset.train.targets() {
        neighbours(setup, cpu, &moments, labels, &mut data)?;
    }
    Ok(data)
}

/// Inspects the data of `setup`, but for the neighbours, which take most of the time.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn inspect_briefly(setup: &Setup, cpu: Cpu<'_>) -> Result<Data, Error> {
    inspect_without_neighbours(setup, cpu).map(|(data, _)| data)
}

fn inspect_without_neighbours(setup: &Setup, cpu: Cpu<'_>) -> Result<(Data, Moments), Error> {
    let Setup { config, dataset, split, network } = setup;
    let (train, test) = (&dataset.train, &dataset.test);
    let moments = moments(train, &spaced(&split.train, MOMENT_EXAMPLES), cpu)?;
    let width = moments.mean.len() as f64;
    let count = |of: fn(f64, f64) -> f64| {
        let sum: f64 = moments.mean.iter().zip(&moments.std).map(|(&m, &s)| of(m, s)).sum();
        sum / width
    };
    let ratio = |values: &mut dyn Iterator<Item = f64>| {
        let (mut least, mut most) = (f64::INFINITY, 0.0);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (value.min(least), value.max(most));
        }
        most / least
    };
    let ranges = moments.min.iter().zip(&moments.max).map(|(min, max)| max - min);
    let offsets = moments.mean.iter().zip(&moments.std).filter(|(_, std)| **std > 0.0);
    let shift = |set: &Labelled, indices: &[u32]| -> Result<Option<f64>, Error> {
        let sample = spaced(indices, MOMENT_EXAMPLES);
        if sample.is_empty() {
            return Ok(None);
        }
        Ok(Some(distance(&moments, &self::moments(set, &sample, cpu)?)))
    };
    let all: Vec<u32> = test.indices().collect();
    let mut data = Data {
        train: split.train.len() as u64,
        validation: split.validation.len() as u64,
        test: if dataset.test_is_held_out { 0 } else { test.len() as u64 },
        inputs: network.inputs() as u64,
        min: moments.min.iter().copied().reduce(f64::min),
        max: moments.max.iter().copied().reduce(f64::max),
        mean: Some(count(|mean, _| mean)),
        rms: Some(count(|mean, std| mean * mean + std * std).sqrt()),
        scale_ratio: Some(ratio(&mut moments.std.iter().copied())),
        range_ratio: Some(ratio(&mut ranges.into_iter())),
        offset_ratio: offsets.map(|(mean, std)| mean.abs() / std).reduce(f64::max),
        standardised: model::standardises(config),
        constant_inputs: constant_inputs::constant(train, &split.train).len() as u64,
        non_finite: moments.non_finite,
        validation_shift: shift(train, &split.validation)?,
        test_shift: shift(test, &all)?,
        target_standardised: network.standardises_targets(),
        ..Data::default()
    };
    match train.targets() {
        Targets::Classes(labels) => {
            let label = |index: &u32| labels[*index as usize];
            data.class_counts = counts(split.train.iter().map(label), dataset.classes);
            data.validation_class_counts =
                counts(split.validation.iter().map(label), dataset.classes);
            let order = setup.order(0);
            let order = &order[..order.len().min(ORDERED)];
            let same = order.windows(2).filter(|pair| label(&pair[0]) == label(&pair[1])).count();
            data.same_label_successors =
                (order.len() > 1).then(|| same as f64 / (order.len() - 1) as f64);
            let squares = data.class_counts.iter().map(|&n| n as f64 * n as f64).sum::<f64>();
            data.same_label_by_chance = Some(squares / (data.train as f64 * data.train as f64));
        }
        Targets::Values(values) => {
            let values = || split.train.iter().map(|&index| f64::from(values[index as usize]));
            let mean = values().sum::<f64>() / data.train as f64;
            let squares = values().map(|value| (value - mean) * (value - mean)).sum::<f64>();
            data.target_mean = Some(mean);
            data.target_std = Some((squares / data.train as f64).sqrt());
            data.target_min = values().reduce(f64::min);
            data.target_max = values().reduce(f64::max);
        }
        // All inputs together.
        Targets::Inputs(_) => {
            let (mean, rms) = (data.mean.unwrap_or_default(), data.rms.unwrap_or_default());
            data.target_mean = Some(mean);
            data.target_std = Some((rms * rms - mean * mean).max(0.0).sqrt());
            (data.target_min, data.target_max) = (data.min, data.max);
        }
    }
    duplicates(setup, &mut data);
    Ok((data, moments))
}

/// At most `count` of `indices`, evenly spaced.
fn spaced(indices: &[u32], count: usize) -> Vec<u32> {
    let count = count.min(indices.len());
    (0..count).map(|i| indices[i * indices.len() / count]).collect()
}

/// Number of labels of each class.
pub(super) fn counts(labels: impl Iterator<Item = u8>, classes: usize) -> Vec<u64> {
    let mut counts = vec![0; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    counts
}

/// Examples of a batch while moments are summed up.
const BATCH: usize = 256;

/// Moments of the examples `indices` of `set`.
fn moments(set: &Labelled, indices: &[u32], cpu: Cpu<'_>) -> Result<Moments, Error> {
    let width = set.image_len();
    let (mut sum, mut squares, mut first) = (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
    let (mut min, mut max) = (vec![f64::INFINITY; width], vec![f64::NEG_INFINITY; width]);
    let mut non_finite = 0;
    let mut batch = BatchBuffers::<f32>::new(cpu.isa, BATCH, width)?;
    for (number, indices) in indices.chunks(BATCH).enumerate() {
        let inputs = batch.fill(set, indices)?.inputs;
        if number == 0 {
            // Sums of differences from the first example: constant inputs have exactly none.
            first.iter_mut().zip(inputs).for_each(|(first, &x)| *first = f64::from(x));
        }
        for row in inputs.chunks_exact(width) {
            let sums = sum.iter_mut().zip(&mut squares).zip(&first);
            let bounds = min.iter_mut().zip(&mut max);
            for ((&x, ((sum, square), first)), (min, max)) in row.iter().zip(sums).zip(bounds) {
                let x = f64::from(x);
                // Without branches, so that the compiler vectorises the loop.
                let is_finite = x.is_finite();
                let difference = if is_finite { x - first } else { 0.0 };
                *sum += difference;
                *square += difference * difference;
                *min = if is_finite && x < *min { x } else { *min };
                *max = if is_finite && x > *max { x } else { *max };
                non_finite += u64::from(!is_finite);
            }
        }
    }
    let n = indices.len() as f64;
    let std = sum.iter().zip(&squares).map(|(sum, squares)| {
        let variance = squares / n - (sum / n) * (sum / n);
        variance.max(0.0).sqrt()
    });
    let std = std.collect();
    let mean = sum.iter().zip(&first).map(|(sum, first)| first + sum / n).collect();
    Ok(Moments { mean, std, min, max, non_finite })
}

/// Root mean square over the inputs that vary of the difference of means, in standard deviations.
fn distance(a: &Moments, b: &Moments) -> f64 {
    let inputs = a.mean.iter().zip(&b.mean).zip(&a.std).filter(|(_, std)| **std > 0.0);
    let squares = inputs.map(|((a, b), std)| ((a - b) / std) * ((a - b) / std));
    let (count, sum) = squares.fold((0_u32, 0.0), |(count, sum), square| (count + 1, sum + square));
    (sum / f64::from(count.max(1))).sqrt()
}

/// Sets the fractions of examples that agree with their nearest neighbour.
fn neighbours(
    setup: &Setup,
    cpu: Cpu<'_>,
    moments: &Moments,
    labels: &[u8],
    data: &mut Data,
) -> Result<(), Error> {
    let Setup { dataset, split, .. } = setup;
    let candidates = spaced(&split.train, CANDIDATES);
    if candidates.len() < 2 {
        return Ok(());
    }
    let others = standardised(&dataset.train, &candidates, moments, cpu)?;
    let square = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>();
    let norms: Vec<f32> = others.chunks_exact(dataset.train.image_len()).map(square).collect();
    let label = |index: u32| labels[index as usize];
    // Fractions of queries with the label of their nearest neighbour, and with that of most.
    let agreement = |queries: &[u32]| -> Result<[Option<f64>; 2], Error> {
        if queries.is_empty() {
            return Ok([None; 2]);
        }
        let rows = standardised(&dataset.train, queries, moments, cpu)?;
        let nearest = nearest(cpu, &rows, queries, &others, &candidates, &norms)?;
        let (mut agree, mut win) = (0, 0);
        for (&query, nearest) in queries.iter().zip(&nearest) {
            agree += u32::from(nearest.first().is_some_and(|&first| label(first) == label(query)));
            win +=
                u32::from(most_frequent(nearest.iter().map(|&i| label(i))) == Some(label(query)));
        }
        Ok([agree, win].map(|count| Some(f64::from(count) / queries.len() as f64)))
    };
    let queries = spaced(&candidates, QUERIES);
    [data.neighbour_agreement, data.neighbour_vote] = agreement(&queries)?;
    [data.validation_agreement, _] = agreement(&spaced(&split.validation, QUERIES))?;
    data.neighbours_sampled = queries.len() as u64;
    Ok(())
}

/// The most frequent label; the lowest of equally frequent ones.
fn most_frequent(labels: impl Iterator<Item = u8>) -> Option<u8> {
    let mut counts = [0_u32; 256];
    labels.for_each(|label| counts[usize::from(label)] += 1);
    let most = counts.iter().copied().max().filter(|count| *count > 0)?;
    counts.iter().position(|count| *count == most).map(|label| label as u8)
}

/// Inputs of the examples `indices`, each standardised by `moments`; constant ones are 0. Without
/// the division by the standard deviation for images, whose pixels have one unit.
fn standardised(
    set: &Labelled,
    indices: &[u32],
    moments: &Moments,
    cpu: Cpu<'_>,
) -> Result<Vec<f32>, Error> {
    let mut batch = BatchBuffers::<f32>::new(cpu.isa, indices.len(), set.image_len())?;
    let mut rows = batch.fill(set, indices)?.inputs.to_vec();
    let is_table = matches!(set.inputs(), Inputs::Numbers(_));
    for row in rows.chunks_exact_mut(set.image_len()) {
        for ((x, mean), std) in row.iter_mut().zip(&moments.mean).zip(&moments.std) {
            let difference = f64::from(*x) - mean;
            let scaled = if is_table { difference / std } else { difference };
            *x = if *std > 0.0 && scaled.is_finite() { scaled as f32 } else { 0.0 };
        }
    }
    Ok(rows)
}

/// The nearest [`VOTERS`] candidates of each query that are other examples, the nearest first.
fn nearest(
    cpu: Cpu<'_>,
    queries: &[f32],
    names: &[u32],
    candidates: &[f32],
    candidate_names: &[u32],
    norms: &[f32],
) -> Result<Vec<Vec<u32>>, Error> {
    let (m, n) = (names.len(), candidate_names.len());
    let width = queries.len() / m;
    let mut products = nn::zeros::<f32>(m * n)?;
    let shape = GemmShape { m, n, k: width };
    let mut scratch = nn::zeros(gemm_scratch::<f32>(cpu.executor.threads(), shape))?;
    let (a, b) = (MatRef::row_major(queries, m, width), MatRef::row_major(candidates, n, width));
    let product = a.and_then(|a| {
        let c = MatMut::row_major(&mut products, m, n)?;
        gemm(cpu, 1.0, a, b?.transpose(), 0.0, c, Epilogue::NONE, &mut scratch)
    });
    product.map_err(nn::Error::from)?;
    let nearest = names.iter().zip(products.chunks_exact(n)).map(|(name, products)| {
        let others = candidate_names.iter().zip(products.iter().zip(norms));
        let distances = others.filter(|(other, _)| *other != name);
        let distances = distances.map(|(&other, (product, norm))| (norm - 2.0 * product, other));
        let mut nearest: Vec<(f32, u32)> = Vec::with_capacity(VOTERS + 1);
        let is_before =
            |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).is_lt();
        for candidate in distances {
            if nearest.len() == VOTERS && !is_before(&candidate, &nearest[VOTERS - 1]) {
                continue;
            }
            let place = nearest.partition_point(|known| is_before(known, &candidate));
            nearest.insert(place, candidate);
            nearest.truncate(VOTERS);
        }
        nearest.into_iter().map(|(_, other)| other).collect()
    });
    Ok(nearest.collect())
}

/// Counts examples that occur twice, and those that are in two sets.
fn duplicates(setup: &Setup, data: &mut Data) {
    let Setup { dataset, split, .. } = setup;
    let hashes = |set: &Labelled| -> Vec<u64> {
        match set.inputs() {
            Inputs::Bytes(bytes) => bytes.chunks_exact(set.image_len()).map(hash).collect(),
            Inputs::Numbers(numbers) => {
                let bytes = |row: &[f32]| -> Vec<u8> {
                    row.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect()
                };
                numbers.chunks_exact(set.image_len()).map(|row| hash(&bytes(row))).collect()
            }
        }
    };
    let train = hashes(&dataset.train);
    // The first label, or value, of each distinct example.
    let mut seen: HashMap<u64, u64> = HashMap::with_capacity(split.train.len());
    let target = |index: u32| match dataset.train.targets() {
        Targets::Classes(labels) => u64::from(labels[index as usize]),
        Targets::Values(values) => u64::from(values[index as usize].to_bits()),
        // Equal examples have equal targets.
        Targets::Inputs(_) => 0,
    };
    for &index in &split.train {
        match seen.entry(train[index as usize]) {
            Entry::Vacant(entry) => {
                entry.insert(target(index));
            }
            Entry::Occupied(first) => {
                data.duplicates += 1;
                data.conflicting_duplicates += u64::from(*first.get() != target(index));
            }
        }
    }
    let is_known = |hash: &&u64| seen.contains_key(*hash);
    let validation = split.validation.iter().map(|&index| &train[index as usize]);
    data.leaked_validation = validation.filter(is_known).count() as u64;
    data.leaked_test = hashes(&dataset.test).iter().filter(is_known).count() as u64;
}

/// Hash of an example: the FNV of words of eight bytes, with the upper bits mixed into the lower.
fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    // Four words at a time, which do not wait for each other.
    let mut hashes = [0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64; 4];
    let blocks = bytes.chunks_exact(32);
    let rest = blocks.remainder();
    for block in blocks {
        for (hash, word) in hashes.iter_mut().zip(block.chunks_exact(8)) {
            *hash = mix(*hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
    }
    let all = hashes.into_iter().fold(0, mix);
    rest.chunks(8).fold(all, |hash, word| {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        mix(hash, u64::from_le_bytes(padded))
    })
}
