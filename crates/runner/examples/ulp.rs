//! Prints the errors of the functions of `kernels::math`, as the table in `docs/NUMERICS.md`.
//!
//! ```text
//! cargo run --release -p evenkeel --example ulp -- [--exhaustive] [FUNCTION...]
//! ```
//!
//! `--exhaustive` tests all 2^32 inputs of f32: one to two minutes per function on two cores.

use std::error::Error;
use std::thread::available_parallelism;

use kernels::{Cpu, Isa};
use runner::machine::thread_pool::ThreadPool;
use runner::verify::ulp::{Extent, FUNCTIONS, HEADER};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let extent = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Extent::Sampled,
        ["--exhaustive"] => Extent::Exhaustive,
        _ => return Err(format!("expected --exhaustive or nothing, got {flags:?}").into()),
    };
    if let Some(name) =
        names.iter().find(|name| FUNCTIONS.iter().all(|function| function.name() != *name))
    {
        return Err(
            format!("expected the name of a function of kernels::math, got `{name}`").into()
        );
    }
    let pool = ThreadPool::new(available_parallelism()?.get())?;
    let cpu = Cpu::new(Isa::detect(), &pool);
    println!("{HEADER}");
    let mut all_hold = true;
    pool.enter(|| {
        for function in FUNCTIONS
            .iter()
            .filter(|f| names.is_empty() || names.iter().any(|name| name == f.name()))
        {
            for row in [function.single(cpu, extent), function.double(cpu)] {
                println!("{row}");
                all_hold &= row.holds();
            }
        }
    });
    if all_hold { Ok(()) } else { Err("a function is not within its bound".into()) }
}
