//! Prints our time for each kernel, compared with its bounds and with PyTorch's time:
//! `cargo run --release -p benches --bin kernel-ratios -- [--isa NAME] [KERNEL...]`. A KERNEL is
//! the beginning of a name.
//!
//! f32, one thread. All alternate within one run, and the minimum of each counts, in nanoseconds
//! per element:
//!
//! ```text
//! ours      the kernel
//! copy      a copy of the same streams, read and written (`benches::copy`)
//! cached    the kernel on elements that fit in L1: the time of its instructions
//! of bound  the larger of copy and cached, over ours: at most 1
//! pytorch   PyTorch's, its result compared with ours; missing without EVENKEEL_TORCH_PYTHON
//! faster    PyTorch's over ours
//! ```
//!
//! Below the table: the cost of clipping relative to a step of Adam, that of the statistics of all
//! parameters relative to a training step, and the time of the Winograd algorithm relative to each
//! of the other algorithms.

use std::time::Duration;

use benches::copy::Copies;
use benches::kernel::{Case, Kernel, L1_ELEMENTS, NETWORK};
use benches::peers::PyTorch;
use benches::winograd::{SHAPES, ratios};
use kernels::{Cpu, Isa};
use runner::machine::timing::{Patience, Work, minima, repeat};

const PATIENCE: Patience =
    Patience { slice: Duration::from_millis(5), rounds: 40, most: Duration::MAX };
const RESPONDS: &str = "PyTorch's process responds";

fn main() {
    let (isa, prefixes) = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(reason) => {
            eprintln!("{reason}\nusage: kernel-ratios [--isa NAME] [KERNEL...]");
            std::process::exit(2);
        }
    };
    let cpu = Cpu::serial(isa);
    let mut pytorch =
        PyTorch::new(1).inspect_err(|reason| eprintln!("pytorch: missing ({reason})")).ok();
    println!("f32, {isa}, 1 thread, nanoseconds an element");
    println!("| kernel | elements | ours | copy | cached | of bound | pytorch | faster |");
    println!("|---|---|---|---|---|---|---|---|");
    for kernel in Kernel::families(cpu).iter().flat_map(|(_, kernels)| kernels) {
        if prefixes.is_empty() || prefixes.iter().any(|prefix| kernel.name.starts_with(prefix)) {
            kernel.sizes.iter().for_each(|&elements| row(kernel, elements, pytorch.as_mut()));
        }
    }
    if prefixes.is_empty() {
        shares(cpu);
        winograd(cpu);
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(Isa, Vec<String>), String> {
    let (mut isa, mut prefixes) = (Isa::detect(), Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--isa" {
            let name = arguments.next().unwrap_or_default();
            isa = Isa::named(&name).map_err(|error| format!("--isa {name}: {error}"))?;
        } else {
            prefixes.push(argument);
        }
    }
    let known: Vec<_> =
        Kernel::families(Cpu::serial(isa)).into_iter().flat_map(|(_, kernels)| kernels).collect();
    match prefixes
        .iter()
        .find(|prefix| !known.iter().any(|kernel| kernel.name.starts_with(*prefix)))
    {
        Some(prefix) => Err(format!("{prefix}: no kernel begins like this")),
        None => Ok((isa, prefixes)),
    }
}

