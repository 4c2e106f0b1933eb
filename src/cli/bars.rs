//! Decides how counts are drawn with characters: bars to the eighth of a
//! column, and lines of small columns for what goes on in time.

/// Eighths of a column from the left.
const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Eighths of a row from below.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same in ASCII.
const MARKS: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];

/// A bar for `count`, as wide as `columns` for `most`. What is more than none
/// is seen.
pub(super) fn bar(count: u64, most: u64, columns: usize, blocks: bool) -> String {
    let per_column = if blocks { 8 } else { 1 };
    let whole = (columns as u128) * per_column;
    let share = u128::from(count) * whole / u128::from(most.max(1));
    let units = share.clamp(u128::from(count > 0), whole);
    let full = usize::try_from(units / per_column).unwrap_or(columns);
    let mut bar: String = std::iter::repeat_n(if blocks { '█' } else { '#' }, full).collect();
    let rest = usize::try_from(units % per_column).unwrap_or_default();
    bar.extend(rest.checked_sub(1).and_then(|part| PARTS.get(part)));
    bar
}

/// A line of columns, one for each count, as high as `most`; none is a blank.
pub(super) fn line(counts: &[u64], most: u64, blocks: bool) -> String {
    let steps = if blocks { STEPS } else { MARKS };
    let step = |count: u64| {
        if count == 0 {
            return ' ';
        }
        let height = u128::from(count) * 8 / u128::from(most.max(1));
        let at = usize::try_from(height.clamp(1, 8) - 1).unwrap_or_default();
        steps.get(at).copied().unwrap_or(' ')
    };
    counts.iter().map(|count| step(*count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts_and_never_nothing_for_something() {
        let bars = |counts: &[u64], blocks| -> Vec<String> {
            counts.iter().map(|count| bar(*count, 80, 10, blocks)).collect()
        };
        assert_eq!(bars(&[80, 40, 41, 7, 1, 0], true), ["██████████", "█████", "█████▏", "▉", "▏", ""]);
        assert_eq!(bars(&[80, 40, 47, 1, 0], false), ["##########", "#####", "#####", "#", ""]);
        assert_eq!(bar(u64::MAX, u64::MAX, 3, true), "███");
        assert_eq!(bar(9, 3, 3, true), "███");
        assert_eq!(bar(0, 0, 3, true), "");
    }

    #[test]
    fn lines_rise_by_eighths() {
        assert_eq!(line(&[0, 1, 2, 4, 8, 80, 79], 80, true), " ▁▁▁▁█▇");
        assert_eq!(line(&[1, 2, 3, 4, 5, 6, 7, 8], 8, true), "▁▂▃▄▅▆▇█");
        assert_eq!(line(&[0, 1, 8], 8, false), " .@");
    }
}
