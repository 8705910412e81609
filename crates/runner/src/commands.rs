//! The commands of the program, one file each: a request in, files and lines of output out.
//!
//! `cli` makes the requests. Flags are parsed there; values are checked here.

pub mod bench;
pub mod data;
pub mod dry_run;
pub mod dump;
pub mod eval;
pub mod export;
pub(crate) mod folds;
pub mod gradcheck;
pub mod lr_find;
pub(crate) mod output;
pub mod overfit;
pub mod predict;
pub mod report;
pub mod sweep;
pub mod train;
pub mod verify;
