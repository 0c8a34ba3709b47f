//! The bytes of a header and of a descriptor: the other direction of [`super::table`].

use super::layout::{self, DESCRIPTOR_BYTES, HEADER_BYTES, descriptor as d, header as h};
use super::table::{Descriptor, Extra, Header};

/// The global header.
pub(super) fn header(header: &Header) -> [u8; HEADER_BYTES] {
    let mut raw = [0; HEADER_BYTES];
    // The last byte of the launch line's field stays NUL.
    put_text(&mut raw[h::LAUNCH..h::MAGIC - 1], &header.launch_line);
    put(&mut raw, h::MAGIC, layout::MAGIC);
    put(&mut raw, h::VERSION, layout::VERSION);
    put(&mut raw, h::ID, header.id);
    put(&mut raw, h::CREATED, header.created.to_le_bytes());
    put_shape(&mut raw, header);
    put_changing(&mut raw, header);
    raw
}

/// The fields of a global header that an added object changes.
pub(super) fn put_changing(raw: &mut [u8; HEADER_BYTES], header: &Header) {
    put(raw, h::ARCH, header.arch.digits());
    put(raw, h::MODIFIED, header.modified.to_le_bytes());
    put(raw, h::FREE, header.free_claimed.to_le_bytes());
    put(raw, h::DATA_SIZE, header.data_bytes_claimed.to_le_bytes());
}

/// The fields of a global header that say how long the table is and where the data starts.
pub(super) fn put_shape(raw: &mut [u8; HEADER_BYTES], header: &Header) {
    put(raw, h::TOTAL, u64::from(header.slots).to_le_bytes());
    put_table_place(raw, header);
    put(raw, h::DATA_OFFSET, header.data_offset.to_le_bytes());
}

/// The fields of a global header that say where the table is.
pub(super) fn put_table_place(raw: &mut [u8; HEADER_BYTES], header: &Header) {
    put(raw, h::TABLE_OFFSET, header.table_offset.to_le_bytes());
    put(raw, h::TABLE_SIZE, header.table_bytes.to_le_bytes());
}

/// A used slot. `padded_bytes` is the length of the data with the gap before it.
pub(super) fn descriptor(object: &Descriptor, padded_bytes: u64) -> [u8; DESCRIPTOR_BYTES] {
    let mut raw = [0; DESCRIPTOR_BYTES];
    put(&mut raw, d::TYPE, object.data_type.code().to_le_bytes());
    raw[d::USED] = 1;
    put(&mut raw, d::ID, object.id.to_le_bytes());
    let group = object.group.unwrap_or(0) | layout::GROUP_MASK;
    put(&mut raw, d::GROUP, group.to_le_bytes());
    put(&mut raw, d::LINK, object.link.field().to_le_bytes());
    put(&mut raw, d::OFFSET, object.offset.to_le_bytes());
    put(&mut raw, d::SIZE, object.size.to_le_bytes());
    put(&mut raw, d::PADDED_SIZE, padded_bytes.to_le_bytes());
    put(&mut raw, d::CREATED, object.created.to_le_bytes());
    put(&mut raw, d::MODIFIED, object.modified.to_le_bytes());
    put(&mut raw, d::UID, object.uid.to_le_bytes());
    put(&mut raw, d::GID, object.gid.to_le_bytes());
    put_text(&mut raw[d::NAME..d::NAME + d::NAME_BYTES], &object.name);
    put_extra(&mut raw[d::EXTRA..], &object.extra);
    raw
}

pub(super) fn put_extra(field: &mut [u8], extra: &Extra) {
    match extra {
        Extra::None => {}
        Extra::Partition { fs, partition_type, arch } => {
            put(field, 0, fs.code().to_le_bytes());
            put(field, 4, partition_type.code().to_le_bytes());
            put(field, 8, arch.digits());
        }
        Extra::Signature { hash, entity } => {
            put(field, 0, hash.code().to_le_bytes());
            put(field, 4, *entity);
        }
        Extra::CryptoMessage(format, message) => {
            put(field, 0, format.code().to_le_bytes());
            put(field, 4, message.code().to_le_bytes());
        }
        Extra::Sbom(format) => put(field, 0, format.code().to_le_bytes()),
        Extra::Digest(digest) => put_text(field, digest.to_string().as_bytes()),
    }
}

/// Puts a field in its place. `at` is a constant of [`layout`] or of this module and the field lies inside.
fn put<const WIDTH: usize>(raw: &mut [u8], at: usize, field: [u8; WIDTH]) {
    raw[at..at + WIDTH].copy_from_slice(&field);
}

/// Puts text in a field that is zero, cut to the field.
fn put_text(field: &mut [u8], text: &[u8]) {
    for (byte, character) in field.iter_mut().zip(text) {
        *byte = *character;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sif::Digest;
    use crate::sif::codes::{DataType, MessageFormat, MessageType, SbomFormat};
    use crate::sif::table::Table;

    #[test]
    fn what_the_incumbents_wrote_comes_back_byte_by_byte() {
        let samples: [&[u8]; 4] = [
            include_bytes!("../../tests/images/tiny.sif"),
            include_bytes!("../../tests/images/tiny-gocryptfs.sif"),
            include_bytes!("../../tests/images/tiny-signed-pgp.sif"),
            include_bytes!("../../tests/images/tiny-signed-dsse.sif"),
        ];
        for sample in samples {
            let table = Table::read(&sample).unwrap();
            assert_eq!(header(&table.header), sample[..HEADER_BYTES]);
            let mut end = table.header.data_offset;
            for object in &table.descriptors {
                let at = 4096 + object.slot as usize * DESCRIPTOR_BYTES;
                let raw = descriptor(object, object.end() - end);
                assert!(raw == sample[at..at + DESCRIPTOR_BYTES], "object {}", object.id);
                end = object.end();
            }
        }
    }

    #[test]
    fn extra_fields_of_every_type_come_back() {
        let digest = Extra::Digest(Digest([0xa5; 32]));
        let cases = [
            (DataType::OciBlob, digest.clone()),
            (DataType::OciRootIndex, digest),
            (DataType::CryptoMessage, Extra::CryptoMessage(MessageFormat::Pem, MessageType::RsaOaep)),
            (DataType::Sbom, Extra::Sbom(SbomFormat::SpdxJson)),
            (DataType::Generic, Extra::None),
        ];
        for (data_type, extra) in cases {
            let mut field = [0; d::EXTRA_BYTES];
            put_extra(&mut field, &extra);
            assert_eq!(Extra::parse(data_type, &field, 1), Ok(extra));
        }
    }
}
