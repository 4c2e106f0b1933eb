//! Decides the operator's HTTP face: metrics, liveness, readiness.
