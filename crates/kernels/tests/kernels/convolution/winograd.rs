//! The Winograd algorithm: the bits of its documented order, in scalar code, and values close to
//! the exact sums.

use super::*;
use kernels::pooling::Pooling;

/// Channels and filters in multiples of 16, and few tiles that reach beyond the image.
const CASES: [Case; 7] = [
    Case::new([2, 6, 8, 16], [3, 3], 16),
    Case::new([1, 9, 7, 32], [3, 3], 48).padding([1, 1]),
    // More windows than pixels.
    Case::new([2, 2, 2, 16], [3, 3], 16).padding([2, 2]),
    // More padding than the kernel reaches.
    Case::new([1, 4, 4, 16], [3, 3], 32).padding([3, 3]),
    // Longer than one summation block of f64, in channels and in filters.
    Case::new([1, 6, 6, 272], [3, 3], 16),
    Case::new([1, 6, 6, 16], [3, 3], 272).padding([1, 1]),
    // Several strips, slices and tasks.
    Case::new([8, 26, 25, 16], [3, 3], 32).padding([1, 1]),
];

fn transpose<T: Copy + Default, const M: usize, const N: usize>(x: [[T; M]; N]) -> [[T; N]; M] {
    let mut transposed = [[T::default(); N]; M];
    for (i, row) in x.into_iter().enumerate() {
        for (j, x) in row.into_iter().enumerate() {
            transposed[j][i] = x;
        }
    }
    transposed
}

/// Applies `f` to each column, then to each row of the result.
fn both<T: Copy + Default, const M: usize, const N: usize>(
    x: [[T; M]; M],
    f: impl Fn([T; M]) -> [T; N],
) -> [[T; N]; N] {
    let down = transpose(transpose(x).map(&f));
    down.map(f)
}

fn sum<T: Float>(mut a: T, b: T) -> T {
    a += b;
    a
}

fn difference<T: Fused>(a: T, b: T) -> T {
    T::from_f64(-1.0).fused(b, a)
}

const P: f64 = 0.625;
const Q: f64 = 1.5;
const A: f64 = P * P;
const B: f64 = Q * Q;

/// `coefficient * x`, rounded once. The addend is -0, which changes no sign of zero.
fn times<T: Fused>(coefficient: f64, x: T) -> T {
    T::from_f64(coefficient).fused(x, T::from_f64(-0.0))
}

/// `coefficient * x + to`, rounded once.
fn plus<T: Fused>(coefficient: f64, x: T, to: T) -> T {
    T::from_f64(coefficient).fused(x, to)
}

fn filter_transform<T: Fused>([first, second, third]: [T; 3]) -> [T; 6] {
    let at = |point: f64, scale: f64| {
        let even = plus(point * point, third, first);
        [plus(point, second, even), plus(-point, second, even)].map(|u| times(scale, u))
    };
    let [near, less_near] = at(P, 1.0 / (2.0 * A * (A - B)));
    let [far, less_far] = at(Q, 1.0 / (2.0 * B * (B - A)));
    [times(1.0 / (A * B), first), near, less_near, far, less_far, third]
}

fn input_transform<T: Fused>(d: [T; 6]) -> [T; 6] {
    let at = |point: f64, other: f64| {
        let (even, odd) = (plus(-other, d[2], d[4]), plus(-other, d[1], d[3]));
        [plus(point, odd, even), plus(-point, odd, even)]
    };
    let ([near, less_near], [far, less_far]) = (at(P, B), at(Q, A));
    let end = |from: usize| plus(A * B, d[from], plus(-(A + B), d[from + 2], d[from + 4]));
    [end(0), near, less_near, far, less_far, end(1)]
}

fn output_transform<T: Fused>(m: [T; 6]) -> [T; 4] {
    let (near, rise) = (sum(m[1], m[2]), difference(m[1], m[2]));
    let (far, climb) = (sum(m[3], m[4]), difference(m[3], m[4]));
    [
        sum(sum(m[0], near), far),
        plus(Q, climb, times(P, rise)),
        plus(B, far, times(A, near)),
        plus(Q * B, climb, plus(P * A, rise, m[5])),
    ]
}

