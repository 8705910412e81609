//! Output of the commands: lines on stdout, and the file that `--out` names.

use std::io::Write;
use std::path::Path;

use crate::Error;
use crate::machine::escape;

/// Prints a line on stdout, control characters escaped: text for people or JSON. A closed pipe is
/// no error.
pub(crate) fn print(line: &str) -> Result<(), Error> {
    print_raw(&escape::lines(line))
}

/// Prints a line on stdout unchanged: a drawing with escape sequences. A closed pipe is no error.
pub(crate) fn print_raw(line: &str) -> Result<(), Error> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::System { action: "write to standard output", cause })
        }
        _ => Ok(()),
    }
}

/// Returns [`Error::Usage`] if the output file or folder `path` is `taken` by something else.
pub(crate) fn refuse_if(taken: bool, path: &Path) -> Result<(), Error> {
    if !taken {
        return Ok(());
    }
    let path = path.display();
    Err(Error::Usage(format!(
        "out: expected a path that does not exist, got {path}; replace it with --force, or choose \
         another with --out"
    )))
}
