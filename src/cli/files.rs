//! `list`, `status`, `url`, `login-link`, `delete`, `retry`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use super::args::DeleteArgs;
use super::context::Context;
use super::outcome::{Outcome, Unhappy};
use super::output::{self, Align, Format, age, bit_rate, count, date, play_time, printable, size};
use super::progress::ProgressDisplay;
use super::session::{Heard, Session, StateNeed, all_heard, answers_of};
use crate::app::{self, OpenPurpose};
use crate::control::{Request, Response, UrlInfo, Wait};
use crate::model::{
    AttachState, ConfinementInfo, FileInfo, JobInfo, PendingInfo, PublicState, StoreStatus,
    UploadInfo,
};

/// A file with its URLs, as `list --json` prints it.
#[derive(Debug, Serialize)]
struct ListedFile {
    #[serde(flatten)]
    file: FileInfo,
    urls: Option<UrlInfo>,
}

pub(super) async fn list(directory: &OsStr, context: &Context) -> Outcome {
    let answers = answers_of(&context.config, |session| {
        let directory = session.tree_path(directory)?;
        Ok(Request::List { directory })
    })
    .await?;
    let mut listed: Vec<ListedFile> = Vec::new();
    for answer in answers {
        match answer {
            Response::File(file) => listed.push(ListedFile { file, urls: None }),
            Response::Urls(urls) => {
                if let Some(last) = listed.last_mut() {
                    last.urls = Some(urls);
                }
            }
            _ => {}
        }
    }
    match context.format {
        Format::Json => output::json(&listed),
        Format::Text => {
            let mut text = String::new();
            for one in &listed {
                text.push_str(&describe(&one.file, one.urls.as_ref()));
            }
            let bytes = listed.iter().map(|one| one.file.size).sum();
            let total = count(listed.len() as u64, "file");
            text.push_str(&format!("{total}, {}\n", size(bytes)));
            Ok(output::write(&text)?)
        }
    }
}

/// Returns the path, then facts on indented lines. A table of eleven columns fits no terminal.
pub(super) fn describe(file: &FileInfo, urls: Option<&UrlInfo>) -> String {
    let state = match file.state.is_final() {
        true => file.state.as_str().to_owned(),
        false => format!("{} {} %", file.state.as_str(), file.progress),
    };
    let mut facts = vec![state];
    if let Some(upload) = &file.upload {
        let rate = rate(upload);
        facts.extend(
            [rate, left(upload)]
                .into_iter()
                .filter(|text| !text.is_empty()),
        );
    }
    facts.push(size(file.size));
    facts.extend(file.duration.map(play_time));
    facts.extend(
        file.resolution
            .map(|(width, height)| format!("{width}x{height}")),
    );
    facts.extend(file.bitrate.map(bit_rate));
    if !file.codecs.is_empty() {
        facts.push(printable(&file.codecs.join(", ")).into_owned());
    }
    if file.segments > 0 {
        facts.push(count(u64::from(file.segments), "segment"));
    }
    if let Some(derived) = file.derived {
        facts.push(format!("{} beside it", size(derived)));
    }
    if !file.subtitles.is_empty() {
        let keys: Vec<_> = file
            .subtitles
            .iter()
            .map(|one| printable(&one.key).into_owned())
            .collect();
        facts.push(format!("subtitles {}", keys.join(", ")));
    }
    if !file.chapters.is_empty() {
        facts.push(count(file.chapters.len() as u64, "chapter"));
    }
    let mut text = format!("{}\n    {}\n", printable(&file.path), facts.join("  "));
    let (created, modified) = (date(file.created), date(file.modified));
    text.push_str(&format!(
        "    modified {modified}  added {created}  id {}\n",
        file.id
    ));
    if let Some(error) = &file.error {
        text.push_str(&format!("    {}\n", printable(error)));
    }
    if let Some(url) = urls.and_then(|urls| urls.local.as_ref().or(urls.file.as_ref())) {
        text.push_str(&format!("    {url}\n"));
    }
    text
}

