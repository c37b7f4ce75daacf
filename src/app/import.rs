//! `import`: makes files of films that others posted to a channel. Their bytes stay in place.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::control::Response;
use crate::media::inspect::name::media_kind;
use crate::model::{ErrorKind, FsError, MessageId, Name, TreePath};
use crate::remote::retry::{Deadline, retry};
use crate::remote::{ForeignDocument, ListingReach, Remote, RemoteError, fetch_table};
use crate::vfs::{Caller, Vfs};

/// Deadline for reading a table that was just posted.
const TABLE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// Characters of a post's text that become a name.
const NAME_CHARS: usize = 100;

/// Adds the films that are not in the library yet, one after the other. A film that fails is reported
/// and skipped.
pub async fn import(
    vfs: &Vfs,
    remote: &Arc<dyn Remote>,
    channel: &str,
    directory: &TreePath,
    out: &Sender<Response>,
) -> Result<(), String> {
    let foreign = remote.foreign(channel).await.map_err(text)?;
    let known = vfs.adopted().map_err(text)?;
    let films: Vec<(ForeignDocument, Name)> = foreign
        .documents
        .into_iter()
        .filter(|document| !known.contains(&document.address))
        .filter_map(|document| name_of(&document).map(|name| (document, name)))
        .collect();
    if let ListingReach::UpToAGap(numbers) = foreign.reach {
        // The client may have gone. Nobody reads this then, nor the messages below.
        let text = format!(
            "stopped after {numbers} message numbers in a row without a post: posts behind a longer gap are not found; set the channel as one of a bot's own (CHAT_ID) to see all of it"
        );
        let _ = out.send(Response::Finding { text }).await;
    }
    let count = films.len() as u64;
    let mut failed = 0_u64;
    for (number, (document, name)) in (1..).zip(films) {
        let shown = directory.join(name.clone()).display();
        let progress = Response::Progress {
            path: shown.clone(),
            step: format!("reading {number} of {count}"),
            done: 0,
            total: 100,
        };
        let _ = out.send(progress).await;
        let answer = match take_over(vfs, remote, &document, directory, name).await {
            Ok(answer) => answer,
            Err(reason) => {
                failed += 1;
                Response::Finding {
                    text: format!("{shown} (post {}): {reason}", document.address.message),
                }
            }
        };
        let _ = out.send(answer).await;
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!(
            "{failed} of {count} could not be imported; remove the reasons and run it again"
        )),
    }
}

async fn take_over(
    vfs: &Vfs,
    remote: &Arc<dyn Remote>,
    document: &ForeignDocument,
    directory: &TreePath,
    name: Name,
) -> Result<Response, String> {
    let parent = vfs
        .make_directories(directory, own_caller())
        .map_err(text)?;
    let name = free_name(vfs, directory, name, document.address.message).map_err(text)?;
    let pack = remote.adopt(document).await.map_err(text)?;
    // A film gets a name only after it was read back.
    let read = || fetch_table(remote, &pack);
    retry(Deadline::after(TABLE_PATIENCE), read)
        .await
        .map_err(|error: RemoteError| text(error))?;
    let adopted = vfs.adopt(parent, name.as_bytes(), pack, document.date, own_caller());
    let id = adopted.map_err(text)?;
    vfs.sync().await.map_err(text)?;
    Ok(Response::File(vfs.info(id).map_err(text)?))
}

/// Adds the number of the message to a name that is taken.
fn free_name(
    vfs: &Vfs,
    directory: &TreePath,
    name: Name,
    message: MessageId,
) -> Result<Name, FsError> {
    let is_free = |name: &Name| match vfs.resolve(&directory.join(name.clone())) {
        Ok(_) => Ok(false),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    };
    if is_free(&name)? {
        return Ok(name);
    }
    let (stem, extension) = name.split_extension();
    let number = format!(" ({message}).");
    let numbered = Name::new([stem, number.as_bytes(), extension].concat())?;
    match is_free(&numbered)? {
        true => Ok(numbered),
        false => Err(FsError::new(ErrorKind::Exists, "another file has its name")),
    }
}

/// Returns the name of a film; `None` if the post is not a film.
fn name_of(document: &ForeignDocument) -> Option<Name> {
    let clean = |text: &str| {
        let is_bad = |c: char| c == '/' || c.is_control();
        let text: String = text
            .chars()
            .map(|c| if is_bad(c) { '_' } else { c })
            .collect();
        text.trim().to_owned()
    };
    let given = Name::new(clean(&document.name)).ok();
    if let Some(name) = given.filter(|name| media_kind(name).is_media()) {
        return Some(name);
    }
    let kind = document.mime.strip_prefix("video/")?;
    let extension = match kind {
        "x-matroska" => "mkv",
        "webm" => "webm",
        "quicktime" => "mov",
        "mp2t" => "ts",
        "x-msvideo" => "avi",
        _ => "mp4",
    };
    let first_line = document.text.lines().next().unwrap_or_default();
    let first_line: String = first_line.chars().take(NAME_CHARS).collect();
    let stems = [clean(&document.name), clean(&first_line)];
    let stem = stems.into_iter().find(|stem| !stem.is_empty());
    let stem = stem.unwrap_or_else(|| format!("post {}", document.address.message));
    let name = Name::new(format!("{stem}.{extension}")).ok();
    name.or_else(|| Name::new(format!("post {}.{extension}", document.address.message)).ok())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn own_caller() -> Caller {
    Caller {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelId, TelegramAddress, Timestamp};

    #[test]
    fn films_have_names_and_nothing_else_is_a_film() {
        let name = |name: &str, mime: &str, text: &str| {
            let document = ForeignDocument {
                address: TelegramAddress {
                    channel: ChannelId::new(1),
                    message: MessageId::new(7),
                    document: 1,
                    dc: 2,
                },
                name: name.into(),
                mime: mime.into(),
                text: text.into(),
                size: 1,
                date: Timestamp::now(),
            };
            name_of(&document).map(|name| name.display())
        };
        let film = |text: &str| Some(text.to_owned());
        assert_eq!(
            name("Heat.mkv", "application/octet-stream", ""),
            film("Heat.mkv")
        );
        assert_eq!(name("", "video/mp4", "Heat\n1995"), film("Heat.mp4"));
        assert_eq!(name("", "video/webm", ""), film("post 7.webm"));
        assert_eq!(name("a/b.mkv", "", ""), film("a_b.mkv"));
        assert_eq!(name("..", "video/mp4", ""), film("...mp4"));
        assert_eq!(name("notes.txt", "text/plain", ""), None);
        assert_eq!(name("", "image/jpeg", "Heat.mkv"), None);
    }
}
