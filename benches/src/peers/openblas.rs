//! OpenBLAS, if this machine has it: loaded when the benchmark runs.

use std::ffi::c_int;

use libloading::Library;

use super::Implementation;
use crate::shape::Shape;

type Sgemm = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);

/// Values of CBLAS's enumerations.
const ROW_MAJOR: c_int = 101;
const PLAIN: c_int = 111;
const TRANSPOSED: c_int = 112;

/// OpenBLAS.
pub(super) struct OpenBlas {
    sgemm: Sgemm,
    /// Keeps the code of `sgemm` in memory.
    _library: Library,
}

impl OpenBlas {
    /// Loads the system's OpenBLAS. The error is the reason why it is missing.
    pub(super) fn new(threads: usize) -> Result<Self, String> {
        for variable in ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"] {
            if std::env::var_os(variable).is_some() {
                eprintln!("openblas: {variable} is set; unset it for a fair figure");
            }
        }
        // SAFETY: OpenBLAS's initialisers have no preconditions.
        let library =
            unsafe { Library::new("libopenblas.so.0") }.map_err(|error| error.to_string())?;
        // SAFETY: this is the function's signature in OpenBLAS's cblas.h.
        let set_threads =
            unsafe { library.get::<unsafe extern "C" fn(c_int)>(b"openblas_set_num_threads") };
        let set_threads = set_threads.map_err(|error| error.to_string())?;
        // SAFETY: any number of threads is allowed.
        unsafe { set_threads(threads as c_int) };
        // SAFETY: this is the function's signature in cblas.h.
        let sgemm = unsafe { library.get::<Sgemm>(b"cblas_sgemm") };
        let sgemm = *sgemm.map_err(|error| error.to_string())?;
        Ok(Self { sgemm, _library: library })
    }
}

impl Implementation<f32> for OpenBlas {
    fn name(&self) -> &'static str {
        "openblas"
    }

    fn multiply(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        let &Shape { m, n, k, .. } = shape;
        let (m, n, k) = (m as c_int, n as c_int, k as c_int);
        let (op_a, lda) = if shape.a_transposed { (TRANSPOSED, m) } else { (PLAIN, k) };
        let (op_b, ldb) = if shape.b_transposed { (TRANSPOSED, k) } else { (PLAIN, n) };
        assert!(
            a.len() == shape.m * shape.k
                && b.len() == shape.k * shape.n
                && c.len() == shape.m * shape.n
        );
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        // SAFETY: by the assertion above, the slices have the m x k, k x n and m x n elements that
        // the strides describe.
        unsafe { (self.sgemm)(ROW_MAJOR, op_a, op_b, m, n, k, 1.0, a, lda, b, ldb, 0.0, c, n) };
    }
}
