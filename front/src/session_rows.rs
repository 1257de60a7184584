//! The last rows of a session, and what each new one is beside them.
//!
//! The same as `gateway.sessions.session_rows` finds with numpy, which says what it means.
// PyO3's methods own what they are given, and its macros convert errors that need it or not.
#![allow(clippy::needless_pass_by_value, clippy::useless_conversion)]

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::prints::{version_of, Levels, Print, HASHES, SKETCH, SKETCH_STEP};

/// So many shared hashes make near duplicates.
const NEAR: u16 = 16;
const FIRST_ROOM: usize = 16;
/// What callers are told of rows: less than this is nothing.
const CLASS: u8 = 1;

/// Whether a row is new; near, and near or close to any before it; whether one of those has another
/// class; the distance to the nearest of the same class; and its anchor's class.
type Seen = (bool, bool, bool, bool, Option<f32>, Option<i32>);

/// The rows of one session, as far as they are remembered.
#[pyclass(module = "sealgate_front")]
pub struct SessionRows {
    remembered: usize,
    kept: Option<Kept>,
}

#[pymethods]
impl SessionRows {
    #[new]
    fn new(remembered: usize) -> PyResult<Self> {
        if remembered < FIRST_ROOM {
            return Err(PyValueError::new_err("too few rows"));
        }
        Ok(Self { remembered, kept: None })
    }

    /// Take rows of one kind, one after another: encoded prints, their classes, and what their
    /// callers are told. Rows of another kind than those before begin anew.
    fn take(
        &mut self,
        prints: Vec<Bound<'_, PyBytes>>,
        classes: Vec<i32>,
        told: Vec<u8>,
    ) -> PyResult<Vec<Seen>> {
        if classes.len() != prints.len() || told.len() != prints.len() {
            return Err(PyValueError::new_err("columns of different sizes"));
        }
        let rows = prints.iter().map(|data| Print::read(data.as_bytes()));
        let rows = rows.collect::<PyResult<Vec<_>>>()?;
        let mut found = Vec::with_capacity(rows.len());
        for ((row, class), told) in rows.iter().zip(classes).zip(told) {
            let remembered = self.remembered;
            let kept = match &mut self.kept {
                Some(kept) if kept.takes(row) => kept,
                kept => kept.insert(Kept::like(row, remembered)),
            };
            found.push(kept.take(row, class, told));
        }
        Ok(found)
    }
}

/// Rows by part: hashes [64, room], sketches [room, 32 or 0], levels [depth, room].
struct Kept {
    remembered: usize,
    room: usize,
    count: usize,
    depth: usize,
    sketch: usize,
    exact: Vec<[u8; 8]>,
    hashes: Vec<u16>,
    sketches: Vec<i8>,
    levels: Vec<i8>,
    classes: Vec<i32>,
    told: Vec<u8>,
    /// Of the row that is compared: how many hashes it shares with each, and its levels beside
    /// theirs.
    shared: Vec<u16>,
    beside: Levels,
}

impl Kept {
    fn like(print: &Print<'_>, remembered: usize) -> Self {
        let (room, depth, sketch) = (FIRST_ROOM, print.depth(), print.sketch().len());
        Self {
            remembered,
            room,
            count: 0,
            depth,
            sketch,
            exact: vec![[0; 8]; room],
            hashes: vec![0; HASHES * room],
            sketches: vec![0; sketch * room],
            levels: vec![0; depth * room],
            classes: vec![0; room],
            told: vec![0; room],
            shared: Vec::new(),
            beside: Levels::default(),
        }
    }

    fn takes(&self, print: &Print<'_>) -> bool {
        self.depth == print.depth() && self.sketch == print.sketch().len()
    }

    fn used(&self) -> usize {
        self.count.min(self.room)
    }

