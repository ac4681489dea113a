//! Words for how far something is that sends or receives bytes.

/// How many bytes of how many: `12.3 MB of 40.0 MB`.
pub(crate) fn how_far(done: u64, total: u64) -> String {
    format!("{} of {}", bytes(done.min(total)), bytes(total))
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (12_345_678, "12.3 MB"),
            (4 << 30, "4.29 GB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(how_far(2_000, 1_000), "1 kB of 1 kB");
    }
}
