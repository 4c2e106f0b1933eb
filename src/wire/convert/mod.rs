//! Decides how protobuf becomes model and back: one file per noun.
