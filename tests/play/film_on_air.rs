//! A film in a running daemon: its addresses, and what is known of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client;
use crate::daemon::Daemon;
use crate::sources::{Says, Source};

pub struct Film {
    pub name: String,
    /// The file that was given to the daemon.
    pub source: PathBuf,
    /// Where programs may leave what they keep.
    pub place: PathBuf,
    pub has_views: bool,
    /// Why it has no views, or what is missing in them.
    pub error: Option<String>,
    pub has_picture: bool,
    pub has_sound: bool,
    /// Whether its segments are ranges of the file, with all sound in them.
    pub is_in_place: bool,
    /// Whether decoders may complain: of damage, or of pictures that a seek leaves behind.
    pub may_complain: bool,
    pub is_damaged: bool,
    /// From the first picture to the end.
    pub seconds: f64,
    /// Pictures a second.
    pub rate: f64,
    /// The multivariant playlist, of MP4 segments and of MPEG-TS.
    pub url: String,
    pub transport: Option<String>,
    pub master: String,
    /// The playlist of a track is `{base}/{name}.m3u8`.
    pub base: String,
}

impl Film {
    /// What `list` says of a film with this source.
    pub fn new(daemon: &Daemon, listed: &Value, source: &Source, file: &Path) -> Self {
        let id = listed["id"].as_str().unwrap();
        let has_views = listed["has_views"] == true;
        let path = format!("/playlist/local/{id}");
        let get = |path: &str| {
            let reply = client::get(daemon, path);
            (reply.status == 200).then(|| reply.text())
        };
        let master = get(&format!("{path}.m3u8")).unwrap_or_default();
        assert_eq!(!master.is_empty(), has_views, "{listed}");
        let in_transport = format!("{path}.m3u8?container=ts");
        let picture = get(&format!("{path}/video.m3u8"));
        let sound = get(&format!("{path}/audio-1.m3u8"));
        let at = |path: &str| format!("http://{}{path}", daemon.address());
        let lead = picture.as_deref().or(sound.as_deref()).unwrap_or_default();
        Self {
            name: source.name.to_owned(),
            source: file.to_path_buf(),
            place: daemon.directory().to_path_buf(),
            has_views,
            error: listed["error"].as_str().map(str::to_owned),
            has_picture: picture.is_some(),
            is_in_place: lead.contains(".ts"),
            has_sound: sound.is_some(),
            may_complain: matches!(source.says, Says::Damaged(_) | Says::Lacks(_)),
            is_damaged: matches!(source.says, Says::Damaged(_)),
            rate: rate(&master).unwrap_or(25.0),
            seconds: lead.lines().filter_map(extinf).sum(),
            url: at(&format!("{path}.m3u8")),
            transport: get(&in_transport).map(|_| at(&in_transport)),
            master,
            base: at(&path),
        }
    }

    /// Whether its frames have headers that MP4 has not.
    pub fn has_headers(&self) -> bool {
        self.name.ends_with("ts")
    }

    /// Where to seek to, in the second of two segments.
    pub fn middle(&self) -> f64 {
        self.seconds * 0.55
    }
}

fn extinf(line: &str) -> Option<f64> {
    let seconds = line.strip_prefix("#EXTINF:")?;
    seconds.trim_end_matches(',').parse().ok()
}

fn rate(master: &str) -> Option<f64> {
    let (_, rest) = master.split_once("FRAME-RATE=")?;
    rest.split([',', '\n']).next()?.parse().ok()
}
