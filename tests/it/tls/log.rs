//! What a hub under test logs.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use parking_lot::Mutex;
use tracing_subscriber::fmt::writer::OptionalWriter;

thread_local! {
    static CAPTURED: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Makes all threads log to one subscriber, before the first of them does:
/// whether a line is logged at all is decided once, by the thread that first
/// comes by it, and one without a subscriber would decide against it for all.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let writer = || CAPTURED.with_borrow(|log| OptionalWriter::from(log.clone()));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// What this thread logs from now on; a test's runtime has no other.
pub fn captured() -> (Log, Capture) {
    let log = Log::default();
    CAPTURED.set(Some(log.clone()));
    (log, Capture)
}

/// Ends the capture when dropped.
pub struct Capture;

impl Drop for Capture {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
