//! Points where a crash would hurt most. A debug build dies there on request, so that tests can
//! show that nothing is lost. In a release build, passing such a point costs nothing.
//!
//! `TGFS_CRASH_AT=journal-appended:3` dies at the third pass of that step. It dies by SIGKILL, so
//! that no destructor runs and nothing is flushed.

/// A step of the write path that has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The bytes of a commit are in the spool file; nothing names them yet.
    SpoolWritten,
    /// A change is in the journal's file, but the index does not have it.
    JournalAppended,
    /// The index has a change.
    IndexUpdated,
    /// A pack is acknowledged, but no record names it.
    PackPut,
    /// Index and journal name a pack, but no manifest does.
    PackNamed,
    /// A manifest is acknowledged, but its records are still in the journal.
    ManifestPut,
    /// Records left the journal.
    JournalTrimmed,
    /// A spool file that nothing needs is gone.
    SpoolReleased,
    /// An attempt at a file's views is counted, and nothing of it done.
    ViewsBegun,
}

impl Step {
    pub const ALL: [Self; 9] = [
        Self::SpoolWritten,
        Self::JournalAppended,
        Self::IndexUpdated,
        Self::PackPut,
        Self::PackNamed,
        Self::ManifestPut,
        Self::JournalTrimmed,
        Self::SpoolReleased,
        Self::ViewsBegun,
    ];

    /// Returns the name of the step, as it is written in `TGFS_CRASH_AT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpoolWritten => "spool-written",
            Self::JournalAppended => "journal-appended",
            Self::IndexUpdated => "index-updated",
            Self::PackPut => "pack-put",
            Self::PackNamed => "pack-named",
            Self::ManifestPut => "manifest-put",
            Self::JournalTrimmed => "journal-trimmed",
            Self::SpoolReleased => "spool-released",
            Self::ViewsBegun => "views-begun",
        }
    }
}

/// Marks that `step` is done. Returns, unless this process was asked to die here.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn pass(_step: Step) {}

/// Marks that `step` is done. Returns, unless this process was asked to die here.
#[cfg(debug_assertions)]
pub fn pass(step: Step) {
    if let Some(plan) = armed::PLAN.as_ref() {
        plan.pass(step);
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::Step;

    /// This setting is for tests only, so it is not in the table of settings.
    const VARIABLE: &str = "TGFS_CRASH_AT";

    pub(super) static PLAN: LazyLock<Option<Plan>> =
        LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|text| parse(&text)));

    #[derive(Debug)]
    pub(super) struct Plan {
        step: Step,
        passes_left: AtomicU32,
    }

    impl Plan {
        pub(super) fn pass(&self, step: Step) {
            if step == self.step && self.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                // An error leaves the process alive, and the test then notices that.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
        }
    }

    pub(super) fn parse(text: &str) -> Option<Plan> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let step = Step::ALL.into_iter().find(|step| step.as_str() == name)?;
        Some(Plan {
            step,
            passes_left: AtomicU32::new(count.parse().ok()?),
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_names_a_step_and_a_pass() {
            let plan = parse("pack-put:3").unwrap();
            assert_eq!(plan.step, Step::PackPut);
            assert_eq!(plan.passes_left.load(Ordering::Relaxed), 3);
            assert_eq!(parse("spool-written").unwrap().step, Step::SpoolWritten);
            assert!(parse("nowhere:1").is_none());
        }
    }
}
