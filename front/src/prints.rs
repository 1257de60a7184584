//! Fingerprints of rows: made, and read.
//!
//! The same values as `gateway.sessions.fingerprints` computes with numpy, which says what they mean.
//! Arrays come as buffers, in C order.
// PyO3's methods own what they are given, and its macros convert errors that need it or not.
#![allow(clippy::needless_pass_by_value, clippy::useless_conversion)]

use pyo3::buffer::{Element, PyBuffer, ReadOnlyCell};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub const HASHES: usize = 64;
pub const SKETCH: usize = 32;
const FEWEST_LEVELS: usize = 64;
pub const MOST_LEVELS: usize = 192;
const EXACT: usize = 8;
const HASHED: usize = 2 * HASHES;
/// So many levels may differ in a near-duplicate, or one in so many.
const FEW_LEVELS: usize = 14;
const SHARE: usize = 8;
const FEWEST_ELEMENTS: usize = 12;
const STEP: f32 = 0.2;
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
pub const SKETCH_STEP: f32 = 1.0 / 16.0;

/// What a key draws for rows of one width.
#[pyclass(frozen, module = "sealgate_front")]
pub struct PrintTables {
    width: usize,
    /// The elements of each hash, one hash behind the other, with their offsets and factors.
    places: Vec<usize>,
    offsets: Vec<f32>,
    factors: Vec<u64>,
    /// The elements that have levels, and their offsets.
    kept: Vec<usize>,
    starts: Vec<f32>,
}

#[pymethods]
impl PrintTables {
    #[new]
    fn new(
        width: usize,
        places: Vec<usize>,
        offsets: Vec<f32>,
        factors: Vec<u64>,
        kept: Vec<usize>,
        starts: Vec<f32>,
    ) -> PyResult<Self> {
        let same = offsets.len() == places.len() && factors.len() == places.len();
        let within = places.iter().chain(&kept).all(|&at| at < width);
        if !same
            || !within
            || places.is_empty()
            || places.len() % HASHES != 0
            || kept.len() != starts.len()
        {
            return Err(PyValueError::new_err("tables of different sizes"));
        }
        Ok(Self { width, places, offsets, factors, kept, starts })
    }

    /// The prints of float32 rows [n, width], scaled to 0 to 1, as `Print.encode` writes them, with
    /// what `exact` says of each row, and its sketch int8 [n, 32].
    fn encoded<'py>(
        &self,
        py: Python<'py>,
        rows: PyBuffer<f32>,
        exact: Vec<Bound<'py, PyBytes>>,
        sketches: PyBuffer<i8>,
        with_levels: bool,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let (cells, sketches) = (plain(py, &rows)?, plain(py, &sketches)?);
        if cells.len() != exact.len() * self.width || sketches.len() != exact.len() * SKETCH {
            return Err(PyValueError::new_err("rows of another width"));
        }
        let mut steps = vec![0.0; self.width];
        let mut print = Vec::new();
        let parts = cells.chunks_exact(self.width).zip(sketches.chunks_exact(SKETCH)).zip(exact);
        Ok(parts
            .map(|((row, sketch), exact)| {
                for (step, cell) in steps.iter_mut().zip(row) {
                    *step = cell.get() / STEP;
                }
                print.clear();
                print.extend_from_slice(exact.as_bytes());
                self.push_hashes(row, &steps, &mut print);
                print.extend(sketch.iter().map(|one| one.get().to_ne_bytes()[0]));
                if with_levels {
                    self.push_levels(&steps, &mut print);
                }
                PyBytes::new_bound(py, &print)
            })
            .collect())
    }
}

impl PrintTables {
    fn push_hashes(&self, row: &[ReadOnlyCell<f32>], steps: &[f32], print: &mut Vec<u8>) {
        let elements = self.places.len() / HASHES;
        let tables = self
            .places
            .chunks_exact(elements)
            .zip(self.offsets.chunks_exact(elements).zip(self.factors.chunks_exact(elements)));
        for (places, (offsets, factors)) in tables {
            let mut sum = 0_u64;
            for ((&at, offset), factor) in places.iter().zip(offsets).zip(factors) {
                let step = if self.width < FEWEST_ELEMENTS {
                    as_integer(row[at].get())
                } else {
                    to_step(steps[at] + offset)
                };
                sum = sum.wrapping_add(step.wrapping_mul(*factor));
            }
            let high = sum.wrapping_mul(MIX) >> 48;
            print.extend_from_slice(&as_hash(high).to_ne_bytes());
        }
    }

