//! Decides whether a secret stands in what a program left behind: a log, a
//! journal, a store, a backup.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// How a secret might be written: as it is, in hexadecimal, in base64 at any
/// offset, or as a list of numbers.
pub(crate) fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = luytre::base::digest::hex(secret);
    let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    for skipped in 0..3 {
        let whole = &secret[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.extend([STANDARD.encode(whole), URL_SAFE_NO_PAD.encode(whole)].map(String::into_bytes));
    }
    let numbers: Vec<_> = secret.iter().map(ToString::to_string).collect();
    forms.push(numbers.join(", ").into_bytes());
    forms
}

/// What was left behind, to be searched again and again.
pub(crate) struct Left(Vec<(PathBuf, String)>);

/// Every byte as a character of its own: text is searched much faster.
fn text(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(char::from).collect()
}

impl Left {
    /// The files in `directory` and below, but for those that `besides` says
    /// may hold secrets. What breaks a secret into lines is taken away.
    pub(crate) fn read(directory: &Path, besides: impl Fn(&Path) -> bool) -> Self {
        let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if besides(&path) {
                    continue;
                } else if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() {
                    let bytes = fs::read(&path).unwrap();
                    let whole = text(bytes);
                    let unbroken = whole.replace("\\n", "").replace('\n', "");
                    files.extend([(path.clone(), whole), (path, unbroken)]);
                }
            }
        }
        Self(files)
    }

    /// Every record of a store that nobody has open: on disk they are
    /// compressed.
    pub(crate) fn of_store(directory: &Path) -> Self {
        let options = rocksdb::Options::default();
        let families = rocksdb::DB::list_cf(&options, directory).unwrap();
        let store = rocksdb::DB::open_cf_for_read_only(&options, directory, &families, false).unwrap();
        let mut records = Vec::new();
        for family in families {
            let handle = store.cf_handle(&family).unwrap();
            let of_it = store.iterator_cf(&handle, rocksdb::IteratorMode::Start).map(Result::unwrap);
            let whole: String = of_it.map(|(key, value)| text(key.into_iter().chain(value))).collect();
            records.push((directory.join(family), whole));
        }
        assert!(records.iter().any(|(_, whole)| !whole.is_empty()));
        Self(records)
    }

    /// The first file that holds this, however it is written.
    pub(crate) fn holds(&self, secret: &[u8]) -> Option<&Path> {
        let forms: Vec<_> = forms(secret).into_iter().map(text).collect();
        let found = self.0.iter().find(|(_, left)| forms.iter().any(|form| left.contains(form.as_str())));
        found.map(|(path, _)| path.as_path())
    }
}
