//! Instruction sets: which there are, which of them this machine has, and how an operation runs
//! with one. No other file selects an instruction set.
//!
//! An [`Isa`] exists only for an instruction set that the machine supports: having one is the
//! proof. All of them give the same bits on f32 and f64 and differ in speed alone, so forcing one
//! is for tests, comparisons and bug reports.
//!
//! Detection asks the processor (CPUID) *and* whether the operating system saves the wide registers
//! (OSXSAVE, XGETBV): without the second, the first wide instruction would fault. It needs no std.

use core::fmt;

#[cfg(target_arch = "x86_64")]
use crate::simd::OneLane;
use crate::simd::{Simd, WithSimd};

/// An instruction set that this machine has.
///
/// ```
/// use kernels::Isa;
/// let best = Isa::detect();
/// assert!(Isa::available().any(|isa| isa == best));
/// assert_eq!(Isa::named("scalar").unwrap().lanes_f32(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// One lane; FMA in software: slow, with the same bits.
    Scalar,
    /// One lane with the hardware's FMA.
    #[cfg(target_arch = "x86_64")]
    ScalarFma,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with the bf16 pair instructions.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// Every name that [`Isa::named`] knows, on any machine.
pub const NAMES: [&str; 4] = ["scalar", "avx2", "avx512", "neon"];

/// Reason for which [`Isa::named`] returns no instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// The name is none of [`NAMES`].
    Unknown,
    /// The name is known, but this machine (or its operating system) lacks the instruction set.
    Absent,
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("unknown instruction set, expected scalar, avx2, avx512 or neon")
            }
            Self::Absent => f.write_str("this machine lacks the instruction set"),
        }
    }
}

impl core::error::Error for IsaError {}

impl Isa {
    /// The fastest instruction set of this machine.
    ///
    /// Asks the processor at each call, which can cost microseconds under a hypervisor: call it
    /// once and store the result.
    pub fn detect() -> Self {
        // `available` is never empty and ends with the widest.
        Self::available().last().unwrap_or(Self(Kind::Scalar))
    }

