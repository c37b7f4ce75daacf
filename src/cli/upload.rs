//! `upload` and `import`: all bytes go into the spool first, then the command waits for each file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::args::{ImportArgs, UploadArgs};
use super::context::Context;
use super::files::{describe, url_text};
use super::outcome::{Outcome, Problems, Unhappy, one_line};
use super::output::{self, Format};
use super::progress::ProgressDisplay;
use super::session::{Session, StateNeed, UploadBody};
use crate::app::OpenPurpose;
use crate::control::{Request, Response, UrlInfo, Wait, WirePath};
use crate::model::{FileInfo, PublicState};

/// One file, as `upload --json` prints it.
#[derive(Debug, Serialize)]
struct Uploaded {
    file: FileInfo,
    urls: Option<UrlInfo>,
}

pub(super) async fn run(arguments: &UploadArgs, context: &Context) -> Outcome {
    let purpose = match arguments.no_wait {
        true => OpenPurpose::Look,
        false => OpenPurpose::Ingest,
    };
    let session = Session::open(&context.config, purpose, StateNeed::MayBeMade).await?;
    let sent = send_all(arguments, &session, context.format).await;
    let closed = session.close().await;
    let UploadRun { uploaded, problems } = sent?;
    closed?;
    if problems.is_empty() {
        return report(&uploaded, context.format);
    }
    if !uploaded.is_empty() {
        // A failed file among them is told by its state, and the exit status is the same.
        let _ = report(&uploaded, context.format);
    }
    Err(Problems(problems).into())
}

/// Files that were uploaded, and a line for each that was not.
struct UploadRun {
    uploaded: Vec<Uploaded>,
    problems: Vec<String>,
}

/// Adds the films of a channel, then waits for them as `upload` does.
pub(super) async fn import(arguments: &ImportArgs, context: &Context) -> Outcome {
    // `OpenPurpose::Look` would not connect to the store if the tree is known.
    let need = StateNeed::MayBeMade;
    let session = Session::open(&context.config, OpenPurpose::Ingest, need).await?;
    let taken = take_over(arguments, &session, context.format).await;
    let closed = session.close().await;
    let Imported {
        taken,
        findings,
        whole,
    } = taken?;
    closed?;
    for finding in &findings {
        output::note(finding);
    }
    if taken.is_empty() && whole.is_ok() && context.format == Format::Text {
        output::write("nothing new to import\n")?;
        return Ok(());
    }
    report(&taken, context.format)?;
    whole
}

struct Imported {
    taken: Vec<Uploaded>,
    findings: Vec<String>,
    /// Error if some films could not be added. The others were added.
    whole: anyhow::Result<()>,
}

async fn take_over(
    arguments: &ImportArgs,
    session: &Session,
    format: Format,
) -> anyhow::Result<Imported> {
    let request = Request::Import {
        channel: arguments.channel.clone(),
        directory: session.tree_path(&arguments.to)?,
    };
    let mut progress = ProgressDisplay::new(format);
    let (mut taken, mut findings) = (Vec::new(), Vec::new());
    let mut heard = |response| {
        match progress.take(response) {
            Some(Response::File(file)) => taken.push(Uploaded { file, urls: None }),
            Some(Response::Finding { text }) => findings.push(text),
            _ => {}
        }
        Ok(())
    };
    let whole = session.ask(request, None, &mut heard).await;
    if !arguments.no_wait {
        for one in &mut taken {
            wait_for(one, session, &mut progress).await?;
        }
    }
    Ok(Imported {
        taken,
        findings,
        whole,
    })
}

fn report(uploaded: &[Uploaded], format: Format) -> Outcome {
    match format {
        Format::Json => output::json(&uploaded)?,
        Format::Text => {
            let mut text = String::new();
            for one in uploaded {
                match &one.urls {
                    Some(urls) if one.file.state != PublicState::Failed => {
                        text.push_str(&url_text(urls));
                    }
                    _ => text.push_str(&describe(&one.file, None)),
                }
            }
            output::write(&text)?;
        }
    }
    let is_failed = |one: &Uploaded| one.file.state == PublicState::Failed;
    match uploaded.iter().any(is_failed) {
        true => Err(Unhappy.into()),
        false => Ok(()),
    }
}

async fn send_all(
    arguments: &UploadArgs,
    session: &Session,
    format: Format,
) -> anyhow::Result<UploadRun> {
    let directory = session.tree_path(&arguments.to)?;
    let mut progress = ProgressDisplay::new(format);
    let (mut uploaded, mut problems) = (Vec::new(), Vec::new());
    for path in arguments.video.iter().chain(&arguments.files) {
        match send(path, &directory, session, &mut progress).await {
            Ok(one) => uploaded.push(one),
            Err(error) => problems.push(one_line(&error.context(path.display().to_string()))),
        }
    }
    if !arguments.no_wait {
        for one in &mut uploaded {
            if let Err(error) = wait_for(one, session, &mut progress).await {
                problems.push(one_line(&error.context(one.file.path.clone())));
            }
        }
    }
    Ok(UploadRun { uploaded, problems })
}

async fn send(
    path: &Path,
    directory: &WirePath,
    session: &Session,
    progress: &mut ProgressDisplay,
) -> anyhow::Result<Uploaded> {
    let file = tokio::fs::File::open(path)
        .await
        .context("cannot be read")?;
    let metadata = file.metadata().await.context("cannot be read")?;
    if metadata.is_dir() {
        bail!("is a directory; upload the files in it, or copy it into the mount with cp -r");
    }
    if !metadata.is_file() {
        bail!("is not a regular file");
    }
    let Some(name) = path.file_name() else {
        bail!("has no name");
    };
    let size = metadata.len();
    let request = Request::Upload {
        directory: directory.clone(),
        name: WirePath::new(name.as_bytes()),
        size,
        wait: Wait::No,
    };
    let (mut info, mut urls) = (None, None);
    let mut heard = |response| {
        match progress.take(response) {
            Some(Response::File(file)) => info = Some(file),
            Some(Response::Urls(found)) => urls = Some(found),
            _ => {}
        }
        Ok(())
    };
    session
        .ask(request, Some(UploadBody { file, size }), &mut heard)
        .await?;
    match info {
        Some(file) => Ok(Uploaded { file, urls }),
        None => bail!("the daemon gave no answer about it; see `tgfs status`"),
    }
}

/// Waits for a final state. It asks by id, since the file may be renamed meanwhile.
async fn wait_for(
    one: &mut Uploaded,
    session: &Session,
    progress: &mut ProgressDisplay,
) -> anyhow::Result<()> {
    let id = WirePath::new(one.file.id.as_bytes());
    let request = Request::Status {
        path: Some(id.clone()),
        wait: Wait::UntilFinal,
    };
    let mut heard = |response| {
        if let Some(Response::File(file)) = progress.take(response) {
            one.file = file;
        }
        Ok(())
    };
    session.ask(request, None, &mut heard).await?;
    for answer in session.answers(Request::Url { path: id }).await? {
        if let Response::Urls(urls) = answer {
            one.urls = Some(urls);
        }
    }
    Ok(())
}
