//! Functions that make films, build their views, and lay the views out as real files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tgfs::media::build::cuts::CutPolicy;
use tgfs::media::build::{BuildOutcome, BuildReport, BuildRequest, build_views};
use tgfs::media::error::MediaError;
use tgfs::media::hls::view::{Piece, ViewBody, ViewKind, ViewNode};
use tgfs::media::hls::views;
use tgfs::media::in_place;
use tgfs::media::tool::MediaTool;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::model::{ByteRange, Compat, Views};
use tgfs::process::Launcher;

/// Returns a film by name and makes it on first use. Fails when ffmpeg or mkvmerge is missing: nothing is
/// skipped.
pub fn film(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("films");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/media/make_films");
    let status = Command::new(script)
        .arg(&directory)
        .arg(name)
        .status()
        .unwrap();
    assert!(status.success(), "make_films {name}: {status}");
    directory.join(name)
}

pub fn tool() -> Arc<dyn MediaTool> {
    Arc::new(Ffmpeg::new(Launcher::Direct))
}

pub struct Built {
    pub source: PathBuf,
    pub views: Views,
    pub directory: tempfile::TempDir,
}

pub fn run(
    tool: &Arc<dyn MediaTool>,
    source: &Path,
    derived: &Path,
) -> Result<BuildOutcome, MediaError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let request = BuildRequest {
        tool,
        source,
        derived,
        policy: &CutPolicy::default(),
        compat: Compat::Off,
    };
    runtime.block_on(build_views(request, &|_| {}))
}

/// Returns the outcome for a source that is expected to give no views. The derived file must be gone.
pub fn refused(source: &Path) -> BuildOutcome {
    let directory = tempfile::tempdir().unwrap();
    let derived = directory.path().join("derived");
    let outcome = run(&tool(), source, &derived).unwrap();
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "files left behind"
    );
    outcome
}

pub fn build_with(tool: &Arc<dyn MediaTool>, source: &Path) -> Built {
    let directory = tempfile::tempdir().unwrap();
    let derived = directory.path().join("derived");
    match run(tool, source, &derived).unwrap() {
        BuildOutcome::Ready(views, _) => {
            assert_eq!(views.derived.len, derived.metadata().unwrap().len());
            assert_eq!(
                fs::read_dir(directory.path()).unwrap().count(),
                1,
                "files left behind"
            );
            Built {
                source: source.to_path_buf(),
                views: *views,
                directory,
            }
        }
        other => panic!("{}: {other:?}", source.display()),
    }
}

/// Builds a film with the given settings, and returns what was done beside copying.
pub fn build_as(source: &Path, policy: &CutPolicy, compat: Compat) -> (Built, BuildReport) {
    let directory = tempfile::tempdir().unwrap();
    let derived = directory.path().join("derived");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tool = tool();
    let request = BuildRequest {
        tool: &tool,
        source,
        derived: &derived,
        policy,
        compat,
    };
    let building = build_views(request, &|_| {});
    let BuildOutcome::Ready(views, account) = runtime.block_on(building).unwrap() else {
        panic!("{}", source.display());
    };
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "files left behind");
    let built = Built {
        source: source.to_path_buf(),
        views: *views,
        directory,
    };
    (built, *account)
}

/// Returns for each picture the time when it is shown, in ticks of 1/90000 s, and its digest.
pub fn pictures(input: &Path) -> Vec<(i64, String)> {
    let (text, complaints) = ffmpeg(&[
        "-copyts",
        "-i",
        input.to_str().unwrap(),
        "-map",
        "0:v:0",
        "-vsync",
        "0",
        "-enc_time_base",
        "1/90000",
        "-f",
        "framemd5",
        "-",
    ]);
    assert_eq!(complaints, "", "{}", input.display());
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[2].parse().unwrap(), fields[5].to_owned())
        })
        .collect()
}

/// Joins init and segments of a track as MPEG-TS in one file.
pub fn join_transport(built: &Built, track: &str) -> PathBuf {
    let path = built.directory.path().join(format!("{track}.ts"));
    let mut file = File::create(&path).unwrap();
    for part in built.files(&format!("ts/{track}")) {
        file.write_all(&built.read(&part)).unwrap();
    }
    path
}

pub fn build(source: &Path) -> Built {
    build_with(&tool(), source)
}

