//! The streams of random numbers of a run's seed, in one place.
//!
//! | stream | drawn by | for |
//! |---|---|---|
//! | 0, 1, 2, ... | [`nn::Network::init`] | the weights of layer 0, 1, 2, ... |
//! | `"dg train"`, `"dg test\0"` | [`generated`](crate::data::generated) | generated digits: training images, test images |
//! | `"held out"` | [`Split`](crate::data::Split) | the validation set |
//! | `"shuf" << 32` + e | the training loop | the order of the images in epoch e, from 0 |
//! | `"mx" << 48` + b | a step | how the images of batch b are mixed, from 0 |
//! | 2^62 + s 2^24 and on | [`nn::Noise`] | noise on the gradient of step s, from 0 |
//!
//! A text stands for its bytes as a big-endian number.

use kernels::random::Stream;

/// The stream that orders the images of `epoch`, counted from 0.
pub fn shuffle(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"shuf\0\0\0\0") + u64::from(epoch))
}

/// The stream that mixes the images of batch number `batch` of a run, counted from 0.
pub fn mixing(seed: u64, batch: u64) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"mx\0\0\0\0\0\0") + batch)
}
