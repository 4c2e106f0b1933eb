//! Compiles `proto/` with protox, a protobuf compiler in Rust, so that no
//! `protoc` is needed.

#![expect(clippy::disallowed_methods, reason = "a build script writes where Cargo's environment says")]

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const PUBLIC: &[&str] = &[
    "luytre/v1/asset_service.proto",
    "luytre/v1/audit_service.proto",
    "luytre/v1/certificate_service.proto",
    "luytre/v1/directory_service.proto",
    "luytre/v1/exchange_service.proto",
    "luytre/v1/held_service.proto",
    "luytre/v1/history_service.proto",
    "luytre/v1/receipt_service.proto",
    "luytre/v1/republication_service.proto",
    "luytre/v1/roster_service.proto",
    "luytre/v1/subscription_service.proto",
];
const PRIVATE: &[&str] = &["luytre/storage/v1/records.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let public = protox::compile(PUBLIC, ["proto"])?;
    fs::write(out.join("luytre_v1.binpb"), public.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(env::var_os("CARGO_FEATURE_HUB").is_some())
        .codec_path("crate::wire::codec::Codec")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(public)?;

    let private = protox::compile(PRIVATE, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(private)?;
    Ok(())
}
