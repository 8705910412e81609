//! Winograd's way: the bits of its documented order, written out in scalars, and values near those of the exact sums.

use super::*;

/// Sixteens of channels and of filters, and few tiles that reach beyond the image.
const CASES: [Case; 7] = [
    Case::new([2, 6, 8, 16], [3, 3], 16),
    Case::new([1, 9, 7, 32], [3, 3], 48).padding([1, 1]),
    // Turned, its tile reaches too far beyond the windows.
    Case::new([2, 2, 2, 16], [3, 3], 16).padding([2, 2]),
    // More padding than the kernel reaches.
    Case::new([1, 4, 4, 16], [3, 3], 32).padding([3, 3]),
    // Longer than one summation block of f64, both ways.
    Case::new([1, 6, 6, 272], [3, 3], 16),
    Case::new([1, 6, 6, 16], [3, 3], 272).padding([1, 1]),
    // Several strips, slabs and tasks.
    Case::new([9, 26, 25, 16], [3, 3], 32).padding([1, 1]),
];

fn rows_for_columns<T: Copy + Default, const M: usize, const N: usize>(x: [[T; M]; N]) -> [[T; N]; M] {
    let mut turned = [[T::default(); N]; M];
    for (i, row) in x.into_iter().enumerate() {
        for (j, x) in row.into_iter().enumerate() {
            turned[j][i] = x;
        }
    }
    turned
}

/// `f` down each column, then along each row.
fn both<T: Copy + Default, const M: usize, const N: usize>(
    x: [[T; M]; M],
    f: impl Fn([T; M]) -> [T; N],
) -> [[T; N]; N] {
    let down = rows_for_columns(rows_for_columns(x).map(&f));
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

/// factor * x, rounded once: from -0, which changes no sign of zero.
fn times<T: Fused>(factor: f64, x: T) -> T {
    T::from_f64(factor).fused(x, T::from_f64(-0.0))
}

/// factor * x + to, rounded once.
fn plus<T: Fused>(factor: f64, x: T, to: T) -> T {
    T::from_f64(factor).fused(x, to)
}

fn of_filter<T: Fused>([first, second, third]: [T; 3]) -> [T; 6] {
    let at = |point: f64, scale: f64| {
        let even = plus(point * point, third, first);
        [plus(point, second, even), plus(-point, second, even)].map(|u| times(scale, u))
    };
    let [near, less_near] = at(P, 1.0 / (2.0 * A * (A - B)));
    let [far, less_far] = at(Q, 1.0 / (2.0 * B * (B - A)));
    [times(1.0 / (A * B), first), near, less_near, far, less_far, third]
}

fn of_pixels<T: Fused>(d: [T; 6]) -> [T; 6] {
    let at = |point: f64, other: f64| {
        let (even, odd) = (plus(-other, d[2], d[4]), plus(-other, d[1], d[3]));
        [plus(point, odd, even), plus(-point, odd, even)]
    };
    let ([near, less_near], [far, less_far]) = (at(P, B), at(Q, A));
    let end = |from: usize| plus(A * B, d[from], plus(-(A + B), d[from + 2], d[from + 4]));
    [end(0), near, less_near, far, less_far, end(1)]
}

fn of_results<T: Fused>(m: [T; 6]) -> [T; 4] {
    let (near, rise) = (sum(m[1], m[2]), difference(m[1], m[2]));
    let (far, climb) = (sum(m[3], m[4]), difference(m[3], m[4]));
    [
        sum(sum(m[0], near), far),
        plus(Q, climb, times(P, rise)),
        plus(B, far, times(A, near)),
        plus(Q * B, climb, plus(P * A, rise, m[5])),
    ]
}

fn of_gradients<T: Fused>(dy: [T; 4]) -> [T; 6] {
    let at = |point: f64| {
        let (even, odd) = (plus(point * point, dy[2], dy[0]), plus(point * point, dy[3], dy[1]));
        [plus(point, odd, even), plus(-point, odd, even)]
    };
    let ([near, less_near], [far, less_far]) = (at(P), at(Q));
    [dy[0], near, less_near, far, less_far, dy[3]]
}

fn of_filter_gradients<T: Fused>(u: [T; 6]) -> [T; 3] {
    let (np, nq) = (1.0 / (2.0 * A * (A - B)), 1.0 / (2.0 * B * (B - A)));
    let (near, rise) = (times(np, sum(u[1], u[2])), times(np, difference(u[1], u[2])));
    let (far, climb) = (times(nq, sum(u[3], u[4])), times(nq, difference(u[3], u[4])));
    [
        plus(1.0 / (A * B), u[0], sum(near, far)),
        plus(Q, climb, times(P, rise)),
        plus(B, far, plus(A, near, u[5])),
    ]
}

/// The pixels of a batch as a function of image, row, column and channel: +0 outside.
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

    fn tile<const N: usize>(&self, n: usize, [row, col]: [isize; 2], channel: usize) -> [[T; N]; N] {
        let mut tile = [[T::ZERO; N]; N];
        for (i, line) in tile.iter_mut().enumerate() {
            for (j, x) in line.iter_mut().enumerate() {
                *x = self.get(n, row + i as isize, col + j as isize, channel);
            }
        }
        tile
    }
}