fn output_gradient_transform<T: Fused>(dy: [T; 4]) -> [T; 6] {
    let at = |point: f64| {
        let (even, odd) = (plus(point * point, dy[2], dy[0]), plus(point * point, dy[3], dy[1]));
        [plus(point, odd, even), plus(-point, odd, even)]
    };
    let ([near, less_near], [far, less_far]) = (at(P), at(Q));
    [dy[0], near, less_near, far, less_far, dy[3]]
}

fn input_gradient_transform<T: Fused>(m: [T; 6]) -> [T; 6] {
    let (near, rise) = (sum(m[1], m[2]), difference(m[1], m[2]));
    let (far, climb) = (sum(m[3], m[4]), difference(m[3], m[4]));
    [
        times(A * B, m[0]),
        plus(-P * B, rise, plus(-Q * A, climb, times(A * B, m[5]))),
        plus(-B, near, plus(-A, far, times(-A - B, m[0]))),
        plus(P, rise, plus(Q, climb, times(-A - B, m[5]))),
        sum(sum(m[0], near), far),
        m[5],
    ]
}

fn filter_gradient_transform<T: Fused>(u: [T; 6]) -> [T; 3] {
    let (np, nq) = (1.0 / (2.0 * A * (A - B)), 1.0 / (2.0 * B * (B - A)));
    let (near, rise) = (times(np, sum(u[1], u[2])), times(np, difference(u[1], u[2])));
    let (far, climb) = (times(nq, sum(u[3], u[4])), times(nq, difference(u[3], u[4])));
    [
        plus(1.0 / (A * B), u[0], sum(near, far)),
        plus(Q, climb, times(P, rise)),
        plus(B, far, plus(A, near, u[5])),
    ]
}

/// A batch of images, +0 outside.
struct Image<'a, T> {
    x: &'a [T],
    shape: [usize; 4],
}

impl<T: Float> Image<'_, T> {
    fn get(&self, n: usize, row: isize, col: isize, channel: usize) -> T {
        let [_, height, width, channels] = self.shape;
        if row < 0 || col < 0 || row >= height as isize || col >= width as isize {
            return T::ZERO;
        }
        self.x[((n * height + row as usize) * width + col as usize) * channels + channel]
    }

    fn tile<const N: usize>(
        &self,
        n: usize,
        [row, col]: [isize; 2],
        channel: usize,
    ) -> [[T; N]; N] {
        let mut tile = [[T::ZERO; N]; N];
        for (i, line) in tile.iter_mut().enumerate() {
            for (j, x) in line.iter_mut().enumerate() {
                *x = self.get(n, row + i as isize, col + j as isize, channel);
            }
        }
        tile
    }
}

/// Tiles down and across, and the padding as signed numbers.
fn tiling(case: Case) -> ([usize; 2], [isize; 2]) {
    let [_, height, width, _] = case.convolution().output();
    ([height.div_ceil(4), width.div_ceil(4)], case.padding.map(|padding| padding as isize))
}

/// The sums of products, before the bias.
fn forward<T: Fused>(case: Case, x: &[T], w: &[T]) -> Vec<T> {
    let c = case.convolution();
    let [batch, height, width, out] = c.output();
    let channels = case.x[3];
    let ([down, across], padding) = tiling(case);
    let image = Image { x, shape: case.x };
    let filter = |i: usize, o: usize| {
        let tap = |kh: usize, kw: usize| w[((3 * kh + kw) * channels + i) * out + o];
        both([0, 1, 2].map(|kh| [0, 1, 2].map(|kw| tap(kh, kw))), filter_transform)
    };
    let filters: Vec<_> = (0..channels * out).map(|at| filter(at / out, at % out)).collect();
    let mut y = vec![T::ZERO; c.y_len()];
    for n in 0..batch {
        for (row, col) in (0..down * across).map(|tile| (tile / across, tile % across)) {
            let corner = [4 * row as isize - padding[0], 4 * col as isize - padding[1]];
            let pixels: Vec<_> = (0..channels)
                .map(|i| both(image.tile::<6>(n, corner, i), input_transform))
                .collect();
            for o in 0..out {
                let mut sums = [[Sum::ZERO; 6]; 6];
                for (i, v) in pixels.iter().enumerate() {
                    for (a, b) in (0..36).map(|element| (element / 6, element % 6)) {
                        sums[a][b].add(v[a][b], filters[i * out + o][a][b]);
                    }
                }
                let outputs = both(sums.map(|row| row.map(Sum::get)), output_transform);
                for (a, b) in (0..16).map(|window| (window / 4, window % 4)) {
                    let (row, col) = (4 * row + a, 4 * col + b);
                    if row < height && col < width {
                        y[((n * height + row) * width + col) * out + o] = outputs[a][b];
                    }
                }
            }
        }
    }
    y
}

