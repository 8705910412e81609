//! What one row of a batch looks like between two layers.

use core::fmt;

/// The shape of one row. In memory its elements lie as the fields are named, the last one varying fastest: images are
/// channels-last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A vector.
    Features(usize),
    /// A sequence of vectors.
    Steps {
        /// Its length.
        steps: usize,
        /// Elements of each.
        features: usize,
    },
    /// An image, or the maps that a convolution makes of one.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// Numbers of a pixel.
        channels: usize,
    },
}

impl Shape {
    /// How many elements it has, if they can be counted.
    pub fn checked_len(self) -> Option<usize> {
        match self {
            Self::Features(features) => Some(features),
            Self::Steps { steps, features } => steps.checked_mul(features),
            Self::Image { height, width, channels } => height.checked_mul(width)?.checked_mul(channels),
        }
    }

    /// How many elements it has. The layers of a network have been checked for [`checked_len`](Self::checked_len).
    pub fn elements(self) -> usize {
        self.checked_len().unwrap_or(usize::MAX)
    }

    /// The last field: what a layer sees at each place.
    pub fn features(self) -> usize {
        match self {
            Self::Features(features) | Self::Steps { features, .. } => features,
            Self::Image { channels, .. } => channels,
        }
    }

    /// The product of all fields but the last: how many places there are.
    pub fn places(self) -> usize {
        match self {
            Self::Features(_) => 1,
            Self::Steps { steps, .. } => steps,
            Self::Image { height, width, .. } => height.saturating_mul(width),
        }
    }
}

impl From<usize> for Shape {
    fn from(features: usize) -> Self {
        Self::Features(features)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(features) => write!(f, "{features} features"),
            Self::Steps { steps, features } => write!(f, "{steps} steps of {features} features"),
            Self::Image { height, width, channels } => {
                write!(f, "an image of {height} x {width} x {channels} (height, width, channels)")
            }
        }
    }
}
