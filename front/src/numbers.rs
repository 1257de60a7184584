//! Numbers of a tensor, as they travel, and digests of tensors.
// PyO3's macros convert errors that need it or not.
#![allow(clippy::useless_conversion)]

use crate::json::push_hex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use ring::digest::{Context, SHA256};

const WIDTH: usize = 4;
/// Fewer bytes than these are not worth letting go of the interpreter for.
const FEW: usize = 16 << 10;

/// The least and the largest of little-endian float32, as `sealgate.tensors` has them: infinite the
/// wrong way round where there are none, and not a number where one of them is not.
///
/// # Errors
///
/// For a length that is no multiple of four.
#[pyfunction]
pub fn float_span(raw: &[u8]) -> PyResult<(f32, f32)> {
    if raw.len() % WIDTH != 0 {
        return Err(PyValueError::new_err("no whole number of float32"));
    }
    let (mut least, mut largest, mut strange) = (f32::INFINITY, f32::NEG_INFINITY, false);
    for bytes in raw.chunks_exact(WIDTH) {
        let number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        strange |= number.is_nan();
        least = if number < least { number } else { least };
        largest = if number > largest { number } else { largest };
    }
    Ok(if strange { (f32::NAN, f32::NAN) } else { (least, largest) })
}

/// The digest of `head` and `raw`, one behind the other: `sha256:` and hexadecimal digits.
#[pyfunction]
pub fn digest_text<'py>(
    py: Python<'py>,
    head: &[u8],
    raw: &[u8],
) -> PyResult<Bound<'py, PyString>> {
    let digest = || {
        let mut context = Context::new(&SHA256);
        context.update(head);
        context.update(raw);
        context.finish()
    };
    let found = if raw.len() < FEW { digest() } else { py.allow_threads(digest) };
    let mut text = b"sha256:".to_vec();
    push_hex(&mut text, found.as_ref());
    Ok(PyString::new_bound(py, std::str::from_utf8(&text)?))
}
