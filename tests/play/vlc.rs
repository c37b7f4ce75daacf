//! VLC, driven through its line interface. VLC plays in real time, so each run is only as long as
//! the selection of each track takes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::material::need;
use crate::{Library, client, sources};

const PATIENCE: Duration = Duration::from_secs(40);
/// Pause between two commands, which leaves VLC time for its work.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Vlc {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    _home: TempDir,
}

impl Vlc {
    pub fn play(url: &str) -> Self {
        need("cvlc", "vlc-bin vlc-plugin-base");
        let home = tempfile::tempdir().unwrap();
        let mut child = command(&home)
            .args(["-I", "oldrc", "--rc-fake-tty", "--repeat"])
            .args(["--vout=dummy", "--aout=dummy", url])
            .env("HOME", home.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, answers) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let commands = child.stdin.take().unwrap();
        Self {
            child,
            commands,
            answers,
            _home: home,
        }
    }

    /// Sends a command and returns the lines of the answer.
    fn ask(&mut self, command: &str) -> Vec<String> {
        writeln!(self.commands, "{command}").unwrap();
        let name = command.split(' ').next().unwrap();
        let end = format!("{name}: returned");
        let mut lines = Vec::new();
        loop {
            let line = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("vlc does not answer `{command}` ({error}): {lines:#?}")
            });
            if line.starts_with(&end) {
                return lines;
            }
            lines.push(line);
        }
    }

    /// Selects the track in `language` and waits until it plays. `command` lists the tracks of a
    /// kind, and with a number selects one.
    fn choose(&mut self, command: &str, language: &str) {
        let begun = Instant::now();
        let wanted = format!("[{language}]");
        loop {
            let lines = self.ask(command);
            let line = lines.iter().find(|line| line.contains(&wanted));
            match line.and_then(|line| line.trim_start_matches("| ").split(' ').next()) {
                Some(_) if line.is_some_and(|line| line.trim_end().ends_with('*')) => return,
                Some(number) => drop(self.ask(&format!("{command} {number}"))),
                None => {}
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "vlc does not play {wanted}: {lines:#?}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Returns one figure of VLC's statistics.
    pub fn counted(&mut self, what: &str) -> u64 {
        self.ask("stats")
            .iter()
            .filter(|line| line.contains(what))
            .find_map(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Vlc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// VLC refuses to run as root.
pub fn command(home: &TempDir) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new("cvlc");
    }
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    std::os::unix::fs::chown(home.path(), Some(uid), Some(gid)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", "cvlc"])
        // The working directory must be one that the child may enter.
        .current_dir("/");
    command
}

#[test]
fn vlc_plays_and_lets_choose_each_track() {
    let library = Library::with_film();
    let mut vlc = Vlc::play(&library.playlist());
    for language in ["Spanish", "English"] {
        vlc.choose("atrack", language);
        vlc.choose("strack", language);
    }
    let begun = Instant::now();
    while vlc.counted("video decoded") < 50 || vlc.counted("audio decoded") < 50 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", vlc.ask("stats"));
        std::thread::sleep(PAUSE);
    }
    writeln!(vlc.commands, "quit").unwrap();
    assert!(vlc.child.wait().unwrap().success());
}

/// A film of one segment, with text of its own or beside it: VLC waits for ever where all playlists end at once.
#[test]
fn vlc_shows_short_films_with_subtitles() {
    let daemon = Daemon::start();
    let place = daemon.directory();
    let words = "1\n00:00:01,000 --> 00:00:02,000\nWords\n";
    std::fs::write(place.join("beside.srt"), words).unwrap();
    let film = "-f lavfi -i testsrc2=s=64x36:r=25:d=4 -f lavfi -i sine=d=4";
    let coded = "-c:v libx264 -preset superfast -c:a aac";
    sources::ffmpeg(place, &format!("{film} {coded}"), "beside.mkv");
    sources::ffmpeg(place, "-i beside.mkv -i beside.srt -c copy", "inside.mkv");
    let names = ["beside.srt", "beside.mkv", "inside.mkv"];
    let files = names.map(|name| place.join(name).display().to_string());
    let before = ["upload", "--to", "/"].map(str::to_owned);
    let arguments: Vec<&str> = before.iter().chain(&files).map(String::as_str).collect();
    daemon.run(&arguments);
    for name in ["beside", "inside"] {
        let url = daemon.url(&format!("/playlist/local/{name}.m3u8"));
        let begun = Instant::now();
        let mut list = String::new();
        while !list.contains("TYPE=SUBTITLES") {
            assert!(
                begun.elapsed() < PATIENCE,
                "{name} has no subtitles: {list}"
            );
            std::thread::sleep(PAUSE);
            list = client::get(&daemon, &format!("/playlist/local/{name}.m3u8")).text();
        }
        let mut vlc = Vlc::play(&url);
        while vlc.counted("video decoded") < 20 || vlc.counted("audio decoded") < 20 {
            assert!(
                begun.elapsed() < PATIENCE * 2,
                "{name}: {:#?}",
                vlc.ask("stats")
            );
            std::thread::sleep(PAUSE);
        }
    }
}
