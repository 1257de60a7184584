//! Entries of an answer log, for a whole burst in one call: salts, commitments, leaves, encrypted
//! openings, and the receipts of what was appended.
//!
//! The same bytes as `sealgate.trust.receipts.answer_entry`, `registry.answers.encryption` and
//! `sealgate.trust.receipts.receipt` make, which say what they mean. Only entries of the format v2
//! are made here.
// PyO3's methods own what they are given, and its macros convert errors that need it or not.
#![allow(clippy::needless_pass_by_value, clippy::useless_conversion)]

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM};
use ring::digest::{Context, SHA256};
use sha3::digest::{ExtendableOutput, Update, XofReader};
use sha3::Shake256;

use crate::json::{push_hex, quote, quote_ascii};

const FIELDS: [&str; 21] = [
    "time",
    "principal",
    "method",
    "model",
    "version",
    "version_digest",
    "pointer_sequence",
    "policy_digest",
    "input",
    "output",
    "outcome",
    "verdict",
    "score",
    "threshold",
    "engine",
    "alias",
    "parameters",
    "request_id",
    "screening",
    "arithmetic",
    "actions",
];
/// What a caller's receipt opens, in the order of the names: all but `score` and `threshold`.
const OPENED: [usize; 19] = [20, 15, 19, 14, 8, 2, 3, 10, 9, 16, 6, 7, 1, 17, 18, 0, 11, 4, 5];
const HEADER: &[u8] = b"sealgate/answer/v2\n";
const SALTS_HEADER: &[u8] = b"sealgate/salts/v1\n";
const LEAF_PREFIX: &[u8] = b"\x00";
const LONGEST_NAME: usize = 16;
const SALT: usize = 16;
const HASH: usize = 32;
const LEAF: usize = HEADER.len() + HASH * FIELDS.len();
const SALTS: usize = SALT * FIELDS.len();
const IV: usize = 12;
const KEY: usize = 32;
const KEY_ID: usize = 8;
const TAG: usize = 16;
const PADDED: usize = 1024;
/// Below this many entries, the interpreter is not worth letting go of.
const FEW: usize = 4;

/// One entry to be made: its values, nonce, the subject's key and the key of its opening.
struct Opening<'a> {
    values: Vec<&'a str>,
    nonce: &'a [u8],
    subject_key: &'a [u8],
    /// 32 bytes of AES-256, and behind them the key's id.
    sealing_key: &'a [u8],
    iv: [u8; IV],
}

struct Entry {
    salts: [u8; SALTS],
    leaf: Vec<u8>,
    hash: [u8; HASH],
    sealed: Vec<u8>,
    /// The values that a caller's receipt opens, quoted, one behind the other, and their ends.
    values: Vec<u8>,
    ends: [usize; OPENED.len()],
}

/// The entries of some openings, in order.
#[pyclass(frozen, module = "sealgate_front")]
pub struct Entries {
    entries: Vec<Entry>,
}

#[pymethods]
impl Entries {
    /// `openings` are tuples of values (21 strings), nonce, subject and subject's key; `keys` are
    /// the 40 bytes that encrypt each, and `ivs` 12 random bytes for each, one behind the other.
    #[new]
    fn new(
        py: Python<'_>,
        openings: Vec<Bound<'_, PyTuple>>,
        keys: Vec<Bound<'_, PyBytes>>,
        ivs: &[u8],
    ) -> PyResult<Self> {
        let count = openings.len();
        if keys.len() != count || ivs.len() != IV * count {
            return Err(PyValueError::new_err("a key and 12 random bytes for each opening"));
        }
        let parts = openings.iter().map(Parts::of).collect::<PyResult<Vec<_>>>()?;
        let read = parts
            .iter()
            .zip(&keys)
            .zip(ivs.chunks_exact(IV))
            .map(|((parts, key), iv)| parts.read(key.as_bytes(), iv))
            .collect::<PyResult<Vec<_>>>()?;
        let entries = if count < FEW { make(&read) } else { py.allow_threads(|| make(&read)) };
        entries.map(|entries| Self { entries })
    }

    fn __len__(&self) -> usize {
        self.entries.len()
    }