/// Rows of tiles in all images, rows of tiles in a strip, and number of slices.
fn slices(case: Case) -> [usize; 3] {
    let ([down, across], _) = tiling(case);
    let all = case.x[0] * down;
    let strip = ((1 << 17) / (36 * across * (case.x[3] + case.out))).max(1).min(all);
    [all, strip, all.div_ceil(strip).min(16)]
}

/// The gradient with respect to the input: each pixel adds up its tiles, from left to right within
/// a row of tiles, then the rows.
fn input_gradient<T: Fused>(case: Case, w: &[T], dy: &[T]) -> Vec<T> {
    let c = case.convolution();
    let (shape, channels, out) = (c.output(), case.x[3], case.out);
    let ([down, across], padding) = tiling(case);
    let [_, height, width, _] = case.x;
    let dy = Image { x: dy, shape };
    let filter = |i: usize, o: usize| {
        let tap = |kh: usize, kw: usize| w[((3 * kh + kw) * channels + i) * out + o];
        both([0, 1, 2].map(|kh| [0, 1, 2].map(|kw| tap(kh, kw))), filter_transform)
    };
    let filters: Vec<_> = (0..channels * out).map(|at| filter(at / out, at % out)).collect();
    let mut dx = vec![T::ZERO; c.x_len()];
    for (n, i) in (0..shape[0] * channels).map(|at| (at / channels, at % channels)) {
        // The lower two lines of the row of tiles above.
        let mut above = [vec![T::ZERO; 4 * across + 2], vec![T::ZERO; 4 * across + 2]];
        for row in 0..down {
            let mut lines = [(); 6].map(|()| vec![None; 4 * across + 2]);
            for tile in 0..across {
                let mut sums = [[Sum::ZERO; 6]; 6];
                for o in 0..out {
                    let e = both(
                        dy.tile::<4>(n, [4 * row as isize, 4 * tile as isize], o),
                        output_gradient_transform,
                    );
                    for (a, b) in (0..36).map(|element| (element / 6, element % 6)) {
                        sums[a][b].add(e[a][b], filters[i * out + o][a][b]);
                    }
                }
                let pixels = both(sums.map(|row| row.map(Sum::get)), input_gradient_transform);
                for (line, pixels) in lines.iter_mut().zip(pixels) {
                    for (to, pixel) in line[4 * tile..].iter_mut().zip(pixels) {
                        *to = Some(to.map_or(pixel, |left| sum(left, pixel)));
                    }
                }
            }
            for (l, line) in lines.iter().enumerate() {
                let last = row + 1 == down;
                for (column, pixel) in line.iter().enumerate() {
                    let pixel = pixel.expect("tiles cover each column");
                    let all = if l < 2 && row > 0 { sum(above[l][column], pixel) } else { pixel };
                    let at = [(4 * row + l) as isize - padding[0], column as isize - padding[1]];
                    if l >= 4 && !last {
                        above[l - 4][column] = all;
                    } else if (0..height as isize).contains(&at[0])
                        && (0..width as isize).contains(&at[1])
                    {
                        dx[((n * height + at[0] as usize) * width + at[1] as usize) * channels
                            + i] = all;
                    }
                }
            }
        }
    }
    dx
}

