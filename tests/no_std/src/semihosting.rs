//! The host's console and exit code, through Arm's semihosting (Arm's "Semihosting for AArch32 and
//! AArch64", 2.0): breakpoints that the debugger or emulator handles.

use core::arch::asm;
use core::fmt;

/// Writes one character, to which the parameter points.
const SYS_WRITEC: usize = 0x03;
/// Ends the program; the parameter is the reason.
const SYS_EXIT: usize = 0x18;
/// The reason of a program that succeeded, ADP_Stopped_ApplicationExit.
const APPLICATION_EXIT: usize = 0x2_0026;
/// The reason of a program that failed, ADP_Stopped_RunTimeErrorUnknown.
const RUN_TIME_ERROR: usize = 0x2_0023;

/// The host's console.
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: SYS_WRITEC reads the one byte, which lives until the call returns.
            unsafe { call(SYS_WRITEC, &raw const byte as usize) };
        }
        Ok(())
    }
}

/// Ends the program, with exit code 0 if it succeeded and 1 if not.
pub(crate) fn exit(success: bool) -> ! {
    let reason = if success { APPLICATION_EXIT } else { RUN_TIME_ERROR };
    loop {
        // SAFETY: SYS_EXIT touches no memory of this program.
        unsafe { call(SYS_EXIT, reason) };
    }
}

/// Makes the host run `operation`.
///
/// # Safety
/// `parameter` is valid for the operation; if it is an address, the memory there is readable.
unsafe fn call(operation: usize, parameter: usize) {
    // SAFETY: the host changes r0 alone; the caller guarantees that it may read the parameter.
    unsafe { asm!("bkpt 0xab", inout("r0") operation => _, in("r1") parameter, options(nostack)) };
}
