use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;

#[test]
fn a_long_state_path_gets_a_socket_elsewhere() {
    let short = Path::new("/var/lib/tgfs");
    let runtime = Path::new("/run/user/1000");
    assert_eq!(
        socket_path(short, None).unwrap(),
        short.join("control.sock")
    );
    let long = PathBuf::from(format!("/{}", "d".repeat(100)));
    let other = socket_path(&long, Some(runtime)).unwrap();
    assert!(other.starts_with(runtime) && other.as_os_str().len() < 108);
    let longer = PathBuf::from(format!("/{}", "e".repeat(100)));
    assert_ne!(other, socket_path(&longer, Some(runtime)).unwrap());
    assert!(matches!(
        socket_path(&long, None),
        Err(SocketError::NoPlace(_))
    ));
}

#[test]
fn paths_that_are_no_text_survive_the_wire() {
    for bytes in [&b"/a b/x.mkv"[..], b"/\xff\xfe.mkv", b""] {
        let path = WirePath::new(bytes);
        let text = serde_json::to_string(&path).unwrap();
        let back: WirePath = serde_json::from_str(&text).unwrap();
        assert_eq!(back.as_bytes(), bytes, "{text}");
    }
    assert!(WirePath::new(b"/a/../b").to_tree_path().is_err());
}

#[test]
fn requests_keep_their_form() {
    let request = Request::Upload {
        directory: WirePath::new(b"/"),
        name: WirePath::new(b"x"),
        size: 7,
        wait: Wait::No,
    };
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(
        text,
        r#"{"do":"upload","directory":"/","name":"x","size":7,"wait":"no"}"#
    );
    let text = serde_json::to_string(&Response::Go).unwrap();
    assert_eq!(text, r#"{"is":"go"}"#);
}

/// The work ends here only when its progress was heard.
#[tokio::test]
async fn work_without_figures_is_told_while_it_lasts() {
    let (out, mut heard) = tokio::sync::mpsc::channel(1);
    let (end, ended) = tokio::sync::oneshot::channel();
    let listening = async {
        let told = heard.recv().await;
        end.send(()).unwrap();
        told
    };
    let both = async {
        let work = super::progress::under_way("cleanup", ended, &out);
        tokio::join!(work, listening)
    };
    let limit = std::time::Duration::from_secs(60);
    let (done, told) = tokio::time::timeout(limit, both).await.unwrap();
    done.unwrap();
    assert!(matches!(told, Some(Response::Progress { path, .. }) if path == "cleanup"));
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    assert!(connect(&path, &Request::Ping).await.unwrap().is_none());
    drop(bind(&path).await.unwrap());
    assert!(path.exists(), "a listener leaves its name behind");
    assert!(connect(&path, &Request::Ping).await.unwrap().is_none());
    let living = bind(&path).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(bind(&path).await, Err(SocketError::InUse(_))));
    drop(living);
}

/// Listens on the socket, and lets `answer` speak with the first client.
async fn daemon<F>(path: &Path, answer: impl FnOnce(BufReader<UnixStream>) -> F) -> F
where
    F: Future<Output = ()>,
{
    let listener = UnixListener::bind(path).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    answer(BufReader::new(stream))
}

#[tokio::test]
async fn an_upload_hears_answers_while_it_sends() {
    /// More than both socket buffers together. The sides would otherwise wait for each other.
    const SIZE: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let there = path.clone();
    let server = tokio::spawn(async move {
        let talk = |mut stream: BufReader<UnixStream>| async move {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let progress = Response::Progress {
                path: "/x".to_owned(),
                step: "copying".to_owned(),
                done: 1,
                total: 2,
            };
            let mut many = serde_json::to_string(&progress).unwrap();
            many.push('\n');
            for _ in 0..20_000 {
                stream.write_all(many.as_bytes()).await.unwrap();
            }
            let mut body = vec![0; usize::try_from(SIZE).unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(b"{\"is\":\"done\"}\n").await.unwrap();
        };
        daemon(&there, talk).await.await;
    });
    let mut connection = loop {
        if let Some(connection) = connect(&path, &Request::Ping).await.unwrap() {
            break connection;
        }
        tokio::task::yield_now().await;
    };
    let mut heard = 0;
    let body = vec![7; usize::try_from(SIZE).unwrap()];
    connection
        .send_body(&mut body.as_slice(), SIZE, |_| heard += 1)
        .await
        .unwrap();
    while connection.next().await.unwrap() != Response::Done {
        heard += 1;
    }
    assert_eq!(heard, 20_000);
    server.await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_goes_away_is_a_failure_and_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let there = path.clone();
    let server = tokio::spawn(async move {
        let talk = |mut stream: BufReader<UnixStream>| async move {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
        };
        daemon(&there, talk).await.await;
    });
    let mut connection = loop {
        if let Some(connection) = connect(&path, &Request::Ping).await.unwrap() {
            break connection;
        }
        tokio::task::yield_now().await;
    };
    assert!(connection.next().await.is_err());
    server.await.unwrap();
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut connection = connect(&path, &Request::Ping).await.unwrap().unwrap();
    let _peer = listener.accept().await.unwrap();
    let sent = connection.send_body(&mut &b"short"[..], 10, |_| {}).await;
    assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}
