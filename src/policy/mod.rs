//! Decides what needs no state: may this role call this method; may this viewer see this record;
//! does one audience keep within another; what is a call for, to the audit; may this roster follow that one; may this text be sent at all;
//! how much may one ask for.

pub mod access;
pub mod amendment;
pub mod audit;
pub mod explain;
pub mod guard;
pub mod limits;
pub mod visibility;
pub mod width;
