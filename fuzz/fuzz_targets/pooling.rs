//! Pooling of any small shape and any numbers: max and mean of each window as in a plain loop, and
//! gradients with the same bits everywhere. `cargo +nightly fuzz run pooling`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Mismatch, Values, bits, same_everywhere};
use kernels::Window;
use kernels::pooling::{Count, Pooling};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    x: [u8; 4],
    kernel: [u8; 2],
    stride: [u8; 2],
    padding: [u8; 2],
    global: bool,
    in_image: bool,
    of_x: Mismatch,
    of_y: Mismatch,
    values: Values,
}

fuzz_target!(|problem: Problem| {
    let below = |x: u8, bound: usize| usize::from(x) % bound;
    let pair = |x: [u8; 2], bound: usize| x.map(|x| below(x, bound));
    let [batch, height, width, channels] = problem.x;
    let shape = [below(batch, 4), below(height, 20), below(width, 20), below(channels, 40)];
    let [mut kernel, mut stride, mut padding] =
        [pair(problem.kernel, 6), pair(problem.stride, 5), pair(problem.padding, 4)];
    let window = Window::new(kernel).stride(stride).padding(padding);
    let pooling = if problem.global { Pooling::global(shape) } else { Pooling::new(shape, window) };
    let Ok(pooling) = pooling else { return };
    if problem.global {
        [kernel, stride, padding] = [[shape[1], shape[2]], [1, 1], [0, 0]];
    }
    let x = problem.values.take::<f32>(0, problem.of_x.of(pooling.x_len()));
    let dy = problem.values.take::<f32>(1, problem.of_y.of(pooling.y_len()));
    let count = if problem.in_image { Count::Image } else { Count::Window };
    let fits = x.len() == pooling.x_len() && dy.len() == pooling.y_len();
    let max = same_everywhere(&dy, |cpu, y| pooling.max(cpu, &x, y));
    let mean = same_everywhere(&dy, |cpu, y| pooling.mean(cpu, count, &x, y));
    let of_max = same_everywhere(&x, |cpu, dx| pooling.max_backward(cpu, &x, &dy, dx));
    let of_mean = same_everywhere(&x, |cpu, dx| pooling.mean_backward(cpu, count, &dy, dx));
    assert_eq!([max.is_ok(), mean.is_ok(), of_max.is_ok(), of_mean.is_ok()], [fits; 4]);
    let (Ok((max, ())), Ok((mean, ()))) = (max, mean) else { return };

    let [_, out_height, out_width, _] = pooling.output();
    for (at, (max, mean)) in max.iter().zip(&mean).enumerate() {
        let (c, ow, oh) =
            (at % shape[3], at / shape[3] % out_width, at / shape[3] / out_width % out_height);
        let n = at / shape[3] / out_width / out_height;
        let rows = (oh * stride[0]..).take(kernel[0]).filter_map(|ih| ih.checked_sub(padding[0]));
        let (mut expected_max, mut total, mut pixels) = (f32::NEG_INFINITY, None::<f32>, 0_u16);
        for ih in rows.filter(|ih| *ih < shape[1]) {
            let columns =
                (ow * stride[1]..).take(kernel[1]).filter_map(|iw| iw.checked_sub(padding[1]));
            let mut row = None::<f32>;
            for iw in columns.filter(|iw| *iw < shape[2]) {
                let x = x[((n * shape[1] + ih) * shape[2] + iw) * shape[3] + c];
                // NaN is above every number.
                expected_max =
                    if expected_max >= x || expected_max.is_nan() { expected_max } else { x };
                row = Some(row.map_or(x, |row| row + x));
                pixels += 1;
            }
            total = row.map(|row| total.map_or(row, |total| total + row)).or(total);
        }
        let divisor = if problem.in_image { pixels } else { (kernel[0] * kernel[1]) as u16 };
        assert!(*max == expected_max || max.is_nan() && expected_max.is_nan(), "max {at}");
        let expected = total.unwrap_or(0.0) / f32::from(divisor);
        assert!(bits(mean) == bits(&expected) || *mean == expected, "mean {at}: {mean} {expected}");
    }
});
