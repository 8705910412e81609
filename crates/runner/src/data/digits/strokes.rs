//! Templates of the ten digits, which [`hand`](super::hand) distorts.
//!
//! A *style* is one form of a digit, as the pen's strokes. A stroke is a list of points that a
//! smooth curve passes through. A point given twice in a row is a corner. Points that coincide, in
//! one stroke or in two, get the same jitter: corners stay sharp and strokes stay joined. A loop
//! that may be open ends *near* its first point.

/// Point on the pen's path: `[x, y]` in percent of the digit's box, x to the right and y downwards.
pub(super) type Point = [u8; 2];

/// One form of a digit.
pub(super) struct Style {
    /// Probability of the style, relative to the digit's other styles.
    pub(super) weight: u32,
    /// Strokes, each of at least two points.
    pub(super) strokes: &'static [&'static [Point]],
}

/// A digit and its common forms.
pub(super) struct Digit {
    /// Width of the box relative to its height.
    pub(super) width: f32,
    /// Tangent of the angle of the slant to the right.
    pub(super) slant: f32,
    /// Forms of the digit.
    pub(super) styles: &'static [Style],
}

impl Digit {
    /// Picks a style by its weight. `draw` returns a number that is uniform on `0..bound`, given
    /// `bound`, the sum of the weights.
    pub(super) fn pick_style(&self, draw: impl FnOnce(u32) -> u32) -> &'static Style {
        let mut remaining = draw(self.styles.iter().map(|style| style.weight).sum());
        let mut index = 0;
        while remaining >= self.styles[index].weight {
            remaining -= self.styles[index].weight;
            index += 1;
        }
        &self.styles[index]
    }
}

const fn style(weight: u32, strokes: &'static [&'static [Point]]) -> Style {
    Style { weight, strokes }
}

