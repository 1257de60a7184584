//! What Python sees of a call.

use crate::front::Front;
use crate::shared::Handed;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::Arc;
use std::time::Instant;

/// A whole call. Dropped unanswered, its stream is reset.
#[pyclass(frozen)]
pub struct Call(pub(crate) Arc<Handed>);

#[pymethods]
impl Call {
    /// Of this process, and of no other call.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    /// The method's path.
    #[getter]
    fn path(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.path)
    }

    /// The message, as its caller compressed it if it did.
    #[getter]
    fn message<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new_bound(py, &self.0.message)
    }

    /// Whether the caller says that it compressed the message.
    #[getter]
    fn is_compressed(&self) -> bool {
        self.0.compressed
    }

    /// All metadata, as it came.
    fn metadata(&self) -> Vec<(&str, Cow<'_, [u8]>)> {
        let pairs = self.0.headers.iter();
        pairs.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_bytes()))).collect()
    }

    /// The values of one name.
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>> {
        let values = self.0.headers.get_all(name).iter();
        values.map(|value| Cow::Borrowed(value.as_bytes())).collect()
    }

    /// The connection's id.
    #[getter]
    fn connection(&self) -> u64 {
        self.0.peer.id
    }

    /// The caller's address as gRPC spells it.
    #[getter]
    fn peer(&self) -> String {
        self.0.peer.name()
    }

    /// The caller's certificate, DER, which the handshake has verified.
    #[getter]
    fn certificate(&self) -> Option<Cow<'_, [u8]>> {
        self.0.peer.certificate.get().map(|der| Cow::Borrowed(&der[..]))
    }

    /// Seconds until the caller's deadline, 0 after it; None without one.
    fn time_remaining(&self) -> Option<f64> {
        let deadline = self.0.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Whether the caller still waits.
    fn is_active(&self) -> bool {
        !self.0.gone.load(Relaxed)
            && !self.0.is_answered()
            && self.0.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Have `Front.recv_gone` tell if the caller leaves before the answer.
    fn watch(&self, front: &Front) {
        self.0.watched.store(true, SeqCst);
        if self.0.gone.load(SeqCst) {
            front.shared.leave(&self.0);
        }
    }

    /// Say that this call has authenticated.
    fn note_caller(&self) {
        self.0.peer.known.store(true, Relaxed);
    }
}