/// Tiles down and across, and the padding as numbers that can be negative.
fn cut(case: Case) -> ([usize; 2], [isize; 2]) {
    let [_, height, width, _] = case.convolution().output();
    ([height.div_ceil(4), width.div_ceil(4)], case.padding.map(|padding| padding as isize))
}

/// The sums of products, before the bias.
fn forward<T: Fused>(case: Case, x: &[T], w: &[T]) -> Vec<T> {
    let c = case.convolution();
    let [batch, height, width, out] = c.output();
    let channels = case.x[3];
    let ([down, across], padding) = cut(case);
    let image = Image { x, shape: case.x };
    let filter = |i: usize, o: usize| {
        let tap = |kh: usize, kw: usize| w[((3 * kh + kw) * channels + i) * out + o];
        both([0, 1, 2].map(|kh| [0, 1, 2].map(|kw| tap(kh, kw))), of_filter)
    };
    let filters: Vec<_> = (0..channels * out).map(|at| filter(at / out, at % out)).collect();
    let mut y = vec![T::ZERO; c.y_len()];
    for n in 0..batch {
        for (row, col) in (0..down * across).map(|tile| (tile / across, tile % across)) {
            let corner = [4 * row as isize - padding[0], 4 * col as isize - padding[1]];
            let pixels: Vec<_> =
                (0..channels).map(|i| both(image.tile::<6>(n, corner, i), of_pixels)).collect();
            for o in 0..out {
                let mut sums = [[Sum::ZERO; 6]; 6];
                for (i, v) in pixels.iter().enumerate() {
                    for (a, b) in (0..36).map(|place| (place / 6, place % 6)) {
                        sums[a][b].add(v[a][b], filters[i * out + o][a][b]);
                    }
                }
                let results = both(sums.map(|row| row.map(Sum::get)), of_results);
                for (a, b) in (0..16).map(|window| (window / 4, window % 4)) {
                    let (row, col) = (4 * row + a, 4 * col + b);
                    if row < height && col < width {
                        y[((n * height + row) * width + col) * out + o] = results[a][b];
                    }
                }
            }
        }
    }
    y
}

/// The convolution that `dx` is of `dy`.
fn turned(case: Case) -> Option<Case> {
    let [batch, height, width, out] = case.convolution().output();
    let [up, left] = case.padding;
    let turned = Case::new([batch, height, width, out], [3, 3], case.x[3])
        .padding([2_usize.checked_sub(up)?, 2_usize.checked_sub(left)?]);
    (turned.convolution().way::<f32>() == Way::Winograd).then_some(turned)
}

fn turned_filters<T: Float>(case: Case, w: &[T]) -> Vec<T> {
    let (channels, out) = (case.x[3], case.out);
    let mut filters = vec![T::ZERO; w.len()];
    for (at, &w) in w.iter().enumerate() {
        let (tap, i, o) = (at / (channels * out), at / out % channels, at % out);
        filters[((8 - tap) * out + o) * channels + i] = w;
    }
    filters
}

