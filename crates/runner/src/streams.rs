//! The streams of random numbers of a run's seed, in one place.
//!
//! | stream | drawn by | for |
//! |---|---|---|
//! | 0, 1, 2, ... | [`nn::Network::init`] | the weights of layer 0, 1, 2, ... |
//! | `"dg train"`, `"dg test\0"` | [`generated`](crate::data::generated) | generated digits: training images, test images |
//! | `"held out"` | [`Split`](crate::data::Split) | the validation set |
//! | `"shuf" << 32` + e | the training loop | the order of the images in epoch e, from 0 |
//!
//! A text stands for its bytes as a big-endian number.

use kernels::random::Stream;

/// The stream that orders the images of `epoch`, counted from 0.
pub fn shuffle(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"shuf\0\0\0\0") + u64::from(epoch))
}
