//! Streams of random numbers of a run's seed, one table for all parts of a run.
//!
//! | stream | drawn by | for |
//! |---|---|---|
//! | 0, 1, 2, ... | [`nn::Network::init`] | weights of layer 0, 1, 2, ... |
//! | `"dg train"`, `"dg test\0"` | [`generated`] | generated digits: training, test images |
//! | `"classify"`, `"linear\0\0"` | [`synthetic`] | generated tables: each this and the next 7 |
//! | `"held out"` | [`Split`] | the validation set |
//! | `"test out"` | [`Split`] | the test set of data that have none |
//! | `"k folds\0"` | [`Split`] | the folds of a cross-validation |
//! | `"shuf" << 32` + e | the training loop | the order of examples in epoch e |
//! | `"bala" << 32` + e | the training loop | the examples of epoch e, with a balanced sampler |
//! | `"mx" << 48` + b | a step | the mixing of the images of batch b |
//! | `"a" << 56` + c 2^52 + e 2^32 + i | a step | augmentation c of image i in epoch e |
//! | `"b" << 56` + c 2^52 + e 2^32 + i | a step | random fields of that augmentation |
//! | 2^62 + s 2^24 and on | [`nn::Noise`] | noise on the gradient of step s |
//!
//! A text stands for its bytes as a big-endian number. All counts begin at 0.
//!
//! [`generated`]: crate::data::generated
//! [`synthetic`]: crate::data::synthetic
//! [`Split`]: crate::data::Split

use kernels::random::Stream;

/// Returns the stream that orders the examples of `epoch`, counted from 0.
pub fn shuffle(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"shuf\0\0\0\0") + u64::from(epoch))
}

/// Returns the stream of a balanced sampler in `epoch`, counted from 0. Its number 2 i draws the
/// class of row `i`, and 2 i + 1 the example.
pub fn balanced(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"bala\0\0\0\0") + u64::from(epoch))
}

/// Returns the stream of augmentation number `change` (below 16) of training image `index` in
/// `epoch`, counted from 0. Streams repeat after 2^20 epochs.
pub fn augmentation(seed: u64, epoch: u32, index: u32, change: u32) -> Stream {
    let offset =
        u64::from(change % 16) << 52 | u64::from(epoch % (1 << 20)) << 32 | u64::from(index);
    Stream::new(seed, u64::from_be_bytes(*b"a\0\0\0\0\0\0\0") + offset)
}

/// Returns the stream for a field of random numbers that belongs to `change`, a stream of
/// [`augmentation`].
pub fn field(change: Stream) -> Stream {
    change.beyond(1 << 56)
}

/// Returns the stream that mixes the images of batch `batch` of a run, counted from 0.
pub fn mixing(seed: u64, batch: u64) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"mx\0\0\0\0\0\0") + batch)
}