/// The ten digits, indexed by their value.
#[rustfmt::skip] // rustfmt would put each number on a line of its own.
pub(super) const DIGITS: [Digit; 10] = [
    Digit { width: 0.97, slant: 0.20, styles: &[ // 0
        // Closed, begun at the top.
        style(4, &[
            &[[52, 0], [25, 12], [10, 48], [22, 86], [50, 100],
              [78, 86], [90, 50], [78, 14], [52, 0]],
        ]),
        // Overlapping at the upper right, the end turned inwards.
        style(3, &[
            &[[64, 4], [32, 8], [11, 42], [18, 82], [46, 100],
              [78, 84], [90, 45], [76, 8], [48, 6], [38, 20]],
        ]),
        // Gaping at the top.
        style(2, &[
            &[[38, 4], [14, 26], [10, 60], [26, 94], [56, 98],
              [84, 76], [90, 38], [74, 8], [50, 5]],
        ]),
        // Begun with a stroke that overshoots the top.
        style(1, &[
            &[[78, 4], [44, 2], [15, 28], [10, 66], [34, 98],
              [68, 94], [88, 60], [82, 24], [52, 8], [28, 14]],
        ]),
    ] },
    Digit { width: 0.84, slant: 0.23, styles: &[ // 1
        // A line.
        style(12, &[&[[50, 0], [50, 34], [50, 67], [50, 100]]]),
        // A bow.
        style(3, &[&[[52, 0], [46, 34], [46, 67], [52, 100]]]),
        // With a flag.
        style(2, &[&[[36, 18], [46, 10], [54, 0], [54, 0], [53, 50], [52, 100]]]),
        // With a flag and a foot.
        style(1, &[
            &[[28, 22], [42, 14], [52, 0], [52, 0], [51, 50], [50, 98]],
            &[[16, 99], [50, 98], [86, 97]],
        ]),
    ] },
    Digit { width: 0.95, slant: 0.07, styles: &[ // 2
        // The foot joined at a corner.
        style(4, &[
            &[[12, 22], [30, 4], [62, 2], [80, 20], [66, 48],
              [38, 76], [8, 98], [8, 98], [48, 96], [94, 96]],
        ]),
        // The foot joined by a loop.
        style(5, &[
            &[[14, 20], [36, 2], [68, 6], [78, 28], [58, 60], [30, 88],
              [10, 92], [8, 78], [26, 72], [52, 86], [74, 95], [98, 86]],
        ]),
        // A flat loop and a wavy foot.
        style(2, &[
            &[[22, 12], [50, 0], [78, 14], [74, 42], [44, 74],
              [10, 96], [10, 96], [30, 84], [56, 92], [96, 94]],
        ]),
        // Like a z: a flat top.
        style(2, &[
            &[[10, 12], [36, 4], [70, 4], [84, 12], [62, 40],
              [32, 72], [8, 94], [8, 94], [50, 95], [96, 97]],
        ]),
        // The head curled inwards.
        style(1, &[
            &[[34, 30], [18, 26], [22, 8], [52, 0], [80, 16], [72, 50],
              [40, 80], [14, 92], [16, 76], [36, 76], [66, 94], [96, 90]],
        ]),
        // A large loop low on the left.
        style(3, &[
            &[[16, 16], [42, 0], [72, 8], [78, 30], [62, 58], [36, 86],
              [12, 98], [2, 84], [16, 70], [44, 76], [72, 92], [100, 84]],
        ]),
        // Small head, long foot.
        style(2, &[
            &[[14, 24], [32, 8], [56, 10], [58, 32], [34, 64],
              [6, 92], [6, 92], [50, 88], [100, 80]],
        ]),
    ] },
    Digit { width: 0.87, slant: 0.05, styles: &[ // 3
        // Two bows that meet at a corner.
        style(5, &[
            &[[12, 12], [42, 0], [78, 12], [72, 36], [38, 46],
              [38, 46], [74, 54], [86, 76], [58, 98], [8, 92]],
        ]),
        // The waist a small loop.
        style(3, &[
            &[[14, 14], [46, 0], [80, 14], [68, 38], [40, 50], [30, 46],
              [42, 42], [74, 54], [84, 80], [48, 100], [6, 86]],
        ]),
        // A round waist.
        style(3, &[
            &[[18, 8], [50, 0], [80, 16], [68, 38], [46, 46],
              [70, 56], [84, 78], [54, 100], [12, 94]],
        ]),
        // A flat top and a straight middle.
        style(1, &[
            &[[10, 4], [44, 3], [82, 3], [82, 3], [62, 24], [40, 42],
              [40, 42], [78, 54], [84, 82], [48, 100], [6, 92]],
        ]),
        // Slight upper bow, large lower one.
        style(2, &[
            &[[28, 10], [52, 2], [72, 14], [62, 32], [40, 40],
              [40, 40], [78, 48], [90, 74], [60, 100], [4, 96]],
        ]),
        // A zigzag top, the tail curled up.
        style(2, &[
            &[[8, 14], [40, 4], [80, 4], [80, 4], [60, 24], [42, 40],
              [70, 52], [80, 74], [48, 100], [8, 96], [0, 80]],
        ]),
        // Leaning back, the tail drawn far to the left.
        style(2, &[
            &[[28, 6], [58, 0], [82, 12], [66, 34], [40, 46],
              [66, 56], [70, 76], [42, 94], [0, 98]],
        ]),
    ] },
    Digit { width: 0.88, slant: 0.15, styles: &[ // 4
        // Open: a hook, then the stem across its end.
        style(5, &[
            &[[20, 6], [14, 34], [12, 56], [12, 56], [50, 56], [92, 52]],
            &[[76, 0], [70, 36], [66, 68], [62, 100]],
        ]),
        // Open, the hook round, the stem joined on the right.
        style(4, &[
            &[[22, 2], [12, 30], [22, 54], [52, 52], [78, 40]],
            &[[84, 2], [78, 40], [72, 70], [68, 100]],
        ]),
        // Open and wide, all straight.
        style(2, &[
            &[[16, 10], [14, 34], [10, 58], [10, 58], [44, 58], [78, 58]],
            &[[82, 4], [80, 36], [78, 68], [76, 100]],
        ]),
        // Closed: a slope down to the left.
        style(2, &[
            &[[66, 0], [36, 32], [6, 62], [6, 62], [50, 63], [96, 62]],
            &[[66, 0], [66, 34], [65, 68], [64, 100]],
        ]),
        // A slope and a bar, the stem short and to the right.
        style(3, &[
            &[[44, 0], [28, 28], [8, 58], [8, 58], [50, 60], [96, 54]],
            &[[72, 22], [66, 48], [60, 74], [56, 100]],
        ]),
        // In one stroke, like a pointed 9.
        style(2, &[
            &[[22, 8], [14, 40], [14, 40], [46, 44], [80, 36],
              [84, 4], [84, 4], [76, 50], [66, 100]],
        ]),
        // The crossbar far out on the right.
        style(1, &[
            &[[16, 14], [10, 42], [20, 62], [50, 58], [100, 48]],
            &[[60, 0], [58, 34], [54, 68], [52, 100]],
        ]),
    ] },
    Digit { width: 0.98, slant: 0.06, styles: &[ // 5
        // Body, then the bar on top.
        style(4, &[
            &[[24, 6], [20, 24], [18, 42], [18, 42], [48, 36],
              [78, 50], [80, 78], [48, 100], [6, 92]],
            &[[24, 6], [56, 5], [92, 0]],
        ]),
        // In one stroke from the right.
        style(4, &[
            &[[94, 2], [62, 4], [34, 6], [34, 6], [28, 24], [22, 42],
              [22, 42], [54, 42], [74, 60], [66, 84], [38, 99], [4, 92]],
        ]),
        // Round, like an s.
        style(3, &[&[[92, 2], [56, 4], [34, 18], [42, 38], [66, 54], [70, 78], [44, 98], [6, 92]]]),
        // Long flat bar, small belly.
        style(3, &[
            &[[98, 4], [70, 8], [42, 10], [42, 10], [34, 28], [28, 44],
              [28, 44], [50, 48], [60, 66], [46, 88], [6, 98]],
        ]),
        // A detached bar.
        style(1, &[
            &[[26, 10], [22, 40], [22, 40], [54, 38], [80, 56], [74, 86], [40, 100], [10, 90]],
            &[[36, 4], [64, 3], [94, 1]],
        ]),
    ] },
    Digit { width: 0.92, slant: 0.03, styles: &[ // 6
        // A curved stem.
        style(5, &[
            &[[68, 0], [38, 18], [16, 52], [18, 86], [46, 100],
              [76, 86], [78, 62], [52, 54], [24, 72], [18, 82]],
        ]),
        // A straight stem.
        style(4, &[
            &[[50, 0], [32, 30], [16, 64], [26, 95], [58, 98],
              [80, 76], [68, 56], [40, 64], [22, 84]],
        ]),
        // A large round body.
        style(2, &[
            &[[56, 0], [24, 26], [10, 62], [28, 96], [68, 96],
              [90, 68], [68, 46], [34, 52], [14, 70]],
        ]),
        // The loop closed flat against the stem.
        style(2, &[
            &[[60, 0], [30, 28], [14, 62], [20, 92], [50, 100],
              [74, 84], [64, 66], [36, 66], [16, 70]],
        ]),
        // The loop small and low.
        style(1, &[
            &[[80, 0], [46, 22], [18, 56], [14, 88], [40, 100],
              [66, 90], [62, 72], [38, 72], [20, 86]],
        ]),
        // A wide low body.
        style(2, &[
            &[[40, 0], [20, 34], [10, 70], [24, 96], [60, 98],
              [92, 78], [86, 60], [58, 58], [34, 72], [24, 90]],
        ]),
    ] },
    Digit { width: 0.88, slant: -0.01, styles: &[ // 7
        // Bar and slope.
        style(6, &[&[[8, 10], [46, 7], [88, 3], [88, 3], [70, 34], [56, 66], [46, 100]]]),
        // A hook on the bar's left.
        style(3, &[
            &[[10, 26], [12, 8], [12, 8], [48, 7], [86, 4],
              [86, 4], [66, 36], [52, 68], [42, 100]],
        ]),
        // A rounded shoulder.
        style(3, &[&[[6, 16], [34, 4], [66, 2], [86, 14], [76, 40], [62, 70], [52, 100]]]),
        // Crossed.
        style(3, &[
            &[[10, 10], [46, 6], [88, 4], [88, 4], [66, 36], [52, 68], [42, 100]],
            &[[30, 52], [56, 50], [82, 46]],
        ]),
        // A wavy bar, the slope bent.
        style(2, &[
            &[[6, 22], [18, 10], [44, 14], [68, 12], [92, 0],
              [92, 0], [64, 40], [46, 72], [36, 100]],
        ]),
        // A long hook on the left, the stem upright.
        style(4, &[
            &[[8, 36], [14, 8], [14, 8], [50, 7], [86, 5],
              [86, 5], [84, 40], [78, 70], [72, 100]],
        ]),
        // Crossed by a long bar.
        style(2, &[
            &[[16, 16], [44, 10], [80, 10], [80, 10], [70, 36], [56, 68], [46, 100]],
            &[[10, 58], [54, 53], [100, 50]],
        ]),
    ] },
    Digit { width: 0.92, slant: 0.15, styles: &[ // 8
        // One stroke from the upper right, closed there.
        style(5, &[
            &[[76, 14], [50, 1], [24, 16], [36, 40], [64, 60], [74, 84],
              [48, 100], [22, 84], [34, 60], [62, 40], [78, 16]],
        ]),
        // From the waist, the upper loop first.
        style(3, &[
            &[[50, 46], [24, 28], [32, 4], [66, 2], [78, 24], [50, 46],
              [20, 68], [24, 94], [58, 100], [80, 80], [52, 48]],
        ]),
        // The top left open, the end thrown out to the right.
        style(3, &[
            &[[72, 8], [42, 2], [22, 22], [42, 44], [66, 64], [62, 92],
              [34, 98], [20, 78], [44, 52], [70, 28], [94, 4]],
        ]),
        // A slender one with crossing straights.
        style(2, &[
            &[[70, 8], [46, 0], [30, 18], [50, 48], [72, 80],
              [52, 100], [30, 84], [48, 50], [68, 24], [66, 6]],
        ]),
        // A large head on a small body.
        style(1, &[
            &[[80, 18], [48, 0], [16, 20], [38, 46], [60, 66], [62, 90],
              [40, 100], [26, 84], [44, 58], [72, 40], [82, 18]],
        ]),
        // Like a ribbon: from the lower left over the head and back to a flat foot.
        style(2, &[
            &[[14, 92], [50, 56], [76, 26], [58, 2], [30, 6], [24, 26],
              [52, 50], [76, 78], [86, 98], [48, 92], [16, 94]],
        ]),
        // The head open at the right, as an s closed on the way back.
        style(3, &[
            &[[84, 16], [56, 0], [28, 8], [22, 28], [48, 46], [72, 64],
              [66, 92], [36, 100], [20, 82], [44, 58], [66, 40], [72, 24]],
        ]),
        // Two wide rings.
        style(2, &[
            &[[50, 46], [16, 30], [22, 4], [60, 0], [86, 16], [76, 38], [50, 46],
              [12, 64], [14, 92], [56, 100], [92, 86], [84, 58], [50, 46]],
        ]),
    ] },
    Digit { width: 0.84, slant: 0.10, styles: &[ // 9
        // A loop and a stem a little bent.
        style(5, &[
            &[[80, 14], [50, 0], [18, 18], [20, 42], [50, 46],
              [78, 18], [82, 10], [80, 40], [74, 70], [68, 100]],
        ]),
        // A straight stem, retraced from the loop's corner.
        style(4, &[
            &[[82, 12], [46, 2], [16, 24], [26, 46], [60, 40],
              [84, 8], [84, 8], [72, 40], [60, 70], [48, 100]],
        ]),
        // The tail hooked to the left.
        style(2, &[
            &[[80, 12], [46, 0], [16, 20], [26, 44], [58, 42], [82, 14],
              [82, 14], [82, 56], [68, 92], [38, 100], [16, 88]],
        ]),
        // Round head gliding into the stem.
        style(3, &[
            &[[62, 44], [30, 46], [16, 26], [36, 4], [68, 2],
              [84, 22], [80, 50], [72, 76], [62, 100]],
        ]),
        // The head open.
        style(1, &[
            &[[66, 4], [30, 8], [14, 32], [34, 48], [64, 40],
              [84, 16], [84, 16], [78, 56], [70, 100]],
        ]),
        // A large round head.
        style(3, &[
            &[[84, 22], [58, 0], [24, 12], [14, 38], [34, 54], [66, 44],
              [84, 14], [84, 14], [80, 46], [76, 74], [70, 100]],
        ]),
        // A small head far up.
        style(2, &[
            &[[74, 14], [50, 2], [28, 16], [32, 36], [56, 36],
              [76, 8], [76, 8], [68, 40], [60, 70], [52, 100]],
        ]),
        // The head begun inside, the stem slanted.
        style(2, &[
            &[[90, 10], [62, 2], [30, 18], [22, 42], [48, 48],
              [76, 28], [92, 6], [70, 50], [58, 76], [46, 100]],
        ]),
        // A sagging oval head, the stem slanted.
        style(4, &[
            &[[80, 8], [50, 8], [22, 30], [16, 48], [34, 56], [62, 42],
              [82, 12], [82, 12], [72, 44], [60, 72], [46, 100]],
        ]),
        // The same with the stem straight down.
        style(2, &[
            &[[84, 12], [54, 2], [22, 24], [12, 48], [36, 56], [66, 42],
              [88, 16], [88, 16], [86, 44], [82, 72], [78, 100]],
        ]),
    ] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fill_the_height_of_their_box() {
        for (value, digit) in DIGITS.iter().enumerate() {
            assert!(!digit.styles.is_empty());
            for style in digit.styles {
                assert!(style.weight > 0 && !style.strokes.is_empty(), "digit {value}");
                for stroke in style.strokes {
                    assert!(stroke.len() >= 2, "digit {value}: {stroke:?}");
                    assert!(
                        stroke.iter().flatten().all(|&c| c <= 100),
                        "digit {value}: {stroke:?}"
                    );
                }
                // The template fills the box's height to within a tenth, so that the digit's
                // proportions follow from its width.
                let ys = || style.strokes.iter().copied().flatten().map(|point| point[1]);
                assert!(
                    ys().min() <= Some(10) && ys().max() >= Some(90),
                    "digit {value}: {:?}",
                    style.strokes
                );
            }
        }
    }

    #[test]
    fn styles_are_picked_in_proportion_to_their_weights() {
        for digit in &DIGITS {
            let total: u32 = digit.styles.iter().map(|style| style.weight).sum();
            let mut draws = 0..total;
            for style in digit.styles {
                for draw in draws.by_ref().take(style.weight as usize) {
                    let picked = digit.pick_style(|bound| {
                        assert_eq!(bound, total);
                        draw
                    });
                    assert!(std::ptr::eq(picked, style));
                }
            }
            assert!(draws.next().is_none());
        }
    }
}
