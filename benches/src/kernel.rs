//! The kernels beside the products, each on operands of its own: what is timed, and what it moves.
//!
//! Each file lists a family. Answers are PyTorch's, where it has the operation; the bits are tested elsewhere. Called by
//! `benches/kernels.rs` and `src/bin/kernel_ratios.rs`.

mod elementwise;
mod layers;
mod losses;
mod norms;
mod optimizers;

use std::fmt;

use kernels::Cpu;
use kernels::random::Stream;

use crate::copy::Streams;

/// 16 Ki elements: a stream of them is twice the first-level cache, all streams of a kernel fit the second.
pub const SECOND_LEVEL: usize = 1 << 14;
/// The parameters of the network 784-512-10: 1.6 MB a stream.
pub const NETWORK: usize = 784 * 512 + 512 + 512 * 10 + 10;
/// 16 Mi elements, 64 MiB a stream: more than any cache.
pub const MEMORY: usize = 1 << 24;
/// So few that four streams fit the first-level cache: what a kernel's instructions take at least.
pub const FIRST_LEVEL: usize = 1 << 11;

const FITS: &str = "the operands fit";

/// A kernel, to be had on any number of elements.
pub struct Kernel {
    /// Its name in tables and in criterion's ids.
    pub name: String,
    /// The numbers of elements to measure it on.
    pub sizes: &'static [usize],
    case: Box<dyn Fn(usize) -> Case>,
}

/// A family of kernels.
type Family = fn(Cpu<'static>) -> Vec<Kernel>;

impl Kernel {
    /// All, by family.
    pub fn families(cpu: Cpu<'static>) -> Vec<(&'static str, Vec<Self>)> {
        let families: [(&str, Family); 5] = [
            ("elementwise", elementwise::all),
            ("optimizers", optimizers::all),
            ("losses", losses::all),
            ("norms", norms::all),
            ("layers", layers::all),
        ];
        families.map(|(name, all)| (name, all(cpu))).into()
    }

    /// The kernel of this name. Panics if there is none.
    pub fn named(cpu: Cpu<'static>, name: &str) -> Self {
        let mut all = Self::families(cpu).into_iter().flat_map(|(_, kernels)| kernels);
        all.find(|kernel| kernel.name == name).expect("there is such a kernel")
    }

    fn new(
        name: impl Into<String>,
        sizes: &'static [usize],
        case: impl Fn(usize) -> Case + 'static,
    ) -> Self {
        Self { name: name.into(), sizes, case: Box::new(case) }
    }

    /// It, on so many elements.
    pub fn on(&self, elements: usize) -> Case {
        (self.case)(elements)
    }

    /// Whether it is measured on sizes of the caller's choice, or on shapes of its own.
    pub fn is_elementwise(&self) -> bool {
        self.sizes.contains(&NETWORK)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

/// A call of a kernel.
type Run = dyn FnMut(&mut [Vec<f32>]);

/// A kernel on its operands.
pub struct Case {
    /// What it moves; nothing, if arithmetic is all that matters.
    pub streams: Streams,
    /// What PyTorch has for it.
    pub peer: Option<Peer>,
    /// The operands of f32.
    pub operands: Vec<Vec<f32>>,
    run: Box<Run>,
    /// The operand that shrinks from call to call.
    shrinking: Option<usize>,
}

/// An operation of `pytorch.py`.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its name there.
    pub operation: &'static str,
    /// The length of a row of the operands.
    pub cols: usize,
    /// The operand that becomes the result.
    pub result: usize,
}

impl Case {
    fn new<const N: usize>(
        streams: Streams,
        operands: [Vec<f32>; N],
        mut run: impl FnMut(&mut [Vec<f32>; N]) + 'static,
    ) -> Self {
        Self::of_any(streams, operands.into(), move |operands| {
            run(operands.try_into().expect("as many as were given"));
        })
    }

    /// With a number of operands that is known only now.
    fn of_any(
        streams: Streams,
        operands: Vec<Vec<f32>>,
        run: impl FnMut(&mut [Vec<f32>]) + 'static,
    ) -> Self {
        Self { streams, peer: None, operands, run: Box::new(run), shrinking: None }
    }

    fn peer(self, operation: &'static str, cols: usize, result: usize) -> Self {
        Self { peer: Some(Peer { operation, cols, result }), ..self }
    }

    fn shrinking(self, operand: usize) -> Self {
        Self { shrinking: Some(operand), ..self }
    }

    /// Once.
    pub fn run(&mut self) {
        (self.run)(&mut self.operands);
    }

    /// Makes what would shrink from call to call 0: subnormal numbers, which it would come to, take longer than others.
    pub fn settle(&mut self) {
        if let Some(operand) = self.shrinking {
            self.operands[operand].fill(0.0);
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("streams", &self.streams)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// `len` numbers between -4 and 4, the same for the same `stream`.
pub(crate) fn draw(stream: u64, len: usize) -> Vec<f32> {
    /// A prime, so that no pattern meets a boundary of lanes or pages.
    const PERIOD: usize = 16_411;
    let draws = Stream::new(1, stream);
    let period: Vec<f32> =
        (0..len.min(PERIOD) as u64).map(|i| 8.0 * draws.uniform_f32(i) - 4.0).collect();
    let mut all = period.repeat(len.div_ceil(PERIOD));
    all.truncate(len);
    all
}
