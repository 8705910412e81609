//! Files that a packager installs with the program: shell completions and manual pages.
//!
//! Both are generated from the definition of the command line, so they are always complete.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::replace::replace_with;

/// Prints the completion script of `program` for `shell`.
///
/// # Errors
/// [`Error::System`] if standard output cannot be written to.
pub(crate) fn completions(mut program: Command, shell: Shell) -> Result<(), Error> {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut program, name, &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}

/// Writes a page for `program` and one for each of its commands into the folder `out`, and prints
/// their number.
///
/// # Errors
/// [`Error::Usage`] if a page exists and `force` is not set;
/// [`DataError::Io`](crate::data::DataError::Io) if a page cannot be written.
pub(crate) fn pages(program: Command, out: &Path, force: bool) -> Result<(), Error> {
    // The pages are installed on other machines: the version names no instruction sets.
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

/// Adds file name and contents of the pages of `command` and its subcommands.
fn add(pages: &mut Vec<(String, Vec<u8>)>, command: &Command) -> Result<(), Error> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)
        .map_err(|cause| Error::System { action: "write a manual page", cause })?;
    pages.push((man.get_filename(), page));
    command.get_subcommands().try_for_each(|subcommand| add(pages, subcommand))
}
