//! A film of ten hours: one minute, 600 times.

use serde_json::Value;

use crate::daemon::Daemon;
use crate::film_on_air::Film;
use crate::players::{self, YES};
use crate::sources::{self, Source};

const MINUTES: usize = 600;

#[test]
fn a_film_of_ten_hours_plays_at_its_start_and_its_end() {
    let daemon = Daemon::start();
    let minute = "-f lavfi -i testsrc2=s=64x36:r=2:d=60 -f lavfi -i sine=r=8000:d=60 -c:v libx264 -preset superfast -g 4 -c:a aac -b:a 8k";
    sources::ffmpeg(daemon.directory(), minute, "minute.mkv");
    let again = MINUTES - 1;
    let repeat = format!("-stream_loop {again} -i minute.mkv -c copy");
    const LONG: Source = sources::plain("long.mkv");
    sources::ffmpeg(daemon.directory(), &repeat, LONG.name);
    let file = daemon.directory().join(LONG.name);
    daemon.run(&["upload", "--to", "/", file.to_str().unwrap()]);
    let listed: Value = serde_json::from_str(&daemon.run(&["list", "--json", "/"])).unwrap();
    let film = Film::new(&daemon, &listed[0], &LONG, &file);
    let hours = film.seconds / 3600.0;
    assert!((hours - 10.0).abs() < 0.01, "{hours} hours");
    let segments = listed[0]["segments"].as_u64().unwrap();
    assert!(segments.abs_diff(6000) < 100, "{segments} segments");
    let transport = film.transport.as_ref().unwrap();
    assert_eq!(players::ffmpeg_5(&film), YES);
    let end = film.seconds - 6.0;
    assert_eq!(players::ffmpeg_8(&film, end), YES);
    assert_eq!(players::ffmpeg_5_transport(&film, transport, end), YES);
}
