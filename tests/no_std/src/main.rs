//! Proves that the kernels need neither std nor a heap: a program that has neither, for a microcontroller. It computes
//! the golden hashes of the kernels' test `golden`, and ends with success if they are the same.
//!
//! ```text
//! reset -> start (machine) -> main -> hashes -> report and exit (semihosting)
//! ```
//!
//! There is no global allocator: a kernel that allocated would not link. `.ci/no_std` runs it on an emulated board.

#![no_std]
#![no_main]

mod machine;
#[path = "../../../crates/kernels/tests/golden/problems.rs"]
mod problems;
mod semihosting;

use core::fmt::Write;
use core::panic::PanicInfo;

use kernels::{Cpu, Float};
use problems::{F32, F64, Hashes, hashes};
use semihosting::{Console, exit};

/// What `machine` calls once the processor can compute.
pub(crate) fn main() -> ! {
    let cpu = Cpu::detect();
    let same = [check::<f32>(cpu, "f32", F32), check::<f64>(cpu, "f64", F64)];
    exit(same == [true; 2])
}

/// Whether the problems in `T` have the hashes `expected`; says so on the host's console.
fn check<T: Float>(cpu: Cpu<'_>, name: &str, expected: Hashes) -> bool {
    let got = hashes::<T>(cpu);
    let same = got == Ok(expected);
    let verdict = if same { "the golden bits" } else { "OTHER BITS" };
    // The console never fails.
    _ = writeln!(Console, "{name} on {cpu:?}: {verdict}: {got:x?}");
    same
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    _ = writeln!(Console, "{info}");
    exit(false)
}
