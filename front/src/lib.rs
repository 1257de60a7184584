//! Sealgate's native transport: ends TLS, HTTP/2 and gRPC framing and hands Python bursts of calls.

use pyo3::prelude::*;

mod entries;
mod json;

/// TLS, HTTP/2 and gRPC framing off the interpreter; hands Python bursts of calls.
#[pymodule]
fn sealgate_front(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<entries::Entries>()
}
