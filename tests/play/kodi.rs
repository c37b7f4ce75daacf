//! Kodi on a screen in memory, driven through its JSON-RPC. One process plays all films.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client;
use crate::daemon::Daemon;
use crate::film_on_air::Film;
use crate::kinds;
use crate::material::need;
use crate::players::{NOT_TRIED, cell};

/// Time for Kodi's own start, with its databases and its skin.
const START: Duration = Duration::from_secs(90);
/// Time until a film plays, at its start or behind a seek.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(60);
/// Film time, in seconds, that must pass before Kodi is said to play.
const ADVANCE: f64 = 0.25;
/// Kodi's home window, which takes commands.
const HOME: u64 = 10_000;
/// Kodi uses ALSA's null device: sound is decoded and dropped.
const SOUND: &str = "pcm.!default { type null }\nctl.!default { type null }\n";
/// Neither add-ons nor other machines are asked for anything.
const SETTINGS: &str = r#"<settings version="2">
<setting id="services.esenabled">true</setting>
<setting id="services.esallinterfaces">false</setting>
<setting id="services.webserver">false</setting>
<setting id="services.zeroconf">false</setting>
<setting id="services.upnp">false</setting>
<setting id="services.wsdiscovery">false</setting>
<setting id="general.addonupdates">2</setting>
<setting id="audiooutput.audiodevice">ALSA:default</setting>
</settings>"#;

/// A child that ends with its owner.
struct OwnedChild(Child);

impl Drop for OwnedChild {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Kodi is given, and what it has to find there.
struct Showing {
    what: String,
    /// Length that Kodi has to tell.
    seconds: f64,
    /// Length of what can be played, behind which no seek goes.
    playable: f64,
    /// Tracks of sound: each number that is right. Kodi plays one variant, and lists the tracks of its group.
    sounds: Vec<usize>,
    /// False when all pictures are the same.
    moves: bool,
}

impl Showing {
    fn file(film: &Film, mount: &Path) -> Self {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-show_streams", "-show_format"])
            .args(["-show_programs", "-of", "json"])
            .arg(&film.source)
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seconds = said["format"]["duration"].as_str();
        let seconds = seconds.map_or(0.0, |seconds| seconds.parse().unwrap());
        Self {
            what: mount.join(&film.name).display().to_string(),
            seconds,
            playable: if film.has_views {
                film.seconds
            } else {
                seconds
            },
            sounds: vec![sounds_of(&said)],
            moves: moves(film),
        }
    }

