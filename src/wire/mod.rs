//! Decides how the domain is spelt on the wire: protobuf to model at one
//! boundary, opaque encrypted tokens, the encoded-once frame.

pub mod codec;
pub mod containment;
pub mod convert;
pub mod disclosure;
pub mod event;
pub mod facts;
pub mod frame;
pub mod held;
pub mod observable;
pub mod proto;
pub mod republication;
pub mod seal;
pub mod token;
