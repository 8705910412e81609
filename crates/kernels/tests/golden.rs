//! Golden hashes: a few constants per type, the same for every instruction set of every machine.
//!
//! The other tests compare instruction sets that one machine has. These hashes compare machines:
//! x86-64 with and without AVX-512, AArch64, Cortex-M (`tests/no_std`). `.ci/cross` runs them on
//! emulated processors.

use kernels::golden::{BF16, F32, F64, Hashes, bf16_products, hashes};
use kernels::{Cpu, Isa};

#[test]
fn every_instruction_set_has_the_golden_bits() {
    for isa in Isa::available() {
        let cpu = Cpu::serial(isa);
        let got = (hashes::<f32>(cpu).map(Hashes::named), hashes::<f64>(cpu).map(Hashes::named));
        let expected = (Ok(F32.named()), Ok(F64.named()));
        assert!(got == expected, "{isa}: {got:#x?}, expected {expected:#x?}");
    }
}

#[test]
fn every_instruction_set_has_the_golden_bits_of_bf16() {
    for isa in Isa::available() {
        let got = bf16_products(Cpu::serial(isa));
        let instruction = if isa.multiplies_bf16() { "with" } else { "without" };
        assert!(
            got == Ok(BF16),
            "{isa} {instruction} an instruction: {got:#x?}, expected {BF16:#x}"
        );
    }
}

/// A machine that lacks an instruction set passes every test without running one of them on it.
/// `EVENKEEL_EXPECT_ISA` names the instruction set that must be detected.
#[test]
fn detection_finds_the_instruction_set_that_is_expected() {
    let best = Isa::detect();
    let expected = std::env::var("EVENKEEL_EXPECT_ISA").unwrap_or_else(|_| best.name().to_owned());
    assert_eq!(best.name(), expected);
    assert!(Isa::available().any(|isa| isa == best));
}
