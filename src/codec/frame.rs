//! Frames: `length u32 LE | envelope`. Journals, manifests and snapshots are frames in a row.

use std::io::{self, Read, Write};

use super::{CodecError, MAX_PAYLOAD_BYTES, Stored, decode, encode};

/// Longest envelope that a frame may announce.
const MAX_FRAME_BYTES: usize = MAX_PAYLOAD_BYTES + 8;

/// Reason why frames cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The input ends within a frame, or announces one of impossible length.
    #[error("a record is cut off")]
    Torn,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Appends a record, and returns the number of bytes written.
///
/// # Errors
/// When the record cannot be encoded or the output fails.
pub fn write_frame<S: Stored>(record: &S, output: &mut impl Write) -> Result<u64, FrameError> {
    let envelope = encode(record)?;
    let len = u32::try_from(envelope.len()).map_err(|_| FrameError::Torn)?;
    let mut frame = Vec::with_capacity(envelope.len() + 4);
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(&envelope);
    // The frame is written in one call, so a file opened for appending gets it whole or cut, never mixed
    // with another one.
    output.write_all(&frame)?;
    Ok(frame.len() as u64)
}

/// Returns the bytes of the next envelope, its CRC unchecked; `None` at the end of the input. Memory grows
/// with the bytes that arrive, not with the announced length.
///
/// # Errors
/// [`FrameError::Torn`] when the input ends early.
pub fn read_frame(input: &mut impl Read) -> Result<Option<Vec<u8>>, FrameError> {
    read_frame_within(input, MAX_FRAME_BYTES)
}

/// Does the same as [`read_frame`] for envelopes of at most `limit` bytes.
///
/// # Errors
/// [`FrameError::Torn`] when the input ends early, or the envelope is longer.
pub fn read_frame_within(
    input: &mut impl Read,
    limit: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut len = [0; 4];
    match read_up_to(input, &mut len)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(FrameError::Torn),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len == 0 || len > limit.min(MAX_FRAME_BYTES) {
        return Err(FrameError::Torn);
    }
    let mut envelope = Vec::new();
    let read = input.take(len as u64).read_to_end(&mut envelope)?;
    if read == len {
        Ok(Some(envelope))
    } else {
        Err(FrameError::Torn)
    }
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match input.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Returns the next record; `None` at the end of the input.
///
/// # Errors
/// The errors of [`read_frame`], and an error when the record is not an `S`.
pub fn read_record<S: Stored>(input: &mut impl Read) -> Result<Option<S>, FrameError> {
    match read_frame(input)? {
        Some(envelope) => Ok(Some(decode(&envelope)?)),
        None => Ok(None),
    }
}
