//! The only place that writes files durably. Knows nothing of what is in them.
