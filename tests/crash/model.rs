//! What a writer was promised about one file.

/// Bytes of a file that a writer is in the middle of changing.
#[derive(Debug, Clone)]
pub struct Session {
    /// Content after each change that was acknowledged since the open.
    pub bytes: Vec<u8>,
    /// True once a change was acknowledged, or when the open created the file.
    pub is_changed: bool,
    /// True when the open or a change emptied the file.
    pub is_emptied: bool,
    /// True when `fsync` acknowledged a change.
    pub is_synced: bool,
    /// Content if the change that is under way has happened.
    pub under_way: Option<Vec<u8>>,
    /// True while the close is under way, and while nothing but the creation is.
    pub is_closing: bool,
}

/// One file of a writer.
#[derive(Debug, Clone, Default)]
pub struct Promised {
    /// Content at the last close; `None` while the file was never closed.
    pub closed: Option<Vec<u8>>,
    /// True when the file is known not to be whole: an earlier daemon ended in the middle of it.
    pub is_torn: bool,
    pub session: Option<Session>,
}

impl Session {
    /// Begins with the bytes of a file that was closed, or of none.
    pub fn over(closed: Option<&Vec<u8>>) -> Self {
        Self {
            bytes: closed.cloned().unwrap_or_default(),
            is_changed: closed.is_none(),
            is_emptied: false,
            is_synced: false,
            under_way: None,
            is_closing: false,
        }
    }

    /// Returns whether these bytes are those of the session, with any part of the change that is under way.
    pub fn may_have(&self, found: &[u8]) -> bool {
        let under_way = self.under_way.as_deref();
        self.bytes == found || under_way.is_some_and(|new| is_begun(&self.bytes, new, found))
    }
}

/// State and content of a file after a start.
#[derive(Debug)]
pub struct Found<'a> {
    pub bytes: &'a [u8],
    pub is_failed: bool,
}

impl Promised {
    /// Checks a file that was found after a kill. Returns why it breaks the promise.
    pub fn check(&self, found: &Found<'_>) -> Result<(), String> {
        let Some(session) = &self.session else {
            let closed = self.closed.as_deref().unwrap_or_default();
            same("closed", closed, found.bytes)?;
            return match found.is_failed == self.is_torn {
                true => Ok(()),
                false => Err(format!(
                    "closed, torn {}, failed {}",
                    self.is_torn, found.is_failed
                )),
            };
        };
        let is_written = session.may_have(found.bytes);
        if is_written && (found.is_failed || session.is_closing) {
            return Ok(());
        }
        // The version that was closed stays whole if the new bytes went elsewhere.
        if let Some(closed) = &self.closed
            && (!session.is_synced || !session.is_changed)
            && closed == found.bytes
            && found.is_failed == self.is_torn
        {
            return Ok(());
        }
        let closed = self.closed.as_ref().map_or(0, Vec::len);
        Err(format!(
            "{} bytes, failed {}; written {}, closed {closed}, changed {}, synced {}, same {is_written}",
            found.bytes.len(),
            found.is_failed,
            session.bytes.len(),
            session.is_changed,
            session.is_synced,
        ))
    }
}

/// Returns whether the change from `old` to `new` was done up to some byte: the kernel splits a large write
/// into several requests.
fn is_begun(old: &[u8], new: &[u8], found: &[u8]) -> bool {
    let at = new.iter().zip(found).take_while(|(a, b)| a == b).count();
    found == new || found.get(at..) == old.get(at..) || at == found.len() && at > old.len()
}

fn same(what: &str, expected: &[u8], found: &[u8]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    Err(format!(
        "{what}: {} bytes expected, {} found, first difference at {at:?}",
        expected.len(),
        found.len()
    ))
}
