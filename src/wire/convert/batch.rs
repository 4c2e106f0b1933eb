//! Decides how much one request may hold, and how large a page is.

use crate::model::Invalid;

/// Most items in one request.
pub const MAX_ITEMS: usize = 1_000;
/// Largest encoded batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Size of a page when none is asked for.
pub const DEFAULT_PAGE: usize = 100;
/// Largest page.
pub const MAX_PAGE: usize = 1_000;

/// Checks that a request has an item; its upper bound is another error, see
/// [`is_too_large`].
///
/// # Errors
/// It has none.
pub fn check_some(field: &str, items: usize) -> Result<(), Invalid> {
    if items == 0 {
        return Err(Invalid::new(field, format!("required: 1 to {MAX_ITEMS} items")));
    }
    Ok(())
}

/// Whether a request is larger than the limits, in items or in encoded bytes.
#[must_use]
pub const fn is_too_large(items: usize, encoded: usize) -> bool {
    items > MAX_ITEMS || encoded > MAX_BATCH_BYTES
}

/// Reads the size of a page: 0 means [`DEFAULT_PAGE`], more than [`MAX_PAGE`]
/// means that.
///
/// # Errors
/// Negative.
pub fn read_page_size(size: i32) -> Result<usize, Invalid> {
    match usize::try_from(size) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(Invalid::new("page_size", "must not be negative; 0 means 100")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_have_a_default_and_a_ceiling() {
        assert_eq!(
            [0, 1, 1_000, 1_001, i32::MAX].map(|n| read_page_size(n).unwrap()),
            [100, 1, 1_000, 1_000, 1_000]
        );
        assert_eq!(read_page_size(-1).unwrap_err().field, "page_size");
    }

    #[test]
    fn batches_are_bounded_in_items_and_bytes() {
        assert!(check_some("indicators", 0).is_err());
        assert!(!is_too_large(1_000, 4 * 1024 * 1024));
        assert!(is_too_large(1_001, 0));
        assert!(is_too_large(1, 4 * 1024 * 1024 + 1));
    }
}
