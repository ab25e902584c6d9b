//! Ends what would otherwise never end: libgit2 unpacks a loose object by calling zlib until the object is whole, and
//! takes "I need more input" for "call me again", also when there is no more. An object that is cut off, as a power loss
//! or a bad disk leaves it, would hang whoever reads it for ever.
//!
//! The linker sends every call of `inflate` here (`build.rs`; on Linux, elsewhere nothing is changed). A call without
//! input that brings nothing is an error of the data. libgit2 then says that the object is corrupt.

use std::ffi::{c_int, c_uint, c_ulong};

/// The beginning of zlib's `z_stream`, which has not changed since 1995.
#[repr(C)]
struct Stream {
    next_in: *const u8,
    avail_in: c_uint,
    total_in: c_ulong,
    next_out: *mut u8,
    avail_out: c_uint,
    total_out: c_ulong,
}

const Z_BUF_ERROR: c_int = -5;
const Z_DATA_ERROR: c_int = -3;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn __real_inflate(stream: *mut Stream, flush: c_int) -> c_int;
}

/// zlib's `inflate`, but for input that has ended too early.
///
/// # Safety
/// As `inflate`: `stream` was set up by `inflateInit`.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_inflate(stream: *mut Stream, flush: c_int) -> c_int {
    // SAFETY: whoever calls `inflate` gives a stream that zlib may read, and so may we.
    let had_input = unsafe { (*stream).avail_in } > 0;
    // SAFETY: the arguments are passed on as they are.
    let result = unsafe { __real_inflate(stream, flush) };
    // SAFETY: as above.
    let has_room = unsafe { (*stream).avail_out } > 0;
    if result == Z_BUF_ERROR && !had_input && has_room { Z_DATA_ERROR } else { result }
}

#[cfg(test)]
mod tests {
    use crate::git::Repo;
    use crate::git::repo::discover;
    use crate::git::testing::repository;

    #[test]
    fn an_object_that_is_cut_off_anywhere_is_an_error_and_not_a_hang() {
        let directory = repository();
        let repo = Repo::open(&discover(directory.path()).unwrap()).unwrap();
        let text: String = (0..3000).map(|number| format!("{number}\n")).collect();
        let id = repo.raw.blob(text.as_bytes()).unwrap();
        assert_eq!(repo.blob(id).unwrap(), text.as_bytes());
        let name = id.to_string();
        let path = directory.path().join(".git/objects").join(&name[..2]).join(&name[2..]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for length in (1..whole.len()).step_by(97).chain([2, 3, whole.len() - 1]) {
            crate::git::testing::write(&path, &whole[..length]);
            let repo = Repo::open(repo.path()).unwrap();
            assert!(repo.blob(id).is_err(), "cut at {length}");
        }
    }
}
