//! Sealgate's native transport: ends TLS, HTTP/2 and gRPC framing on one thread that never takes the
//! interpreter lock, and hands Python bursts of whole calls. All other calls go on unchanged to the
//! server behind, on a private unix socket.

mod answers;
mod call;
pub mod connection;
mod entries;
mod front;
mod gather;
mod json;
pub mod limits;
pub mod meter;
mod neighbourhoods;
mod numbers;
pub mod peer;
mod places;
mod prints;
mod proxy;
mod replies;
mod served;
mod server;
mod session_rows;
pub mod shared;
mod stalled;
mod strangers;
pub mod tls;
pub mod trial;
mod turned_away;
mod wire;

use pyo3::prelude::*;

/// TLS, HTTP/2 and gRPC framing off the interpreter; hands Python bursts of calls.
#[pymodule]
fn sealgate_front(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<call::Call>()?;
    module.add_class::<entries::Entries>()?;
    module.add_class::<front::Front>()?;
    module.add_class::<neighbourhoods::Neighbourhoods>()?;
    module.add_function(wrap_pyfunction!(numbers::digest_text, module)?)?;
    module.add_function(wrap_pyfunction!(numbers::float_span, module)?)?;
    module.add_class::<prints::PrintTables>()?;
    module.add_class::<session_rows::SessionRows>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
