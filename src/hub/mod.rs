//! Decides the engine: the only module that decides and writes.
