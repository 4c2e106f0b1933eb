//! Decides RocksDB and the log: the only code that names RocksDB.
