//! The last rows of all callers of a model, and which new ones cross what others were told.
//!
//! The same as `gateway.sessions.neighbourhoods` finds with numpy, which says what it means.
// PyO3's methods own what they are given, and its macros convert errors that need it or not.
#![allow(clippy::needless_pass_by_value, clippy::useless_conversion)]

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::prints::{version_of, Levels, Print};

const ROWS: usize = 3;
const AT_ONCE: usize = 64;

/// Those of one model: `room` rows.
#[pyclass(module = "sealgate_front")]
pub struct Neighbourhoods {
    room: usize,
    depth: usize,
    count: usize,
    callers: Vec<i64>,
    classes: Vec<i32>,
    /// [depth, room]
    levels: Vec<i8>,
    beside: Levels,
}

#[pymethods]
impl Neighbourhoods {
    #[new]
    fn new(room: usize) -> PyResult<Self> {
        if room < AT_ONCE {
            return Err(PyValueError::new_err("too few rows"));
        }
        let (callers, classes) = (vec![0; room], vec![0; room]);
        let beside = Levels::default();
        Ok(Self { room, depth: 0, count: 0, callers, classes, levels: Vec::new(), beside })
    }

    /// Take a caller's new rows, encoded prints and their classes; say which of them cross.
    fn crossed(
        &mut self,
        caller: i64,
        prints: Vec<Bound<'_, PyBytes>>,
        classes: Vec<i32>,
    ) -> PyResult<Vec<bool>> {
        if classes.len() != prints.len() {
            return Err(PyValueError::new_err("columns of different sizes"));
        }
        let rows = prints.iter().map(|data| Print::read(data.as_bytes()));
        let rows: Vec<_> = rows.collect::<PyResult<Vec<_>>>()?.into_iter().zip(classes).collect();
        // A caller's rows are compared with those of others, not with each other.
        Ok(rows.chunks(AT_ONCE).flat_map(|some| self.take(caller, some)).collect())
    }
}

impl Neighbourhoods {
    fn take(&mut self, caller: i64, rows: &[(Print<'_>, i32)]) -> Vec<bool> {
        let judged: Vec<_> =
            rows.iter().map(|(print, class)| self.judge(caller, print, *class)).collect();
        for ((print, class), &(crosses, again)) in rows.iter().zip(&judged) {
            if !crosses && !again {
                self.keep(caller, print, *class);
            }
        }
        judged.into_iter().map(|(crosses, _)| crosses).collect()
    }

    /// Whether a row crosses; and whether its caller has asked it before.
    fn judge(&mut self, caller: i64, print: &Print<'_>, class: i32) -> (bool, bool) {
        if self.depth != print.depth() {
            (self.depth, self.count) = (print.depth(), 0);
            self.levels = vec![0; self.depth * self.room];
        }
        self.beside.compare(print, &self.levels, self.room);
        let near = (0..self.count.min(self.room)).filter(|&place| self.beside.are_close(place));
        let mut again = false;
        let mut told = Vec::new();
        for place in near {
            if self.callers[place] == caller {
                again |= self.beside.differ(place) == 0;
            } else if version_of(self.classes[place]) == version_of(class) {
                told.push((self.callers[place], self.classes[place]));
            }
        }
        let Some(&(first, other)) = told.first() else { return (false, again) };
        let crosses = told.len() >= ROWS
            && told.iter().any(|&(caller, _)| caller != first)
            && told.iter().all(|&(_, class)| class == other)
            && other != class;
        (crosses, again)
    }

    fn keep(&mut self, caller: i64, print: &Print<'_>, class: i32) {
        let place = self.count % self.room;
        (self.callers[place], self.classes[place]) = (caller, class);
        for (at, level) in print.levels().enumerate() {
            self.levels[at * self.room + place] = level;
        }
        self.count += 1;
    }
}
