//! The library that the channels hold, once it has been found or made.

use std::sync::Mutex;

use super::caption::{Caption, CaptionBody};
use crate::model::{ChannelId, LibraryId, MessageId};
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::MutexExt as _;

/// Library that the channels hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundLibrary {
    /// Its id.
    pub library: LibraryId,
    /// Channel that holds the log.
    pub home: ChannelId,
    /// Message in `home` that says so, if it is known.
    pub mark: Option<MessageId>,
}

impl BoundLibrary {
    /// Library in captions of messages that belong to no library.
    const NONE: Self = Self {
        library: LibraryId::from_bytes([0; 16]),
        home: ChannelId::new(0),
        mark: None,
    };

    /// Returns the caption of a message of this library.
    pub fn caption(&self, body: CaptionBody) -> Caption {
        Caption {
            library: self.library,
            home: self.home,
            body,
        }
    }
}

/// Returns the text of a probe that belongs to no library.
pub fn probe_without_library() -> String {
    BoundLibrary::NONE.caption(CaptionBody::Probe).to_string()
}

/// Holder of the bound library; empty until it is found or made.
#[derive(Debug, Default)]
pub struct LibraryBinding {
    bound: Mutex<Option<BoundLibrary>>,
}

impl LibraryBinding {
    /// Returns the library.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Invalid`] before the library was found or made.
    pub fn bound(&self) -> Result<BoundLibrary, RemoteError> {
        self.get().ok_or_else(|| {
            RemoteError::new(
                RemoteErrorKind::Invalid,
                "use the channels",
                "it is not known yet which library they hold",
            )
        })
    }

    /// Returns the library, if it was found or made.
    pub fn get(&self) -> Option<BoundLibrary> {
        *self.bound.acquire()
    }

    /// Sets the library.
    pub fn bind(&self, bound: BoundLibrary) {
        *self.bound.acquire() = Some(bound);
    }

    /// Returns the text of a message of the library.
    ///
    /// # Errors
    /// See [`Self::bound`].
    pub fn caption(&self, body: CaptionBody) -> Result<String, RemoteError> {
        Ok(self.bound()?.caption(body).to_string())
    }

    /// Returns the text of a probe. Works before the library is known, too.
    pub fn probe(&self) -> String {
        let bound = self.get().unwrap_or(BoundLibrary::NONE);
        bound.caption(CaptionBody::Probe).to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed step is a failed test.
mod tests {
    use super::*;

    #[test]
    fn captions_need_a_library_and_probes_do_not() {
        let binding = LibraryBinding::default();
        assert!(binding.caption(CaptionBody::Tombstone).is_err());
        assert_eq!(binding.probe(), probe_without_library());
        let library = LibraryId::from_bytes([2; 16]);
        binding.bind(BoundLibrary {
            library,
            home: ChannelId::new(7),
            mark: None,
        });
        let text = binding.caption(CaptionBody::Tombstone).unwrap();
        assert_eq!(Caption::read(&text).unwrap().library, library);
        assert!(binding.probe().contains("home=7"));
    }
}
