//! Decides assembly: configuration, listener, drain, telemetry.
