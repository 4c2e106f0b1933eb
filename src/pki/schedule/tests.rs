//! Promises about when things are due.
