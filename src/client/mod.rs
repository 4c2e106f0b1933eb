//! Decides our own client for agencies: a rotatable identity, exact resume.
