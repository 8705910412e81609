//! Generated tables: classes around the corners of a cube, and values that are linear in the
//! inputs.
//!
//! ```text
//! classification   x = A z + corner, z ~ N(0, 1)         informative columns; A ~ U(-1, 1) and a
//!                                                        corner of the cube for each cluster
//!                  B x                                   redundant columns; B ~ U(-1, 1)
//!                  N(0, 1)                               noise columns
//! linear           x ~ N(0, 1), value = w x + noise N(0, 1), w ~ N(0, 1)
//! ```
//!
//! The first is scikit-learn's `make_classification`, after Guyon, "Design of experiments for the
//! NIPS 2003 variable selection benchmark". Its columns are not shuffled; their names tell their
//! kind. Both tables are functions of their settings and the seed.

use kernels::random::{Stream, fill_normal, fill_uniform};
use kernels::{Cpu, Isa};
use serde::{Deserialize, Serialize};

use crate::data::labelled::{Inputs, Labelled, Targets};
use crate::data::table::Table;

/// Settings of `dataset = "classification"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Classification {
    /// Number of rows, test set included: 10 to 10,000,000. Default 10,000.
    pub samples: u32,
    /// Number of columns: 1 to 10,000. Default 20.
    pub features: u32,
    /// Number of columns that depend on the class: 1 to 16. Default 2.
    pub informative: u32,
    /// Number of columns that are linear combinations of the informative ones. Default 2.
    pub redundant: u32,
    /// Number of classes: 2 to 256. Default 2.
    pub classes: u32,
    /// Clusters per class, each around a different corner. Default 2.
    pub clusters: u32,
    /// Half the side of the cube: above 0. Default 1.
    pub separation: f64,
    /// Fraction of the rows whose class is drawn at random, 0 to 1. Default 0.01.
    pub flip: f64,
}

impl Default for Classification {
    fn default() -> Self {
        Self {
            samples: 10_000,
            features: 20,
            informative: 2,
            redundant: 2,
            classes: 2,
            clusters: 2,
            separation: 1.0,
            flip: 0.01,
        }
    }
}

/// Settings of `dataset = "linear"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Linear {
    /// Number of rows, test set included: 10 to 10,000,000. Default 10,000.
    pub samples: u32,
    /// Number of columns: 1 to 10,000. Default 10.
    pub features: u32,
    /// Standard deviation of the noise: at least 0. Default 0.1.
    pub noise: f64,
}

impl Default for Linear {
    fn default() -> Self {
        Self { samples: 10_000, features: 10, noise: 0.1 }
    }
}

/// First stream of random numbers of each table; the others follow it.
const CLASSIFICATION: u64 = u64::from_be_bytes(*b"classify");
const LINEAR: u64 = u64::from_be_bytes(*b"linear\0\0");

/// Setting that is out of range: name, value, and expected range.
type OutOfRange = (&'static str, String, &'static str);

/// Setting to check: name, value, `true` if in range, and expected range.
type Checked = (&'static str, f64, bool, &'static str);

/// Returns the first of `settings` that is out of range as an error.
fn check(settings: impl IntoIterator<Item = Checked>) -> Result<(), OutOfRange> {
    let failed = settings.into_iter().find(|(.., in_range, _)| !in_range);
    failed.map_or(Ok(()), |(name, got, _, expected)| Err((name, got.to_string(), expected)))
}

fn sizes(samples: u32, features: u32) -> [Checked; 2] {
    [
        ("samples", samples.into(), (10..=10_000_000).contains(&samples), "10 to 10000000"),
        ("features", features.into(), (1..=10_000).contains(&features), "1 to 10000"),
    ]
}

