//! The streams of random numbers of a run's seed, in one place, so that no two uses share one.
//!
//! | stream | drawn by | for |
//! |---|---|---|
//! | 0, 1, 2, ... | [`nn::Network::init`] | the weights of layer 0, 1, 2, ... |
//! | `"held out"` | [`Split`](crate::data::Split) | the validation set |
//! | `"shuf" << 32` + e | the training loop | the order of the images in epoch e, from 0 |
//! | `"digits" << 16` + s | [`setup`](crate::setup) | generated digits: s = 0 for training, 1 for test |
//!
//! A text stands for its bytes as a big-endian number.

use kernels::random::Stream;

/// The stream of generated training digits; that of the test digits is the next.
pub const DIGITS: u64 = u64::from_be_bytes(*b"digits\0\0");

/// The stream that orders the images of `epoch`, counted from 0.
pub fn shuffle(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"shuf\0\0\0\0") + u64::from(epoch))
}
