//! What reads through a handle tell the read-ahead: where they are, and where the bytes behind them
//! lie.

use super::Inner;
use super::open::FileHandle;
use super::open_view::follow_content;
use crate::model::{ByteRange, FileContent};
use crate::read::{Follower, ReadReach, Reading};

impl Inner {
    /// A read of a file as it is now.
    pub(super) fn follow_file(&self, open: &FileHandle, range: ByteRange) {
        let reading = Reading {
            of: None,
            range,
            reach: ReadReach::Within,
        };
        let source = |range: ByteRange| {
            let found = self.extents_at(&open.file, range.offset, range.len);
            found.ok()
        };
        self.reader.follow(&open.follower, reading, &source);
    }

    /// A read of one version of a file.
    pub(super) fn follow_version(
        &self,
        follower: &Follower,
        content: &FileContent,
        range: ByteRange,
    ) {
        follow_content(&self.reader, follower, content, range, ReadReach::Within);
    }
}