fn weight_gradients<T: Fused>(case: Case, x: &[T], dy: &[T]) -> [Vec<T>; 2] {
    let c = case.convolution();
    let (shape, channels, out) = (c.output(), case.x[3], case.out);
    let ([down, across], padding) = tiling(case);
    let [all, strip, slices] = slices(case);
    let (x, dy) = (Image { x, shape: case.x }, Image { x: dy, shape });
    // Indexed by channel and filter.
    let (mut total, mut db) = (vec![[[T::ZERO; 6]; 6]; channels * out], vec![T::ZERO; out]);
    for slice in 0..slices {
        let rows = all * slice / slices..all * (slice + 1) / slices;
        let (mut of_slice, mut bias) = (vec![[[T::ZERO; 6]; 6]; total.len()], vec![T::ZERO; out]);
        for start in rows.clone().step_by(strip) {
            let mut sums = vec![[[Sum::ZERO; 6]; 6]; total.len()];
            for row in start..rows.end.min(start + strip) {
                for tile in 0..across {
                    let (n, row) = (row / down, row % down);
                    let corner = [4 * row as isize - padding[0], 4 * tile as isize - padding[1]];
                    let own = [4 * row as isize, 4 * tile as isize];
                    let v: Vec<_> = (0..channels)
                        .map(|i| both(x.tile::<6>(n, corner, i), input_transform))
                        .collect();
                    for o in 0..out {
                        let tile = dy.tile::<4>(n, own, o);
                        let sum4 = |x: [T; 4]| sum(sum(x[0], x[1]), sum(x[2], x[3]));
                        bias[o] = sum(bias[o], sum4(tile.map(sum4)));
                        let e = both(tile, output_gradient_transform);
                        for (i, v) in v.iter().enumerate() {
                            for (a, b) in (0..36).map(|element| (element / 6, element % 6)) {
                                sums[i * out + o][a][b].add(v[a][b], e[a][b]);
                            }
                        }
                    }
                }
            }
            let elements = of_slice.iter_mut().flatten().flatten();
            for (of_slice, sums) in elements.zip(sums.iter().flatten().flatten()) {
                *of_slice =
                    if start == rows.start { sums.get() } else { sum(*of_slice, sums.get()) };
            }
        }
        let elements = total.iter_mut().flatten().flatten();
        for (total, of_slice) in elements.zip(of_slice.iter().flatten().flatten()) {
            *total = if slice == 0 { *of_slice } else { sum(*total, *of_slice) };
        }
        for (db, bias) in db.iter_mut().zip(bias) {
            *db = if slice == 0 { bias } else { sum(*db, bias) };
        }
    }
    let mut dw = vec![T::ZERO; c.w_len()];
    for (at, du) in total.iter().enumerate() {
        for (kh, row) in both(*du, filter_gradient_transform).into_iter().enumerate() {
            for (kw, sum) in row.into_iter().enumerate() {
                dw[(3 * kh + kw) * channels * out + at] = sum;
            }
        }
    }
    [dw, db]
}

fn has_the_bits_of_the_documented_order<T: Fused>(case: Case) {
    let c = case.convolution();
    assert_eq!(c.algorithm::<T>(), Algorithm::Winograd, "{case:?}");
    let [x, w, bias, dy] =
        [draw::<T>(21, c.x_len()), draw(22, c.w_len()), draw(23, case.out), draw(24, c.y_len())];
    let z: Vec<T> = forward(case, &x, &w)
        .into_iter()
        .zip(bias.iter().cycle())
        .map(|(z, &b)| sum(z, b))
        .collect();
    let y: Vec<T> = z.iter().map(|&z| if z <= T::ZERO { T::ZERO } else { z }).collect();
    let dx = input_gradient(case, &w, &dy);
    let [dw, db] = weight_gradients(case, &x, &dy);
    // It rounds no operand.
    for c in [c, c.rounded()] {
        same_on_every_cpu(|cpu| {
            let got = run(&c, cpu, [&x, &w, &bias, &dy]);
            for ((name, got), expected) in
                ["y", "z", "dx", "dw", "db"].iter().zip(&got).zip([&y, &z, &dx, &dw, &db])
            {
                assert!(bits(got) == bits(expected), "{name} of {c:?} on {cpu:?}");
            }
        });
    }
}

