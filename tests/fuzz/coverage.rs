//! Which code ran, where the build was told to count it (`tests/fuzz/run --guided`): LLVM's 8-bit counters, one for
//! each edge, which the instrumented objects announce before `main`. In an ordinary build there are none, and then no
//! text is ever better than another.

use std::sync::Mutex;

/// Start and length of the counters of each object.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by each instrumented object, at its start.
///
/// # Safety
/// `start..stop` must be the object's counters, which live as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let mut counters = COUNTERS.lock().unwrap();
    let found = (start as usize, stop as usize - start as usize);
    if found.1 > 0 && !counters.contains(&found) {
        counters.push(found);
    }
}

pub struct Coverage {
    /// For each counter, the magnitudes that it had.
    seen: Vec<Vec<u8>>,
}

impl Coverage {
    pub fn new() -> Self {
        Self { seen: COUNTERS.lock().unwrap().iter().map(|(_, length)| vec![0; *length]).collect() }
    }

    pub fn reset(&self) {
        for counters in areas() {
            counters.fill(0);
        }
    }

    /// Whether something ran that did not run before, or by another order of magnitude.
    pub fn is_new(&mut self) -> bool {
        let mut is_new = false;
        for (counters, seen) in areas().zip(&mut self.seen) {
            for (block, known) in counters.chunks(8).zip(seen.chunks_mut(8)) {
                if block.iter().all(|count| *count == 0) {
                    continue;
                }
                for (count, known) in block.iter().zip(known) {
                    let magnitude = magnitude(*count);
                    is_new |= *known & magnitude != magnitude;
                    *known |= magnitude;
                }
            }
        }
        is_new
    }

    pub fn reached(&self) -> usize {
        self.seen.iter().flatten().filter(|magnitudes| **magnitudes != 0).count()
    }
}

/// One bit for each of 1, 2, 3, up to 7, 15, 31, 127 and more, as in AFL.
fn magnitude(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128..=255 => 128,
    }
}

fn areas() -> impl Iterator<Item = &'static mut [u8]> {
    let counters = COUNTERS.lock().unwrap().clone();
    // SAFETY: the areas are counters of loaded objects; what runs meanwhile may only make them wrong by a few.
    counters.into_iter().map(|(start, length)| unsafe {
        std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(start), length)
    })
}
