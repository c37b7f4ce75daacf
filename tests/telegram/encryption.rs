//! With a passphrase, the service sees neither names nor bytes, and nothing opens without it.

use std::fs;

use telegram_sim::Author;

use crate::daemon::Site;
use crate::service::{HOME, Service};

const SECRET: &str = "correct horse battery";
const NAME: &str = "unmistakable name of a film.txt";
const SENTENCE: &[u8] = b"a sentence that nobody else shall read; ";

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn nothing_in_the_channel_is_readable_and_only_the_passphrase_opens_it() {
    let service = Service::with_bots(2);
    let site = Site::new(&service).with("TGFS_PASSPHRASE", SECRET);
    let daemon = site.start();
    let secret = SENTENCE.repeat(50_000);
    fs::write(site.file(NAME), &secret).unwrap();
    fs::write(site.file("small.txt"), SENTENCE).unwrap();
    site.finish(daemon);

    let posts = service.posts(HOME).unwrap();
    let mut documents = 0;
    for post in &posts {
        let text = format!("{} {:?}", post.caption, post.document);
        assert!(
            !text.contains("unmistakable") && !text.contains("small.txt"),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
        assert!(matches!(post.author, Author::Bot(_)));
        if post.document.is_some() {
            let bytes = service.document_bytes(HOME, post.id).unwrap();
            assert!(!holds(&bytes, &SENTENCE[..12]), "{}", post.caption);
            assert!(!holds(&bytes, b"unmistakable"), "{}", post.caption);
            documents += 1;
        }
    }
    assert!(documents >= 4, "{documents}");

    // A wrong or missing passphrase is refused, and the channel stays as it is.
    for passphrase in ["", "correct donkey"] {
        let other = Site::new(&service).with("TGFS_PASSPHRASE", passphrase);
        for arguments in [&["recover"][..], &["list"], &["upload", ".env"]] {
            let refused = other.run(arguments);
            assert_eq!(refused.status, 1, "{refused:?}");
            assert!(refused.stderr.contains("TGFS_PASSPHRASE"), "{refused:?}");
        }
        let mut mounting = other.mounting();
        assert_eq!(
            mounting.status().unwrap().code(),
            Some(1),
            "{}",
            other.log()
        );
        assert_eq!(service.posts(HOME).unwrap(), posts);
    }

    let other = Site::new(&service).with("TGFS_PASSPHRASE", SECRET);
    let told = other.run(&["recover"]).ok();
    assert!(told.contains("recovered 2 files"), "{told}");
    let _daemon = other.start();
    assert!(fs::read(other.file(NAME)).unwrap() == secret);
    assert!(fs::read(other.file("small.txt")).unwrap() == SENTENCE);
}
