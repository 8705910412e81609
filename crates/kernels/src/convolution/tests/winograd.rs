//! Winograd's way: the bits of its documented order, written out in scalars, and values near those of the exact sums.

use super::*;

/// Sixteens of channels and of filters, and few tiles that reach beyond the image.
const CASES: [Case; 7] = [
    Case::new([2, 6, 8, 16], [3, 3], 16),
    Case::new([1, 9, 7, 32], [3, 3], 48).padding([1, 1]),
    // Turned, it has too few tiles.
    Case::new([2, 3, 3, 16], [3, 3], 16).padding([2, 2]),
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

fn half<T: Fused>(x: T) -> T {
    // From -0, which changes no sign of zero.
    T::from_f64(0.5).fused(x, T::from_f64(-0.0))
}

fn of_filter<T: Fused>([first, second, third]: [T; 3]) -> [T; 4] {
    let ends = sum(first, third);
    [first, half(sum(ends, second)), half(difference(ends, second)), third]
}

fn of_pixels<T: Fused>(d: [T; 4]) -> [T; 4] {
    [difference(d[0], d[2]), sum(d[1], d[2]), difference(d[2], d[1]), difference(d[1], d[3])]
}

fn of_results<T: Fused>(m: [T; 4]) -> [T; 2] {
    [sum(sum(m[0], m[1]), m[2]), difference(difference(m[1], m[2]), m[3])]
}

fn of_gradients<T: Fused>([first, second]: [T; 2]) -> [T; 4] {
    [first, sum(first, second), difference(first, second), difference(T::ZERO, second)]
}

fn of_filter_gradients<T: Fused>([first, plus, minus, third]: [T; 4]) -> [T; 3] {
    let total = half(sum(plus, minus));
    [sum(first, total), half(difference(plus, minus)), sum(total, third)]
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
    ([height.div_ceil(2), width.div_ceil(2)], case.padding.map(|padding| padding as isize))
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
            let corner = [2 * row as isize - padding[0], 2 * col as isize - padding[1]];
            let pixels: Vec<_> =
                (0..channels).map(|i| both(image.tile::<4>(n, corner, i), of_pixels)).collect();
            for o in 0..out {
                let mut sums = [[Sum::ZERO; 4]; 4];
                for (i, v) in pixels.iter().enumerate() {
                    for (a, b) in (0..16).map(|place| (place / 4, place % 4)) {
                        sums[a][b].add(v[a][b], filters[i * out + o][a][b]);
                    }
                }
                let results = both(sums.map(|row| row.map(Sum::get)), of_results);
                for (a, b) in (0..4).map(|window| (window / 2, window % 2)) {
                    let (row, col) = (2 * row + a, 2 * col + b);
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
    let strip = ((1 << 17) / (16 * across * (channels + out))).max(1).min(all);
    let slabs = all.div_ceil(strip).min(16);
    let (x, dy) = (Image { x, shape: case.x }, Image { x: dy, shape });
    // By channel and filter; the last row is that of `db`, which is summed as place (1, 1) is.
    let mut total = vec![[[T::ZERO; 4]; 4]; (channels + 1) * out];
    for slab in 0..slabs {
        let rows = all * slab / slabs..all * (slab + 1) / slabs;
        let mut of_slab = vec![[[T::ZERO; 4]; 4]; total.len()];
        for start in rows.clone().step_by(strip) {
            let mut sums = vec![[[Sum::ZERO; 4]; 4]; total.len()];
            for row in start..rows.end.min(start + strip) {
                for tile in 0..across {
                    let (n, row) = (row / down, row % down);
                    let corner = [2 * row as isize - padding[0], 2 * tile as isize - padding[1]];
                    let own = [2 * row as isize, 2 * tile as isize];
                    let mut v: Vec<_> =
                        (0..channels).map(|i| both(x.tile::<4>(n, corner, i), of_pixels)).collect();
                    v.push([[T::ONE; 4]; 4]);
                    for o in 0..out {
                        let e = both(dy.tile::<2>(n, own, o), of_gradients);
                        for (i, v) in v.iter().enumerate() {
                            for (a, b) in (0..16).map(|place| (place / 4, place % 4)) {
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
    }
    let mut dw = vec![T::ZERO; c.w_len()];
    let (weights, bias) = total.split_at(channels * out);
    for (at, du) in weights.iter().enumerate() {
        for (kh, row) in both(*du, of_filter_gradients).into_iter().enumerate() {
            for (kw, sum) in row.into_iter().enumerate() {
                dw[(3 * kh + kw) * channels * out + at] = sum;
            }
        }
    }
    [dw, bias.iter().map(|sums| sums[1][1]).collect()]
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

/// docs/NUMERICS.md: within the bound, and not much further from the exact sums than those in the order of the other ways.
#[test]
fn values_are_within_the_stated_error() {
    for case in CASES {
        let c = case.convolution();
        let [x, w, bias, dy] =
            [draw::<f32>(25, c.x_len()), draw(26, c.w_len()), draw(27, case.out), draw(28, c.y_len())];
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let exact = ordered(case, [&wide(&x), &wide(&w), &wide(&bias), &wide(&dy)]);
        let other = ordered(case, [&x, &w, &bias, &dy]);
        let [_, z, dx, dw, _] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        let u = f64::from(f32::EPSILON) / 2.0;
        for (name, got, other, exact, terms) in [
            ("z", z, other.z, exact.z, case.x[3]),
            ("dx", dx, other.dx, exact.dx, case.out),
            ("dw", dw, other.dw, exact.dw, c.y_len() / case.out),
        ] {
            // Each factor is below 1/2.
            let bound = (terms + 24) as f64 * u * (9 * terms) as f64 / 4.0;
            let errors = |got: &[f32]| -> Vec<f64> {
                got.iter().zip(&exact).map(|(&got, exact)| (f64::from(got) - exact).abs()).collect()
            };
            let mean_square = |errors: &[f64]| errors.iter().map(|e| e * e).sum::<f64>();
            let (own, other) = (errors(&got), errors(&other));
            assert!(own.iter().all(|&error| error <= bound), "{name} of {case:?}");
            assert!(mean_square(&own) <= 4.0 * mean_square(&other), "{name} of {case:?}");
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
    let case = Case::new([2, 5, 5, 16], [3, 3], 16).padding([1, 1]);
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
