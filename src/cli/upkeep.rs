//! `plan`, `db-stats`, `cleanup`, `cache-clear`, `verify`, `recover`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::context::Context;
use super::files::told;
use super::outcome::{Outcome, Unhappy};
use super::output::{self, Align, Format, age, count, play_time, printable, size};
use super::progress;
use super::session::{Session, StateNeed, answers_of, answers_shown, check_state};
use crate::app;
use crate::control::{
    Cleaned, PlanCuts, PlanReport, PlanSegments, PlanTrack, Request, Response, Stat, StatUnit,
    Verified,
};
use crate::model::shown::readable;
use crate::model::{LibraryClaim, VerifyDepth};

pub(super) const fn depth(deep: bool) -> VerifyDepth {
    match deep {
        true => VerifyDepth::Blocks,
        false => VerifyDepth::Packs,
    }
}

pub(super) const fn claim(take_over: bool) -> LibraryClaim {
    match take_over {
        true => LibraryClaim::TakeOver,
        false => LibraryClaim::Continue,
    }
}

pub(super) async fn plan(file: &Path, context: &Context) -> Outcome {
    let plan = app::plan(&context.config.get(), file).await?;
    match context.format {
        Format::Json => output::json(&plan),
        Format::Text => Ok(output::write(&plan_text(&plan))?),
    }
}

pub(super) fn plan_text(plan: &PlanReport) -> String {
    let mut facts = vec![size(plan.size)];
    facts.push(plan.outcome.clone());
    facts.extend(plan.duration.map(play_time));
    let mut text = format!("{}\n    {}\n", printable(&plan.file), facts.join("  "));
    if !plan.tracks.is_empty() {
        let head = [
            ("TRACK", Align::Left),
            ("CODEC", Align::Left),
            ("LANGUAGE", Align::Left),
            ("SEGMENTS", Align::Right),
            ("MAPPED", Align::Right),
            ("DERIVED", Align::Right),
            ("LONGEST", Align::Right),
            ("LARGEST", Align::Right),
            ("TITLE", Align::Left),
        ];
        let row = |track: &PlanTrack| {
            vec![
                track.kind.clone(),
                track.codec.clone(),
                track.language.clone(),
                track.segments.to_string(),
                size(track.mapped),
                size(track.derived),
                format!("{:.1} s", track.longest),
                size(track.largest),
                track.title.clone(),
            ]
        };
        let rows: Vec<_> = plan.tracks.iter().map(row).collect();
        text.push_str(&output::table(&head, &rows));
    }
    if let Some(cuts) = &plan.cuts {
        text.push_str(&cuts_text(cuts));
    }
    if !plan.segments.is_empty() {
        text.push_str(&segments_text(&plan.segments));
    }
    match plan.derived_bytes {
        0 => text.push_str("the file is kept as it is; nothing is stored beside it\n"),
        bytes => text.push_str(&format!("stored beside the file: {}\n", size(bytes))),
    }
    for note in &plan.notes {
        text.push_str(&format!("note: {}\n", printable(note)));
    }
    text
}

fn cuts_text(cuts: &PlanCuts) -> String {
    let mut text = format!(
        "{} copied, {} encoded again; {} in all, {} on average, {} at most\n",
        count(cuts.copied, "segment"),
        cuts.reencoded,
        size(cuts.total),
        size(cuts.average),
        size(cuts.largest)
    );
    if let Some(rule) = &cuts.ten_passes {
        text.push_str(&format!(
            "the ten-pass rule would have cut every {} s: {}, {} of them too large and encoded again ({:.0} % of the film)\n",
            rule.duration,
            count(rule.segments, "segment"),
            rule.reencoded,
            rule.reencoded_percent
        ));
    }
    text
}

/// Returns a text such as `1-4 mapped, 5 encoded again`; a long list is cut.
fn segments_text(segments: &[PlanSegments]) -> String {
    const MOST: usize = 24;
    let shown = segments.iter().take(MOST).map(|part| {
        let numbers = match part.last - part.first {
            0 => part.first.to_string(),
            _ => format!("{}-{}", part.first, part.last),
        };
        format!("{numbers} {}", part.kind.as_str())
    });
    let more = match segments.len() > MOST {
        true => ", …",
        false => "",
    };
    format!("segments: {}{more}\n", shown.collect::<Vec<_>>().join(", "))
}

pub(super) async fn stats(context: &Context) -> Outcome {
    let answers = answers_of(&context.config, |_| Ok(Request::DbStats)).await?;
    let stats: Vec<Stat> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Response::Stat(stat) => Some(stat),
            _ => None,
        })
        .collect();
    match context.format {
        Format::Json => output::json(&stats),
        Format::Text => {
            let head = [
                ("PART", Align::Left),
                ("WHAT", Align::Left),
                ("VALUE", Align::Right),
            ];
            let row = |stat: &Stat| {
                let value = match stat.unit {
                    StatUnit::Count => stat.value.to_string(),
                    StatUnit::Bytes => size(stat.value),
                    StatUnit::Seconds => age(stat.value),
                };
                vec![stat.part.clone(), stat.name.clone(), value]
            };
            let rows: Vec<_> = stats.iter().map(row).collect();
            Ok(output::write(&output::table(&head, &rows))?)
        }
    }
}

