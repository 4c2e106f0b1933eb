//! Decides what a hub's disk does: the shim of `tests/shim`, built once a run.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Seed;

/// A disk that fails on command and, with a mirror, loses at a power cut what
/// was not synced.
#[derive(Debug)]
pub(crate) struct Disk {
    data: PathBuf,
    mirror: Option<PathBuf>,
    control: PathBuf,
}

impl Disk {
    /// A disk under `data` that keeps everything until it is told otherwise.
    pub(crate) fn faulty(data: &Path) -> Self {
        Self::new(data, None)
    }

    /// A disk under `data` that keeps only what was synced. Everything that is
    /// there now counts as synced.
    pub(crate) fn forgetful(data: &Path) -> Self {
        let disk = Self::new(data, Some(data.with_extension("mirror")));
        disk.settle();
        disk
    }

    fn new(data: &Path, mirror: Option<PathBuf>) -> Self {
        let data = data.canonicalize().expect("the data directory is there");
        Self { mirror, control: data.with_extension("control"), data }
    }

    /// The environment of a process that is to live on this disk.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("LD_PRELOAD", library().into()),
            ("FAULTFS_DIR", self.data.clone().into()),
            ("FAULTFS_CONTROL", self.control.clone().into()),
        ];
        variables.extend(self.mirror.iter().map(|mirror| ("FAULTFS_MIRROR", mirror.clone().into())));
        variables
    }

    /// From now on these faults, one a line as `faultfs.c` lists them; an
    /// empty text heals the disk.
    pub(crate) fn set(&self, faults: &str) {
        let beside = self.control.with_extension("control.new");
        fs::write(&beside, faults).unwrap();
        fs::rename(beside, &self.control).unwrap();
    }

    /// The faults that struck so far.
    pub(crate) fn hits(&self) -> Vec<String> {
        let mut path = self.control.clone().into_os_string();
        path.push(".hits");
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// What is left after the power was cut stands in the data directory when
    /// this returns. With `torn`, a random part of each unsynced log tail
    /// survives, as it may on a real disk.
    pub(crate) fn cut_power(&self, torn: Option<&mut Seed>) {
        let mirror = self.mirror.as_deref().expect("this disk has no mirror");
        let tree = mirror.join("tree");
        if let Some(seed) = torn {
            tear(&self.data, &tree, seed).unwrap();
        }
        let lost = self.data.with_extension("lost");
        match fs::remove_dir_all(&lost) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        fs::rename(&self.data, lost).unwrap();
        fs::rename(&tree, &self.data).unwrap();
        self.settle();
    }

    /// Counts what is there now as synced.
    pub(crate) fn settle(&self) {
        let Some(mirror) = &self.mirror else { return };
        match fs::remove_dir_all(mirror) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let inodes = mirror.join("ino");
        fs::create_dir_all(&inodes).unwrap();
        copy_settled(&self.data, &mirror.join("tree"), &inodes).unwrap();
    }
}

fn copy_settled(from: &Path, to: &Path, inodes: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_settled(&entry.path(), &target, inodes)?;
        } else if kind.is_file() {
            let inode = inodes.join(entry.metadata()?.ino().to_string());
            fs::copy(entry.path(), &inode)?;
            fs::hard_link(inode, target)?;
        }
    }
    Ok(())
}

/// Lets a random part of what each write-ahead log holds beyond its durable
/// end survive.
fn tear(real: &Path, durable: &Path, seed: &mut Seed) -> io::Result<()> {
    for entry in fs::read_dir(durable)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let Ok(whole) = fs::read(real.join(path.file_name().unwrap())) else { continue };
        let mut kept = fs::read(&path)?;
        if let Some(tail) = whole.get(kept.len()..).filter(|tail| !tail.is_empty()) {
            let part = seed.between(0, tail.len() as u64 + 1) as usize;
            kept.extend_from_slice(&tail[..part]);
            fs::write(&path, kept)?;
        }
    }
    Ok(())
}

/// The shim as a library.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        compile(
            &["faultfs.c", "faults.c", "mirror.c"],
            "faultfs.so",
            &["-shared", "-fPIC", "-fvisibility=hidden", "-pthread"],
        )
    })
}

/// The program of `tests/shim/probe.c`, through which the shim is tested.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| compile(&["probe.c"], "probe", &[]))
}

fn compile(sources: &[&str], output: &str, flags: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let beside = target.join(format!("{output}.{}", std::process::id()));
    let done = Command::new("cc")
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .arg(&beside)
        .args(sources)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim"))
        .output()
        .expect("a C compiler `cc` is needed, as for RocksDB; see `make deps`");
    assert!(done.status.success(), "{sources:?}: {}", String::from_utf8_lossy(&done.stderr));
    // Another test run may be using the file of that name.
    let output = target.join(output);
    fs::rename(beside, &output).unwrap();
    output
}
