//! Decides the gRPC face: unpack, convert, call, wrap.
