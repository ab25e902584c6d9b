//! Standard input as a terminal: whether a line waits there. Knows nothing of what is typed.

/// Whether something can be read from standard input without waiting; on a terminal, a whole line.
pub fn has_input() -> bool {
    let mut input = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure that lives for the call, which does not wait.
    let ready = unsafe { libc::poll(&raw mut input, 1, 0) };
    ready == 1 && input.revents & (libc::POLLIN | libc::POLLHUP) != 0
}

/// Whether the terminal is ours: a process in the background is stopped when it reads.
pub fn is_foreground() -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) == libc::getpgrp() }
}

/// Forgets what was typed and not read: it was meant for something else than what is asked next.
pub fn discard_input() {
    // In the background this, too, would stop us.
    if is_foreground() {
        // SAFETY: no memory is involved.
        unsafe { libc::tcflush(libc::STDIN_FILENO, libc::TCIFLUSH) };
    }
}
