//! TFRecord: length, its checksum, data, their checksum, all little-endian
//! (tensorflow/core/lib/io/record_writer.h).

/// A record with these data.
pub(super) fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted so that checksums of data that hold checksums
/// stay apart (tensorflow/core/lib/hash/crc32c.h).
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_of_the_reference_writer() {
        // As tensorboard 2.21's `summary.writer.record_writer.RecordWriter` writes it.
        let (length, data) = ([176, 153, 73, 14], [110, 87, 241, 33]);
        let expected = [&[3, 0, 0, 0, 0, 0, 0, 0], &length[..], b"abc", &data].concat();
        assert_eq!(frame(b"abc"), expected);
    }
}
