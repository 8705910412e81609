//! The kernels other than products, each with operands of its own and its streams.
//!
//! Each file lists a family. Results are compared with PyTorch's, where it has the operation; tests
//! elsewhere compare the bits. Called by `benches/kernels.rs` and `src/bin/kernel_ratios.rs`.

mod elementwise;
mod layers;
mod losses;
mod norms;
mod optimizers;

use std::fmt;

use kernels::Cpu;
use kernels::random::Stream;

use crate::copy::Streams;

/// 16 Ki elements: one stream is twice L1, and all streams of a kernel fit L2.
pub const L2_ELEMENTS: usize = 1 << 14;
/// The parameters of the network 784-512-10: 1.6 MB per stream.
pub const NETWORK: usize = 784 * 512 + 512 + 512 * 10 + 10;
/// 16 Mi elements, 64 MiB per stream: more than any cache.
pub const MEMORY: usize = 1 << 24;
/// Four streams fit L1: the time is that of the kernel's instructions.
pub const L1_ELEMENTS: usize = 1 << 11;

const FITS: &str = "the operands fit";

/// A kernel, for any number of elements.
pub struct Kernel {
    /// Name in tables and in criterion's ids.
    pub name: String,
    /// Numbers of elements that it is measured with.
    pub sizes: &'static [usize],
    case: Box<dyn Fn(usize) -> Case>,
}

/// A family of kernels.
type Family = fn(Cpu<'static>) -> Vec<Kernel>;

impl Kernel {
    /// All kernels, by family.
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

    /// The kernel with operands of this many elements.
    pub fn on(&self, elements: usize) -> Case {
        (self.case)(elements)
    }

    /// `true` if the caller chooses the number of elements, `false` if the kernel has fixed shapes.
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
    /// Streams that it reads and writes; none if it is bound by arithmetic.
    pub streams: Streams,
    /// PyTorch's operation, if any.
    pub peer: Option<Peer>,
    /// Operands of f32.
    pub operands: Vec<Vec<f32>>,
    run: Box<Run>,
    /// The operand that shrinks from call to call.
    shrinking: Option<usize>,
}

/// An operation of `pytorch.py`.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Name of the operation.
    pub operation: &'static str,
    /// Length of a row of the operands.
    pub cols: usize,
    /// Index of the operand that becomes the result.
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

    /// As [`new`](Self::new), with any number of operands.
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

    /// Runs the kernel once.
    pub fn run(&mut self) {
        (self.run)(&mut self.operands);
    }

    /// Sets the operand that shrinks from call to call to 0: it would become subnormal, and
    /// operations on subnormal numbers take longer.
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
    /// A prime, so that no pattern coincides with the lanes or pages.
    const PERIOD: usize = 16_411;
    let draws = Stream::new(1, stream);
    let period: Vec<f32> =
        (0..len.min(PERIOD) as u64).map(|i| 8.0 * draws.uniform_f32(i) - 4.0).collect();
    let mut all = period.repeat(len.div_ceil(PERIOD));
    all.truncate(len);
    all
}