    /// The leaves.
    #[getter]
    fn leaves<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        PyList::new_bound(py, self.entries.iter().map(|each| PyBytes::new_bound(py, &each.leaf)))
    }

    /// The leaves' hashes in the tree.
    #[getter]
    fn hashes<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        PyList::new_bound(py, self.entries.iter().map(|each| PyBytes::new_bound(py, &each.hash)))
    }

    /// The encrypted openings.
    #[getter]
    fn sealed<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        PyList::new_bound(py, self.entries.iter().map(|each| PyBytes::new_bound(py, &each.sealed)))
    }

    /// The salts of an entry, one behind the other.
    fn salts<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new_bound(py, &self.entry(at)?.salts))
    }

    /// The caller's receipt of the entry number `at`, which is at `index` of the log. `path` is
    /// the text of its inclusion proof's hashes, and `tail` is what follows them.
    fn receipt<'py>(
        &self,
        py: Python<'py>,
        at: usize,
        index: u64,
        path: &str,
        tail: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let entry = self.entry(at)?;
        let fixed = 2 * (LEAF + SALTS) + 1024;
        let mut text = Vec::with_capacity(fixed + entry.values.len() + path.len() + tail.len());
        text.extend_from_slice(b"{\"commitments\":[\"");
        for (place, commitment) in entry.leaf[HEADER.len()..].chunks_exact(HASH).enumerate() {
            if place > 0 {
                text.extend_from_slice(b"\",\"");
            }
            push_hex(&mut text, commitment);
        }
        text.extend_from_slice(b"\"],\"opened\":{");
        let mut start = 0;
        for (&field, &end) in OPENED.iter().zip(&entry.ends) {
            text.extend_from_slice(if start > 0 { b"},\"" } else { b"\"" });
            text.extend_from_slice(FIELDS[field].as_bytes());
            text.extend_from_slice(b"\":{\"salt\":\"");
            push_hex(&mut text, &entry.salts[field * SALT..(field + 1) * SALT]);
            text.extend_from_slice(b"\",\"value\":");
            text.extend_from_slice(&entry.values[start..end]);
            start = end;
        }
        text.extend_from_slice(b"}},\"proof\":\"c2sp.org/tlog-proof@v1\\nindex ");
        text.extend_from_slice(index.to_string().as_bytes());
        text.extend_from_slice(path.as_bytes());
        text.extend_from_slice(tail.as_bytes());
        Ok(PyBytes::new_bound(py, &text))
    }
}

impl Entries {
    fn entry(&self, at: usize) -> PyResult<&Entry> {
        self.entries.get(at).ok_or_else(|| PyIndexError::new_err("no such entry"))
    }
}

/// The Python objects of an opening, kept while they are read.
struct Parts<'py> {
    values: Vec<Bound<'py, PyString>>,
    nonce: Bound<'py, PyBytes>,
    subject_key: Bound<'py, PyBytes>,
}

impl<'py> Parts<'py> {
    fn of(opening: &Bound<'py, PyTuple>) -> PyResult<Self> {
        let values = opening.get_item(0)?.downcast_into::<PyTuple>()?;
        if values.len() != FIELDS.len() {
            return Err(PyValueError::new_err("not the values of an entry"));
        }
        Ok(Self {
            values: values
                .iter()
                .map(|value| Ok(value.downcast_into::<PyString>()?))
                .collect::<PyResult<Vec<_>>>()?,
            nonce: opening.get_item(1)?.downcast_into::<PyBytes>()?,
            subject_key: opening.get_item(3)?.downcast_into::<PyBytes>()?,
        })
    }

    fn read<'a>(&'a self, sealing_key: &'a [u8], iv: &[u8]) -> PyResult<Opening<'a>> {
        let (nonce, subject_key) = (self.nonce.as_bytes(), self.subject_key.as_bytes());
        if nonce.len() > 255 || subject_key.len() > 255 || sealing_key.len() != KEY + KEY_ID {
            return Err(PyValueError::new_err("a nonce or key of another length"));
        }
        let values = self.values.iter().map(|v| v.to_str()).collect::<PyResult<Vec<_>>>()?;
        let mut own = [0; IV];
        own.copy_from_slice(iv);
        Ok(Opening { values, nonce, subject_key, sealing_key, iv: own })
    }
}