fn gradients<T: Fused>(case: Case, x: &[T], dy: &[T]) -> [Vec<T>; 2] {
    let c = case.convolution();
    let (shape, channels, out) = (c.output(), case.x[3], case.out);
    let ([down, across], padding) = cut(case);
    let all = shape[0] * down;
    let strip = ((1 << 17) / (36 * across * (channels + out))).max(1).min(all);
    let slabs = all.div_ceil(strip).min(16);
    let (x, dy) = (Image { x, shape: case.x }, Image { x: dy, shape });
    // By channel and filter.
    let (mut total, mut db) = (vec![[[T::ZERO; 6]; 6]; channels * out], vec![T::ZERO; out]);
    for slab in 0..slabs {
        let rows = all * slab / slabs..all * (slab + 1) / slabs;
        let (mut of_slab, mut bias) = (vec![[[T::ZERO; 6]; 6]; total.len()], vec![T::ZERO; out]);
        for start in rows.clone().step_by(strip) {
            let mut sums = vec![[[Sum::ZERO; 6]; 6]; total.len()];
            for row in start..rows.end.min(start + strip) {
                for tile in 0..across {
                    let (n, row) = (row / down, row % down);
                    let corner = [4 * row as isize - padding[0], 4 * tile as isize - padding[1]];
                    let own = [4 * row as isize, 4 * tile as isize];
                    let v: Vec<_> =
                        (0..channels).map(|i| both(x.tile::<6>(n, corner, i), of_pixels)).collect();
                    for o in 0..out {
                        let tile = dy.tile::<4>(n, own, o);
                        let halves = |x: [T; 4]| sum(sum(x[0], x[1]), sum(x[2], x[3]));
                        bias[o] = sum(bias[o], halves(tile.map(halves)));
                        let e = both(tile, of_gradients);
                        for (i, v) in v.iter().enumerate() {
                            for (a, b) in (0..36).map(|place| (place / 6, place % 6)) {
                                sums[i * out + o][a][b].add(v[a][b], e[a][b]);
                            }
                        }
                    }
                }
            }
            for (of_slab, sums) in of_slab.iter_mut().flatten().flatten().zip(sums.iter().flatten().flatten())
            {
                *of_slab = if start == rows.start { sums.get() } else { sum(*of_slab, sums.get()) };
            }
        }
        for (total, of_slab) in total.iter_mut().flatten().flatten().zip(of_slab.iter().flatten().flatten()) {
            *total = if slab == 0 { *of_slab } else { sum(*total, *of_slab) };
        }
        for (db, bias) in db.iter_mut().zip(bias) {
            *db = if slab == 0 { bias } else { sum(*db, bias) };
        }
    }
    let mut dw = vec![T::ZERO; c.w_len()];
    for (at, du) in total.iter().enumerate() {
        for (kh, row) in both(*du, of_filter_gradients).into_iter().enumerate() {
            for (kw, sum) in row.into_iter().enumerate() {
                dw[(3 * kh + kw) * channels * out + at] = sum;
            }
        }
    }
    [dw, db]
}

fn has_the_bits_of_the_documented_order<T: Fused>(case: Case) {
    let c = case.convolution();
    assert_eq!(c.way::<T>(), Way::Winograd, "{case:?}");
    let [x, w, bias, dy] =
        [draw::<T>(21, c.x_len()), draw(22, c.w_len()), draw(23, case.out), draw(24, c.y_len())];
    let z: Vec<T> =
        forward(case, &x, &w).into_iter().zip(bias.iter().cycle()).map(|(z, &b)| sum(z, b)).collect();
    let y: Vec<T> = z.iter().map(|&z| if z <= T::ZERO { T::ZERO } else { z }).collect();
    let dx = match turned(case) {
        Some(turned) => forward(turned, &dy, &turned_filters(case, &w)),
        None => ordered(case, [&x, &w, &bias, &dy]).dx,
    };
    let [dw, db] = gradients(case, &x, &dy);
    same_on_every_cpu(|cpu| {
        let got = run(&c, cpu, [&x, &w, &bias, &dy]);
        for ((name, got), expected) in
            ["y", "z", "dx", "dw", "db"].iter().zip(&got).zip([&y, &z, &dx, &dw, &db])
        {
            assert!(bits(got) == bits(expected), "{name} of {case:?} on {cpu:?}");
        }
    });
}