#[test]
fn winograd_has_the_bits_of_the_documented_order() {
    for case in sample(CASES) {
        has_the_bits_of_the_documented_order::<f32>(case);
        has_the_bits_of_the_documented_order::<f64>(case);
    }
    // Slices end within images, and between them.
    let ends = |case: &Case| {
        let ([down, _], _) = tiling(*case);
        let [all, _, slices] = slices(*case);
        (1..slices)
            .map(move |slice| (all * slice / slices).is_multiple_of(down))
            .collect::<Vec<_>>()
    };
    let ends: Vec<bool> = CASES.iter().flat_map(ends).collect();
    assert!(ends.contains(&true) && ends.contains(&false), "{ends:?}");
}

/// Fused max pooling has the bits of `pooling` on the convolution's output, forward and backward.
#[test]
fn fused_max_pooling_has_the_bits_of_pooling() {
    fn check<T: Fused>(case: Case, spoil: impl Fn(&mut [T])) {
        let c = case.convolution();
        assert!(c.fuses_max_pool(), "{case:?}");
        let [mut x, w, bias] = [draw::<T>(41, c.x_len()), draw(42, c.w_len()), draw(43, case.out)];
        spoil(&mut x);
        let pooling = Pooling::new(c.output(), Window::new([2, 2]).stride([2, 2])).unwrap();
        let dy: Vec<T> = draw(44, pooling.y_len());
        let cpu = Cpu::detect();
        let [y, z, ..] = run(&c, cpu, [&x, &w, &bias, &vec![T::ZERO; c.y_len()]]);
        for (relu, y) in [(false, z), (true, y)] {
            let (mut pooled, mut at_windows) = (vec![T::NAN; dy.len()], vec![T::NAN; c.y_len()]);
            pooling.max(cpu, &y, &mut pooled).unwrap();
            if relu {
                pooling.max_relu_backward(cpu, &y, &dy, &mut at_windows).unwrap();
            } else {
                pooling.max_backward(cpu, &y, &dy, &mut at_windows).unwrap();
            }
            let of = OutputGradient { dy: &at_windows, argmax: None };
            let expected = backward(&c, cpu, [&x, &w], of, true);
            same_on_every_cpu(|cpu| {
                let [mut got, mut argmax] = [0; 2].map(|_| Guarded::new(dy.len()));
                let mut scratch = Guarded::new(c.forward_scratch::<T>(cpu.threads()));
                let epilogue = Epilogue::bias(&bias).max_pool(argmax.get());
                let epilogue = if relu { epilogue.relu() } else { epilogue };
                c.forward(cpu, &x, &w, epilogue, got.get(), scratch.get()).unwrap();
                scratch.take();
                let (got, argmax) = (got.take(), argmax.take());
                assert!(same(&got, &pooled), "y of {case:?}, relu {relu}");
                let got = backward(
                    &c,
                    cpu,
                    [&x, &w],
                    OutputGradient { dy: &dy, argmax: Some(&argmax) },
                    true,
                );
                for ((name, got), expected) in ["dx", "dw", "db"].iter().zip(&got).zip(&expected) {
                    assert!(same(got, expected), "{name} of {case:?}, relu {relu}");
                }
            });
        }
    }
    // Equal bits; a NaN equals any NaN.
    fn same<T: Float>(got: &[T], expected: &[T]) -> bool {
        let number = |x: &T| if x.to_f64().is_nan() { T::NAN } else { *x };
        let numbers = |x: &[T]| bits(&x.iter().map(number).collect::<Vec<_>>());
        numbers(got) == numbers(expected)
    }
    for case in sample([
        Case::new([2, 8, 6, 16], [3, 3], 32),
        Case::new([3, 6, 10, 16], [3, 3], 16).padding([1, 1]),
        Case::new([9, 26, 26, 16], [3, 3], 32).padding([1, 0]),
    ]) {
        check::<f32>(case, |_| {});
        check::<f64>(case, |_| {});
        // Pools of which all are 0, some are, or some are NaN.
        check::<f32>(case, |x| x[..case.x[1] * case.x[2] * 16].fill(0.0));
        check::<f32>(case, |x| x[7] = f32::NAN);
        check::<f32>(case, |x| x[16] = f32::INFINITY);
    }
}

