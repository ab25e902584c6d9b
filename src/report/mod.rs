//! Shows events to people and programs. Knows nothing of the engine.
