//! The one run of bytes that carries a request.
//!
//! Layout: 8 bytes [`MAGIC`], the version and the body's length as little-endian `u32`, the body. The body is
//! bincode with fixed-width little-endian integers, so that a value has exactly one encoding; enum variants are
//! `u32`, lengths `u64`. A whole frame fits a pipe's buffer, so no writer has to stay alive.

use crate::plan::{Request, ShapeError};
use std::fmt;

/// First bytes of every frame.
pub const MAGIC: [u8; 8] = *b"LAMINA\x01\x00";
/// The only version this build speaks. Both sides are installed together, so any other is refused.
pub const VERSION: u32 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 16;
/// Most bytes of a whole frame: the default capacity of a Linux pipe.
pub const FRAME_BYTES_MAX: usize = 65536;
/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;

/// Every option spelled out: a codec's default may be "no limit".
const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<BODY_BYTES_MAX>,
> = bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<BODY_BYTES_MAX>();

/// Why bytes are not a frame, or a request does not fit one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Fewer bytes than the header and the length it names.
    Truncated,
    /// More bytes than the header names.
    TrailingBytes,
    /// Not [`MAGIC`].
    Magic,
    /// Another version than [`VERSION`].
    Version(u32),
    /// Longer than [`FRAME_BYTES_MAX`].
    TooLong,
    /// The body is not the encoding of a request.
    Body,
    /// A plan out of shape.
    Shape(ShapeError),
}

/// Encodes a request into a whole frame.
///
/// # Errors
/// The plan is out of shape or too long for a frame.
pub fn encode(request: &Request) -> Result<Vec<u8>, FrameError> {
    check_shape(request)?;
    let body = bincode::serde::encode_to_vec(request, CODEC).map_err(|_| FrameError::Body)?;
    let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLong)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Decodes exactly one frame: all of `frame`, nothing before it and nothing after.
///
/// # Errors
/// The first thing that is not as it must be; no byte past it was looked at.
pub fn decode(frame: &[u8]) -> Result<Request, FrameError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let (magic, rest) = frame.split_first_chunk::<8>().ok_or(FrameError::Truncated)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(FrameError::Truncated)?;
    let (length, body) = rest.split_first_chunk::<4>().ok_or(FrameError::Truncated)?;
    if *magic != MAGIC {
        return Err(FrameError::Magic);
    }
    match u32::from_le_bytes(*version) {
        VERSION => {}
        other => return Err(FrameError::Version(other)),
    }
    match usize::try_from(u32::from_le_bytes(*length)) {
        Ok(length) if length == body.len() => {}
        Ok(length) if length < body.len() => return Err(FrameError::TrailingBytes),
        _ => return Err(FrameError::Truncated),
    }
    let (request, used) =
        bincode::serde::decode_from_slice::<Request, _>(body, CODEC).map_err(|_| FrameError::Body)?;
    if used != body.len() {
        return Err(FrameError::TrailingBytes);
    }
    check_shape(&request)?;
    Ok(request)
}

fn check_shape(request: &Request) -> Result<(), FrameError> {
    match request {
        Request::Start(plan) => plan.check_shape().map_err(FrameError::Shape),
        Request::Join => Ok(()),
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the plan is cut short"),
            Self::TrailingBytes => f.write_str("the plan is followed by more bytes"),
            Self::Magic => f.write_str("this is not a plan"),
            Self::Version(version) => {
                write!(f, "the plan has version {version}, this starter speaks {VERSION}")
            }
            Self::TooLong => write!(f, "the plan is longer than {FRAME_BYTES_MAX} bytes"),
            Self::Body => f.write_str("the plan says something this starter does not know"),
            Self::Shape(ShapeError::TooMany) => f.write_str("the plan names too many layers or mounts"),
            Self::Shape(ShapeError::Descriptors) => f.write_str("the plan miscounts its descriptors"),
            Self::Shape(ShapeError::Window) => f.write_str("the plan names an impossible part of an image"),
            Self::Shape(ShapeError::Contradiction) => f.write_str("the plan contradicts itself"),
        }
    }
}

impl std::error::Error for FrameError {}
