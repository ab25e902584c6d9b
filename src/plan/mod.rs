//! The expanded DAG and the keys of its nodes. Reads no disk.
