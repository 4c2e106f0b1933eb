//! Decides how a backup is made as one encrypted file, and a store out of one:
//! by way of a plain copy that only this user can see, and that goes away.

use std::ffi::OsString;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;

use super::super::output;
use super::super::stop::Stop;
use super::backup::{self, Copied};
use super::{Backup, Failure, Place, Restore};
use crate::admin;
use crate::base::clock::SystemClock;
use crate::base::scratch::Scratch;
use crate::base::tasks;
use crate::hub::archive::{self, Error, Progress};
use crate::signer::passphrase::Source;
use crate::store;

/// What it is the passphrase of.
const PURPOSE: &str = "of the backup";

/// Makes an encrypted backup.
pub(super) fn backup(place: &Place, to: &Path, options: &Backup, source: &Source) -> Result<(), Failure> {
    let passphrase = source.read_new(PURPOSE).map_err(|error| Failure::Input(error.to_string()))?;
    let runtime = backup::runtime()?;
    // From here on a request to end is one to clear up first.
    let stop = listen(&runtime)?;
    let scratch = scratch(place, options.scratch.as_deref())?;
    let plain = scratch.place();
    output::talk(&format!("copying {}, to be encrypted into {}", place.data_dir.display(), to.display()));
    let Copied { last_entry, epoch, bytes, begun } = backup::copy(&runtime, place, &plain, true)?;
    let target = to.to_owned();
    let size = watched(&runtime, stop, bytes, "encrypted", move |progress| {
        archive::seal(&plain, &target, &passphrase, progress)
    })?;
    drop(scratch);
    if begun > 0 {
        // The file is whole by now, whatever becomes of this.
        if let Err(error) = runtime.block_on(admin::tell_arrived(&place.admin_socket, begun)) {
            output::talk(&format!(
                "luytre: warning: the hub does not know of this backup ({error}); before luytre ca prepare, make another"
            ));
        }
    }
    let to = to.display();
    output::talk(&format!(
        "backed up to entry {last_entry} of epoch {epoch}, {} bytes, encrypted, in {to}; nobody can read it without its passphrase; make a hub of it with: luytred restore --from {to} --to DIR --ask-passphrase",
        output::count(size),
    ));
    Ok(())
}

/// Makes a store out of an encrypted backup.
pub(super) fn restore(options: &Restore, source: &Source) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Io(format!("{}: {error}", options.from.display()));
    let bytes = options.from.metadata().map_err(failed)?.len();
    let passphrase = source.read(PURPOSE).map_err(|error| Failure::Input(error.to_string()))?;
    let runtime = backup::runtime()?;
    let stop = listen(&runtime)?;
    output::talk(&format!("restoring {} to {}", options.from.display(), options.to.display()));
    let (from, to) = (options.from.clone(), options.to.clone());
    let report = watched(&runtime, stop, bytes, "decrypted", move |progress| {
        archive::restore_sealed(&from, &to, &passphrase, &SystemClock, progress)
    })?;
    backup::tell(&report);
    Ok(())
}

/// Says what to do with an encrypted backup that is asked for as a store.
pub(super) fn refuse(path: &Path) -> Result<(), Failure> {
    // Whatever else it is, whoever opens it says.
    if !archive::is_encrypted(path).unwrap_or(false) {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::Input(format!(
        "{path} is an encrypted backup; first make a store of it with: luytred restore --from {path} --to DIR --ask-passphrase; then: luytred verify --data DIR"
    )))
}

/// Where the plain copy lies meanwhile: beside the store, where it is made of
/// links, and not on the disk that the backup goes to.
fn scratch(place: &Place, named: Option<&Path>) -> Result<Scratch, Failure> {
    let store = std::path::absolute(&place.data_dir).unwrap_or_else(|_| place.data_dir.clone());
    let within = named.or_else(|| store.parent()).unwrap_or(&store);
    let mut name = OsString::from(".");
    name.push(store.file_name().unwrap_or_default());
    name.push(".backup");
    let path =
        std::path::absolute(within).map_err(|error| Failure::Io(format!("--scratch: {error}")))?.join(name);
    match Scratch::enter(&path) {
        Ok(Some(scratch)) => {
            if scratch.was_swept() {
                output::talk(&format!(
                    "removed from {} the plain copy of a backup that was killed",
                    path.display()
                ));
            }
            Ok(scratch)
        }
        Ok(None) => Err(Failure::TryLater(format!(
            "another backup is being made in {}; wait until it is done",
            path.display()
        ))),
        Err(source) => Err(store::Error::Scratch { path, source }.into()),
    }
}

fn listen(runtime: &Runtime) -> Result<Stop, Failure> {
    let _entered = runtime.enter();
    Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))
}

/// Does long work that shows how far it is, and that ends when asked to.
fn watched<T: Send + 'static>(
    runtime: &Runtime,
    mut stop: Stop,
    bytes: u64,
    verb: &'static str,
    work: impl FnOnce(Progress<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let bar = output::progress(Some(bytes), false);
    let asked = Arc::new(AtomicBool::new(false));
    let (shown, end) = (bar.clone(), Arc::clone(&asked));
    let done = runtime.block_on(async move {
        let mut work = tasks::spawn_blocking(move || {
            work(&mut |done| {
                shown.set_position(done);
                shown.set_message(format!("{} MB {verb}", output::count(done / 1_000_000)));
                if end.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        tokio::select! {
            done = &mut work => done,
            () = stop.asked() => {
                asked.store(true, Ordering::Relaxed);
                work.await
            }
        }
    });
    bar.finish_and_clear();
    match done {
        Ok(done) => Ok(done?),
        Err(error) => Err(Failure::Io(format!("the work stopped: {error}"))),
    }
}
