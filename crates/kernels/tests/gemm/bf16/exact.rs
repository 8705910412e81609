//! One step of a bf16 sum in integers: exact until it is rounded, once.

use half::bf16;

/// `x * y + p`, rounded to 24 bits, to nearest, ties to even, as if exponents had no lower end;
/// then a zero of its sign if it is below the smallest normal number. Subnormal `x` and `y` count
/// as zeros of their sign.
pub(crate) fn step(x: bf16, y: bf16, p: f32) -> f32 {
    let (x, y) = (flush(x), flush(y));
    if !(x.is_finite() && y.is_finite() && p.is_finite()) {
        // In f64 no product overflows, so that infinities and NaN come from the operands alone.
        return (f64::from(x) * f64::from(y) + f64::from(p)) as f32;
    }
    let ((x, x_exponent), (y, y_exponent), (acc, acc_exponent)) = (parts(x), parts(y), parts(p));
    let (product, exponent) = (x.0 * y.0, x_exponent + y_exponent);
    let negative = x.1 != y.1;
    if product == 0 && acc.0 == 0 {
        return if negative && acc.1 { -0.0 } else { 0.0 };
    }
    let signed = |magnitude: i128, negative: bool| if negative { -magnitude } else { magnitude };
    let (sum, exponent) =
        add((signed(product, negative), exponent), (signed(acc.0, acc.1), acc_exponent));
    round(sum, exponent)
}

fn flush(x: bf16) -> f32 {
    let x = f32::from_bits(u32::from(x.to_bits()) << 16);
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// ((magnitude, `true` if negative), exponent): the number is magnitude * 2^exponent.
fn parts(x: f32) -> ((i128, bool), i32) {
    let (field, fraction) = (x.to_bits() >> 23 & 0xFF, x.to_bits() & 0x7F_FFFF);
    assert!(field > 0 || fraction == 0, "{x} is subnormal");
    let magnitude = if field == 0 { 0 } else { i128::from(fraction | 0x80_0000) };
    ((magnitude, x.is_sign_negative()), field as i32 - 150)
}

/// Sum of two numbers m * 2^e, in the same form: exact, or rounded as the exact sum is.
///
/// Magnitudes are 0 or between 2^23 and 2^48. If the exponents differ by more than 64, only the
/// sign of the smaller number matters.
fn add(a: (i128, i32), b: (i128, i32)) -> (i128, i32) {
    if a.0 == 0 || b.0 == 0 {
        return if a.0 == 0 { b } else { a };
    }
    let (high, low) = if a.1 >= b.1 { (a, b) } else { (b, a) };
    let apart = high.1 - low.1;
    if apart > 64 {
        return ((high.0 << 64) + low.0.signum(), high.1 - 64);
    }
    ((high.0 << apart) + low.0, low.1)
}

fn round(sum: i128, exponent: i32) -> f32 {
    let sign = if sum < 0 { 1_u32 << 31 } else { 0 };
    let magnitude = sum.unsigned_abs();
    let bits = 128 - magnitude.leading_zeros() as i32;
    if bits == 0 {
        return 0.0;
    }
    // 24 bits: those above `drop`, or with zeros appended.
    let drop = bits - 24;
    let (mut significand, mut exponent) = (magnitude, exponent);
    if drop > 0 {
        let (rest, half) = (magnitude & ((1 << drop) - 1), 1 << (drop - 1));
        significand = magnitude >> drop;
        if rest > half || rest == half && significand & 1 == 1 {
            significand += 1;
        }
    } else {
        significand <<= -drop;
    }
    exponent += drop;
    if significand == 1 << 24 {
        (significand, exponent) = (1 << 23, exponent + 1);
    }
    // significand is at least 2^23, so the number is at least 2^(exponent + 23).
    match exponent + 23 {
        ..=-127 => f32::from_bits(sign),
        128.. => f32::from_bits(sign | 0x7F80_0000),
        top => f32::from_bits(sign | ((top + 127) as u32) << 23 | (significand as u32 & 0x7F_FFFF)),
    }
}
