//! Decides the commands of luytre and luytred.