    fn views(film: &Film, url: &str, daemon: &Daemon) -> Self {
        let place = url.split_once(daemon.address()).unwrap().1;
        let playlist = client::get(daemon, place).text();
        let mut sounds: Vec<usize> = playlist
            .lines()
            .filter_map(|line| line.split_once("TYPE=AUDIO,GROUP-ID=\""))
            .filter_map(|(_, group)| group.split('"').next())
            .map(|group| {
                playlist
                    .matches(&format!("TYPE=AUDIO,GROUP-ID=\"{group}\""))
                    .count()
            })
            .collect();
        if film.is_in_place {
            // Segments carry all the sound of the file's program, beside that of playlists of its own.
            let inside = Self::file(film, &daemon.mountpoint()).sounds[0];
            sounds.push(0);
            sounds.iter_mut().for_each(|sounds| *sounds += inside);
        }
        Self {
            what: url.to_owned(),
            seconds: film.seconds,
            playable: film.seconds,
            sounds,
            moves: moves(film),
        }
    }
}

/// Returns the number of tracks of sound in ffprobe's answer: those of the first program, if there is one.
fn sounds_of(said: &Value) -> usize {
    let program = &said["programs"][0]["streams"];
    let streams = program.as_array().filter(|streams| !streams.is_empty());
    let streams = streams.or_else(|| said["streams"].as_array());
    let streams = streams.map_or(&[][..], Vec::as_slice);
    let is_sound = |stream: &&Value| stream["codec_type"] == "audio";
    streams.iter().filter(is_sound).count()
}

/// The samples with subtitles show one black picture.
fn moves(film: &Film) -> bool {
    !film.name.starts_with("subtitles")
}

pub struct Kodi {
    control: TcpStream,
    number: u64,
    home: TempDir,
    _kodi: OwnedChild,
    _screen: OwnedChild,
}

impl Kodi {
    pub fn start() -> Self {
        need("kodi", "kodi");
        need("Xvfb", "xvfb");
        let home = tempfile::tempdir().unwrap();
        let (screen, display) = screen(home.path());
        let port = write_settings(home.path());
        let kodi = Command::new(program())
            .args(["--standalone", "--windowing=x11", "--audio-backend=alsa"])
            .env("HOME", home.path())
            .env("DISPLAY", format!(":{display}"))
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kodi = OwnedChild(kodi);
        let begun = Instant::now();
        let control = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(control) => break control,
                Err(error) => assert!(begun.elapsed() < START, "kodi: {error}"),
            }
            std::thread::sleep(PAUSE);
        };
        control.set_read_timeout(Some(START)).unwrap();
        let mut kodi = Self {
            control,
            number: 0,
            home,
            _kodi: kodi,
            _screen: screen,
        };
        let window = json!({ "properties": ["currentwindow"] });
        while kodi.ask("GUI.GetProperties", window.clone())["currentwindow"]["id"] != HOME {
            assert!(begun.elapsed() < START, "kodi shows no window");
            std::thread::sleep(PAUSE);
        }
        kodi
    }

    /// Calls a method and returns its result, or `null` when Kodi refuses.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let call =
            json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": parameters });
        self.control.write_all(call.to_string().as_bytes()).unwrap();
        // Between answers Kodi tells what happens; such messages have no number.
        let control = self.control.try_clone().unwrap();
        let said = serde_json::Deserializer::from_reader(control).into_iter::<Value>();
        said.map(|said| said.unwrap())
            .find(|said| said["id"] == number)
            .map_or(Value::Null, |mut said| said["result"].take())
    }

    /// Returns the cells of the file in the mount, of the playlist, and of its form in MPEG-TS.
    pub fn cells(&mut self, film: &Film, daemon: &Daemon) -> [String; 3] {
        if film.has_views && !film.has_picture {
            // The null device takes sound at once, and a song is over.
            return [(); 3].map(|()| NOT_TRIED.to_owned());
        }
        let file = Showing::file(film, &daemon.mountpoint());
        let file = self.plays(film, &file);
        if !film.has_views {
            let why = film.error.as_deref().unwrap_or_default();
            return [file, cell(false, why), cell(false, why)];
        }
        if kinds::contains(&film.name) {
            return [file, NOT_TRIED.to_owned(), NOT_TRIED.to_owned()];
        }
        let main = self.plays(film, &Showing::views(film, &film.url, daemon));
        let transport = film.transport.as_ref();
        let transport = transport.map(|url| self.plays(film, &Showing::views(film, url, daemon)));
        let transport = transport.unwrap_or_else(|| cell(false, "not in MPEG-TS"));
        [file, main, transport]
    }

    /// Plays from the start and behind two seeks. Returns the table's cell.
    fn plays(&mut self, film: &Film, showing: &Showing) -> String {
        self.ask("Player.Open", json!({ "item": { "file": showing.what } }));
        let why = self.fault(showing);
        if why.is_some() {
            eprintln!("{}: kodi {}: {why:?}", film.name, showing.what);
            let log = fs::read_to_string(self.home.path().join(".kodi/temp/kodi.log"));
            let log = log.unwrap_or_default();
            let errors = log.lines().filter(|line| line.contains("error <"));
            let errors: Vec<&str> = errors.collect();
            let last = errors.len().saturating_sub(3);
            eprintln!("{:#?}", &errors[last..]);
        }
        for player in self
            .ask("Player.GetActivePlayers", json!({}))
            .as_array()
            .unwrap()
        {
            self.ask("Player.Stop", json!({ "playerid": player["playerid"] }));
        }
        cell(why.is_none(), why.unwrap_or_default())
    }

    fn fault(&mut self, showing: &Showing) -> Option<&'static str> {
        if !self.goes_on(showing, 0.0) {
            return Some("it shows nothing");
        }
        let player = self.player()?;
        let wanted = json!({ "playerid": player, "properties": ["totaltime", "audiostreams"] });
        let said = self.ask("Player.GetProperties", wanted);
        if (seconds(&said["totaltime"]) - showing.seconds).abs() > 1.0 {
            eprintln!("kodi: {}, not {} s", said["totaltime"], showing.seconds);
            return Some("it gets the length wrong");
        }
        let found = said["audiostreams"].as_array().map_or(0, Vec::len);
        if !showing.sounds.contains(&found) && found + showing.sounds.len() > 0 {
            eprintln!("kodi: {}, not {:?}", said["audiostreams"], showing.sounds);
            return Some("it does not find all sound");
        }
        for part in [0.6, 0.3] {
            let target = showing.playable * part;
            let time = json!({ "hours": 0, "minutes": 0, "seconds": target as u64,
                "milliseconds": (target.fract() * 1000.0) as u64 });
            let wanted = json!({ "playerid": player, "value": { "time": time } });
            self.ask("Player.Seek", wanted);
            if !self.goes_on(showing, target) {
                return Some("behind a seek it stops");
            }
        }
        None
    }

    fn player(&mut self) -> Option<u64> {
        self.ask("Player.GetActivePlayers", json!({}))[0]["playerid"].as_u64()
    }

    /// Waits until film time passes near `from`, and the screen shows more than one picture.
    fn goes_on(&mut self, showing: &Showing, from: f64) -> bool {
        let begun = Instant::now();
        let mut first = None;
        let mut shown = Vec::new();
        while begun.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
            let Some(player) = self.player() else {
                // Opening takes time; a film that has been opened is over.
                if first.is_some() || from > 0.0 {
                    return false;
                }
                continue;
            };
            let wanted = json!({ "playerid": player, "properties": ["time", "speed"] });
            let said = self.ask("Player.GetProperties", wanted);
            let time = seconds(&said["time"]);
            if said["speed"] != 1 || time < from - 1.0 || time > from + 3.0 {
                continue;
            }
            let picture = self.picture();
            if showing.moves && !shown.contains(&picture) {
                shown.push(picture);
            }
            let first = *first.get_or_insert(time);
            if time - first >= ADVANCE && (!showing.moves || shown.len() > 2) {
                return true;
            }
        }
        false
    }

    /// Returns what is on the screen, without the top, where Kodi shows its own bar behind a seek.
    fn picture(&self) -> Vec<u8> {
        let bytes = fs::read(self.home.path().join("Xvfb_screen0")).unwrap();
        bytes[bytes.len() / 4..].to_vec()
    }
}

