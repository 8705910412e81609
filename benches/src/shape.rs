//! Shapes of the measured products, from a data file.

use std::fmt;

use kernels::MatRef;

/// One product C = A B, where A is m x k and B is k x n.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Use in training.
    pub name: String,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// A is stored as its transpose.
    pub a_transposed: bool,
    /// B is stored as its transpose.
    pub b_transposed: bool,
}

impl Shape {
    /// The shapes of `shapes/gemm.txt`, in order.
    pub fn all() -> Vec<Self> {
        include_str!("../shapes/gemm.txt")
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| {
                Self::parse(line).unwrap_or_else(|| panic!("shapes/gemm.txt: cannot read {line:?}"))
            })
            .collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[name, m, n, k, a, b] = &fields[..] else { return None };
        let transposed = |field| match field {
            "plain" => Some(false),
            "transposed" => Some(true),
            _ => None,
        };
        Some(Self {
            name: name.into(),
            m: m.parse().ok()?,
            n: n.parse().ok()?,
            k: k.parse().ok()?,
            a_transposed: transposed(a)?,
            b_transposed: transposed(b)?,
        })
    }

    /// Additions and multiplications of the product.
    pub fn flop(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// (row stride, column stride) of A.
    pub fn a_strides(&self) -> (usize, usize) {
        if self.a_transposed { (1, self.m) } else { (self.k, 1) }
    }

    /// (row stride, column stride) of B.
    pub fn b_strides(&self) -> (usize, usize) {
        if self.b_transposed { (1, self.k) } else { (self.n, 1) }
    }

    /// A, as it is stored in `data`. Panics if that is too short.
    pub fn a<'a, T>(&self, data: &'a [T]) -> MatRef<'a, T> {
        let (row, col) = self.a_strides();
        MatRef::strided(data, self.m, self.k, row, col).expect("A is m x k")
    }

    /// B, as it is stored in `data`. Panics if that is too short.
    pub fn b<'a, T>(&self, data: &'a [T]) -> MatRef<'a, T> {
        let (row, col) = self.b_strides();
        MatRef::strided(data, self.k, self.n, row, col).expect("B is k x n")
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {},{},{}", self.name, self.m, self.n, self.k)
    }
}