impl Built {
    /// Returns the bytes of the view at `path`; their number must equal the announced size.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let Some(ViewNode::File(file)) = views::find(&self.views, path) else {
            panic!("no file {path}");
        };
        let source = File::open(&self.source).unwrap();
        let derived = File::open(self.directory.path().join("derived")).unwrap();
        let read_piece = |piece| match piece {
            Piece::Literal(bytes) => bytes.to_vec(),
            Piece::Content(range) => read_range(&source, range),
            Piece::Derived(range) => read_range(&derived, range),
        };
        let bytes = match file.body {
            ViewBody::Inline(bytes) => bytes.to_vec(),
            ViewBody::Pieces(pieces) => pieces.into_iter().flat_map(read_piece).collect(),
            ViewBody::Derived(range) => read_range(&derived, range),
            ViewBody::Mapped(mapped) => {
                let frame = read_range(&derived, mapped.frame);
                views::assemble(&self.views, mapped.track, mapped.segment, &frame)
                    .unwrap()
                    .into_iter()
                    .flat_map(read_piece)
                    .collect()
            }
            ViewBody::InPlace(number) => {
                let (picker, pieces) = in_place::segment(&self.views, number).unwrap();
                let data: Vec<u8> = pieces.into_iter().flat_map(read_piece).collect();
                match picker {
                    None => data,
                    Some(picker) => {
                        let part = picker.part(ByteRange::new(0, file.size));
                        picker.pick(&part, &data)
                    }
                }
            }
            ViewBody::Transport(mapped) => {
                let frame = read_range(&derived, mapped.frame);
                let (layout, pieces) =
                    views::transport(&self.views, mapped.track, mapped.segment, &frame).unwrap();
                let data: Vec<u8> = pieces.into_iter().flat_map(read_piece).collect();
                let part = layout.part(ByteRange::new(0, layout.size()));
                layout.mux(&part, &data).unwrap()
            }
        };
        assert_eq!(bytes.len() as u64, file.size, "{path}");
        bytes
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    /// Returns the paths of the files in a directory of views, and checks their sizes against [`Self::read`].
    pub fn files(&self, directory: &str) -> Vec<String> {
        let list = views::entries(&self.views, directory).unwrap();
        list.into_iter()
            .filter_map(|entry| match entry.kind {
                ViewKind::Directory => None,
                ViewKind::File(size) => {
                    let path = format!("{directory}/{}", entry.name);
                    let path = path.trim_start_matches('/').to_owned();
                    assert_eq!(self.read(&path).len() as u64, size, "{path}");
                    Some(path)
                }
            })
            .collect()
    }

    /// Returns the directories of renditions. That of the transport streams is left out: it is another film.
    pub fn directories(&self) -> Vec<String> {
        self.directories_in("")
    }

    pub fn directories_in(&self, directory: &str) -> Vec<String> {
        let list = views::entries(&self.views, directory).unwrap();
        list.into_iter()
            .filter(|entry| {
                entry.kind == ViewKind::Directory && !["ts", "fonts"].contains(&entry.name.as_str())
            })
            .map(|entry| {
                format!("{directory}/{}", entry.name)
                    .trim_start_matches('/')
                    .to_owned()
            })
            .collect()
    }

    /// Writes every view as a real file below the directory that it returns.
    pub fn lay_out(&self) -> PathBuf {
        let root = self.directory.path().join("views");
        let mut directories = self.directories();
        directories.push(String::new());
        if views::find(&self.views, "ts").is_some() {
            directories.push("ts".to_owned());
            directories.extend(self.directories_in("ts"));
        }
        for directory in directories {
            fs::create_dir_all(root.join(&directory)).unwrap();
            for path in self.files(&directory) {
                fs::write(root.join(&path), self.read(&path)).unwrap();
            }
        }
        root
    }

    /// Joins init and segments of a track in one file.
    pub fn join(&self, track: &str) -> PathBuf {
        let path = self.directory.path().join(format!("{track}.mp4"));
        let mut file = File::create(&path).unwrap();
        for part in self.files(track) {
            file.write_all(&self.read(&part)).unwrap();
        }
        path
    }
}

fn read_range(file: &File, range: ByteRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len).unwrap()];
    file.read_exact_at(&mut bytes, range.offset).unwrap();
    bytes
}

/// Runs ffmpeg and returns its output and its complaints.
pub fn ffmpeg(args: &[&str]) -> (String, String) {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error"])
        .args(args)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {args:?}: {error}");
    (String::from_utf8(output.stdout).unwrap(), error)
}

/// Returns the MD5 of the bytes of each packet (`-c copy`) or decoded frame of one stream, in order.
pub fn digests(input: &Path, options: &[&str]) -> Vec<String> {
    let mut args = vec!["-i", input.to_str().unwrap()];
    args.extend(options);
    args.extend(["-f", "framemd5", "-"]);
    let (text, _) = ffmpeg(&args);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').nth(5).unwrap().trim().to_owned())
        .collect()
}

/// Returns for each packet of a stream the second at which it is presented, and the MD5 of its bytes.
pub fn packets(input: &Path, options: &[&str]) -> Vec<(f64, String)> {
    let before = ["-copyts", "-i", input.to_str().unwrap()];
    let (text, _) = ffmpeg(&[&before, options, &["-c", "copy", "-f", "framemd5", "-"]].concat());
    let base = text.lines().find_map(|line| line.strip_prefix("#tb 0: "));
    let (count, divisor) = base.unwrap().split_once('/').unwrap();
    let tick = count.parse::<f64>().unwrap() / divisor.parse::<f64>().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let pts: f64 = fields[2].parse().unwrap();
            (pts * tick, fields[5].to_owned())
        })
        .collect()
}

/// Returns the second at which the packets of the film begin among those that are served: silence may be in front
/// of them.
pub fn begin_of(film: &[(f64, String)], served: &[(f64, String)]) -> f64 {
    let md5 = |packets: &[(f64, String)]| -> Vec<String> {
        packets.iter().map(|(_, md5)| md5.clone()).collect()
    };
    let film = md5(&film[..film.len().min(20)]);
    let all = md5(served);
    let at = all.windows(film.len()).position(|some| some == film);
    served[at.expect("the film's packets are served")].0
}

/// Returns the first presentation time of a stream in seconds.
pub fn first_time(input: &Path, stream: &str) -> f64 {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(input)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .fold(f64::INFINITY, f64::min)
}