/// Prints one line of the table.
fn row(kernel: &Kernel, elements: usize, pytorch: Option<&mut PyTorch>) {
    let mut case = kernel.on(elements);
    let pytorch = pytorch.filter(|_| case.peer.is_some());
    let pytorch = pytorch.map(|process| prepared(process, &mut case));
    case.settle();
    let mut copies = Copies::new(&case.streams);
    let mut cached = kernel.is_elementwise().then(|| kernel.on(L1_ELEMENTS));
    cached.iter_mut().for_each(Case::settle);

    // `true` for each column that is measured.
    let measured = [true, copies.is_some(), cached.is_some(), pytorch.is_some()];
    let mut works: Vec<Work<'_>> = vec![Box::new(|times| repeat(times, || case.run()))];
    if let Some(copies) = &mut copies {
        works.push(Box::new(|times| repeat(times, || copies.run())));
    }
    if let Some(cached) = &mut cached {
        works.push(Box::new(|times| repeat(times, || cached.run())));
    }
    if let Some(process) = pytorch {
        works.push(Box::new(|times| process.time(times).expect(RESPONDS)));
    }
    let mut seconds = minima(&mut works, PATIENCE).into_iter();
    let of = [elements, elements, L1_ELEMENTS, elements];
    let columns = [0, 1, 2, 3].map(|column| {
        let seconds = if measured[column] { seconds.next() } else { None };
        seconds.map(|seconds| seconds * 1e9 / of[column] as f64)
    });
    let [ours, copy, cached, pytorch] = columns;
    let ours = ours.expect("it is always measured");
    let bound = [copy, cached].into_iter().flatten().reduce(f64::max);
    let show = |x: Option<f64>, digits: usize| x.map_or("-".into(), |x| format!("{x:.digits$}"));
    println!(
        "| {} | {elements} | {ours:.4} | {} | {} | {} | {} | {} |",
        kernel.name,
        show(copy, 4),
        show(cached, 4),
        show(bound.map(|bound| bound / ours), 2),
        show(pytorch, 4),
        show(pytorch.map(|theirs| theirs / ours), 2),
    );
}

/// PyTorch, ready to repeat the operation of `case`, with a result near ours.
fn prepared<'a>(process: &'a mut PyTorch, case: &mut Case) -> &'a mut PyTorch {
    let peer = case.peer.expect("there is one");
    let mut theirs = vec![0.0; case.operands[peer.result].len()];
    let mut ask = |case: &Case, theirs: &mut [f32]| {
        process.operation(peer.operation, peer.cols, &case.operands, theirs).expect(RESPONDS);
    };
    ask(case, &mut theirs);
    case.run();
    for (i, (ours, theirs)) in case.operands[peer.result].iter().zip(&theirs).enumerate() {
        let near = (ours - theirs).abs() <= 1e-4 * ours.abs() + 1e-6;
        assert!(near, "{}: element {i} is {ours}, PyTorch's {theirs}", peer.operation);
    }
    // PyTorch, too, gets operands that do not shrink.
    case.settle();
    ask(case, &mut theirs);
    process
}

/// Prints the shapes of convolutions, and the ratios of each pass.
fn winograd(cpu: Cpu<'static>) {
    println!(
        "\n3 x 3 convolutions: the Winograd algorithm over direct convolution or the im2col \
         product, and over the product with operands rounded to bf16"
    );
    println!(
        "| images | pixels | channels | filters | padding | \
         y | gradients | y, bf16 | gradients, bf16 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for shape in SHAPES {
        let [batch, side, channels, padding, filters] = shape;
        let [y, gradients] = ratios(cpu, shape, PATIENCE);
        println!(
            "| {batch} | {side} x {side} | {channels} | {filters} | {padding} | \
             {:.2} | {:.2} | {:.2} | {:.2} |",
            y.exact, gradients.exact, y.rounded, gradients.rounded
        );
    }
}

/// Prints the cost of clipping and of gradient statistics.
fn shares(cpu: Cpu<'static>) {
    let names = ["adam", "adam clipped", "statistics", "histogram"];
    let mut cases = names.map(|name| Kernel::named(cpu, name).on(NETWORK));
    let mut products = Kernel::named(cpu, "products of a training step").on(1);
    let mut works: Vec<Work<'_>> = Vec::new();
    for case in cases.iter_mut().chain([&mut products]) {
        works.push(Box::new(|times| repeat(times, || case.run())));
    }
    let seconds = minima(&mut works, PATIENCE);
    let &[adam, clipped, statistics, histogram, products] = &seconds[..] else {
        unreachable!("one for each")
    };
    let (added, step) = (clipped - adam, products + adam);
    println!(
        "\n784-512-10 at batch 128: a step's products {:.0} us, Adam {:.0} us",
        products * 1e6,
        adam * 1e6
    );
    println!(
        "clipping adds {:.1} us: {:.1} % of Adam, {:.2} % of products and Adam",
        added * 1e6,
        100.0 * added / adam,
        100.0 * added / step
    );
    for (name, seconds) in [("statistics", statistics), ("histogram", histogram)] {
        println!(
            "{name} of all gradients {:.1} us: {:.1} % of products and Adam",
            seconds * 1e6,
            100.0 * seconds / step
        );
    }
}
