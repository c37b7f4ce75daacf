//! Tests of `/fs`: bytes, ranges, validators, listings.

use super::library::{FILM, MODIFIED, Scripted, pattern};
use super::{Server, config};

const SIZE: usize = 1_000_000;
const PATH: &str = "/fs/Films/Heat%20%281995%29.mkv";

async fn server() -> Server {
    let library = Scripted::new(&[
        (FILM.as_bytes(), pattern(SIZE)),
        (b"/empty.mkv", Vec::new()),
        (b"/<img src=x onerror=alert(1)>\n\"'&.mkv", pattern(3)),
        (b"/\xff\xfe#%41?.mkv", pattern(4)),
        (b"/page.html", b"<script>".to_vec()),
    ]);
    Server::start(library, config()).await
}

#[tokio::test]
async fn ranges_answer_as_the_rfc_says() {
    let server = server().await;
    let whole = pattern(SIZE);
    let table: &[(&str, u16, &str, &[u8])] = &[
        ("bytes=0-0", 206, "bytes 0-0/1000000", &whole[..1]),
        (
            "bytes=500-999",
            206,
            "bytes 500-999/1000000",
            &whole[500..1000],
        ),
        (
            "bytes=999999-",
            206,
            "bytes 999999-999999/1000000",
            &whole[999_999..],
        ),
        (
            "bytes=-300000",
            206,
            "bytes 700000-999999/1000000",
            &whole[700_000..],
        ),
        (
            "bytes=100-9999999",
            206,
            "bytes 100-999999/1000000",
            &whole[100..],
        ),
        ("bytes=0-1,5-6", 200, "", &whole),
        ("lines=0-1", 200, "", &whole),
        ("bytes=1000000-", 416, "bytes */1000000", b""),
        ("bytes=9-1", 416, "bytes */1000000", b""),
        ("bytes=x", 416, "bytes */1000000", b""),
    ];
    for (range, status, content_range, body) in table {
        let reply = server
            .ask(&format!("GET {PATH}"), &[&format!("Range: {range}")])
            .await;
        assert_eq!(reply.status, *status, "{range}");
        assert_eq!(reply.header("content-range").unwrap_or(""), *content_range);
        assert_eq!(
            reply.header("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert!(reply.body == *body, "{range}: other bytes");
    }
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn a_file_comes_whole_with_its_headers_and_head_says_the_same() {
    let server = server().await;
    let got = server.get(PATH).await;
    assert_eq!((got.status, got.body == pattern(SIZE)), (200, true));
    let head = server.ask(&format!("HEAD {PATH}"), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let interesting = |reply: &super::Reply| {
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers
    };
    assert_eq!(interesting(&head), interesting(&got));
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("content-type", "video/x-matroska"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert_eq!(MODIFIED, 1_000_000_000);
    assert_eq!(got.header("access-control-allow-origin"), None);
    let empty = server.get("/fs/empty.mkv").await;
    assert_eq!(
        (empty.status, empty.header("content-length")),
        (200, Some("0"))
    );
    let ranged_head = server
        .ask(&format!("HEAD {PATH}"), &["Range: bytes=0-1"])
        .await;
    assert_eq!(ranged_head.status, 200);
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn validators_save_what_the_client_has() {
    let server = server().await;
    let etag = server.get(PATH).await.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'), "{etag} is not strong");
    let ask = async |headers: &[&str]| server.ask(&format!("GET {PATH}"), headers).await;
    let same = ask(&[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(same.header("etag"), Some(etag.as_str()));
    assert_eq!(ask(&["If-None-Match: \"other\""]).await.status, 200);
    let since = "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT";
    assert_eq!(ask(&[since]).await.status, 304);
    assert_eq!(ask(&["If-Match: \"other\""]).await.status, 412);
    let range = "Range: bytes=0-9";
    assert_eq!(
        ask(&[range, &format!("If-Range: {etag}")]).await.status,
        206
    );
    assert_eq!(
        ask(&[range, &format!("If-Range: W/{etag}")]).await.status,
        200
    );
    assert_eq!(ask(&[range, "If-Range: \"other\""]).await.status, 200);
    let date = "If-Range: Sun, 09 Sep 2001 01:46:40 GMT";
    assert_eq!(ask(&[range, date]).await.status, 200);
}

#[tokio::test]
async fn a_remote_that_is_down_is_a_503_and_one_that_dies_breaks_the_body() {
    let server = server().await;
    *server.library.fails_from.lock().unwrap() = Some(0);
    let down = server.get(PATH).await;
    assert_eq!(down.status, 503);
    assert!(down.header("retry-after").is_some());
    assert_eq!(server.ask(&format!("HEAD {PATH}"), &[]).await.status, 200);
    *server.library.fails_from.lock().unwrap() = Some(600_000);
    let broken = server.get(PATH).await;
    assert_eq!(broken.status, 200);
    assert_eq!(broken.header("content-length"), Some("1000000"));
    assert!(!broken.complete, "a broken body looked whole");
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn listings_show_any_name_as_text_and_link_to_its_bytes() {
    let server = server().await;
    let page = server.get("/fs/").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
    let html = page.text();
    assert!(!html.contains("<img"), "{html}");
    assert!(
        html.contains("&lt;img src=x onerror=alert(1)&gt;"),
        "{html}"
    );
    assert!(html.contains("href=\"Films/\""), "{html}");
    let listed = server.ask("GET /fs", &["Accept: application/json"]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.body).unwrap();
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    let mut sizes = Vec::new();
    for entry in entries {
        if entry["kind"] == "file" {
            let href = entry["href"].as_str().unwrap();
            let reply = server.get(&format!("/fs/{href}")).await;
            assert_eq!(reply.status, 200, "{href}");
            assert_eq!(entry["size"], reply.body.len());
            sizes.push(reply.body.len());
        }
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 3, 4, 8]);
    // Without a slash at the end of the path, relative links must still work.
    let inner = server.get("/fs/Films").await.text();
    assert!(
        inner.contains("href=\"Films/Heat%20%281995%29.mkv\""),
        "{inner}"
    );
}

#[tokio::test]
async fn nothing_outside_of_the_tree_is_reached() {
    let server = server().await;
    for path in [
        "/fs/../Cargo.toml",
        "/fs/%2e%2e/Cargo.toml",
        "/fs/Films/..%2f..%2fetc",
        "/fs/a%00b",
        "/fs/absent.mkv",
        "/FS/empty.mkv",
        "/%66s/empty.mkv",
        "//fs/empty.mkv",
    ] {
        assert!(matches!(server.get(path).await.status, 401 | 404), "{path}");
    }
    let html = server.get("/fs/page.html").await;
    assert_eq!(html.header("content-security-policy"), Some("sandbox"));
}