#[test]
fn max_pooling_is_refused_where_it_cannot_be_fused() {
    let (odd, other) = (Case::new([1, 7, 8, 16], [3, 3], 16), Case::new([1, 8, 8, 3], [3, 3], 16));
    for case in [odd, other] {
        let c = case.convolution();
        assert!(!c.fuses_max_pool());
        let [x, w] = [c.x_len(), c.w_len()].map(|len| vec![0.0_f32; len]);
        let [mut y, mut argmax] = [0; 2].map(|_| vec![0.0; c.y_len() / 4]);
        let mut scratch = vec![0.0; c.forward_scratch::<f32>(1).max(c.backward_scratch::<f32>(1))];
        let epilogue = Epilogue::NONE.max_pool(&mut argmax);
        let error = c.forward(Cpu::detect(), &x, &w, epilogue, &mut y, &mut scratch).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "argmax", .. }), "{error}");
        let (mut dw, of) = (w.clone(), OutputGradient { dy: &y, argmax: Some(&argmax) });
        let to = Gradients { dw: &mut dw, db: None, dx: None, at_relu: false };
        let error = c.backward(Cpu::detect(), &x, &w, of, to, &mut scratch).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "argmax", .. }), "{error}");
    }
    let c = Case::new([1, 8, 8, 16], [3, 3], 16).convolution();
    let [x, w, mut z, mut y, mut argmax] =
        [c.x_len(), c.w_len(), c.y_len(), c.y_len() / 4, c.y_len() / 4]
            .map(|len| vec![0.0_f32; len]);
    let mut scratch = vec![0.0; c.forward_scratch::<f32>(1)];
    let mut forward = |epilogue: Epilogue<'_, f32>, y: &mut [f32]| {
        c.forward(Cpu::detect(), &x, &w, epilogue, y, &mut scratch)
    };
    let error = forward(Epilogue::NONE.save(&mut z).max_pool(&mut argmax), &mut y).unwrap_err();
    assert!(matches!(error, Error::Parameter { name: "z", .. }), "{error}");
    let error = forward(Epilogue::NONE.max_pool(&mut argmax[1..]), &mut y).unwrap_err();
    assert!(matches!(error, Error::Length { operand: "argmax", .. }), "{error}");
    let error = forward(Epilogue::NONE.max_pool(&mut argmax), &mut z).unwrap_err();
    assert!(matches!(error, Error::Length { operand: "y", .. }), "{error}");
}

/// docs/NUMERICS.md: within the worst-case bound, and close to the exact values on average.
#[test]
fn values_are_within_the_stated_error() {
    for case in sample(CASES) {
        let c = case.convolution();
        let [x, w, bias, dy] = [
            draw::<f32>(25, c.x_len()),
            draw(26, c.w_len()),
            draw(27, case.out),
            draw(28, c.y_len()),
        ];
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let exact = ordered(case, [&wide(&x), &wide(&w), &wide(&bias), &wide(&dy)]);
        let [_, z, dx, dw, _] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        let ([down, across], _) = tiling(case);
        let (tiles, windows) = (case.x[0] * down * across, c.y_len() / case.out);
        let u = f64::from(f32::EPSILON) / 2.0;
        for (name, got, exact, terms, products) in [
            ("z", z, exact.z, case.x[3], 564 * case.x[3]),
            ("dx", dx, exact.dx, case.out, 430 * case.out),
            ("dw", dw, exact.dw, windows, 803 * tiles),
        ] {
            // Each operand is below 1/2.
            let bound = (terms + 24) as f64 * u * products as f64 / 4.0;
            let error = |(&got, exact): (&f32, &f64)| (f64::from(got) - exact).abs();
            assert!(got.iter().zip(&exact).all(|pair| error(pair) <= bound), "{name} of {case:?}");
            let errors: f64 = got.iter().zip(&exact).map(|pair| error(pair) * error(pair)).sum();
            let share = (errors / exact.iter().map(|exact| exact * exact).sum::<f64>()).sqrt();
            let expected = (6.0 + 1.5 * (terms as f64).sqrt()) * u;
            assert!(share <= expected, "{name} of {case:?}: {share:e} of {expected:e}");
        }
    }
}

