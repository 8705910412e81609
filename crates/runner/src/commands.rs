//! Commands of the program, one file each: take a request, write files and lines of output.
//!
//! `cli` parses flags into requests. The commands check the values.

pub mod bench;
pub mod data;
pub mod diagnose;
pub mod dry_run;
pub mod dump;
pub mod eval;
pub mod explain;
pub mod export;
pub(crate) mod folds;
pub mod gradcheck;
pub mod lr_find;
pub(crate) mod output;
pub mod overfit;
pub mod predict;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod suite;
pub mod sweep;
pub mod train;
pub mod verify;
