//! The public contract only grows: what `tests/golden/luytre_v1.desc.txt`
//! lists stays, under the same numbers, names and types.
//!
//! After an addition, `LUYTRE_BLESS=1 cargo test proto_contract` writes the new
//! list; it refuses to drop a line.

use std::collections::BTreeSet;
use std::path::Path;

use luytre::wire::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/luytre_v1.desc.txt");
const PACKAGE: &str = "luytre.v1";

#[test]
fn the_contract_only_grows() {
    let golden: BTreeSet<String> =
        std::fs::read_to_string(GOLDEN).unwrap_or_default().lines().map(str::to_owned).collect();
    let contract = contract();
    let lost: Vec<_> = golden.difference(&contract).collect();
    assert!(lost.is_empty(), "the contract lost or changed what clients rely on:\n{lost:#?}");
    let added: Vec<_> = contract.difference(&golden).collect();
    if added.is_empty() {
        return;
    }
    assert!(
        std::env::var_os("LUYTRE_BLESS").is_some(),
        "the contract grew; bless it with LUYTRE_BLESS=1:\n{added:#?}"
    );
    let text: String = contract.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    std::fs::create_dir_all(Path::new(GOLDEN).parent().unwrap()).unwrap();
    std::fs::write(GOLDEN, text).unwrap();
}

#[test]
fn a_changed_type_number_or_name_is_a_loss() {
    let line = |number, name: &str, kind| {
        field(&FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            r#type: Some(kind as i32),
            ..Default::default()
        })
    };
    let before = line(1, "name", Type::String);
    assert_ne!(before, line(2, "name", Type::String));
    assert_ne!(before, line(1, "title", Type::String));
    assert_ne!(before, line(1, "name", Type::Bytes));
}

/// The contract, one line for each thing that a client can rely on.
fn contract() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() == PACKAGE) {
        for message in &file.message_type {
            add_message(PACKAGE, message, &mut lines);
        }
        for of in &file.enum_type {
            add_enum(PACKAGE, of, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |streaming| if streaming { "stream " } else { "" };
                lines.insert(format!(
                    "rpc {PACKAGE}.{}/{} ({}{}) returns ({}{})",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type(),
                ));
            }
        }
    }
    lines
}

fn add_message(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let path = format!("{scope}.{}", message.name());
    lines.insert(format!("message {path}"));
    for of in &message.field {
        let oneof = of
            .oneof_index
            .filter(|_| !of.proto3_optional())
            .map(|i| format!(" oneof {}", message.oneof_decl[i as usize].name()))
            .unwrap_or_default();
        lines.insert(format!("field {path} {}{oneof}", field(of)));
    }
    for nested in &message.nested_type {
        add_message(&path, nested, lines);
    }
    for of in &message.enum_type {
        add_enum(&path, of, lines);
    }
}

fn add_enum(scope: &str, of: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    let path = format!("{scope}.{}", of.name());
    for value in &of.value {
        lines.insert(format!("value {path} {} = {}", value.name(), value.number()));
    }
}

fn field(of: &FieldDescriptorProto) -> String {
    let label = match of.label() {
        Label::Repeated => "repeated ",
        _ if of.proto3_optional() => "optional ",
        _ => "",
    };
    let kind = match of.r#type() {
        Type::Message | Type::Enum => of.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
    };
    format!("{} = {}: {label}{kind}", of.number(), of.name())
}
