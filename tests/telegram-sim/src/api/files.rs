//! Bytes up and down: core.telegram.org/api/files.

use bytes::Bytes;
use grammers_tl_types::{Cursor, Deserializable, Serializable, enums, functions};

use super::{Answer, Caller, Outcome};
use crate::options::Bot;
use crate::refusal::Refusal;
use crate::world::access::{self, Standing};
use crate::world::content::{Part, Slice};
use crate::world::uploads::UploadKind;

/// A range lies in one aligned block of this size, and is no larger.
const BLOCK_BYTES: i64 = 1024 * 1024;

/// The `bytes` at the start of `rest`, without copying them.
fn byte_string(rest: &Bytes) -> Result<Bytes, Refusal> {
    let broken = || Refusal::bad("INPUT_FETCH_ERROR");
    let (start, length) = match rest.first_chunk::<4>().ok_or_else(broken)? {
        [254, low, middle, high] => (4, u32::from_le_bytes([*low, *middle, *high, 0])),
        [255, ..] => return Err(broken()),
        [length, ..] => (1, u32::from(*length)),
    };
    let end = start + usize::try_from(length).map_err(|_| broken())?;
    if end > rest.len() {
        return Err(broken());
    }
    Ok(rest.slice(start..end))
}

/// `upload.saveFilePart`, which is read by hand since it carries half a MiB.
pub(super) fn save_part(caller: Caller<'_>, bot: Bot, arguments: &Bytes) -> Outcome {
    let mut cursor = Cursor::from_slice(arguments);
    let file_id = i64::deserialize(&mut cursor)?;
    let number = i32::deserialize(&mut cursor)?;
    let bytes = byte_string(&arguments.slice(cursor.pos()..))?;
    save(caller, bot, file_id, number, bytes, UploadKind::Small)
}

/// `upload.saveBigFilePart`
pub(super) fn save_big_part(caller: Caller<'_>, bot: Bot, arguments: &Bytes) -> Outcome {
    let mut cursor = Cursor::from_slice(arguments);
    let file_id = i64::deserialize(&mut cursor)?;
    let number = i32::deserialize(&mut cursor)?;
    let total = i32::deserialize(&mut cursor)?;
    let bytes = byte_string(&arguments.slice(cursor.pos()..))?;
    // -1 is a stream whose length the client does not know yet.
    let total = (total != -1).then_some(total);
    save(
        caller,
        bot,
        file_id,
        number,
        bytes,
        UploadKind::Big { total },
    )
}

fn save(
    caller: Caller<'_>,
    bot: Bot,
    file_id: i64,
    number: i32,
    bytes: Bytes,
    kind: UploadKind,
) -> Outcome {
    let id = (bot, file_id);
    let mut world = caller.shared.world();
    world.uploads()?.admit(id, number, bytes.len(), kind)?;
    let path = world.part_path(id, number)?;
    drop(world);
    let part = match path {
        Some(path) => Part::write(path, &bytes)?,
        None => Part::Memory(bytes),
    };
    caller.shared.world().keep_part(id, number, part, kind);
    Ok(Answer::Object(true.to_bytes()))
}

/// The document that `upload.getFile` asks for.
pub(super) fn document_of(arguments: &[u8]) -> Option<i64> {
    let call = functions::upload::GetFile::from_bytes(arguments).ok()?;
    match call.location {
        enums::InputFileLocation::InputDocumentFileLocation(location) => Some(location.id),
        _ => None,
    }
}

fn check_range(call: &functions::upload::GetFile) -> Result<usize, Refusal> {
    let (offset, limit) = (call.offset, i64::from(call.limit));
    let unit = if call.precise { 1024 } else { 4096 };
    if offset < 0 || offset % unit != 0 {
        return Err(Refusal::bad("OFFSET_INVALID"));
    }
    let is_wrong = limit <= 0
        || limit > BLOCK_BYTES
        || limit % unit != 0
        || (!call.precise && BLOCK_BYTES % limit != 0)
        || offset / BLOCK_BYTES != (offset.saturating_add(limit) - 1) / BLOCK_BYTES;
    if is_wrong {
        return Err(Refusal::bad("LIMIT_INVALID"));
    }
    usize::try_from(limit).map_err(|_| Refusal::bad("LIMIT_INVALID"))
}

/// `upload.getFile`
pub(super) fn get(caller: Caller<'_>, bot: Bot, call: functions::upload::GetFile) -> Outcome {
    let limit = check_range(&call)?;
    let offset = u64::try_from(call.offset).map_err(|_| Refusal::bad("OFFSET_INVALID"))?;
    let enums::InputFileLocation::InputDocumentFileLocation(location) = call.location else {
        return Err(Refusal::bad("LOCATION_INVALID"));
    };
    let world = caller.shared.world();
    let standing = access::standing(
        &location.file_reference,
        bot,
        location.id,
        world.reference_generation(bot, location.id),
        caller.shared.options.reference_lifetime,
    );
    match standing {
        Standing::Live => {}
        Standing::Expired => return Err(Refusal::bad("FILE_REFERENCE_EXPIRED")),
        Standing::Invalid => return Err(Refusal::bad("FILE_REFERENCE_INVALID")),
    }
    if location.access_hash != access::document_hash(bot, location.id) {
        return Err(Refusal::bad("FILE_ID_INVALID"));
    }
    // The post was deleted, and its references with it.
    let Some(document) = world.document(location.id) else {
        return Err(Refusal::bad("FILE_REFERENCE_EXPIRED"));
    };
    if document.record.dc != caller.dc {
        return Err(Refusal::elsewhere("FILE", document.record.dc));
    }
    Ok(Answer::File(Slice::new(
        document.content.clone(),
        offset,
        limit,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_strings_are_read_in_place() {
        for length in [0, 1, 253, 254, 70_000] {
            let plain = vec![7_u8; length];
            let read = byte_string(&Bytes::from(plain.to_bytes())).expect("a byte string");
            assert_eq!(read, plain);
        }
        for broken in [&b""[..], b"\x05ab", b"\xff\0\0\0", b"\xfe\x10\0\0abc"] {
            assert!(byte_string(&Bytes::copy_from_slice(broken)).is_err());
        }
    }
}
