//! Finds out which container a file is. The sniffer decides where it is sure; where it is not, or where the
//! tool refuses what the sniffer said, ffprobe chooses among the containers that follow no names.

use std::fs::File;

use super::context::BuildContext;
use crate::media::attempt::Attempt;
use crate::media::container::Container;
use crate::media::error::MediaError;
use crate::media::inspect::probe::{self, MediaProbe};
use crate::media::inspect::{protection, sniff};
use crate::media::reason::{UnreadableReason, UnsupportedReason};
use crate::media::tool::exit::Complaint;

/// Least certainty with which ffprobe's choice counts. Noise gets up to 25.
const LEAST_SCORE: u32 = 26;

/// A container, and ffprobe's answer about the file.
pub struct Identified {
    /// The container.
    pub container: Container,
    /// ffprobe's answer.
    pub probe: MediaProbe,
}

/// Reason why a file was not identified.
pub enum Unidentified {
    /// It is no known media container.
    NotMedia,
    /// It is media that the tools cannot read.
    Unreadable(UnreadableReason),
    /// It is media that HLS cannot carry.
    Unsupported(UnsupportedReason),
}

/// Returns what `input` is. The inner error is the reason why that is not known.
///
/// # Errors
/// When the file cannot be read, or the tool is missing or was stopped.
pub fn identify(
    context: &BuildContext,
    input: &File,
) -> Result<Result<Identified, Unidentified>, MediaError> {
    let Some(container) = sniff::sniff_file(input)? else {
        if sniff::starts_with_text(input)? {
            return Ok(Err(Unidentified::NotMedia));
        }
        return Ok(ask(context)?.ok_or(Unidentified::NotMedia));
    };
    if let Some(reason) = protection::refuse(input, container)? {
        return Ok(Err(Unidentified::Unreadable(reason)));
    }
    let tool = context.tool.as_ref();
    let reason = match probe::probe(tool, &context.source, container, &context.cancel)? {
        Attempt::Made(probe) => return Ok(Ok(Identified { container, probe })),
        Attempt::Refused(reason) => reason,
    };
    let no_index = UnreadableReason::Complaint(Complaint::IndexMissing);
    if reason == no_index && sniff::is_still_picture(input)? {
        let reason = UnsupportedReason::StillPicture;
        return Ok(Err(Unidentified::Unsupported(reason)));
    }
    let other = ask(context)?.filter(|found| found.container != container);
    Ok(other.ok_or(Unidentified::Unreadable(reason)))
}

/// Asks ffprobe for the container; `None` where it knows none, or is not sure.
fn ask(context: &BuildContext) -> Result<Option<Identified>, MediaError> {
    let tool = context.tool.as_ref();
    let asked = probe::probe(tool, &context.source, Container::Unsure, &context.cancel)?;
    let Attempt::Made(probe) = asked else {
        return Ok(None);
    };
    let container = Container::from_ffprobe(&probe.format.format_name);
    let container = container.filter(|_| probe.format.probe_score >= LEAST_SCORE);
    Ok(container.map(|container| Identified { container, probe }))
}
