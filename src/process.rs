//! Starts, signals and waits for processes. Knows nothing of nodes or workflows.
