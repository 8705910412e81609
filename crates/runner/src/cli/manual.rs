//! What a packager installs beside the program: completions for shells, and manual pages.
//!
//! Both are written from the definition of the command line, so that they name what there is.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::replace::replace_with;

/// Prints the script by which `shell` completes the words of the program `program`.
///
/// # Errors
/// [`Error::System`] if standard output cannot be written to.
pub(crate) fn completions(mut program: Command, shell: Shell) -> Result<(), Error> {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut program, name, &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}

/// Writes a page for `program` and one for each of its commands into the folder `out`, and prints how many.
///
/// # Errors
/// [`Error::Usage`] if a page is there already and not to be replaced, by `force`; [`DataError::Io`](crate::data::DataError::Io) if one
/// cannot be written.
pub(crate) fn pages(program: Command, out: &Path, force: bool) -> Result<(), Error> {
    // The processors of this machine are nobody else's.
    let mut program = program.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&mut pages, &program)?;
    for (name, _) in &pages {
        refuse_if(out.join(name).exists() && !force, &out.join(name))?;
    }
    for (name, page) in &pages {
        replace_with(&out.join(name), page)?;
    }
    output::print(&format!("{} pages in {}", pages.len(), out.display()))
}

/// The pages of `command` and of all below it, with the names of their files.
fn add(pages: &mut Vec<(String, Vec<u8>)>, command: &Command) -> Result<(), Error> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)
        .map_err(|cause| Error::System { action: "write a manual page", cause })?;
    pages.push((man.get_filename(), page));
    command.get_subcommands().try_for_each(|below| add(pages, below))
}
