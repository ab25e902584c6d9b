//! The remote cache: whether it can be reached. Writes nothing there.

use super::Check;
use crate::cli::{Context, remote};
use crate::engine::remote::{Mode, reach};

const NAME: &str = "remote cache";

pub fn check(context: &Context) -> Option<Check> {
    let settings = match remote::settings(&context.env) {
        Ok(settings) => settings?,
        Err(failure) => return Some(Check::fail(NAME, failure.message, failure.help)),
    };
    let how = match (settings.mode, settings.seal.is_some()) {
        (Mode::Read, true) => "only read, entries must be signed",
        (Mode::Read, false) => "only read, entries need no signature",
        (Mode::ReadWrite, true) => "read and written, entries are signed",
        (Mode::ReadWrite, false) => "read and written, entries are not signed",
    };
    let address = settings.place.address.to_string();
    Some(match reach(settings) {
        Ok(()) => Check::ok(NAME, format!("`{address}` can be reached; {how}")),
        Err(reason) => Check::warn(
            NAME,
            format!("`{address}` cannot be reached: {reason}"),
            "runs go on without it; unset `SPB_REMOTE_CACHE`, or see docs/cache.md",
        ),
    })
}
