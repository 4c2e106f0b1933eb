//! What tests share: a hub of their own in its own process, certificates,
//! clients, a disk that fails on command.

#![allow(dead_code, unused_imports, reason = "each promise takes of this what it needs")]

pub(crate) mod agent;
pub(crate) mod builder;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod hub;
pub(crate) mod issuing;
pub(crate) mod listener;
pub(crate) mod patience;
pub(crate) mod peer;
pub(crate) mod prompt;
pub(crate) mod publisher;
pub(crate) mod raw;
pub(crate) mod rotating;
pub(crate) mod secrets;
pub(crate) mod seed;
pub(crate) mod served;
pub(crate) mod shown;
pub(crate) mod told;
pub(crate) mod witness;

pub(crate) use self::{
    agent::{Agent, Relay},
    builder::Builder,
    disk::Disk,
    hub::{Credentials, Refused, TestHub},
    listener::{Heard, Listener},
    patience::eventually,
    peer::{Peer, amber, batch, draft, text_value, value_of},
    prompt::{Ended, Watching, luytre, luytre_fed, luytre_killed, luytre_watching, peak_kib},
    publisher::Publisher,
    raw::Raw,
    seed::Seed,
    served::{Faced, Served},
    shown::Shown,
    witness::{Watcher, Witness},
};
