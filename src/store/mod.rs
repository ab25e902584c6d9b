//! What spb remembers under the git directory: journal, cache, artifacts, checkpoints.
