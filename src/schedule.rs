//! Decides what runs next. Pure: no clock, no tasks, no files.