impl Classification {
    /// Checks that the settings are in range.
    ///
    /// # Errors
    /// The first setting that is not: name, value, and expected range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { samples, features, informative, redundant, .. } = *self;
        let Self { classes, clusters, separation, flip, .. } = *self;
        let corners = 1_u64 << informative.min(16);
        let all_clusters = u64::from(classes) * u64::from(clusters);
        check(sizes(samples, features).into_iter().chain([
            ("informative", informative.into(), (1..=16).contains(&informative), "1 to 16"),
            (
                "redundant",
                redundant.into(),
                u64::from(informative) + u64::from(redundant) <= u64::from(features),
                "with `informative` at most `features`",
            ),
            ("classes", classes.into(), (2..=256).contains(&classes), "2 to 256"),
            (
                "clusters",
                clusters.into(),
                clusters >= 1 && all_clusters <= corners,
                "at least 1, and classes x clusters of at most 2^informative, a corner for each",
            ),
            (
                "separation",
                separation,
                separation.is_finite() && separation > 0.0,
                "a number above 0",
            ),
            ("flip", flip, (0.0..=1.0).contains(&flip), "0 to 1"),
        ]))
    }

    /// Generates the table of `seed`. Row i is of class i mod `classes`, unless it is flipped.
    ///
    /// # Panics
    /// If [`check`](Self::check) refuses the settings.
    pub fn generate(&self, seed: u64) -> Table {
        let Self { samples, features, informative, redundant, .. } = *self;
        let Self { classes, clusters, separation, flip, .. } = *self;
        let [rows, width, known, mixed] =
            [samples, features, informative, redundant].map(|count| count as usize);
        let stream = |by| Stream::new(seed, CLASSIFICATION).beyond(by);
        let all_clusters = (classes * clusters) as usize;
        let mut corners: Vec<u32> = (0..1 << informative.min(16)).collect();
        stream(0).shuffle(&mut corners);
        // A for each cluster, and B.
        let maps = uniform(stream(1), all_clusters * known * known);
        let mixing = uniform(stream(2), known * mixed);
        let normals = normal(stream(3), rows * width);
        let (flips, labels) = (stream(4), stream(5));

        let mut inputs = Vec::with_capacity(rows * width);
        let mut targets = Vec::with_capacity(rows);
        let mut row = vec![0.0; known];
        for (at, normals) in normals.chunks_exact(width).enumerate() {
            let class = at as u32 % classes;
            let cluster = (class * clusters + at as u32 / classes % clusters) as usize;
            let map = &maps[cluster * known * known..][..known * known];
            for (i, (x, weights)) in row.iter_mut().zip(map.chunks_exact(known)).enumerate() {
                let corner = if corners[cluster] >> i & 1 == 1 { separation } else { -separation };
                *x = corner + dot(weights, &normals[..known]);
            }
            let redundant = mixing.chunks_exact(known).map(|weights| dot(weights, &row));
            inputs.extend(row.iter().copied().map(|x| x as f32));
            inputs.extend(redundant.map(|x| x as f32));
            inputs.extend(normals[known + mixed..].iter().map(|&x| x as f32));
            let flipped = flips.uniform_f64(at as u64) < flip;
            targets.push(if flipped { labels.below(at as u64, classes) } else { class } as u8);
        }
        let names = ["informative", "redundant", "noise"].into_iter();
        let counts = [known, mixed, width - known - mixed];
        let columns = names
            .zip(counts)
            .flat_map(|(name, count)| (1..=count).map(move |n| format!("{name}_{n}")));
        Table {
            columns: columns.collect(),
            classes: (0..classes).map(|class| class.to_string()).collect(),
            rows: Labelled::table(Inputs::Numbers(inputs), Targets::Classes(targets), features)
                .expect("settings in range have as many targets as rows"),
        }
    }
}

