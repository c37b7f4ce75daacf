//! Turns a command's result into lines on stderr and an exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::output::note;

/// Result of a command. [`Unhappy`] is a failure that the output has told already.
pub(super) type Outcome = anyhow::Result<()>;

/// Everything that is wrong with the settings or with some of many files, one line each.
#[derive(Debug)]
pub(super) struct Problems(pub(super) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Problems {}

/// A failure that the command found and printed: a failed file, a finding.
#[derive(Debug)]
pub(super) struct Unhappy;

impl fmt::Display for Unhappy {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Unhappy {}

/// Joins an error and its causes, `what: why`. A cause that the text before it ends with is not
/// repeated: many errors print their cause themselves.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

pub(super) fn report(outcome: Outcome) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if error.is::<Unhappy>() {
        return ExitCode::FAILURE;
    }
    // `tgfs list | head` is not a failure.
    let is_closed_pipe = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if is_closed_pipe {
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<Problems>() {
        Some(problems) => problems.0.iter().for_each(|line| note(line)),
        None => note(&one_line(&error)),
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the index is damaged: {0}")]
    struct PrintsItsCause(#[source] io::Error);

    #[test]
    fn a_cause_is_printed_once() {
        let error = anyhow::Error::from(PrintsItsCause(io::Error::other("no such row")));
        assert_eq!(one_line(&error), "the index is damaged: no such row");
        let error = anyhow::Error::from(io::Error::other("no such row")).context("recover");
        assert_eq!(one_line(&error), "recover: no such row");
    }
}