#[test]
fn in_order_disables_winograd() {
    let case = CASES[0];
    let c = case.convolution().in_order();
    assert_eq!(c.algorithm::<f32>(), Algorithm::Direct);
    let [x, w, bias, dy] =
        [draw::<f32>(37, c.x_len()), draw(38, c.w_len()), draw(39, case.out), draw(40, c.y_len())];
    let expected = ordered(case, [&x, &w, &bias, &dy]);
    let [_, z, dx, dw, db] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
    assert_eq!([z, dx, dw, db], [expected.z, expected.dx, expected.dw, expected.db]);
}

#[test]
fn an_image_beyond_any_memory_is_no_error_of_the_constructor() {
    let x = [1, 3, usize::MAX >> 10, 16];
    let c = Convolution::new(x, Window::new([3, 3]), Filters::new(128)).unwrap();
    assert_ne!(c.algorithm::<f32>(), Algorithm::Winograd);
}

#[test]
fn gradients_match_finite_differences() {
    let case = Case::new([2, 6, 6, 16], [3, 3], 16).padding([1, 1]);
    let c = case.convolution();
    assert_eq!(c.algorithm::<f64>(), Algorithm::Winograd);
    let [x, w, bias, weights] =
        [draw::<f64>(29, c.x_len()), draw(30, c.w_len()), draw(31, case.out), draw(32, c.y_len())];
    let loss = |x: &[f64], w: &[f64], bias: &[f64]| {
        let mut y = vec![0.0; c.y_len()];
        let mut scratch = vec![0.0; c.forward_scratch::<f64>(1)];
        c.forward(Cpu::detect(), x, w, Epilogue::bias(bias), &mut y, &mut scratch).unwrap();
        y.iter().zip(&weights).map(|(y, weight)| y * weight).sum()
    };
    let [_, _, dx, dw, db] = run(&c, Cpu::detect(), [&x, &w, &bias, &weights]);
    centred_difference(&x, &dx, |x| loss(x, &w, &bias));
    centred_difference(&w, &dw, |w| loss(&x, w, &bias));
    centred_difference(&bias, &db, |bias| loss(&x, &w, bias));
}

/// A non-finite input reaches the windows of its tile and no other; a non-finite filter reaches its
/// own outputs.
#[test]
fn non_finite_input_stays_in_its_tile() {
    let case = Case::new([2, 8, 8, 16], [3, 3], 16);
    let c = case.convolution();
    for special in [f32::NAN, f32::INFINITY] {
        let (mut x, w, dy) =
            (draw::<f32>(33, c.x_len()), draw::<f32>(34, c.w_len()), draw(35, c.y_len()));
        let bias = [0.0; 16];
        let clean = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        // The first pixel of the first image belongs to the first tile alone.
        x[3] = special;
        let got = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        let out = [6, 6, 16];
        for (at, (got, clean)) in got[1].iter().zip(&clean[1]).enumerate() {
            let (row, col) = (at / (out[1] * out[2]), at / out[2] % out[1]);
            if row < 1 && col < 1 {
                assert!(!got.is_finite());
            } else if row > 1 || col > 1 {
                assert_eq!(got.to_bits(), clean.to_bits(), "row {row}, column {col}");
            }
        }
        assert!(got[3].iter().any(|dw| !dw.is_finite()));
        assert_eq!([&got[2], &got[4]], [&clean[2], &clean[4]]);
    }
}

#[test]
fn an_empty_batch_has_gradients_of_zero() {
    let c = Case::new([0, 6, 6, 16], [3, 3], 16).convolution();
    let [y, _, dx, dw, db] =
        run(&c, Cpu::detect(), [&[], &draw::<f32>(36, c.w_len()), &[0.0; 16], &[]]);
    assert!(y.is_empty() && dx.is_empty());
    assert_eq!((bits(&dw), bits(&db)), (vec![0; dw.len()], vec![0; db.len()]));
}
