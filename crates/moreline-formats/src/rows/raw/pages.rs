//! What the page headers of a Parquet file claim, before a page is unpacked.
//!
//! The `parquet` crate allocates what a header says. Headers are structs in
//! Thrift's compact protocol (`PageHeader` of parquet.thrift); of them only the
//! sizes and counts are read here.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use parquet::file::metadata::ColumnChunkMetaData;

/// Most values of a column in one row group.
pub(super) const MAX_VALUES: i64 = 1 << 25;
/// Most bytes of a page, unpacked.
pub(super) const MAX_PAGE: i64 = 512 << 20;
/// Most bytes of a page's header. It may hold the smallest and largest value.
const MAX_HEADER: usize = 1 << 20;
/// Structs and lists inside each other.
const MAX_DEPTH: u32 = 8;

/// What a header says of its page.
#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    unpacked: i64,
    packed: i64,
    /// Values of a data page.
    values: i64,
    /// Values of a dictionary.
    entries: i64,
}

/// Refuses a column whose pages claim more than a row file holds, or more values
/// than the column has.
pub(super) fn check(file: &mut File, column: &ColumnChunkMetaData) -> Result<(), String> {
    let name = column.column_path();
    let values = column.num_values();
    if !(0..=MAX_VALUES).contains(&values) {
        return Err(format!("column {name} claims {values} values"));
    }
    let start = column
        .dictionary_page_offset()
        .unwrap_or(column.data_page_offset());
    let (start, length) = match (u64::try_from(start), column.compressed_size().try_into()) {
        (Ok(start), Ok(length)) => (start, length),
        _ => return Err(format!("column {name} lies at {start}")),
    };
    let (mut at, mut seen) = (0u64, 0i64);
    while at < length && seen < values {
        let (header, size) = header(file, start + at)
            .map_err(|error| format!("a page of column {name} cannot be read: {error}"))?;
        let sound = |bytes| (0..=MAX_PAGE).contains(&bytes);
        if !sound(header.unpacked) || !sound(header.packed) {
            let bytes = header.unpacked.max(header.packed);
            return Err(format!("a page of column {name} claims {bytes} bytes"));
        }
        if !(0..=MAX_VALUES).contains(&header.entries) || header.values < 0 {
            let entries = header.entries.max(header.values);
            return Err(format!("a page of column {name} claims {entries} values"));
        }
        seen += header.values;
        at += size + header.packed.unsigned_abs();
    }
    match seen <= values {
        true => Ok(()),
        false => Err(format!(
            "the pages of column {name} claim {seen} values and its footer {values}"
        )),
    }
}

/// The header at an offset, and its length.
fn header(file: &mut File, offset: u64) -> io::Result<(Header, u64)> {
    file.seek(SeekFrom::Start(offset))?;
    let mut size = 512;
    let mut bytes = Vec::new();
    loop {
        file.by_ref()
            .take((size - bytes.len()) as u64)
            .read_to_end(&mut bytes)?;
        let whole = bytes.len() < size || size == MAX_HEADER;
        let mut reader = Compact {
            bytes: &bytes,
            at: 0,
        };
        match reader.page_header() {
            Some(header) => return Ok((header, reader.at as u64)),
            None if whole => return Err(io::Error::other("its header is damaged")),
            None => size = (size * 8).min(MAX_HEADER),
        }
    }
}

/// Thrift's compact protocol; nothing wherever the bytes end or make no sense.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn page_header(&mut self) -> Option<Header> {
        let mut header = Header::default();
        let mut id = 0;
        while let Some((field, kind)) = self.field(&mut id)? {
            match (field, kind) {
                (2, I32) => header.unpacked = self.zigzag()?,
                (3, I32) => header.packed = self.zigzag()?,
                // A data page, of the first and of the second version.
                (5 | 8, STRUCT) => header.values = self.count()?,
                (7, STRUCT) => header.entries = self.count()?,
                (_, kind) => self.skip(kind, MAX_DEPTH)?,
            }
        }
        Some(header)
    }

    /// The first field of a struct, a number.
    fn count(&mut self) -> Option<i64> {
        let (mut id, mut count) = (0, 0);
        while let Some((field, kind)) = self.field(&mut id)? {
            match (field, kind) {
                (1, I32) => count = self.zigzag()?,
                (_, kind) => self.skip(kind, MAX_DEPTH)?,
            }
        }
        Some(count)
    }

    /// Number and type of the next field; nothing inside at the struct's end.
    fn field(&mut self, id: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.zigzag()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(Some((*id, byte & 0x0f)))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Booleans are in the type.
            1 | 2 => {}
            3 => self.advance(1)?,
            4..=6 => {
                self.varint()?;
            }
            7 => self.advance(8)?,
            8 => {
                let length = self.varint()?;
                self.advance(usize::try_from(length).ok()?)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = match byte >> 4 {
                    15 => self.varint()?,
                    count => u64::from(count),
                };
                for _ in 0..count {
                    // In a list a boolean is a byte.
                    match byte & 0x0f {
                        1 | 2 => self.advance(1)?,
                        kind => self.skip(kind, depth)?,
                    }
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some((_, kind)) = self.field(&mut id)? {
                    self.skip(kind, depth)?;
                }
            }
            // Maps are nowhere in a page header.
            _ => return None,
        }
        Some(())
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn advance(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len()).then(|| self.at = end)
    }
}

const I32: u8 = 5;
const STRUCT: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Option<(Header, usize)> {
        let mut reader = Compact { bytes, at: 0 };
        let header = reader.page_header()?;
        Some((header, reader.at))
    }

    #[test]
    fn a_header_is_read_by_its_published_layout() {
        // type = 0, uncompressed = 300, compressed = 64, crc, data page of 5
        // values with an encoding and statistics of two bytes.
        let bytes = [
            0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x80, 0x01, 0x15, 0x02, 0x1c, 0x15, 0x0a, 0x15,
            0x00, 0x3c, 0x18, 0x02, b'a', b'b', 0x00, 0x00, 0x00, 0xff,
        ];
        let expected = Header {
            unpacked: 300,
            packed: 64,
            values: 5,
            entries: 0,
        };
        assert_eq!(parse(&bytes), Some((expected, bytes.len() - 1)));
        for end in 0..bytes.len() - 1 {
            assert_eq!(parse(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn nonsense_is_no_header() {
        // A list of more items than there are bytes, structs without end, a map.
        assert_eq!(parse(&[0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        assert_eq!(parse(&[0x1c; 200]), None);
        assert_eq!(parse(&[0x1b, 0x00]), None);
        assert_eq!(
            parse(&[
                0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ]),
            None
        );
    }
}
