//! Instances of the generic kernels, compiled here once for all crates that link this one.
//!
//! A generic function is compiled by the crate that calls it with a type. rustc makes one
//! exception: a generic function marked `#[inline(never)]` is not compiled again where a dependency
//! has it for the same types. [`Isa::run`] is such a function, and all SIMD code of a kernel is
//! inlined into it, or called from it. So it is enough to name each kernel here with the types that
//! `nn` and the program use. A kernel that is not named works all the same: its callers compile it.
//!
//! Bare metal and WebAssembly have no instances here: a program there calls few kernels, and
//! compiles those.
//!
//! `.ci/size` compares the LLVM lines of each crate with a record, which reveals a missing kernel.
//!
//! [`Isa::run`]: crate::Isa

use core::hint::black_box;

use half::bf16;

use crate::activation::{Activation, prelu, prelu_backward};
use crate::argmax::argmax;
use crate::convolution::Convolution;
use crate::dropout::Dropout;
use crate::gemm::arithmetic::Single;
use crate::gemm::{Packed, PackedBf16, gemm_batch, multiply, multiply_bf16};
use crate::loss::{
    BinaryCrossEntropy, Brier, CrossEntropy, Hinge, KullbackLeibler, Poisson, Regression,
};
use crate::normalisation::{batch, group, layer, rms};
use crate::optimizer::{AnyOptimizer, Muon, Optimizer, SecondMoment, orthogonalise};
use crate::pooling::Pooling;
use crate::{
    Element, Float, MatRef, clip, loss, math, norm, random, recurrent, softmax, statistics, vector,
};

/// Names every instance. Never called.
#[doc(hidden)]
#[inline(never)]
pub fn instances() {
    floats::<f32>();
    floats::<f64>();
    elements::<f32>();
    elements::<f64>();
    steps::<f32>();
    steps::<f64>();
    name(&[
        multiply_bf16::<f32> as *const (),
        multiply_bf16::<bf16> as *const (),
        math::pow_scalar::<f64> as *const (),
        PackedBf16::right as fn(_, MatRef<'static, bf16>, _) -> _ as *const (),
    ]);
}

/// Kernels generic over the type of the computation.
#[inline(never)]
fn floats<T: Float>() {
    name(&[
        prelu::<T> as *const (),
        prelu_backward::<T> as *const (),
        argmax::<T> as *const (),
        Convolution::forward::<T> as *const (),
        Convolution::dx::<T> as *const (),
        Convolution::dw::<T> as *const (),
        Convolution::backward::<T> as *const (),
        Convolution::im2col::<T> as *const (),
        Convolution::col2im::<T> as *const (),
        Packed::<T>::right as fn(_, MatRef<'static, T>, _) -> _ as *const (),
        multiply::<Single<T>> as *const (),
        gemm_batch::<T> as *const (),
        CrossEntropy::<T>::losses as *const (),
        CrossEntropy::<T>::gradient as *const (),
        CrossEntropy::<T>::gradient_in_place as *const (),
        Hinge::losses::<T> as *const (),
        Hinge::gradient::<T> as *const (),
        KullbackLeibler::losses::<T> as *const (),
        KullbackLeibler::gradient::<T> as *const (),
        Brier::losses::<T> as *const (),
        Brier::gradient::<T> as *const (),
        batch::batch_norm::<T> as *const (),
        batch::batch_norm_backward::<T> as *const (),
        batch::batch_norm_inference::<T> as *const (),
        batch::fold_batch_norm::<T> as *const (),
        batch::scale_shift::<T> as *const (),
        group::group_norm::<T> as *const (),
        group::group_norm_backward::<T> as *const (),
        layer::layer_norm::<T> as *const (),
        layer::layer_norm_backward::<T> as *const (),
        rms::rms_norm::<T> as *const (),
        rms::rms_norm_backward::<T> as *const (),
        orthogonalise::<T> as *const (),
        Muon::step::<T> as *const (),
        Pooling::max::<T> as *const (),
        Pooling::max_backward::<T> as *const (),
        Pooling::max_relu_backward::<T> as *const (),
        Pooling::mean::<T> as *const (),
        Pooling::mean_backward::<T> as *const (),
        clip::clip_norm::<T> as *const (),
        clip::clip_global_norm::<T> as *const (),
        clip::clip_value::<T> as *const (),
        clip::clip_adaptive::<T> as *const (),
        clip::max_norm::<T> as *const (),
        clip::clip_chain::<T> as *const (),
        norm::norm1::<T> as *const (),
        norm::norm2::<T> as *const (),
        norm::norm_max::<T> as *const (),
        norm::tensor_norms::<T> as *const (),
        norm::unit_norms::<T> as *const (),
        random::fill_uniform::<T> as *const (),
        random::fill_normal::<T> as *const (),
        recurrent::lstm::<T> as *const (),
        recurrent::lstm_backward::<T> as *const (),
        recurrent::gru::<T> as *const (),
        recurrent::gru_backward::<T> as *const (),
        softmax::softmax::<T> as *const (),
        softmax::softmax_in_place::<T> as *const (),
        softmax::softmax_backward::<T> as *const (),
        softmax::log_softmax::<T> as *const (),
        softmax::log_softmax_in_place::<T> as *const (),
        softmax::log_softmax_backward::<T> as *const (),
        vector::scale_bytes::<T> as *const (),
        vector::dot::<T> as *const (),
        vector::cosine::<T> as *const (),
    ]);
}

/// Kernels generic over the storage type.
#[inline(never)]
fn elements<E: Element>() {
    name(&[
        Activation::forward::<E> as *const (),
        Activation::forward_in_place::<E> as *const (),
        Activation::backward::<E> as *const (),
        Dropout::forward::<E> as *const (),
        Dropout::forward_in_place::<E> as *const (),
        Dropout::backward::<E> as *const (),
        BinaryCrossEntropy::losses::<E> as *const (),
        BinaryCrossEntropy::gradient::<E> as *const (),
        Regression::losses::<E> as *const (),
        Regression::gradient::<E> as *const (),
        Poisson::losses::<E> as *const (),
        Poisson::gradient::<E> as *const (),
        loss::mask_rows::<E> as *const (),
        math::exp::<E> as *const (),
        math::ln::<E> as *const (),
        math::exp_m1::<E> as *const (),
        math::ln_1p::<E> as *const (),
        math::tanh::<E> as *const (),
        math::sigmoid::<E> as *const (),
        math::softplus::<E> as *const (),
        math::erf::<E> as *const (),
        math::rsqrt::<E> as *const (),
        math::sin_pi::<E> as *const (),
        math::cos_pi::<E> as *const (),
        math::pow::<E> as *const (),
        statistics::statistics::<E> as *const (),
        statistics::histogram::<E> as *const (),
        vector::scale::<E> as *const (),
        vector::accumulate::<E> as *const (),
        vector::axpy::<E> as *const (),
        vector::lerp::<E> as *const (),
    ]);
}

/// Optimizer steps.
#[inline(never)]
fn steps<T: Float>() {
    name(&[AnyOptimizer::step::<T, T, T> as *const (), SecondMoment::check::<T, T> as *const ()]);
}

/// Keeps the compiler from dropping these functions.
#[inline(never)]
fn name(functions: &[*const ()]) {
    black_box(functions);
}
