//! Convolutions of any small shape and any numbers: the bits of the documented loop, and an error
//! for operands that do not fit. `cargo +nightly fuzz run convolution`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Mismatch, Values, bits, same_everywhere};
use kernels::Window;
use kernels::convolution::{Convolution, Epilogue, Filters};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    x: [u8; 4],
    kernel: [u8; 2],
    stride: [u8; 2],
    padding: [u8; 2],
    dilation: [u8; 2],
    out_channels: u8,
    groups: u8,
    bias: bool,
    relu: bool,
    rounded: bool,
    mismatches: [Mismatch; 4],
    values: Values,
}

/// Terms of a chain.
const KB: usize = 512;

fuzz_target!(|problem: Problem| {
    let below = |x: u8, bound: usize| usize::from(x) % bound;
    let pair = |x: [u8; 2], bound: usize| x.map(|x| below(x, bound));
    let groups = below(problem.groups, 6);
    let [batch, height, width, channels] = problem.x;
    let x =
        [below(batch, 4), below(height, 14), below(width, 14), below(channels, 8) * groups.max(1)];
    let (kernel, stride) = (pair(problem.kernel, 6), pair(problem.stride, 4));
    let (padding, dilation) = (pair(problem.padding, 5), pair(problem.dilation, 4));
    let window = Window::new(kernel).stride(stride).padding(padding).dilation(dilation);
    // Mostly equal groups.
    let out_channels = below(problem.out_channels, 12) * groups.max(1);
    let filters = Filters::new(out_channels).groups(groups);
    let Ok(convolution) = Convolution::new(x, window, filters) else {
        let fits = |axis: usize| {
            (kernel[axis].max(1) - 1) * dilation[axis] < x[1 + axis] + 2 * padding[axis]
        };
        let parts = [kernel, stride, dilation].concat();
        assert!(parts.contains(&0) || groups == 0 || !(fits(0) && fits(1)), "{x:?} {window:?}");
        return;
    };
    let convolution = if problem.rounded { convolution.rounded() } else { convolution };
    let [of_x, of_w, of_y, of_scratch] = problem.mismatches;
    let input = problem.values.take::<f32>(0, of_x.of(convolution.x_len()));
    let w = problem.values.take::<f32>(1, of_w.of(convolution.w_len()));
    let bias = problem.bias.then(|| problem.values.take::<f32>(2, out_channels));
    let dy = problem.values.take::<f32>(3, of_y.of(convolution.y_len()));

    let forward = same_everywhere(&(dy.clone(), dy.clone()), |cpu, (y, z)| {
        let least = convolution.forward_scratch::<f32>(cpu.executor.threads());
        let mut scratch = vec![f32::NAN; of_scratch.of(least)];
        let epilogue = bias.as_ref().map_or(Epilogue::NONE, |bias| Epilogue::bias(bias)).save(z);
        let epilogue = if problem.relu { epilogue.relu() } else { epilogue };
        convolution.forward(cpu, &input, &w, epilogue, y, &mut scratch)
    });
    let fits = [input.len(), w.len(), dy.len()]
        == [convolution.x_len(), convolution.w_len(), convolution.y_len()];
    assert!(forward.is_err() || fits);
    let dx = same_everywhere(&input, |cpu, dx| {
        let least = convolution.dx_scratch::<f32>(cpu.executor.threads());
        convolution.dx(cpu, &dy, &w, dx, &mut vec![f32::NAN; of_scratch.of(least)])
    });
    assert!(dx.is_err() || fits);
    let db = vec![0.0_f32; out_channels];
    let dw = same_everywhere(&(w.clone(), db), |cpu, (dw, db)| {
        let least = convolution.dw_scratch::<f32>(cpu.executor.threads());
        let db = problem.bias.then_some(&mut db[..]);
        convolution.dw(cpu, &input, &dy, dw, db, &mut vec![f32::NAN; of_scratch.of(least)])
    });
    assert!(dw.is_err() || fits);
    // Products of bf16 have a test of their own.
    if !fits || problem.rounded {
        return;
    }

    // The windows as the rows of a matrix for each group; `None` in the padding.
    let [_, out_height, out_width, _] = convolution.output();
    let (of_group, out_of_group) = (x[3] / groups, out_channels / groups);
    let taps: Vec<[usize; 2]> =
        (0..kernel[0]).flat_map(|kh| (0..kernel[1]).map(move |kw| [kh, kw])).collect();
    let pixel = |position: usize, [kh, kw]: [usize; 2]| {
        let (n, oh, ow) = (
            position / (out_height * out_width),
            position / out_width % out_height,
            position % out_width,
        );
        let ih =
            (oh * stride[0] + kh * dilation[0]).checked_sub(padding[0]).filter(|ih| *ih < x[1])?;
        let iw =
            (ow * stride[1] + kw * dilation[1]).checked_sub(padding[1]).filter(|iw| *iw < x[2])?;
        Some((n * x[1] + ih) * x[2] + iw)
    };
    let positions = x[0] * out_height * out_width;
    let column = |position: usize, group: usize, term: usize| {
        let pixel = pixel(position, taps[term / of_group]);
        pixel.map_or(0.0, |pixel| input[pixel * x[3] + group * of_group + term % of_group])
    };
    let sum = |len: usize, term: &dyn Fn(usize) -> [f32; 2]| {
        let mut r: Option<f32> = None;
        for block in (0..len).step_by(KB) {
            let chain =
                (block..len.min(block + KB)).map(term).fold(0.0_f32, |p, [a, b]| a.mul_add(b, p));
            r = Some(r.map_or(chain, |r| r + chain));
        }
        r.unwrap_or(0.0)
    };
    let depth = taps.len() * of_group;

    if let Ok(((y, z), ())) = forward {
        for (at, (y, z)) in y.iter().zip(&z).enumerate() {
            let (position, o) = (at / out_channels, at % out_channels);
            let group = o / out_of_group;
            let product =
                sum(depth, &|term| [column(position, group, term), w[term * out_channels + o]]);
            let expected = bias.as_ref().map_or(product, |bias| product + bias[o]);
            assert_eq!(bits(z), bits(&expected), "z {at}");
            let expected = if problem.relu && expected <= 0.0 { 0.0 } else { expected };
            assert_eq!(bits(y), bits(&expected), "y {at}");
        }
    }
    if let Ok(((dw, db), ())) = dw {
        for (at, dw) in dw.iter().enumerate() {
            let (term, o) = (at / out_channels, at % out_channels);
            let group = o / out_of_group;
            let expected = sum(positions, &|p| [column(p, group, term), dy[p * out_channels + o]]);
            assert_eq!(bits(dw), bits(&expected), "dw {at}");
        }
        for (o, db) in db.iter().enumerate().filter(|_| problem.bias) {
            assert_eq!(
                bits(db),
                bits(&sum(positions, &|p| [1.0, dy[p * out_channels + o]])),
                "db {o}"
            );
        }
    }
    if let Ok((dx, ())) = dx {
        let mut expected = vec![0.0_f32; dx.len()];
        // For each pixel in ascending order of the taps.
        for (number, tap) in taps.iter().enumerate() {
            for position in 0..positions {
                let Some(pixel) = pixel(position, *tap) else { continue };
                for channel in 0..x[3] {
                    let (group, i) = (channel / of_group, channel % of_group);
                    let row = (number * of_group + i) * out_channels;
                    let first = group * out_of_group;
                    expected[pixel * x[3] + channel] += sum(out_of_group, &|o| {
                        [dy[position * out_channels + first + o], w[row + first + o]]
                    });
                }
            }
        }
        assert_eq!(bits(&dx), bits(&expected));
    }
});
