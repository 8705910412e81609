//! Scalar loops in the documented order, compared by bits, and finite differences.

use crate::testing::{bits, centred_difference, same_on_every_cpu, sample};
use kernels::pooling::*;
use kernels::random::Stream;
use kernels::{Cpu, Error, Float, Window};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(43, stream).uniform_f64(i) - 0.5)).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    x: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

const fn case(x: [usize; 4], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Case {
    Case { x, kernel, stride, padding }
}

const CASES: [Case; 13] = [
    // The padded image is no larger than its windows.
    case([2, 3, 6, 3], [3, 3], [3, 3], [1, 1]),
    case([2, 4, 6, 3], [2, 2], [2, 2], [0, 0]),
    case([2, 5, 7, 1], [2, 2], [2, 2], [0, 0]),
    case([1, 7, 6, 17], [3, 3], [1, 1], [1, 1]),
    case([3, 6, 5, 16], [3, 2], [2, 3], [1, 0]),
    case([2, 9, 8, 15], [5, 4], [3, 2], [2, 2]),
    case([2, 3, 4, 33], [3, 4], [1, 1], [0, 0]),
    case([1, 1, 1, 5], [2, 3], [1, 1], [1, 1]),
    case([2, 4, 4, 2], [1, 1], [3, 2], [0, 0]),
    case([0, 4, 4, 2], [2, 2], [2, 2], [0, 0]),
    case([2, 4, 4, 0], [2, 2], [2, 2], [0, 0]),
    // Parts of images, which windows reach across.
    case([2, 70, 60, 9], [3, 3], [2, 2], [1, 1]),
    case([1, 65, 300, 2], [3, 3], [1, 1], [1, 1]),
];

impl Case {
    fn pooling(self) -> Pooling {
        let window = Window::new(self.kernel).stride(self.stride).padding(self.padding);
        Pooling::new(self.x, window).unwrap()
    }

    /// Each window's index in `y`, and its pixels' indices in `x`, row by row.
    fn windows(self) -> impl Iterator<Item = (usize, Vec<Vec<usize>>)> {
        let [batch, height, width, channels] = self.x;
        let [_, oh, ow, _] = self.pooling().output();
        (0..batch * oh * ow * channels).map(move |at| {
            let (c, x, y) = (at % channels, at / channels % ow, at / channels / ow % oh);
            let n = at / channels / ow / oh;
            let inside = |o: usize, axis: usize, len: usize| {
                let start = o * self.stride[axis];
                (start..start + self.kernel[axis])
                    .filter_map(move |i| i.checked_sub(self.padding[axis]).filter(|&i| i < len))
            };
            let row = |iy: usize| {
                inside(x, 1, width).map(move |ix| ((n * height + iy) * width + ix) * channels + c)
            };
            (at, inside(y, 0, height).map(|iy| row(iy).collect()).collect())
        })
    }
}

fn is_nan<T: Float>(x: T) -> bool {
    x.to_f64().is_nan()
}

/// Index of the maximum: the first NaN, otherwise the first of equals.
fn argmax<T: Float>(x: &[T], window: &[Vec<usize>]) -> usize {
    let mut pixels = window.iter().flatten().copied();
    let first = pixels.next().unwrap();
    pixels.fold(first, |argmax, at| {
        if !is_nan(x[argmax]) && (x[at] > x[argmax] || is_nan(x[at])) { at } else { argmax }
    })
}

fn count(case: Case, count: Count, window: &[Vec<usize>]) -> usize {
    match count {
        Count::Window => case.kernel[0] * case.kernel[1],
        Count::Image => window.iter().map(Vec::len).sum(),
    }
}

/// Adds in the documented order: windows from the first to the last.
fn scatter<T: Float>(
    case: Case,
    mut share: impl FnMut(usize, &[Vec<usize>]) -> Vec<(usize, T)>,
) -> Vec<T> {
    let mut dx = vec![T::ZERO; case.pooling().x_len()];
    for (at_y, window) in case.windows() {
        for (at, value) in share(at_y, &window) {
            dx[at] += value;
        }
    }
    dx
}

fn quotient<T: Float>(a: T, count: usize) -> T {
    let mut a = a;
    a /= T::from_f64(count as f64);
    a
}

fn has_the_bits_of_the_documented_order<T: Float>(case: Case, x: &[T], dy: &[T]) {
    let p = case.pooling();
    let max: Vec<T> = case.windows().map(|(_, window)| x[argmax(x, &window)]).collect();
    let dmax = scatter(case, |at_y, window| vec![(argmax(x, window), dy[at_y])]);
    let means = [Count::Window, Count::Image].map(|by| {
        let mean: Vec<T> = case
            .windows()
            .map(|(_, window)| {
                let add = |mut a: T, b: T| {
                    a += b;
                    a
                };
                let rows =
                    window.iter().map(|row| row.iter().map(|&at| x[at]).reduce(add).unwrap());
                quotient(rows.reduce(add).unwrap(), count(case, by, &window))
            })
            .collect();
        let dmean = scatter(case, |at_y, window| {
            let share = quotient(dy[at_y], count(case, by, window));
            window.iter().flatten().map(|&at| (at, share)).collect()
        });
        (by, mean, dmean)
    });
    // Garbage, and a canary at each end.
    let guarded = |len: usize| {
        let mut all = vec![T::NAN; len + 2];
        (all[0], all[len + 1]) = (T::ONE, T::ONE);
        all
    };
    let intact = |x: Vec<T>| {
        assert_eq!((x[0], x[x.len() - 1]), (T::ONE, T::ONE), "{case:?}");
        bits(&x[1..x.len() - 1])
    };
    same_on_every_cpu(|cpu| {
        let (y_len, x_len) = (p.y_len(), p.x_len());
        let (mut y, mut dx) = (guarded(y_len), guarded(x_len));
        p.max(cpu, x, &mut y[1..=y_len]).unwrap();
        p.max_backward(cpu, x, dy, &mut dx[1..=x_len]).unwrap();
        assert!(intact(y) == bits(&max), "maxima of {case:?} on {cpu:?}");
        assert!(intact(dx) == bits(&dmax), "gradient of the maxima of {case:?} on {cpu:?}");
        let mut dx = guarded(x_len);
        p.max_relu_backward(cpu, x, dy, &mut dx[1..=x_len]).unwrap();
        let of_relu = x.iter().zip(&dmax).map(|(&x, &dx)| if x <= T::ZERO { T::ZERO } else { dx });
        let of_relu: Vec<T> = of_relu.collect();
        assert!(
            intact(dx) == bits(&of_relu),
            "gradient of ReLU and the maxima of {case:?} on {cpu:?}"
        );
        for (by, mean, dmean) in &means {
            let (mut y, mut dx) = (guarded(y_len), guarded(x_len));
            p.mean(cpu, *by, x, &mut y[1..=y_len]).unwrap();
            p.mean_backward(cpu, *by, dy, &mut dx[1..=x_len]).unwrap();
            assert!(intact(y) == bits(mean), "means of {case:?} by {by:?} on {cpu:?}");
            assert!(
                intact(dx) == bits(dmean),
                "gradient of the means of {case:?} by {by:?} on {cpu:?}"
            );
        }
    });
}

#[test]
fn all_have_the_bits_of_the_documented_order() {
    for case in sample(CASES) {
        let p = case.pooling();
        has_the_bits_of_the_documented_order(case, &draw::<f32>(1, p.x_len()), &draw(2, p.y_len()));
        has_the_bits_of_the_documented_order(case, &draw::<f64>(1, p.x_len()), &draw(2, p.y_len()));
    }
}

/// Many equals, NaN, infinities and zeros of both signs.
#[test]
fn ties_and_special_values_are_as_documented() {
    let special =
        [0.0, -0.0, 1.0, f64::NAN, f64::NEG_INFINITY, 1.0, f64::INFINITY, 1e-310, -1e-310];
    for case in sample(CASES) {
        let p = case.pooling();
        for one_in in [1, 5] {
            let pick = |stream, n: usize| -> Vec<f64> {
                let pick = |u: f64| {
                    special.get((u * 9.0 * f64::from(one_in)) as usize).copied().unwrap_or(-1.0)
                };
                draw::<f64>(stream, n).iter().map(|x| pick(x + 0.5)).collect()
            };
            has_the_bits_of_the_documented_order(case, &pick(3, p.x_len()), &pick(4, p.y_len()));
        }
        let lowest = vec![f32::NEG_INFINITY; p.x_len()];
        has_the_bits_of_the_documented_order(case, &lowest, &draw(5, p.y_len()));
    }
}

#[test]
fn gradients_match_finite_differences() {
    let cpu = Cpu::detect();
    for case in CASES.into_iter().filter(|case| case.x[1] < 10) {
        let p = case.pooling();
        // A shuffle of numbers further apart than the differences reach.
        let len = p.x_len();
        let x: Vec<f64> = (0..len).map(|i| ((i * 7919) % len.max(1)) as f64 * 0.01).collect();
        let weights = draw::<f64>(6, p.y_len());
        let loss = |y: &[f64]| y.iter().zip(&weights).map(|(y, weight)| y * weight).sum();
        let (mut y, mut dx) = (vec![0.0; p.y_len()], vec![0.0; len]);
        p.max_backward(cpu, &x, &weights, &mut dx).unwrap();
        centred_difference(&x, &dx, |x| {
            p.max(cpu, x, &mut y).unwrap();
            loss(&y)
        });
        let x = draw::<f64>(7, len);
        for count in [Count::Window, Count::Image] {
            p.mean_backward(cpu, count, &weights, &mut dx).unwrap();
            centred_difference(&x, &dx, |x| {
                p.mean(cpu, count, x, &mut y).unwrap();
                loss(&y)
            });
        }
    }
}

#[test]
fn the_global_mean_is_one_of_each_channel() {
    let p = Pooling::global([2, 2, 3, 2]).unwrap();
    assert_eq!(p.output(), [2, 1, 1, 2]);
    let x: Vec<f32> = (0..24_u8).map(f32::from).collect();
    let mut y = [0.0; 4];
    p.mean(Cpu::detect(), Count::default(), &x, &mut y).unwrap();
    assert_eq!(y, [5.0, 6.0, 17.0, 18.0]);
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let parameter = |x, window| match Pooling::new(x, window) {
        Err(Error::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let x = [2, 5, 4, 3];
    assert_eq!(parameter(x, Window::new([0, 1])), "kernel");
    assert_eq!(parameter(x, Window::new([2, 5])), "kernel");
    assert_eq!(parameter([1, 5000, 5000, 1], Window::new([5000, 5000])), "kernel");
    assert_eq!(parameter(x, Window::new([2, 2]).stride([0, 1])), "stride");
    assert_eq!(parameter(x, Window::new([2, 2]).dilation([1, 2])), "dilation");
    assert_eq!(parameter(x, Window::new([2, 3]).padding([1, 2])), "padding");
    assert_eq!(parameter(x, Window::new([2, 3]).padding([2, 1])), "padding");
    assert_eq!(parameter([2, 0, 4, 3], Window::new([2, 2]).padding([1, 1])), "height");
    assert_eq!(parameter([2, 4, 0, 3], Window::new([2, 2]).padding([1, 1])), "width");
    assert_eq!(parameter([usize::MAX / 4, 5, 4, 3], Window::new([1, 1])), "x");

    let cpu = Cpu::detect();
    let p = Pooling::new(x, Window::new([2, 2])).unwrap();
    let (x, dy, one) = ([5.0_f32; 120], [5.0; 72], [5.0; 1]);
    let (mut y_, mut dx_) = (dy, x);
    let error = |operand, expected| Err(Error::Length { operand, expected, got: 1 });
    assert_eq!(p.max(cpu, &one, &mut y_), error("x", 120));
    assert_eq!(p.max(cpu, &x, &mut y_[..1]), error("y", 72));
    assert_eq!(p.mean(cpu, Count::Image, &one, &mut y_), error("x", 120));
    assert_eq!(p.mean(cpu, Count::Image, &x, &mut y_[..1]), error("y", 72));
    assert_eq!(p.max_backward(cpu, &one, &dy, &mut dx_), error("x", 120));
    assert_eq!(p.max_backward(cpu, &x, &one, &mut dx_), error("dy", 72));
    assert_eq!(p.max_backward(cpu, &x, &dy, &mut dx_[..1]), error("dx", 120));
    assert_eq!(p.mean_backward(cpu, Count::Image, &one, &mut dx_), error("dy", 72));
    assert_eq!(p.mean_backward(cpu, Count::Image, &dy, &mut dx_[..1]), error("dx", 120));
    assert_eq!((y_, dx_), (dy, x));
}