impl Linear {
    /// Checks that the settings are in range.
    ///
    /// # Errors
    /// As for [`Classification::check`].
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { samples, features, noise } = *self;
        let noise = ("noise", noise, noise.is_finite() && noise >= 0.0, "a number of at least 0");
        check(sizes(samples, features).into_iter().chain([noise]))
    }

    /// Generates the table of `seed`.
    ///
    /// # Panics
    /// If [`check`](Self::check) refuses the settings.
    pub fn generate(&self, seed: u64) -> Table {
        let Self { samples, features, noise } = *self;
        let (rows, width) = (samples as usize, features as usize);
        let stream = |by| Stream::new(seed, LINEAR).beyond(by);
        let weights = normal(stream(0), width);
        // Values are computed from the inputs as stored, after rounding to f32.
        let inputs: Vec<f32> =
            normal(stream(1), rows * width).into_iter().map(|x| x as f32).collect();
        let value = |(row, normal): (&[f32], f64)| {
            let exact = row.iter().zip(&weights).fold(0.0, |sum, (&x, w)| sum + f64::from(x) * w);
            (exact + noise * normal) as f32
        };
        let targets = inputs.chunks_exact(width).zip(normal(stream(2), rows)).map(value).collect();
        Table {
            columns: (1..=features).map(|n| format!("x_{n}")).collect(),
            classes: Vec::new(),
            rows: Labelled::table(Inputs::Numbers(inputs), Targets::Values(targets), features)
                .expect("settings in range have as many targets as rows"),
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

fn uniform(stream: Stream, count: usize) -> Vec<f64> {
    let mut drawn = vec![0.0; count];
    // The bounds are finite: nothing is refused.
    let _ = fill_uniform(Cpu::serial(Isa::detect()), stream, -1.0, 1.0, &mut drawn);
    drawn
}

fn normal(stream: Stream, count: usize) -> Vec<f64> {
    let mut drawn = vec![0.0; count];
    // Mean and deviation are in range: nothing is refused.
    let _ = fill_normal(Cpu::serial(Isa::detect()), stream, 0.0, 1.0, &mut drawn);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(table: &Table) -> &[f32] {
        match table.rows.inputs() {
            Inputs::Numbers(numbers) => numbers,
            Inputs::Bytes(_) => &[],
        }
    }

    #[test]
    fn each_class_is_centred_on_a_corner() {
        let settings = Classification {
            samples: 4000,
            features: 7,
            informative: 3,
            redundant: 2,
            classes: 4,
            clusters: 1,
            separation: 5.0,
            flip: 0.0,
        };
        settings.check().expect("in range");
        let table = settings.generate(3);
        assert_eq!(table.columns[2..5], ["informative_3", "redundant_1", "redundant_2"]);
        assert_eq!(table.columns[6], "noise_2");
        let mut corners = Vec::new();
        for class in 0..4 {
            let of_class = |&i: &usize| usize::from(table.rows.labels()[i]) == class;
            let mean = |column: usize| {
                let rows = (0..4000).filter(of_class);
                rows.map(|i| f64::from(numbers(&table)[i * 7 + column])).sum::<f64>() / 1000.0
            };
            // The standard deviation is at most sqrt(3): five standard errors are 0.27.
            let corner = [0, 1, 2].map(mean);
            assert!(corner.iter().all(|x| (x.abs() - 5.0).abs() < 0.3), "{corner:?}");
            assert!(mean(5).abs() < 0.2 && mean(6).abs() < 0.2, "noise is the same in all classes");
            corners.push(corner.map(|x| x > 0.0));
        }
        corners.sort();
        corners.dedup();
        assert_eq!(corners.len(), 4, "corners of classes differ");
    }

    #[test]
    fn redundant_columns_are_linear_combinations() {
        let settings = Classification {
            samples: 10,
            informative: 2,
            redundant: 3,
            features: 5,
            ..Default::default()
        };
        let table = settings.generate(1);
        let rows: Vec<&[f32]> = numbers(&table).chunks_exact(5).collect();
        let determinant = |a: [f32; 2], b: [f32; 2]| {
            f64::from(a[0]) * f64::from(b[1]) - f64::from(a[1]) * f64::from(b[0])
        };
        // Weights computed from two rows, by Cramer's rule, are valid for all others.
        for column in 2..5 {
            let [a, b] = [rows[0], rows[3]];
            let denominator = determinant([a[0], a[1]], [b[0], b[1]]);
            let weights = [
                determinant([a[column], a[1]], [b[column], b[1]]) / denominator,
                determinant([a[0], a[column]], [b[0], b[column]]) / denominator,
            ];
            for row in &rows {
                let sum = weights[0] * f64::from(row[0]) + weights[1] * f64::from(row[1]);
                assert!((sum - f64::from(row[column])).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn flipped_rows_draw_their_class_at_random() {
        let flipped = Classification { flip: 0.2, classes: 4, ..Default::default() };
        assert!(flipped.check().is_err(), "4 x 2 corners of 4");
        let flipped = Classification { informative: 3, ..flipped };
        let table = flipped.generate(2);
        let other = (0..10_000).filter(|&i| usize::from(table.rows.labels()[i]) != i % 4).count();
        // A quarter of 2000 flipped rows draw the class that they had: 1500 differ, with a standard
        // deviation of 36.
        assert!((1320..1680).contains(&other), "{other}");
    }

    #[test]
    fn values_are_linear_plus_noise() {
        let settings = Linear { samples: 5000, features: 3, noise: 0.0 };
        let table = settings.generate(7);
        let noisy = Linear { noise: 0.5, ..settings }.generate(7);
        assert_eq!(table.rows.inputs(), noisy.rows.inputs());
        let values = |table: &Table| match table.rows.targets() {
            Targets::Values(values) => values.clone(),
            _ => Vec::new(),
        };
        let (exact, noisy) = (values(&table), values(&noisy));
        let squares =
            exact.iter().zip(&noisy).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum::<f64>();
        assert!((squares / 5000.0 - 0.25).abs() < 0.03, "{squares}");
        assert_ne!(settings.generate(8), table);
        // Inputs are independent: the mean of value times input estimates the weight of that input,
        // in either half of the rows.
        let weight = |rows: std::ops::Range<usize>, column: usize| {
            let count = rows.len() as f64;
            rows.map(|i| f64::from(numbers(&table)[3 * i + column]) * f64::from(exact[i]))
                .sum::<f64>()
                / count
        };
        for column in 0..3 {
            assert!((weight(0..2500, column) - weight(2500..5000, column)).abs() < 0.3);
        }
    }

    /// Pins the numbers: a change invalidates recorded figures.
    #[test]
    fn the_numbers_are_pinned() {
        let table = Classification { samples: 10, ..Default::default() }.generate(0);
        let hash = numbers(&table)
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        assert_eq!(hash, 0x120d_c221_247e_a3f6, "{hash:#x}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let refused = |settings: Classification| settings.check().expect_err("out of range").0;
        let all = Classification::default();
        assert_eq!(refused(Classification { samples: 9, ..all }), "samples");
        assert_eq!(refused(Classification { informative: 19, ..all }), "informative");
        assert_eq!(refused(Classification { redundant: 19, ..all }), "redundant");
        assert_eq!(refused(Classification { classes: 1, ..all }), "classes");
        assert_eq!(refused(Classification { clusters: 3, ..all }), "clusters");
        assert_eq!(refused(Classification { separation: f64::NAN, ..all }), "separation");
        assert_eq!(refused(Classification { flip: 1.1, ..all }), "flip");
        assert_eq!(
            Linear { noise: -1.0, ..Linear::default() }.check().expect_err("negative").0,
            "noise"
        );
    }
}
