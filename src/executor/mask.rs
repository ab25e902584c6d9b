//! Masks secrets in streams.