/// Answer of `status`.
#[derive(Debug, Default, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileInfo>,
    jobs: Vec<JobInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingInfo>,
    /// What confines the media tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    confinement: Option<ConfinementInfo>,
}

impl Status {
    fn is_any_failed(&self) -> bool {
        let of_file = self.file.iter().map(|file| file.state);
        of_file
            .chain(self.jobs.iter().map(|job| job.state))
            .any(|state| state == PublicState::Failed)
    }
}

pub(super) async fn status(path: Option<&OsStr>, wait: Wait, context: &Context) -> Outcome {
    let purpose = match wait {
        Wait::No => OpenPurpose::Look,
        // Without a daemon the command does the work itself.
        Wait::UntilFinal => OpenPurpose::Ingest,
    };
    let session = Session::open(&context.config, purpose, StateNeed::MustExist).await?;
    let asked = ask_status(&session, path, wait, context.format).await;
    let closed = session.close().await;
    let status = asked?;
    closed?;
    match context.format {
        Format::Json => output::json(&status)?,
        Format::Text => output::write(&status_text(&status))?,
    }
    match (wait, status.is_any_failed()) {
        (Wait::UntilFinal, true) => Err(Unhappy.into()),
        _ => Ok(()),
    }
}

async fn ask_status(
    session: &Session,
    path: Option<&OsStr>,
    wait: Wait,
    format: Format,
) -> anyhow::Result<Status> {
    let path = path.map(|path| session.tree_path(path)).transpose()?;
    let mut status = Status::default();
    let mut progress = ProgressDisplay::new(format);
    let mut heard = |response| {
        match progress.take(response) {
            Some(Response::File(file)) => status.file = Some(file),
            Some(Response::Job(job)) => status.jobs.push(job),
            Some(Response::Store(store)) => status.store = Some(store),
            Some(Response::Pending(pending)) => status.pending = Some(pending),
            Some(Response::Confinement(found)) => status.confinement = Some(found),
            _ => {}
        }
        Ok(())
    };
    session
        .ask(Request::Status { path, wait }, None, &mut heard)
        .await?;
    drop(progress);
    Ok(status)
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    if let Some(file) = &status.file {
        text.push_str(&describe(file, None));
    }
    if !status.jobs.is_empty() {
        let head = [
            ("STATE", Align::Left),
            ("STEP", Align::Left),
            ("DONE", Align::Right),
            ("RATE", Align::Right),
            ("LEFT", Align::Right),
            ("IN SPOOL", Align::Right),
            ("AGE", Align::Right),
            ("FILE", Align::Left),
        ];
        let row = |job: &JobInfo| {
            let shown = match &job.error {
                Some(error) => format!("{}: {error}", job.path),
                None => job.path.clone(),
            };
            vec![
                job.state.as_str().to_owned(),
                match job.step_progress {
                    Some(percent) if percent > 0 => format!("{} {percent} %", job.step),
                    _ => job.step.clone(),
                },
                format!("{} %", job.progress),
                job.upload.as_ref().map(rate).unwrap_or_default(),
                job.upload.as_ref().map(left).unwrap_or_default(),
                size(job.spool_bytes),
                age(job.age_seconds),
                shown,
            ]
        };
        let rows: Vec<_> = status.jobs.iter().map(row).collect();
        text.push_str(&output::table(&head, &rows));
    }
    if let Some(line) = status.store.as_ref().and_then(StoreStatus::explain) {
        text.push_str(&format!("{}\n", printable(&line)));
    }
    for line in status.store.iter().flat_map(|store| &store.troubles) {
        text.push_str(&format!("{}\n", printable(line)));
    }
    let is_known = |store: &StoreStatus| store.state != AttachState::Filling;
    if let Some(pending) = &status.pending
        && (pending.files > 0 || status.store.as_ref().is_none_or(is_known))
    {
        text.push_str(&pending_text(pending));
    }
    if let Some(found) = &status.confinement {
        text.push_str(&format!("{}\n", printable(&found.explain())));
    }
    text
}

