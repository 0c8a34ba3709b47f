//! Byte-range locks over the writable parts of images, and the record of who holds them.
