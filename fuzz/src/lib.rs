//! Support of the fuzz targets: numbers from bytes, runs on every instruction set, and the
//! comparison of bits.

pub mod readers;

use arbitrary::Arbitrary;
use half::bf16;
use kernels::{Cpu, Error, Executor, Isa};

/// A value that a kernel writes or returns.
pub trait Outcome: Clone {
    /// Appends its bits, with one value for all NaN.
    fn append(&self, bits: &mut Vec<u64>);
}

/// The bits of `x`, with one value for all NaN, for comparisons.
pub fn bits(x: &impl Outcome) -> Vec<u64> {
    let mut bits = Vec::new();
    x.append(&mut bits);
    bits
}

macro_rules! outcome_of_number {
    ($($number:ty: |$x:ident| $bits:expr;)*) => {
        $(impl Outcome for $number {
            fn append(&self, bits: &mut Vec<u64>) {
                let $x = *self;
                bits.push($bits);
            }
        })*
    };
}
outcome_of_number! {
    f32: |x| if x.is_nan() { u64::MAX } else { x.to_bits().into() };
    f64: |x| if x.is_nan() { u64::MAX } else { x.to_bits() };
    bf16: |x| if x.is_nan() { u64::MAX } else { x.to_bits().into() };
    i8: |x| x as u64;
    i32: |x| x as u64;
    bool: |x| x.into();
    u64: |x| x;
    usize: |x| x as u64;
    (): |_x| 0;
}

macro_rules! outcome_of_tuple {
    ($($name:ident)*) => {
        impl<$($name: Outcome),*> Outcome for ($($name,)*) {
            fn append(&self, bits: &mut Vec<u64>) {
                #[expect(non_snake_case, reason = "a variable is named as its type")]
                let ($($name,)*) = self;
                $($name.append(bits);)*
            }
        }
    };
}
outcome_of_tuple!(A B);
outcome_of_tuple!(A B C);
outcome_of_tuple!(A B C D);
outcome_of_tuple!(A B C D E);

impl<T: Outcome> Outcome for Vec<T> {
    fn append(&self, bits: &mut Vec<u64>) {
        bits.push(self.len() as u64);
        self.iter().for_each(|x| x.append(bits));
    }
}

/// One thread that reports three, so that work is divided for three.
struct AsThree;

impl Executor for AsThree {
    fn threads(&self) -> usize {
        3
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Runs a kernel on every instruction set, for one thread and for three, each on a copy of
/// `written`. Asserts that all agree, and that an error leaves the copy unchanged. Returns the
/// written copy and the kernel's result.
///
/// The scratch that a kernel needs depends on the threads: [`Error::Scratch`] of any run is
/// returned without a comparison.
pub fn same_everywhere<W: Outcome, R: Outcome>(
    written: &W,
    run: impl Fn(Cpu<'_>, &mut W) -> Result<R, Error>,
) -> Result<(W, R), Error> {
    let mut first: Option<(Vec<u64>, Result<(W, R), Error>)> = None;
    for cpu in Isa::available().flat_map(|isa| [Cpu::serial(isa), Cpu::new(isa, &AsThree)]) {
        let mut to = written.clone();
        let result = run(cpu, &mut to);
        let mut seen = bits(&to);
        match &result {
            Ok(returned) => returned.append(&mut seen),
            Err(error) => {
                assert!(seen == bits(written), "{cpu:?} wrote before it returned: {error}");
            }
        }
        if let Err(error @ Error::Scratch { .. }) = result {
            return Err(error);
        }
        match &first {
            None => first = Some((seen, result.map(|returned| (to, returned)))),
            Some((expected, outcome)) => {
                assert!(*expected == seen, "{cpu:?} differs");
                // Compared as text: the NaN in a parameter's error does not equal itself.
                let [expected, got] =
                    [outcome.as_ref().err(), result.as_ref().err()].map(|e| format!("{e:?}"));
                assert_eq!(expected, got, "{cpu:?}");
            }
        }
    }
    first.expect("`scalar` is always there").1
}

/// A floating-point type of operands.
pub trait Number: Outcome + Copy + Default {
    /// The number with these bits.
    fn from_any(bits: u64) -> Self;
    /// `x`, rounded to nearest.
    fn from_f64(x: f64) -> Self;
    /// The exact value.
    fn to_f64(self) -> f64;
}

macro_rules! number {
    ($number:ident, $bits:ty, $from:expr, $to:expr) => {
        impl Number for $number {
            fn from_any(bits: u64) -> Self {
                Self::from_bits(bits as $bits)
            }
            fn from_f64(x: f64) -> Self {
                $from(x)
            }
            fn to_f64(self) -> f64 {
                $to(self)
            }
        }
    };
}
number!(f32, u32, |x| x as f32, f64::from);
number!(f64, u64, |x| x, |x| x);
number!(bf16, u16, bf16::from_f64, bf16::to_f64);

/// Numbers for operands of any length: a few, repeated.
#[derive(Debug, Arbitrary)]
pub struct Values {
    bits: Vec<u64>,
    /// `true` if all are between -8 and 8.
    tame: bool,
}

impl Values {
    /// `true` if all are between -8 and 8.
    pub fn are_tame(&self) -> bool {
        self.tame
    }

    /// `len` numbers; each `operand` begins at another one.
    pub fn take<T: Number>(&self, operand: usize, len: usize) -> Vec<T> {
        let at = |i: usize| {
            self.bits.get((operand + i) % self.bits.len().max(1)).copied().unwrap_or(1 << 62)
        };
        let tame = |bits: u64| T::from_f64(bits as i64 as f64 / (1_u64 << 60) as f64);
        (0..len).map(|i| if self.tame { tame(at(i)) } else { T::from_any(at(i)) }).collect()
    }
}

/// A length: usually a few registers, sometimes more than a chunk.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Length(u16);

impl Length {
    /// The number of elements.
    pub fn get(self) -> usize {
        let drawn = usize::from(self.0);
        if drawn.is_multiple_of(61) { (1 << 14) + drawn % 300 } else { drawn % 200 }
    }
}

/// Change of a length that should fit: usually none.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Mismatch(u8);

impl Mismatch {
    /// `len`, or one more or one less.
    pub fn of(self, len: usize) -> usize {
        match self.0 {
            0 => len + 1,
            1 => len.saturating_sub(1),
            _ => len,
        }
    }
}

/// A hyper-parameter: usually between 0 and 1, else any number.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Parameter {
    /// In units of 2^-16.
    Fraction(u16),
    /// As `Fraction`: a second variant makes the fuzzer draw fractions more often.
    Part(u16),
    /// Any number.
    Any(f64),
}

impl Parameter {
    /// The value.
    pub fn get(self) -> f64 {
        match self {
            Self::Fraction(x) | Self::Part(x) => f64::from(x) / 65536.0,
            Self::Any(x) => x,
        }
    }
}
