//! The streams of random numbers of a run's seed, in one place.
//!
//! | stream | drawn by | for |
//! |---|---|---|
//! | 0, 1, 2, ... | [`nn::Network::init`] | the weights of layer 0, 1, 2, ... |
//! | `"dg train"`, `"dg test\0"` | [`generated`](crate::data::generated) | generated digits: training images, test images |
//! | `"classify"`, `"linear\0\0"` | [`synthetic`](crate::data::synthetic) | generated tables; each has eight streams from there on |
//! | `"held out"` | [`Split`](crate::data::Split) | the validation set |
//! | `"test out"` | [`Split`](crate::data::Split) | the test set, of data that come without one |
//! | `"k folds\0"` | [`Split`](crate::data::Split) | the folds of a cross-validation |
//! | `"shuf" << 32` + e | the training loop | the order of the images in epoch e, from 0 |
//! | `"bala" << 32` + e | the training loop | the examples of epoch e, where the sampler is balanced |
//! | `"mx" << 48` + b | a step | how the images of batch b are mixed, from 0 |
//! | `"a" << 56` + c 2^52 + e 2^32 + i | a step | change c of training image i in epoch e, from 0; the same with `"b"`, its fields |
//! | 2^62 + s 2^24 and on | [`nn::Noise`] | noise on the gradient of step s, from 0 |
//!
//! A text stands for its bytes as a big-endian number.

use kernels::random::Stream;

/// The stream that orders the images of `epoch`, counted from 0.
pub fn shuffle(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"shuf\0\0\0\0") + u64::from(epoch))
}

/// The stream that draws the examples of `epoch`, counted from 0, by a balanced sampler: the class
/// of row `i` by its index 2 i, the example by 2 i + 1.
pub fn balanced(seed: u64, epoch: u32) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"bala\0\0\0\0") + u64::from(epoch))
}

/// The stream that image `index` of the training set is changed by in `epoch`, counted from 0, for the change number `change` of 16.
/// After 2^20 epochs, the first come again.
pub fn augmentation(seed: u64, epoch: u32, index: u32, change: u32) -> Stream {
    let place =
        u64::from(change % 16) << 52 | u64::from(epoch % (1 << 20)) << 32 | u64::from(index);
    Stream::new(seed, u64::from_be_bytes(*b"a\0\0\0\0\0\0\0") + place)
}

/// The stream of a field of random numbers, beside those that `change` has drawn for [`augmentation`].
pub fn field(change: Stream) -> Stream {
    change.beyond(1 << 56)
}

/// The stream that mixes the images of batch number `batch` of a run, counted from 0.
pub fn mixing(seed: u64, batch: u64) -> Stream {
    Stream::new(seed, u64::from_be_bytes(*b"mx\0\0\0\0\0\0") + batch)
}