    fn take(&mut self, print: &Print<'_>, class: i32, told: u8) -> Seen {
        self.compare(print);
        let (mut near, mut turned, mut repeats) = (false, false, false);
        let mut touched = Vec::new();
        for place in 0..self.used() {
            let is_near = self.shared[place] >= NEAR;
            if is_near || self.beside.are_close(place) {
                touched.push(place);
                near |= is_near;
                turned |= self.classes[place] != class;
                repeats |= is_near && self.exact[place] == print.exact;
            }
        }
        if repeats {
            // Asked again: nobody learns from that what they did not know.
            return (false, near, true, turned, None, None);
        }
        if self.depth > 0 && !touched.is_empty() {
            let (is_known, anchor) = self.anchor(&touched, class, told);
            if is_known {
                let turned = anchor.is_some_and(|anchor| anchor != class);
                return (false, near, true, turned, None, anchor);
            }
        }
        let gap = (self.sketch > 0).then(|| self.gap(print, class));
        self.keep(print, class, told);
        (true, near, !touched.is_empty(), turned, gap, None)
    }

    fn compare(&mut self, print: &Print<'_>) {
        self.shared.clear();
        self.shared.resize(self.room, 0);
        for (own, column) in print.hashes().zip(self.hashes.chunks_exact(self.room)) {
            for (shared, &other) in self.shared.iter_mut().zip(column) {
                *shared += u16::from(other == own);
            }
        }
        self.beside.compare(print, &self.levels, self.room);
    }

    /// Whether an image's near duplicate is answered as those before it, and the class of the nearest
    /// row of the same version of which the caller was told; of a clean one, of the nearest clean
    /// one. One that is withheld, as those were that it nearly repeats, says nothing new.
    fn anchor(&self, touched: &[usize], class: i32, told: u8) -> (bool, Option<i32>) {
        let alike = || {
            let same = |place: &usize| version_of(self.classes[*place]) == version_of(class);
            touched.iter().copied().filter(same)
        };
        let nearest = alike()
            .filter(|&place| self.told[place] >= told.max(CLASS))
            .min_by_key(|&place| self.beside.differ(place));
        match nearest {
            Some(place) => (true, Some(self.classes[place])),
            None => (told < CLASS && alike().next().is_some(), None),
        }
    }

    /// The distance to the nearest row of the same class, infinite where there is none. Sketches
    /// hold whole numbers, so the sums are exact.
    #[allow(clippy::cast_precision_loss)]
    fn gap(&self, print: &Print<'_>, class: i32) -> f32 {
        let same = (0..self.used()).filter(|&place| self.classes[place] == class);
        let squares = same.map(|place| {
            let other = &self.sketches[place * SKETCH..][..SKETCH];
            let off = print.sketch().zip(other).map(|(one, &two)| i32::from(one) - i32::from(two));
            off.map(|off| off * off).sum::<i32>()
        });
        squares.min().map_or(f32::INFINITY, |square| (square as f32).sqrt() * SKETCH_STEP)
    }

    fn keep(&mut self, print: &Print<'_>, class: i32, told: u8) {
        if self.count == self.room && self.room < self.remembered {
            self.grow();
        }
        let place = self.count % self.room;
        self.exact[place].copy_from_slice(print.exact);
        for (at, hash) in print.hashes().enumerate() {
            self.hashes[at * self.room + place] = hash;
        }
        for (kept, value) in self.sketches[place * self.sketch..].iter_mut().zip(print.sketch()) {
            *kept = value;
        }
        for (at, level) in print.levels().enumerate() {
            self.levels[at * self.room + place] = level;
        }
        self.classes[place] = class;
        self.told[place] = told;
        self.count += 1;
    }

    fn grow(&mut self) {
        let room = self.remembered.min(2 * self.room);
        self.hashes = widened(&self.hashes, self.room, room);
        self.levels = widened(&self.levels, self.room, room);
        self.exact.resize(room, [0; 8]);
        self.sketches.resize(room * self.sketch, 0);
        self.classes.resize(room, 0);
        self.told.resize(room, 0);
        self.room = room;
    }
}

/// Columns of `from` elements each, with room for `to`.
fn widened<T: Copy + Default>(columns: &[T], from: usize, to: usize) -> Vec<T> {
    let mut wide = Vec::with_capacity(columns.len() / from * to);
    for column in columns.chunks_exact(from) {
        wide.extend_from_slice(column);
        wide.resize(wide.len() + to - from, T::default());
    }
    wide
}