/// Starts a screen whose pixels are a file in `directory`, and returns its number.
fn screen(directory: &Path) -> (OwnedChild, String) {
    let mut child = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "320x180x24"])
        .args(["-nolisten", "tcp", "-fbdir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut display = String::new();
    let said = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut display).unwrap();
    (OwnedChild(child), display.trim().to_owned())
}

/// Writes Kodi's settings below `home` and returns the port that takes commands, on this machine only.
fn write_settings(home: &Path) -> u16 {
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (commands, events) = (free().port(), free().port());
    let data = home.join(".kodi/userdata");
    fs::create_dir_all(&data).unwrap();
    fs::write(home.join(".asoundrc"), SOUND).unwrap();
    let events = format!("<setting id=\"services.esport\">{events}</setting></settings>");
    let settings = SETTINGS.replace("</settings>", &events);
    fs::write(data.join("guisettings.xml"), settings).unwrap();
    let more = format!(
        "<advancedsettings><jsonrpc><tcpport>{commands}</tcpport></jsonrpc></advancedsettings>"
    );
    fs::write(data.join("advancedsettings.xml"), more).unwrap();
    commands
}

/// Returns Kodi's program. The script `kodi` starts it as a child, which would stay.
fn program() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").unwrap();
    let mut programs = libraries.map(|place| place.unwrap().path().join("kodi/kodi.bin"));
    programs
        .find(|program| program.exists())
        .expect("kodi.bin is missing: `apt-get install kodi-bin`")
}

fn seconds(time: &Value) -> f64 {
    let part = |name: &str| time[name].as_f64().unwrap_or(0.0);
    part("hours") * 3600.0 + part("minutes") * 60.0 + part("seconds") + part("milliseconds") / 1e3
}