/// Returns the rate of an upload; empty if it is not known yet.
fn rate(upload: &UploadInfo) -> String {
    let rate = upload.bytes_per_second.map(size);
    rate.map(|rate| format!("{rate}/s")).unwrap_or_default()
}

/// Returns the time that an upload still takes; empty if it is not known.
fn left(upload: &UploadInfo) -> String {
    let left = upload.seconds_left.map(age);
    left.map(|left| format!("{left} left")).unwrap_or_default()
}

/// Returns a text that names the files that would be lost with this disk, and other unfinished work.
pub(super) fn pending_text(pending: &PendingInfo) -> String {
    let playlists = match pending.without_views {
        0 => None,
        1 => Some("1 film still needs playlists".to_owned()),
        films => Some(format!("{films} films still need playlists")),
    };
    let changes = match pending.changes {
        0 => None,
        changes => Some(format!(
            "{} will be saved shortly",
            count(changes, "name change")
        )),
    };
    let rest: Vec<String> = playlists.into_iter().chain(changes).collect();
    let bytes = match (pending.files, rest.is_empty()) {
        (0, true) => return "everything is stored\n".to_owned(),
        (0, false) => "All bytes are in the store.".to_owned(),
        (files, _) => format!(
            "only in the spool: {}, {}, the oldest for {}",
            count(files, "file"),
            size(pending.bytes),
            age(pending.oldest_seconds)
        ),
    };
    match (pending.files, rest.is_empty()) {
        (0, _) => format!("{bytes} {}.\n", rest.join("; ")),
        (_, true) => format!("{bytes}\n"),
        (_, false) => format!("{bytes}; {}\n", rest.join("; ")),
    }
}

/// URLs that `url` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlKind {
    /// Those that play without a login.
    Playable,
    /// `--file`
    FileWithToken,
}

impl UrlKind {
    pub(super) const fn of(file: bool) -> Self {
        match file {
            true => Self::FileWithToken,
            false => Self::Playable,
        }
    }
}

pub(super) async fn url(path: &OsStr, kind: UrlKind, context: &Context) -> Outcome {
    let answers = answers_of(&context.config, |session| {
        let path = session.tree_path(path)?;
        Ok(Request::Url { path })
    })
    .await?;
    let urls = answers.into_iter().find_map(|answer| match answer {
        Response::Urls(urls) => Some(urls),
        _ => None,
    });
    let Some(mut urls) = urls else {
        anyhow::bail!("the daemon gave no URL; see the log");
    };
    if kind == UrlKind::FileWithToken {
        let config = context.config.get();
        urls.file = urls
            .file
            .map(|url| app::with_token(&config, &url))
            .transpose()?;
    }
    match (context.format, kind) {
        (Format::Json, _) => output::json(&urls),
        (Format::Text, UrlKind::Playable) => {
            if urls.local.is_none() && urls.public.is_none() && urls.file.is_some() {
                output::note("this URL needs a login; `tgfs url --file` prints one with the token");
            }
            match output::columns() {
                Some(_) => Ok(output::write(&url_text(&urls))?),
                None => Ok(output::write_bytes(&url_bytes(&urls))?),
            }
        }
        (Format::Text, UrlKind::FileWithToken) => match &urls.file {
            Some(url) => Ok(output::write(&format!("{url}\n"))?),
            None => {
                anyhow::bail!("no URL: HTTP is off; give `mount` or `serve` an address with --http")
            }
        },
    }
}

/// Returns one URL a line, the most useful first. This lets a user pass `$(tgfs url X | head -1)` to a
/// player. URLs that need a login are left out where others exist.
pub(super) fn url_text(urls: &UrlInfo) -> String {
    let mut lines = url_lines(urls);
    lines.extend(urls.mount.iter().map(|path| printable(path).into_owned()));
    match lines.is_empty() {
        true => "no URL: HTTP is off and nothing is mounted\n".to_owned(),
        false => lines.join("\n") + "\n",
    }
}

