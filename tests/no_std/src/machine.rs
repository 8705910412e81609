//! From reset to `main` on a Cortex-M (Armv7-M Architecture Reference Manual, B1.5 and B3.2): the
//! vector table, and code that enables the floating-point unit.

use core::arch::global_asm;
use core::fmt::Write;

use crate::semihosting::{Console, exit};

// The table has the first stack pointer, the reset handler, and a handler for each of the 14 system
// exceptions. Full access to coprocessors 10 and 11 in CPACR enables the floating-point unit; a
// core without one ignores the write.
global_asm!(
    ".section .vectors, \"a\"",
    ".word 4 << 20",
    ".word start",
    ".rept 14",
    ".word {exception}",
    ".endr",
    ".text",
    ".thumb_func",
    ".global start",
    "start:",
    "ldr r0, =0xE000ED88",
    "ldr r1, =0x00F00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "bl {main}",
    ".pool",
    exception = sym exception,
    main = sym main,
);

extern "C" fn main() -> ! {
    crate::main()
}

extern "C" fn exception() -> ! {
    _ = writeln!(Console, "the processor took an exception");
    exit(false)
}