    fn push_levels(&self, steps: &[f32], print: &mut Vec<u8>) {
        print.extend(self.kept.iter().zip(&self.starts).map(|(&at, start)| {
            let level = (steps[at] + start).floor().clamp(-127.0, 127.0);
            to_byte(level)
        }));
    }
}

/// The bits of a number as the signed integer that they would be.
#[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]
fn as_integer(value: f32) -> u64 {
    i64::from(value.to_bits() as i32) as u64
}

/// The largest integer that is not above a number. Without SSE 4.1, `floor` is a call.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn to_step(value: f32) -> u64 {
    let near = value as i64;
    near.wrapping_sub(i64::from(near as f32 > value)) as u64
}

#[allow(clippy::cast_possible_truncation)]
fn as_hash(high: u64) -> u16 {
    high as u16
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn to_byte(level: f32) -> u8 {
    level as i8 as u8
}

/// One print, as `Print.encode` writes it: by part.
#[derive(Clone, Copy)]
pub struct Print<'a> {
    pub exact: &'a [u8],
    hashes: &'a [u8],
    sketch: &'a [u8],
    levels: &'a [u8],
}

impl<'a> Print<'a> {
    /// Fails for a sketch, or levels, of another size.
    pub fn read(data: &'a [u8]) -> PyResult<Self> {
        let size = data.len().saturating_sub(EXACT + HASHED);
        let sketch = size.min(SKETCH);
        let depth = size - sketch;
        let fits = data.len() >= EXACT + HASHED
            && (sketch == 0 || sketch == SKETCH)
            && (depth == 0 || (FEWEST_LEVELS..=MOST_LEVELS).contains(&depth));
        if !fits {
            return Err(PyValueError::new_err("a sketch, or levels, of another size"));
        }
        let (exact, rest) = data.split_at(EXACT);
        let (hashes, rest) = rest.split_at(HASHED);
        let (sketch, levels) = rest.split_at(sketch);
        Ok(Self { exact, hashes, sketch, levels })
    }

    /// How many levels it has.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    pub fn hashes(&self) -> impl Iterator<Item = u16> + 'a {
        self.hashes.chunks_exact(2).map(|two| u16::from_ne_bytes([two[0], two[1]]))
    }

    pub fn sketch(&self) -> impl ExactSizeIterator<Item = i8> + 'a {
        self.sketch.iter().map(|&byte| i8::from_ne_bytes([byte]))
    }

    pub fn levels(&self) -> impl ExactSizeIterator<Item = i8> + 'a {
        self.levels.iter().map(|&byte| i8::from_ne_bytes([byte]))
    }
}

/// What levels of rows say of one of them.
#[derive(Clone, Default)]
pub struct Levels {
    /// How many levels differ from its own, and how many by more than one.
    differ: Vec<u8>,
    apart: Vec<u8>,
    depth: usize,
}

impl Levels {
    /// Compare with `room` rows whose levels are [depth, room].
    pub fn compare(&mut self, print: &Print<'_>, others: &[i8], room: usize) {
        self.depth = print.depth();
        for counts in [&mut self.differ, &mut self.apart] {
            counts.clear();
            counts.resize(room, 0);
        }
        for (own, column) in print.levels().zip(others.chunks_exact(room)) {
            let counts = self.differ.iter_mut().zip(&mut self.apart);
            for ((differ, apart), &other) in counts.zip(column) {
                *differ += u8::from(other != own);
                *apart += u8::from(far(own, other));
            }
        }
    }

    /// Whether a row is a near-duplicate by its levels: none is more than one off, or few differ.
    pub fn are_close(&self, place: usize) -> bool {
        let few = FEW_LEVELS.max(self.depth / SHARE);
        self.depth > 0 && (self.apart[place] == 0 || usize::from(self.differ[place]) <= few)
    }

    /// How many levels of a row differ.
    pub fn differ(&self, place: usize) -> u8 {
        self.differ[place]
    }
}

/// Whether two levels, from -127 to 127, are more than one apart.
fn far(one: i8, another: i8) -> bool {
    !(-1..=1).contains(&one.wrapping_sub(another))
}

/// Of which version a class is (`class_of_version`).
pub fn version_of(class: i32) -> i32 {
    class >> 16
}

fn plain<'a, T: Element>(
    py: Python<'a>,
    buffer: &'a PyBuffer<T>,
) -> PyResult<&'a [ReadOnlyCell<T>]> {
    buffer.as_slice(py).ok_or_else(|| PyValueError::new_err("an array that is not in C order"))
}
