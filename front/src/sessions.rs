//! Sessions: hashes and levels of rows, and which of them are near or close to earlier ones.
//!
//! The same values as `gateway.sessions.fingerprints` and `gateway.sessions.comparison` compute with
//! numpy, which say what they mean. Arrays come as buffers, in C order.
// PyO3's methods own what they are given, and its macros convert errors that need it or not.
#![allow(clippy::needless_pass_by_value, clippy::useless_conversion)]

use pyo3::buffer::{Element, PyBuffer, ReadOnlyCell};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

const HASHES: usize = 64;
const SKETCH: usize = 32;
/// So many shared hashes make near duplicates.
const NEAR: u16 = 16;
const FEWEST_ELEMENTS: usize = 12;
const STEP: f32 = 0.2;
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
const SKETCH_STEP: f32 = 1.0 / 16.0;
const IS_NEAR: u8 = 1;
const IS_CLOSE: u8 = 2;
const HIDDEN: u8 = 4;

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

/// Prints of rows by part, as `PrintColumns` has them.
#[derive(FromPyObject)]
pub struct Columns {
    exact: PyBuffer<u64>,
    hashes: PyBuffer<u16>,
    sketches: PyBuffer<f32>,
    levels: PyBuffer<i8>,
}

/// The same as plain slices, with the rows' classes.
struct Slices<'a> {
    exact: &'a [ReadOnlyCell<u64>],
    hashes: &'a [ReadOnlyCell<u16>],
    sketches: &'a [ReadOnlyCell<f32>],
    levels: &'a [ReadOnlyCell<i8>],
    classes: &'a [ReadOnlyCell<i32>],
    rows: usize,
}

type Classified = (Columns, PyBuffer<i32>);

/// What is known of each row [n] beside all that come before it: `flags` [n, used + n], or
/// [1, used] of a single row, 1 for near and 2 for close; whether any is; the distance to the
/// nearest of the same class; and whether a row repeats one.
type Compared<'py> = (Bound<'py, PyBytes>, Vec<bool>, Vec<f32>, bool);

/// Compare rows with the first `used` of a ring, and with each other.
///
/// `places` are the place of the ring that the next row takes, and how many it has: no row sees
/// those whose places rows before it took. Rows of which at most `few` levels differ are close, as
/// those of which none differs by more than one.
#[pyfunction]
pub fn compare(
    py: Python<'_>,
    given: Classified,
    ring: Classified,
    used: usize,
    places: (usize, usize),
    few: u16,
) -> PyResult<Compared<'_>> {
    let (given, ring) = (Slices::of(py, &given)?, Slices::of(py, &ring)?);
    let (oldest, capacity) = places;
    let alike = given.sketches.is_empty() == ring.sketches.is_empty();
    if used > ring.rows || oldest >= capacity {
        return Err(PyValueError::new_err("places outside the ring"));
    }
    if used > 0 && !(alike && given.depth() == ring.depth()) {
        return Err(PyValueError::new_err("rows of different kinds"));
    }
    let behind = if given.rows > 1 { given.rows } else { 0 };
    let mut flags = vec![0_u8; given.rows * (used + behind)];
    let mut touched = vec![false; given.rows];
    let mut gaps = vec![f32::INFINITY; given.rows];
    let mut repeats = false;
    let mut comparison = Comparison { few, ..Comparison::default() };
    for at in 0..given.rows {
        let row = &mut flags[at * (used + behind)..][..used + behind];
        let (first, second) = row.split_at_mut(used);
        comparison.flag(&given, at, &ring, first);
        // Those that are overwritten when this row comes.
        for place in (oldest..oldest + at.min(capacity)).map(|place| place % capacity) {
            if place < used {
                first[place] = HIDDEN;
            }
        }
        let second = &mut second[..at.min(behind)];
        comparison.flag(&given, at, &given, second);
        for (others, flags) in [(&ring, first), (&given, second)] {
            for (place, flag) in flags.iter_mut().enumerate() {
                if *flag == HIDDEN {
                    *flag = 0;
                    continue;
                }
                touched[at] |= *flag != 0;
                repeats |=
                    *flag & IS_NEAR != 0 && others.exact[place].get() == given.exact[at].get();
                if given.classes[at].get() == others.classes[place].get() {
                    gaps[at] = gaps[at].min(given.square(at, others, place));
                }
            }
        }
        gaps[at] = gaps[at].sqrt() * SKETCH_STEP;
    }
    Ok((PyBytes::new_bound(py, &flags), touched, gaps, repeats))
}

