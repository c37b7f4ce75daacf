//! A film in a running daemon, with its addresses and properties.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client;
use crate::daemon::Daemon;
use crate::sources::{Says, Source};

pub struct Film {
    pub name: String,
    /// File that was copied into the daemon.
    pub source: PathBuf,
    /// Scratch directory for programs.
    pub place: PathBuf,
    pub has_views: bool,
    /// Reason why the film has no views, or what they lack.
    pub error: Option<String>,
    pub has_picture: bool,
    pub has_sound: bool,
    /// True when segments are ranges of the file and carry all audio.
    pub is_in_place: bool,
    /// True when decoders may complain: about damage, or about missing references after a seek.
    pub may_complain: bool,
    pub is_damaged: bool,
    /// Duration from the first picture to the end.
    pub seconds: f64,
    /// Frame rate, in frames per second.
    pub rate: f64,
    /// Multivariant playlists, for MP4 segments and for MPEG-TS.
    pub url: String,
    pub transport: Option<String>,
    pub master: String,
    /// Base URL: the playlist of a track is `{base}/{name}.m3u8`.
    pub base: String,
}

impl Film {
    /// Reads the properties of a film from `tgfs list`.
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

    /// Returns true for codecs whose frames carry headers that MP4 drops.
    pub fn has_headers(&self) -> bool {
        self.name.ends_with("ts")
    }

    /// Seek target in seconds, in the second of two segments.
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