pub(super) async fn cleanup(hours: u64, context: &Context) -> Outcome {
    let answers = answers_shown(context, |_| Ok(Request::Cleanup { hours })).await?;
    told(&answers, cleaned_text, context.format)
}

pub(super) async fn clear_cache(path: Option<&OsStr>, context: &Context) -> Outcome {
    let answers = answers_shown(context, |session| {
        let path = path.map(|path| session.tree_path(path)).transpose()?;
        Ok(Request::CacheClear { path })
    })
    .await?;
    told(&answers, cleaned_text, context.format)
}

fn cleaned_text(answer: &Response) -> Option<String> {
    let Response::Cleaned(cleaned) = answer else {
        return None;
    };
    let Cleaned {
        cache_bytes,
        cache_blocks,
        finished_jobs,
        packs,
        pack_bytes,
        packs_left,
        packs_failed,
    } = cleaned;
    let mut text = format!(
        "dropped {} ({}) and {}\n",
        count(*cache_blocks, "cached block"),
        size(*cache_bytes),
        count(*finished_jobs, "finished job")
    );
    if *packs > 0 {
        let packs = count(*packs, "pack");
        text.push_str(&format!(
            "deleted {packs} ({}) in the store\n",
            size(*pack_bytes)
        ));
    }
    if *packs_left > 0 {
        let packs = count(*packs_left, "pack");
        text.push_str(&format!(
            "{packs} can no longer be deleted, and stay in the store\n"
        ));
    }
    if *packs_failed > 0 {
        let packs = count(*packs_failed, "pack");
        text.push_str(&format!(
            "{packs} could not be deleted now; tgfs tries again\n"
        ));
    }
    Some(text)
}

pub(super) async fn verify(depth: VerifyDepth, context: &Context) -> Outcome {
    let answers = answers_shown(context, |_| Ok(Request::Verify { depth })).await?;
    let text_of = |answer: &Response| match answer {
        Response::Finding { text } => Some(format!("{}\n", printable(text))),
        Response::Verified(verified) => Some(verified_text(verified, depth)),
        _ => None,
    };
    told(&answers, text_of, context.format)?;
    let is_finding = |answer: &Response| matches!(answer, Response::Finding { .. });
    match answers.iter().any(is_finding) {
        true => Err(Unhappy.into()),
        false => Ok(()),
    }
}

/// Returns a text that says what was compared, and what was not.
pub(super) fn verified_text(verified: &Verified, depth: VerifyDepth) -> String {
    let packs = count(verified.packs, "pack");
    let (bytes, read) = (size(verified.bytes), size(verified.bytes_read));
    let findings = count(verified.findings, "finding");
    let mut text = match depth {
        VerifyDepth::Packs => format!(
            "{packs} verified ({bytes}): sizes and tables, {read} read; their data was not read (`tgfs verify --deep` reads it); {findings}\n"
        ),
        VerifyDepth::Blocks => {
            format!("{packs} verified ({bytes}): {read} read and compared; {findings}\n")
        }
    };
    if verified.packs_left > 0 {
        let packs = count(verified.packs_left, "pack");
        text.push_str(&format!(
            "{packs} that nothing needs could not be deleted\n"
        ));
    }
    if verified.packs_fading > 0 {
        let packs = count(verified.packs_fading, "pack");
        text.push_str(&format!(
            "{packs} near the edge of a channel, which shows about its last million posts: copy the oldest films out and in again (docs/OPERATIONS.md, two channels)\n"
        ));
    }
    text
}

fn shown(path: &Path) -> String {
    readable(path.as_os_str().as_bytes())
}

#[derive(Debug, Serialize)]
struct RecoveredReport {
    files: u64,
    directories: u64,
    remarks: Vec<String>,
    /// A byte that is not UTF-8 is shown as `\xE9`.
    old_index: Option<String>,
}

pub(super) async fn recover(claim: LibraryClaim, context: &Context) -> Outcome {
    let config = context.config.get();
    check_state(&config.state_dir, StateNeed::MayBeMade)?;
    if let Some(session) = Session::daemon_of(&config).await? {
        anyhow::bail!(
            "the daemon (pid {}) is using this state; stop it with `tgfs stop` first",
            session.info().pid
        );
    }
    let recovering = app::recover(&config, claim);
    let found = progress::during("recovering the index", context.format, recovering).await?;
    if context.format == Format::Json {
        return output::json(&RecoveredReport {
            files: found.files,
            directories: found.directories,
            remarks: found.remarks,
            old_index: found.old_index.as_deref().map(shown),
        });
    }
    let mut text = String::new();
    for remark in &found.remarks {
        text.push_str(&format!("{}\n", printable(remark)));
    }
    let directories = match found.directories {
        1 => "1 directory".to_owned(),
        number => format!("{number} directories"),
    };
    let is_empty = (found.files, found.directories) == (0, 0);
    match is_empty {
        true => text.push_str("the store holds no files of this library: nothing was recovered\n"),
        false => text.push_str(&format!(
            "recovered {} and {directories}\n",
            count(found.files, "file")
        )),
    }
    match &found.old_index {
        Some(old) if is_empty => text.push_str(&format!(
            "the index is empty now; the one before it is in {}\n",
            printable(&shown(old))
        )),
        Some(old) => text.push_str(&format!(
            "the old index was kept as {}\n",
            printable(&shown(old))
        )),
        None => {}
    }
    Ok(output::write(&text)?)
}
