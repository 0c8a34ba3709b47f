//! Layers as they are stored: plain, or packed by gzip or zstd.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 << 10;

/// The tar stream in a layer. Its first bytes tell how it is packed; media types are known to lie about that.
///
/// # Errors
/// What reading says.
pub(crate) fn decompressed<'a>(layer: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut layer = BufReader::with_capacity(BUFFER_BYTES, layer);
    let start = layer.fill_buf()?;
    Ok(if start.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(layer))
    } else if start.starts_with(&ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(layer)?)
    } else {
        Box::new(layer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_way_of_packing_is_told_by_its_first_bytes() {
        let text = b"a layer ".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text[..3000]).unwrap();
        let mut gzip = gzip.finish().unwrap();
        // As pigz and others write it: more than one member.
        let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        second.write_all(&text[3000..]).unwrap();
        gzip.extend(second.finish().unwrap());
        for packed in [text.clone(), gzip, zstd::encode_all(&text[..], 1).unwrap()] {
            let mut unpacked = Vec::new();
            decompressed(&packed[..]).unwrap().read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, text);
        }
    }
}
