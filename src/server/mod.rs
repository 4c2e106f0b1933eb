//! Decides nothing new: assembles hub, faces and listeners into one server.

pub mod config;