pub(super) async fn login_link(context: &Context) -> Outcome {
    let answers = answers_of(&context.config, |_| Ok(Request::LoginLink)).await?;
    let link = answers.into_iter().find_map(|answer| match answer {
        Response::LoginLink(link) => Some(link),
        _ => None,
    });
    let Some(link) = link else {
        anyhow::bail!("the daemon gave no link; see the log");
    };
    match context.format {
        Format::Json => output::json(&link),
        Format::Text => {
            let lines: Vec<_> = [Some(&link.url), link.public.as_ref()]
                .into_iter()
                .flatten()
                .map(|url| format!("{url}\n"))
                .collect();
            Ok(output::write(&lines.concat())?)
        }
    }
}

fn url_lines(urls: &UrlInfo) -> Vec<String> {
    let mut lines: Vec<_> = [&urls.local, &urls.public]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    if lines.is_empty() {
        lines.extend(urls.file.clone());
    }
    lines
}

/// Returns the lines of [`url_text`] for a program, which needs the exact bytes of the path in the mount.
fn url_bytes(urls: &UrlInfo) -> Vec<u8> {
    let Some(mount) = urls.mount() else {
        return url_text(urls).into_bytes();
    };
    let lines = url_lines(urls).into_iter().map(|line| line + "\n");
    let mut bytes = lines.collect::<String>().into_bytes();
    bytes.extend_from_slice(mount.as_os_str().as_bytes());
    bytes.push(b'\n');
    bytes
}

pub(super) async fn delete(arguments: &DeleteArgs, context: &Context) -> Outcome {
    let heard = all_heard(&context.config, |session| {
        let typed = arguments.video_id.iter().chain(&arguments.targets);
        let targets = typed
            .map(|target| session.tree_path(target))
            .collect::<anyhow::Result<_>>()?;
        Ok(Request::Delete { targets })
    })
    .await?;
    let text_of = |answer: &Response| match answer {
        Response::Removed { path, files, .. } => Some(format!(
            "removed {} ({})\n",
            printable(path),
            count(*files, "file")
        )),
        _ => None,
    };
    told_partly(heard, text_of, context.format)
}

pub(super) async fn retry(paths: &[OsString], context: &Context) -> Outcome {
    let heard = all_heard(&context.config, |session| {
        let paths = paths
            .iter()
            .map(|path| session.tree_path(path))
            .collect::<anyhow::Result<_>>()?;
        Ok(Request::Retry { paths })
    })
    .await?;
    let text_of = |answer: &Response| match answer {
        Response::Retried { path, .. } => Some(format!("queued {}\n", printable(path))),
        _ => None,
    };
    told_partly(heard, text_of, context.format)
}

/// Prints what was done, and each file that failed as a line on stderr.
fn told_partly(
    heard: Heard,
    text_of: impl Fn(&Response) -> Option<String>,
    format: Format,
) -> Outcome {
    let is_any_done = heard.answers.iter().any(|one| text_of(one).is_some());
    if is_any_done || heard.whole.is_ok() {
        told(&heard.answers, text_of, format)?;
    }
    for answer in &heard.answers {
        match answer {
            Response::Finding { text } => output::note(text),
            Response::Retried {
                path,
                incomplete: Some(reason),
                ..
            } => output::note(&format!(
                "warning: {path} is stored as it is, and may be incomplete: {reason}"
            )),
            _ => {}
        }
    }
    heard.whole
}

/// Prints the answers that have a text, as lines or as one JSON array.
pub(super) fn told(
    answers: &[Response],
    text_of: impl Fn(&Response) -> Option<String>,
    format: Format,
) -> Outcome {
    let lines: Vec<_> = answers
        .iter()
        .filter_map(|one| Some((one, text_of(one)?)))
        .collect();
    match format {
        Format::Json => output::json(&lines.iter().map(|(one, _)| one).collect::<Vec<_>>()),
        Format::Text => {
            let text: String = lines.into_iter().map(|(_, line)| line).collect();
            Ok(output::write(&text)?)
        }
    }
}
