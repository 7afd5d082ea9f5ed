//! The lines of a file, each of bounded length.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// The lines of a file without their ends; a longer one than may be is an
/// error.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    bytes: u64,
    torn: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            reader: BufReader::new(file),
            bytes: 0,
            torn: false,
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if the last line read had no end.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match (&mut self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => return None,
            Ok(count) => self.bytes += count as u64,
            Err(error) => return Some(Err(error)),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 == MAX_LINE {
            let message = format!("a line is longer than {} MiB", MAX_LINE >> 20);
            return Some(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        } else {
            self.torn = true;
        }
        Some(Ok(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_torn() {
        let mut lines = Lines::new(&b"one\n\ntwo"[..]);
        let mut next = || lines.next().map(Result::unwrap);
        assert_eq!(next().unwrap(), b"one");
        assert_eq!(next().unwrap(), b"");
        assert_eq!(next().unwrap(), b"two");
        assert_eq!(next(), None);
        assert!(lines.is_torn());
        assert_eq!(lines.bytes(), 8);
    }

    #[test]
    fn a_line_without_bounds_is_an_error() {
        let mut lines = Lines::new(io::repeat(b'x'));
        assert!(lines.next().unwrap().is_err());
    }
}