impl<'a> Slices<'a> {
    fn of(py: Python<'a>, (columns, classes): &'a Classified) -> PyResult<Self> {
        let found = Self {
            exact: plain(py, &columns.exact)?,
            hashes: plain(py, &columns.hashes)?,
            sketches: plain(py, &columns.sketches)?,
            levels: plain(py, &columns.levels)?,
            classes: plain(py, classes)?,
            rows: columns.exact.item_count(),
        };
        let rows = found.rows;
        let fits = found.hashes.len() == rows * HASHES
            && (found.sketches.is_empty() || found.sketches.len() == rows * SKETCH)
            && found.levels.len() == rows * found.depth()
            && found.classes.len() == rows;
        if fits {
            Ok(found)
        } else {
            Err(PyValueError::new_err("columns of different sizes"))
        }
    }
}

impl Slices<'_> {
    /// How many levels a row has.
    fn depth(&self) -> usize {
        self.levels.len().checked_div(self.rows).unwrap_or(0)
    }

    /// The squared distance of two sketches, which hold whole numbers: exact in any order.
    fn square(&self, at: usize, others: &Self, place: usize) -> f32 {
        if self.sketches.is_empty() {
            return f32::INFINITY;
        }
        let own = self.sketches[at * SKETCH..].chunks_exact(8);
        let other = others.sketches[place * SKETCH..].chunks_exact(8);
        let mut sums = [0.0_f32; 8];
        for (own, other) in own.zip(other).take(SKETCH / 8) {
            for ((sum, one), another) in sums.iter_mut().zip(own).zip(other) {
                let off = one.get() - another.get();
                *sum += off * off;
            }
        }
        sums.iter().sum()
    }
}

/// Counters that are used again for each row.
#[derive(Default)]
struct Comparison {
    few: u16,
    shared: Vec<u16>,
    /// How many levels differ, and how many by more than one.
    differ: Vec<u16>,
    apart: Vec<u16>,
}

impl Comparison {
    /// Set the flags of row `at` beside as many of `others`.
    fn flag(&mut self, given: &Slices<'_>, at: usize, others: &Slices<'_>, flags: &mut [u8]) {
        self.shared.clear();
        self.shared.resize(flags.len(), 0);
        for hash in 0..HASHES {
            let own = given.hashes[hash * given.rows + at].get();
            let column = &others.hashes[hash * others.rows..][..flags.len()];
            for (shared, other) in self.shared.iter_mut().zip(column) {
                *shared += u16::from(other.get() == own);
            }
        }
        for (flag, &shared) in flags.iter_mut().zip(&self.shared) {
            *flag = if shared >= NEAR { IS_NEAR } else { 0 };
        }
        let depth = given.depth();
        if depth == 0 {
            return;
        }
        for counts in [&mut self.differ, &mut self.apart] {
            counts.clear();
            counts.resize(flags.len(), 0);
        }
        for level in 0..depth {
            let own = given.levels[level * given.rows + at].get();
            let column = &others.levels[level * others.rows..][..flags.len()];
            let counts = self.differ.iter_mut().zip(&mut self.apart);
            for ((differ, apart), other) in counts.zip(column) {
                *differ += u16::from(other.get() != own);
                *apart += u16::from(far(own, other.get()));
            }
        }
        for ((flag, &differ), &apart) in flags.iter_mut().zip(&self.differ).zip(&self.apart) {
            *flag |= if apart == 0 || differ <= self.few { IS_CLOSE } else { 0 };
        }
    }
}

/// Whether two levels, from -127 to 127, are more than one apart.
fn far(one: i8, another: i8) -> bool {
    !(-1..=1).contains(&one.wrapping_sub(another))
}

fn plain<'a, T: Element>(
    py: Python<'a>,
    buffer: &'a PyBuffer<T>,
) -> PyResult<&'a [ReadOnlyCell<T>]> {
    buffer.as_slice(py).ok_or_else(|| PyValueError::new_err("an array that is not in C order"))
}
