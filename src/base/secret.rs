//! Decides what cannot be printed: secrets are wiped on drop and show nothing.

use std::fmt;

use zeroize::Zeroize;

/// A value that is wiped when dropped and that no format string can show.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into keeping.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value to the code that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