fn make(openings: &[Opening<'_>]) -> PyResult<Vec<Entry>> {
    let mut entries = Vec::with_capacity(openings.len());
    // Neighbours mostly have one key: preparing it costs as much as an encryption.
    let mut cipher: Option<(&[u8], LessSafeKey)> = None;
    for opening in openings {
        let known = cipher.take().filter(|(key, _)| *key == opening.sealing_key);
        let (key, prepared) = match known {
            Some(known) => known,
            None => (opening.sealing_key, prepare(opening.sealing_key)?),
        };
        entries.push(entry(opening, &prepared)?);
        cipher = Some((key, prepared));
    }
    Ok(entries)
}

fn prepare(sealing_key: &[u8]) -> PyResult<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, &sealing_key[..KEY]);
    key.map(LessSafeKey::new).map_err(|_| PyValueError::new_err("not a key of AES-256"))
}

fn entry(opening: &Opening<'_>, cipher: &LessSafeKey) -> PyResult<Entry> {
    let salts = salts(opening.subject_key, opening.nonce)?;
    let mut leaf = Vec::with_capacity(LEAF);
    leaf.extend_from_slice(HEADER);
    for ((name, value), salt) in FIELDS.iter().zip(&opening.values).zip(salts.chunks_exact(SALT)) {
        leaf.extend_from_slice(&commitment(salt, name, value)?);
    }
    let mut hash = Context::new(&SHA256);
    hash.update(LEAF_PREFIX);
    hash.update(&leaf);
    let mut own = [0; HASH];
    own.copy_from_slice(hash.finish().as_ref());
    let mut values = Vec::with_capacity(PADDED);
    let ends = OPENED.map(|field| {
        quote(&mut values, opening.values[field]);
        values.len()
    });
    Ok(Entry { sealed: seal(opening, &leaf, cipher)?, hash: own, leaf, salts, values, ends })
}

fn salts(subject_key: &[u8], nonce: &[u8]) -> PyResult<[u8; SALTS]> {
    let mut stream = Shake256::default();
    stream.update(SALTS_HEADER);
    stream.update(&[length(subject_key.len())?]);
    stream.update(subject_key);
    stream.update(nonce);
    let mut salts = [0; SALTS];
    stream.finalize_xof().read(&mut salts);
    Ok(salts)
}

fn commitment(salt: &[u8], name: &str, value: &str) -> PyResult<[u8; HASH]> {
    let mut hash = Context::new(&SHA256);
    let mut head = [0; SALT + 1 + LONGEST_NAME];
    head[..SALT].copy_from_slice(salt);
    head[SALT] = length(name.len())?;
    head[SALT + 1..=SALT + name.len()].copy_from_slice(name.as_bytes());
    hash.update(&head[..=SALT + name.len()]);
    hash.update(value.as_bytes());
    let mut digest = [0; HASH];
    digest.copy_from_slice(hash.finish().as_ref());
    Ok(digest)
}

/// The opening of a leaf, encrypted: key's id | nonce | AES-256-GCM of the padded plain text.
fn seal(opening: &Opening<'_>, leaf: &[u8], cipher: &LessSafeKey) -> PyResult<Vec<u8>> {
    let mut sealed = Vec::with_capacity(KEY_ID + IV + PADDED + TAG);
    sealed.extend_from_slice(&opening.sealing_key[KEY..]);
    sealed.extend_from_slice(&opening.iv);
    sealed.push(length(opening.nonce.len())?);
    sealed.extend_from_slice(opening.nonce);
    for (place, value) in opening.values.iter().enumerate() {
        sealed.push(if place > 0 { b',' } else { b'[' });
        quote_ascii(&mut sealed, value);
    }
    sealed.push(b']');
    let size = (sealed.len() - KEY_ID - IV).next_multiple_of(PADDED);
    sealed.resize(KEY_ID + IV + size, b' ');
    let nonce = Nonce::assume_unique_for_key(opening.iv);
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(leaf), &mut sealed[KEY_ID + IV..])
        .map_err(|_| PyValueError::new_err("an opening is too long to be encrypted"))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn length(size: usize) -> PyResult<u8> {
    u8::try_from(size).map_err(|_| PyValueError::new_err("a length of more than one byte"))
}
