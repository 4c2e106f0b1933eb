//! Decides how a table of the configuration is read: key by key, every problem
//! noted with its path, and what nobody asked for refused at the end.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::model::Invalid;

/// One table of the configuration, being read.
pub(super) struct Section {
    path: String,
    rest: Table,
    known: Vec<&'static str>,
}

impl Section {
    /// The table at the top.
    pub(super) const fn root(table: Table) -> Self {
        Self { path: String::new(), rest: table, known: Vec::new() }
    }

    /// The table at `key`; an empty one where there is none.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Vec<Invalid>) -> Self {
        let path = self.at(key);
        self.known.push(key);
        let rest = match self.rest.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                problems
                    .push(Invalid::new(&path, format!("is a {}; write a table, [{path}]", other.type_str())));
                Table::new()
            }
        };
        Self { path, rest, known: Vec::new() }
    }

    /// The tables in this one, whatever their names.
    pub(super) fn tables(&mut self, problems: &mut Vec<Invalid>) -> Vec<(String, Self)> {
        let mut tables = Vec::new();
        for (key, value) in std::mem::take(&mut self.rest) {
            let path = self.at(&key);
            match value {
                Value::Table(rest) => tables.push((key, Self { path, rest, known: Vec::new() })),
                other => problems
                    .push(Invalid::new(&path, format!("is a {}; write a table, [{path}]", other.type_str()))),
            }
        }
        tables
    }

    /// The path of this table.
    pub(super) fn path_of(&self) -> &str {
        &self.path
    }

    /// Whether nothing is said in this table.
    pub(super) fn is_absent(&self) -> bool {
        self.rest.is_empty()
    }

    /// The path of `key` in this table.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value at `key`, if it is there and of the right form.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Invalid>,
    ) -> Option<T> {
        self.known.push(key);
        match self.rest.remove(key)?.try_into::<T>() {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(Invalid::new(self.at(key), error.message()));
                None
            }
        }
    }

    /// The value at `key`, else `default`.
    pub(super) fn or<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        default: T,
        problems: &mut Vec<Invalid>,
    ) -> T {
        self.optional(key, problems).unwrap_or(default)
    }

    /// The value at `key`, else `default`; noted as a problem outside of `min`
    /// to `max`.
    pub(super) fn bounded<T>(
        &mut self,
        key: &'static str,
        default: T,
        (min, max): (T, T),
        problems: &mut Vec<Invalid>,
    ) -> T
    where
        T: DeserializeOwned + PartialOrd + std::fmt::Display,
    {
        let value = self.or(key, default, problems);
        if value < min || value > max {
            problems.push(Invalid::new(self.at(key), format!("is {value}; choose from {min} to {max}")));
        }
        value
    }

    /// The path at `key`, taken from `base` when it is relative.
    pub(super) fn path(
        &mut self,
        key: &'static str,
        base: &Path,
        problems: &mut Vec<Invalid>,
    ) -> Option<PathBuf> {
        let text: String = self.optional(key, problems)?;
        if text.is_empty() {
            problems
                .push(Invalid::new(self.at(key), "is empty; write the path of a file, or leave the key out"));
            return None;
        }
        Some(base.join(text))
    }

    /// The path at `key`, noted as a problem when there is none; `what` says
    /// what belongs there.
    pub(super) fn required_path(
        &mut self,
        key: &'static str,
        base: &Path,
        what: &str,
        problems: &mut Vec<Invalid>,
    ) -> PathBuf {
        let absent = !self.rest.contains_key(key);
        let path = self.path(key, base, problems);
        if absent {
            problems.push(Invalid::new(self.at(key), format!("is missing; write the path of {what}")));
        }
        path.unwrap_or_default()
    }

    /// The path at `key`, which `required` says must be there.
    pub(super) fn path_if(
        &mut self,
        required: bool,
        key: &'static str,
        base: &Path,
        what: &str,
        problems: &mut Vec<Invalid>,
    ) -> PathBuf {
        if required {
            self.required_path(key, base, what, problems)
        } else {
            self.path(key, base, problems).unwrap_or_default()
        }
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self, problems: &mut Vec<Invalid>) {
        for key in self.rest.keys() {
            let known = self.known.join(", ");
            problems.push(Invalid::new(
                self.at(key),
                format!("is no key of this hub; the keys here are {known}"),
            ));
        }
    }
}
