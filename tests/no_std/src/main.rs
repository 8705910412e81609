//! Proves that the kernels need neither std nor a heap: a program without both, for a
//! microcontroller. It computes the golden hashes of the kernels' test `golden`, and succeeds if
//! they are the same.
//!
//! ```text
//! reset -> start (machine) -> main -> hashes -> report and exit (semihosting)
//! ```
//!
//! There is no global allocator: a kernel that allocated would not link. `.ci/no_std` runs it on an
//! emulated board.

#![no_std]
#![no_main]

mod machine;
mod semihosting;

use core::fmt::{Debug, Write};
use core::panic::PanicInfo;

use kernels::golden::{BF16, F32, F64, Hashes, bf16_products, hashes};
use kernels::{Cpu, Error};
use semihosting::{Console, exit};

/// Entry point, called by `machine` once the floating-point unit is enabled.
pub(crate) fn main() -> ! {
    let cpu = Cpu::detect();
    let same = [
        check(cpu, "f32", hashes::<f32>(cpu).map(Hashes::named), F32.named()),
        check(cpu, "f64", hashes::<f64>(cpu).map(Hashes::named), F64.named()),
        check(cpu, "bf16", bf16_products(cpu), BF16),
    ];
    exit(same == [true; 3])
}

/// `true` if the problems of a type have the hashes `expected`; prints the result on the host's
/// console.
fn check<H: Debug + PartialEq>(
    cpu: Cpu<'_>,
    name: &str,
    got: Result<H, Error>,
    expected: H,
) -> bool {
    let same = got.as_ref() == Ok(&expected);
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
