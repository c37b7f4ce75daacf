//! Tests of `import`: films that others posted are read where they are.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use telegram_sim::{Author, Bot, Channel, ForeignDocument, ForeignPost, Right};

use crate::mount::Mount;
use crate::telegram::{Bench, PATIENCE, options};

const HERE: Channel = Channel(1);
const ELSEWHERE: Channel = Channel(2);

fn film(path: &Path) -> Vec<u8> {
    #[rustfmt::skip]
    let arguments = [
        "-y", "-v", "error",
        "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=8", "-f", "lavfi", "-i", "sine=440:d=8",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-b:v", "2M", "-c:a", "aac",
    ];
    let status = Command::new("ffmpeg")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is missing: `apt-get install ffmpeg`");
    assert!(status.success());
    std::fs::read(path).unwrap()
}

fn post(bench: &Bench, channel: Channel, name: &str, mime: &str, bytes: &[u8]) -> i32 {
    let document = ForeignDocument {
        name: name.into(),
        mime_type: mime.into(),
        bytes: bytes.to_vec(),
    };
    let post = ForeignPost {
        caption: "a film".into(),
        document: Some(document),
    };
    bench.sim.add_foreign_post(channel, post).unwrap()
}

fn foreign(bench: &Bench, channel: Channel) -> usize {
    let posts = bench.sim.posts(channel).unwrap();
    posts
        .iter()
        .filter(|post| post.author == Author::Stranger)
        .count()
}

#[test]
fn films_of_others_are_read_where_they_are_and_stay_there() {
    let bench = Bench::start(options(2, 2));
    let film = film(&bench.scratch.path().join("film.mkv"));
    let matroska = "video/x-matroska";
    post(&bench, HERE, "Heat (1995).mkv", matroska, &film);
    post(&bench, HERE, "notes.txt", "text/plain", b"no film");
    let here = bench.sim.chat_id(HERE).to_string();
    let import = ["import", "--channel", &here, "--to", "/Films"];
    let told = bench.run(&[], &import).ok();
    assert!(told.contains("/playlist/local/"), "{told}");
    let again = bench.run(&[], &import).ok();
    assert!(again.contains("nothing new"), "{again}");
    let hasty = bench.run(&[], &[&import[..], &["--no-wait"]].concat()).ok();
    assert!(hasty.contains("nothing new"), "{hasty}");
    let before = foreign(&bench, HERE);

    let listed = bench.run(&[], &["list", "--json"]).json();
    assert_eq!(listed[0]["path"], "/Films/Heat (1995).mkv", "{listed}");
    let verified = bench.run(&[], &["verify", "--deep"]).ok();
    assert!(verified.contains("0 findings"), "{verified}");
    {
        let mount = Mount::start(&bench.scratch, &[]);
        let read = std::fs::read(mount.mountpoint.join("Films/Heat (1995).mkv")).unwrap();
        assert!(read == film, "other bytes");
        let views = std::fs::read_dir(mount.mountpoint.join(".hls")).unwrap();
        assert!(views.count() > 0, "no views");
        bench
            .run(&[], &["umount", mount.mountpoint.to_str().unwrap()])
            .ok();
    }
    // A fresh state knows the film from the log.
    std::fs::remove_dir_all(bench.scratch.state()).unwrap();
    let recovered = bench.run(&[], &["recover"]).ok();
    assert!(recovered.contains("1 file"), "{recovered}");
    let verified = bench.run(&[], &["verify", "--deep"]).ok();
    assert!(verified.contains("0 findings"), "{verified}");

    // The post stays in its channel when the film is deleted here.
    bench.configure(&[("TGFS_KEEP_DELETED", "0")]);
    let mount = Mount::start(&bench.scratch, &[]);
    bench.run(&[], &["delete", "/Films/Heat (1995).mkv"]).ok();
    let ours = |name: &str| {
        let posts = bench.sim.posts(HERE).unwrap();
        let names = posts.into_iter().filter_map(|post| post.document);
        names
            .filter(|document| document.name.ends_with(name))
            .count()
    };
    let begun = Instant::now();
    while ours(".tgfstable") > 0 {
        assert!(begun.elapsed() < PATIENCE, "its table stays");
        bench.run(&[], &["cleanup", "--hours", "0"]).ok();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(foreign(&bench, HERE), before);
    bench
        .run(&[], &["umount", mount.mountpoint.to_str().unwrap()])
        .ok();
}

#[test]
fn other_channels_are_left_as_they_are_and_what_goes_there_is_told() {
    let bench = Bench::start(options(1, 2));
    let sim = &bench.sim;
    // Posts of others are plain, in an encrypted library too.
    bench.configure(&[("TGFS_PASSPHRASE", "correct horse")]);
    let bytes = b"no container, and still a file".repeat(30_000);
    let first = post(&bench, ELSEWHERE, "a.mkv", "video/x-matroska", &bytes);
    sim.skip_ids(ELSEWHERE, 1500).unwrap();
    // A second post has the same name, a third has none.
    let second = post(&bench, ELSEWHERE, "a.mkv", "video/x-matroska", &bytes[1..]);
    post(&bench, ELSEWHERE, "", "video/mp4", &bytes[2..]);
    let last = sim.last_id(ELSEWHERE).unwrap();
    let elsewhere = sim.chat_id(ELSEWHERE).to_string();
    let import = ["import", "--channel", &elsewhere];

    let mount = Mount::start(&bench.scratch, &[]);
    let ended = bench.run(&[], &import);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains("longer gap"), "{ended:?}");
    assert_eq!(
        sim.last_id(ELSEWHERE).unwrap(),
        last,
        "something was posted"
    );
    let read = |name: &str| std::fs::read(mount.mountpoint.join(name));
    assert!(read("a.mkv").unwrap() == bytes);
    assert!(read(&format!("a ({second}).mkv")).unwrap() == bytes[1..]);
    assert!(read("a film.mp4").unwrap() == bytes[2..]);

    sim.delete_post(ELSEWHERE, first).unwrap();
    // The unmount is needed because the kernel still has the file's pages.
    bench
        .run(&[], &["umount", mount.mountpoint.to_str().unwrap()])
        .ok();
    drop(mount);
    let mount = Mount::start(&bench.scratch, &[]);
    let read = |name: &str| std::fs::read(mount.mountpoint.join(name));
    assert!(read("a.mkv").is_err());
    assert!(read(&format!("a ({second}).mkv")).unwrap() == bytes[1..]);
    let verified = bench.run(&[], &["verify"]);
    assert_eq!(verified.status, 1, "{verified:?}");
    assert!(
        verified.stdout.contains("a.mkv") && verified.stdout.contains("is gone"),
        "{verified:?}"
    );
    let unknown = bench.run(&[], &["import", "--channel", "@nobody"]).failed();
    assert!(unknown.contains("no channel has this name"), "{unknown}");

    // A post that cannot be taken over is reported, and the command fails.
    post(
        &bench,
        ELSEWHERE,
        "Ronin (1998).mkv",
        "video/x-matroska",
        &bytes,
    );
    sim.take_right(HERE, Bot(1), Right::Post).unwrap();
    let refused = bench.run(&[], &import);
    assert_eq!(refused.status, 1, "{refused:?}");
    for told in ["Ronin", "lacks a right", "could not be imported"] {
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
    bench
        .run(&[], &["umount", mount.mountpoint.to_str().unwrap()])
        .ok();
}