#[test]
fn it_has_the_bits_of_the_documented_order() {
    for case in CASES {
        has_the_bits_of_the_documented_order::<f32>(case);
        has_the_bits_of_the_documented_order::<f64>(case);
    }
    assert!(CASES.iter().any(|&case| turned(case).is_none() && case.padding[0] < 3));
}

/// docs/NUMERICS.md: within the bound, which takes all errors for the worst; and near the exact values on the whole.
#[test]
fn values_are_within_the_stated_error() {
    for case in CASES {
        let c = case.convolution();
        let [x, w, bias, dy] =
            [draw::<f32>(25, c.x_len()), draw(26, c.w_len()), draw(27, case.out), draw(28, c.y_len())];
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let exact = ordered(case, [&wide(&x), &wide(&w), &wide(&bias), &wide(&dy)]);
        let [_, z, dx, dw, _] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        let ([down, across], _) = cut(case);
        let (tiles, windows) = (case.x[0] * down * across, c.y_len() / case.out);
        let u = f64::from(f32::EPSILON) / 2.0;
        for (name, got, exact, terms, products) in [
            ("z", z, exact.z, case.x[3], 564 * case.x[3]),
            ("dx", dx, exact.dx, case.out, 564 * case.out),
            ("dw", dw, exact.dw, windows, 803 * tiles),
        ] {
            // Each factor is below 1/2.
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
fn in_order_it_is_a_product_like_the_others() {
    let case = CASES[0];
    let c = case.convolution().in_order();
    assert_eq!(c.way::<f32>(), Way::Direct);
    let [x, w, bias, dy] =
        [draw::<f32>(37, c.x_len()), draw(38, c.w_len()), draw(39, case.out), draw(40, c.y_len())];
    let expected = ordered(case, [&x, &w, &bias, &dy]);
    let [_, z, dx, dw, db] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
    assert_eq!([z, dx, dw, db], [expected.z, expected.dx, expected.dw, expected.db]);
}

#[test]
fn an_image_that_no_memory_holds_is_no_error_before_it_is_given() {
    let c = Convolution::new([1, 3, usize::MAX >> 10, 16], Window::new([3, 3]), 128, 1).unwrap();
    assert_ne!(c.way::<f32>(), Way::Winograd);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let case = Case::new([2, 6, 6, 16], [3, 3], 16).padding([1, 1]);
    let c = case.convolution();
    assert_eq!(c.way::<f64>(), Way::Winograd);
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

/// What is not finite reaches each window of its tile, and no other; a filter that is not finite its own outputs.
#[test]
fn what_is_not_finite_stays_in_its_tile() {
    let case = Case::new([2, 8, 8, 16], [3, 3], 16);
    let c = case.convolution();
    for special in [f32::NAN, f32::INFINITY] {
        let (mut x, w, dy) = (draw::<f32>(33, c.x_len()), draw::<f32>(34, c.w_len()), draw(35, c.y_len()));
        let bias = [0.0; 16];
        let clean = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        // The first pixel of the first image: of its first tile alone.
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
fn a_batch_of_none_has_gradients_of_zero() {
    let c = Case::new([0, 6, 6, 16], [3, 3], 16).convolution();
    let [y, _, dx, dw, db] = run(&c, Cpu::detect(), [&[], &draw::<f32>(36, c.w_len()), &[0.0; 16], &[]]);
    assert!(y.is_empty() && dx.is_empty());
    assert_eq!((bits(&dw), bits(&db)), (vec![0; dw.len()], vec![0; db.len()]));
}
