//! What an operator does to the roster with the real commands.
