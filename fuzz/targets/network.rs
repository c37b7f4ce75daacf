//! What clients, commands and Telegram send.

use super::stored::parts;
use tgfs::control::{Request, Response};
use tgfs::http::untrusted as http;
use tgfs::remote::telegram::untrusted::{self as telegram, Dialogue};

/// A Range header, for files of some sizes.
pub fn range(data: &[u8]) {
    for size in [0, 1, 1000, u64::MAX >> 2, u64::MAX] {
        if let Some(part) = http::range_of(data, size) {
            assert!(part.len > 0);
            assert!(part.offset < size);
            assert!(part.len <= size - part.offset);
        }
    }
}

/// A request: the target in the first line, one header in each line behind it.
pub fn request(data: &[u8]) {
    http::request(data);
    let target = String::from_utf8_lossy(data);
    for name in http::path_of(&target).unwrap_or_default() {
        assert!(!name.is_empty() && name != b"." && name != b"..");
        assert!(!name.contains(&b'/') && !name.contains(&0));
    }
}

/// A line on the control socket, of either side.
pub fn control(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let again =
            serde_json::to_vec(&request).map(|line| serde_json::from_slice::<Request>(&line));
        assert!(matches!(again, Ok(Ok(same)) if same == request));
        let paths = match &request {
            Request::Delete { targets: paths } | Request::Retry { paths } => paths.as_slice(),
            Request::List { directory: path } | Request::Url { path } => std::slice::from_ref(path),
            _ => &[],
        };
        for path in paths.iter().filter_map(|path| path.to_tree_path().ok()) {
            let mut names = path.names().iter().map(|name| name.as_bytes());
            assert!(names.all(|name| !name.is_empty() && !name.contains(&b'/') && name != b".."));
        }
    }
    if let Ok(response) = serde_json::from_slice::<Response>(data) {
        let _ = response.is_last();
        assert!(serde_json::to_vec(&response).is_ok());
    }
}

/// The caption of a post. What is read is written and read again as the same.
pub fn caption(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(written) = telegram::caption(&text) {
        assert_eq!(telegram::caption(&written).as_deref(), Some(&*written));
    }
}

/// The answer of a method.
pub fn answers(data: &[u8]) {
    telegram::answers(data);
}

/// What a server says under a valid key: messages, or bytes if the first part is empty.
pub fn dialogue(data: &[u8]) {
    let Some(mut dialogue) = Dialogue::begin() else {
        panic!("the client says nothing");
    };
    let parts = parts(data);
    let is_raw = parts.first().is_some_and(|part| part.is_empty());
    for part in parts.iter().take(64) {
        let heard = match is_raw {
            true => dialogue.send(part),
            false => dialogue.say(part),
        };
        if heard.is_err() {
            break;
        }
    }
}
