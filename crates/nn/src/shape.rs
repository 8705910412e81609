//! Shape of one row of a batch between two layers.

use core::fmt;

/// Shape of one row. In memory the last field varies fastest: images are channels-last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A vector.
    Features(usize),
    /// A sequence of vectors: `[steps, features]`.
    Steps {
        /// Number of steps.
        steps: usize,
        /// Elements per step.
        features: usize,
    },
    /// An image or a feature map: `[height, width, channels]`.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Pixels per row.
        width: usize,
        /// Elements per pixel.
        channels: usize,
    },
}

impl Shape {
    /// Number of elements; `None` if it overflows `usize`.
    pub fn checked_len(self) -> Option<usize> {
        match self {
            Self::Features(features) => Some(features),
            Self::Steps { steps, features } => steps.checked_mul(features),
            Self::Image { height, width, channels } => {
                height.checked_mul(width)?.checked_mul(channels)
            }
        }
    }

    /// Number of elements. Building a network has checked [`checked_len`](Self::checked_len).
    pub fn elements(self) -> usize {
        self.checked_len().unwrap_or(usize::MAX)
    }

    /// The last dimension: elements per position.
    pub fn features(self) -> usize {
        match self {
            Self::Features(features) | Self::Steps { features, .. } => features,
            Self::Image { channels, .. } => channels,
        }
    }

    /// Number of positions: the product of all dimensions but the last.
    pub fn positions(self) -> usize {
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