    /// Every instruction set of this machine, the narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        kinds().into_iter().flatten().map(Self)
    }

    /// The instruction set called `name`, one of [`NAMES`].
    ///
    /// # Errors
    /// [`IsaError::Unknown`] if there is no such name, [`IsaError::Absent`] if this machine lacks
    /// it.
    pub fn named(name: &str) -> Result<Self, IsaError> {
        if !NAMES.contains(&name) {
            return Err(IsaError::Unknown);
        }
        Self::available().filter(|isa| isa.name() == name).last().ok_or(IsaError::Absent)
    }

    /// Name of the instruction set: one of [`NAMES`].
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::ScalarFma => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
        }
    }

    /// Number of f32 lanes per register.
    pub const fn lanes_f32(self) -> usize {
        self.lanes::<f32>()
    }

    /// `true` if it multiplies pairs of bf16 in one instruction. Of instruction sets with the same
    /// name, [`available`](Self::available) returns the one with this instruction last, and
    /// [`named`](Self::named) returns that one.
    pub const fn multiplies_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => true,
            _ => false,
        }
    }

    /// Number of lanes of type `T` per register.
    pub(crate) const fn lanes<T>(self) -> usize {
        let bytes = match self.0 {
            Kind::Scalar => 0,
            #[cfg(target_arch = "x86_64")]
            Kind::ScalarFma => 0,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 32,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 => 64,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => 16,
        };
        if bytes == 0 { 1 } else { bytes / size_of::<T>() }
    }

    /// Runs `op`, compiled for this instruction set.
    ///
    /// Never inlined: otherwise an operation's code for all instruction sets would be copied to
    /// every call.
    #[inline(never)]
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.0 {
            #[cfg(not(target_arch = "x86_64"))]
            Kind::Scalar => Simd::vectorize(pulp::Scalar::new(), op),
            #[cfg(target_arch = "x86_64")]
            Kind::Scalar | Kind::ScalarFma => {
                let lane = if self.0 == Kind::Scalar {
                    OneLane::in_software()
                } else {
                    // SAFETY: `kinds` alone makes a `ScalarFma`, after `x86::detect` found AVX2 and
                    // FMA.
                    unsafe { OneLane::with_fma() }
                };
                Simd::vectorize(lane, op)
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => {
                // SAFETY: `kinds` alone makes an `Avx2`, after `x86::detect` found AVX2 and FMA.
                let v3 = unsafe { pulp::x86::V3::new_unchecked() };
                Simd::vectorize(v3, op)
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 => {
                // SAFETY: `kinds` alone makes either, after `x86::detect` found AVX-512.
                let v4 = unsafe { pulp::x86::V4::new_unchecked() };
                Simd::vectorize(v4, op)
            }
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => {
                // SAFETY: `kinds` makes a `Neon` only for targets with the feature `neon`.
                let neon = unsafe { pulp::aarch64::Neon::new_unchecked() };
                Simd::vectorize(neon, op)
            }
        }
    }

    /// [`run`](Self::run) for an operation on pairs of bf16: with the pair instructions, where
    /// available.
    #[inline(never)]
    pub(crate) fn run_pairs<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => {
                // SAFETY: `kinds` alone makes an `Avx512Bf16`, after `x86::detect` found AVX-512.
                let v4 = unsafe { pulp::x86::V4::new_unchecked() };
                // SAFETY: `kinds` alone makes an `Avx512Bf16`, after `x86::detect` found
                // AVX512_BF16.
                let bf16 = unsafe { crate::simd::Avx512Bf16::new(v4) };
                Simd::vectorize(bf16, op)
            }
            _ => self.run(op),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The instruction sets of this machine, the narrowest first.
#[cfg(target_arch = "x86_64")]
fn kinds() -> [Option<Kind>; 4] {
    let features = x86::detect();
    [
        Some(if features.v3 { Kind::ScalarFma } else { Kind::Scalar }),
        features.v3.then_some(Kind::Avx2),
        features.v4.then_some(Kind::Avx512),
        features.bf16.then_some(Kind::Avx512Bf16),
    ]
}

/// The instruction sets of this machine, the narrowest first.
#[cfg(target_arch = "aarch64")]
fn kinds() -> [Option<Kind>; 2] {
    [Some(Kind::Scalar), cfg!(target_feature = "neon").then_some(Kind::Neon)]
}

/// The instruction sets of this machine.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn kinds() -> [Option<Kind>; 1] {
    [Some(Kind::Scalar)]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! CPUID and XGETBV (Intel SDM volume 2A, "CPUID"; volume 1, 13.3, "Enabling the XSAVE feature
    //! set").

    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Tokens that may be made.
    #[derive(Default)]
    pub(super) struct Features {
        /// AVX2, FMA and the other features of `pulp::x86::V3`.
        pub(super) v3: bool,
        /// In addition AVX-512 F, BW, CD, DQ and VL: `pulp::x86::V4`.
        pub(super) v4: bool,
        /// In addition AVX512_BF16.
        pub(super) bf16: bool,
    }

    pub(super) fn detect() -> Features {
        // Under Miri the intrinsics do not exist: only the features of the build are assumed.
        if cfg!(miri) {
            return Features::default();
        }
        let all = |register: u32, bits: &[u32]| bits.iter().all(|&bit| register >> bit & 1 == 1);
        let highest = __cpuid(0).eax;
        let highest_extended = __cpuid(0x8000_0000).eax;
        if highest < 7 || highest_extended < 0x8000_0001 {
            return Features::default();
        }
        let (leaf1, leaf7, extended) = (__cpuid(1), __cpuid_count(7, 0), __cpuid(0x8000_0001));
        // OSXSAVE: the operating system has enabled XGETBV.
        if !all(leaf1.ecx, &[27]) {
            return Features::default();
        }
        // SAFETY: OSXSAVE is set, so XGETBV is allowed.
        let saved = unsafe { xcr0() } as u32;
        // sse3, ssse3, fma, sse4.1, sse4.2, popcnt, avx | fxsr, sse, sse2 | bmi1, avx2, bmi2 |
        // lzcnt; XMM and YMM state.
        let v3 = all(leaf1.ecx, &[0, 9, 12, 19, 20, 23, 28])
            && all(leaf1.edx, &[24, 25, 26])
            && all(leaf7.ebx, &[3, 5, 8])
            && all(extended.ecx, &[5])
            && all(saved, &[1, 2]);
        // f, dq, cd, bw, vl; opmask, upper ZMM and high ZMM state.
        let v4 = v3 && all(leaf7.ebx, &[16, 17, 28, 30, 31]) && all(saved, &[5, 6, 7]);
        // Leaf 7, subleaf 0 returns the highest subleaf in EAX.
        let bf16 = v4 && leaf7.eax >= 1 && all(__cpuid_count(7, 1).eax, &[5]);
        Features { v3, v4, bf16 }
    }

    /// XCR0: the register states that the operating system saves.
    ///
    /// # Safety
    /// The processor must have OSXSAVE set in CPUID leaf 1.
    #[target_feature(enable = "xsave")]
    unsafe fn xcr0() -> u64 {
        // SAFETY: `detect` has checked OSXSAVE, which allows XGETBV. Register 0 always exists.
        unsafe { _xgetbv(0) }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_names_differ_from_absent_ones() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(isa.name()).map(Isa::name), Ok(isa.name()));
        }
        assert_eq!(Isa::named(Isa::detect().name()), Ok(Isa::detect()));
        assert_eq!(Isa::named("sse9"), Err(IsaError::Unknown));
        let absent = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        assert_eq!(Isa::named(absent), Err(IsaError::Absent));
    }

    /// The detected instruction set must be the one that std's detection implies.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn detection_agrees_with_std() {
        use std::is_x86_feature_detected as has;
        let v3 = has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        let v4 = v3
            && has!("avx512f")
            && has!("avx512bw")
            && has!("avx512cd")
            && has!("avx512dq")
            && has!("avx512vl");
        let expected = if v4 {
            "avx512"
        } else if v3 {
            "avx2"
        } else {
            "scalar"
        };
        assert_eq!(Isa::detect().name(), expected);
        assert_eq!(
            Isa::detect().lanes_f32(),
            if v4 {
                16
            } else if v3 {
                8
            } else {
                1
            }
        );
        assert_eq!(Isa::named("avx2").is_ok(), v3);
    }
}
