//! How an answer of the reader child crosses its pipe: bincode, every option spelled out, bounded both ways.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of an answer. The longest honest one is the object list of a SIF with a full table (65536 slots of
/// at most some 250 bytes each once encoded); an everyday one has fewer than 1000.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<ANSWER_BYTES_MAX>,
> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<ANSWER_BYTES_MAX>();

/// Encodes an answer; nothing when it is longer than [`ANSWER_BYTES_MAX`].
pub(super) fn encode<T: Serialize>(answer: &T) -> Option<Vec<u8>> {
    bincode::serde::encode_to_vec(answer, CODEC).ok().filter(|bytes| bytes.len() <= ANSWER_BYTES_MAX)
}

/// Decodes exactly one answer, with nothing after it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (answer, used) = bincode::serde::decode_from_slice::<T, _>(bytes, CODEC).ok()?;
    (used == bytes.len()).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_sent() {
        let bytes = encode(&(7_u32, vec![1_u8, 2, 3])).unwrap();
        assert_eq!(decode::<(u32, Vec<u8>)>(&bytes), Some((7, vec![1, 2, 3])));
    }

    #[test]
    fn an_answer_with_something_after_it_or_cut_short_is_no_answer() {
        let mut bytes = encode(&7_u32).unwrap();
        assert_eq!(decode::<u32>(&bytes[..3]), None);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), None);
    }

    #[test]
    fn a_length_that_the_bytes_do_not_back_is_no_answer() {
        let mut bytes = encode(&vec![1_u8, 2, 3]).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<Vec<u8>>(&bytes), None);
    }
}
