//! Tests of playlists, segments and subtitles by id, and of the page.

use super::library::{FILM, Scripted, film_id, folder_id, pattern, plain_id};
use super::{Server, config};
use crate::model::{AttachState, EntryId, PublicAddress, StoreStatus, TreeKnowledge};

const MASTER: &str = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",URI=\"audio-1.m3u8\"\n\
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nvideo.m3u8\n";
const VIDEO: &str =
    "#EXTM3U\n#EXT-X-MAP:URI=\"video/init.mp4\"\n#EXTINF:6.0,\nvideo/00001.m4s\n#EXT-X-ENDLIST\n";
const VERSION: &str = "abababababababab";

async fn server() -> Server {
    let mut config = config();
    config.public = PublicAddress::parse("https://films.example").ok();
    let views = b"/.hls/Films/Heat (1995).mkv";
    let at = |name: &str| [views, b"/".as_slice(), name.as_bytes()].concat();
    let library = Scripted::new(&[
        (&at("master.m3u8"), MASTER.into()),
        (&at("video.m3u8"), VIDEO.into()),
        (&at("video/init.mp4"), pattern(10)),
        (&at("video/00001.m4s"), pattern(5000)),
        (&at("audio-1/00001.m4s"), pattern(50)),
        (&at("eng.vtt"), b"WEBVTT\n".to_vec()),
        (&at("eng.srt"), b"1\n".to_vec()),
    ]);
    Server::start(library, config).await
}

#[tokio::test]
async fn playlists_lead_on_by_relative_addresses() {
    let server = server().await;
    let id = film_id();
    for audience in ["local", "public"] {
        for name in [id.to_string(), "heat-1995".to_owned()] {
            let path = format!("GET /playlist/{audience}/{name}.m3u8");
            let reply = server.ask(&path, &["Host: films.example"]).await;
            assert_eq!(
                reply.header("content-type"),
                Some("application/vnd.apple.mpegurl")
            );
            assert_eq!(reply.header("cache-control"), Some("no-cache"));
            assert_eq!(
                reply.text(),
                MASTER
                    .replace("audio-1.m3u8", &format!("{id}/audio-1.m3u8?v={VERSION}"))
                    .replace("\nvideo.m3u8", &format!("\n{id}/video.m3u8?v={VERSION}"))
            );
            let tag = format!("If-None-Match: {}", reply.header("etag").unwrap());
            let again = server.ask(&path, &[&tag]).await;
            assert_eq!(again.status, 304);
        }
    }
}

#[tokio::test]
async fn addresses_in_playlists_lead_to_segments_that_may_be_kept() {
    let server = server().await;
    let id = film_id();
    let list = server
        .get(&format!("/playlist/local/{id}/video.m3u8?v={VERSION}"))
        .await;
    assert_eq!(
        list.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let text = list.text();
    let segment = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let target = segment.strip_prefix("../../..").unwrap();
    assert_eq!(target, format!("/segment/{id}/video/00001.m4s?v={VERSION}"));
    let reply = server
        .ask(&format!("GET {target}"), &["Range: bytes=10-19"])
        .await;
    assert_eq!((reply.status, &reply.body[..]), (206, &pattern(20)[10..]));
    assert_eq!(reply.header("content-type"), Some("video/mp4"));
    assert_eq!(
        reply.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let audio = server
        .get(&format!("/segment/{id}/audio-1/00001.m4s"))
        .await;
    assert_eq!(audio.header("content-type"), Some("audio/mp4"));
    assert_eq!(audio.header("cache-control"), Some("no-cache"));
    for stale in [
        format!("/segment/{id}/video/00001.m4s?v=0000000000000000"),
        format!("/playlist/local/{id}/video.m3u8?v=1"),
        format!("/segment/{id}/video/99999.m4s"),
        format!("/segment/{id}/../../../x"),
        "/segment/no-such-film/video/00001.m4s".to_owned(),
        "/playlist/elsewhere/heat-1995.m3u8".to_owned(),
        "/playlist/local/heat-1995".to_owned(),
        "/thumbnail/heat-1995.jpg".to_owned(),
    ] {
        assert_eq!(server.get(&stale).await.status, 404, "{stale}");
    }
    let ts = server
        .get("/playlist/local/heat-1995.m3u8?container=ts")
        .await;
    assert_eq!(ts.status, 404);
    assert!(ts.text().contains("no MPEG-TS"), "{}", ts.text());
    let other = server
        .get("/playlist/local/heat-1995.m3u8?container=avi")
        .await;
    assert_eq!(other.status, 404);
    server.assert_handles_are_released().await;
}

#[tokio::test]
async fn a_file_without_hls_says_why() {
    let server = server().await;
    let reply = server
        .get(&format!("/playlist/local/{}.m3u8", plain_id()))
        .await;
    assert_eq!(reply.status, 404);
    assert!(
        reply.text().contains("plain: no frame in it"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn subtitles_are_found_by_language() {
    let server = server().await;
    for (name, body, kind) in [
        ("eng", "WEBVTT\n", "text/vtt; charset=utf-8"),
        ("en.srt", "1\n", "application/x-subrip; charset=utf-8"),
    ] {
        let reply = server.get(&format!("/subtitle/heat-1995/{name}")).await;
        assert_eq!(
            (reply.text().as_str(), reply.header("content-type")),
            (body, Some(kind))
        );
    }
    assert_eq!(server.get("/subtitle/heat-1995/fra").await.status, 404);
    let list = server.get("/subtitles/heat-1995").await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list[0]["key"], "eng");
    assert_eq!(
        list[0]["urls"][0],
        format!("/subtitle/{}/eng.srt", film_id())
    );
}

#[tokio::test]
async fn players_on_other_sites_may_read_media_and_nothing_else() {
    let server = server().await;
    let origin = ["Origin: https://elsewhere.example"];
    let id = film_id();
    for path in [
        format!("/playlist/local/{id}.m3u8"),
        format!("/segment/{id}/video/00001.m4s"),
        format!("/segment/{id}/absent"),
        "/subtitle/heat-1995/eng".to_owned(),
        "/thumbnail/heat-1995.jpg".to_owned(),
    ] {
        let reply = server.ask(&format!("GET {path}"), &origin).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["Content-Length", "Content-Range", "ETag"] {
            assert!(exposed.contains(name), "{path}");
        }
        // Browsers send no credentials with a preflight request.
        let wanted = "Access-Control-Request-Headers: range,x-player-of-tomorrow";
        let asked = server
            .ask_as_stranger(&format!("OPTIONS {path}"), &[origin[0], wanted])
            .await;
        assert_eq!(asked.status, 204, "{path}");
        let allowed = asked.header("access-control-allow-headers").unwrap();
        for name in [
            "Range",
            "Content-Type",
            "Cache-Control",
            "Authorization",
            "X-Playback-Session-Id",
            "x-player-of-tomorrow",
        ] {
            assert!(allowed.contains(name), "{path}: {allowed}");
        }
    }
    for (request, header, status) in [
        ("GET /segment/heat-1995/video/00001.m4s", "Accept: */*", 401),
        ("GET /segment/x/y", "Host: evil.example", 421),
        ("GET /t/no-such-token-here/segment/x/y", "Accept: */*", 401),
        ("POST /playlist/local/x.m3u8", "Accept: */*", 401),
        ("OPTIONS /thumbnail/x.jpg", "Host: evil.example", 421),
    ] {
        let reply = server.ask_as_stranger(request, &[origin[0], header]).await;
        assert_eq!(reply.status, status, "{request}");
        let shared = reply.header("access-control-allow-origin");
        assert_eq!(shared, Some("*"), "{request}");
    }
    for path in [
        "/fs/",
        "/files.json",
        "/debug",
        "/",
        "/metrics",
        "/cache/stats",
    ] {
        let reply = server.ask(&format!("GET {path}"), &origin).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn the_page_and_its_list_are_there() {
    let server = server().await;
    let page = server.get("/").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for asset in ["/page.css", "/page.js", "/favicon.svg"] {
        assert_eq!(server.get(asset).await.status, 200, "{asset}");
    }
    let list = server.get("/files.json").await;
    let json: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(
        json["files"][0]["direct"],
        "/fs/Films/Heat%20%281995%29.mkv"
    );
    assert_eq!(
        json["files"][0]["hls_local"],
        format!("/playlist/local/{}.m3u8", film_id())
    );
    assert_eq!(json["public"], "https://films.example");
    let tag = format!("If-None-Match: {}", list.header("etag").unwrap());
    assert_eq!(server.ask("GET /files.json", &[&tag]).await.status, 304);
}

#[tokio::test]
async fn the_operator_sees_and_clears() {
    let server = server().await;
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("tgfs_cache_hits_total 3\n"), "{metrics}");
    assert!(metrics.contains("# TYPE tgfs_http_answers_total counter"));
    for path in ["/healthz", "/readyz", "/debug", "/cache/stats"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.get("/cache/clear").await.status, 405);
    assert_eq!(server.ask("POST /cache/clear", &[]).await.status, 200);
    let one = server
        .ask("POST /cache/clear?video_id=heat-1995", &[])
        .await;
    assert_eq!(one.status, 200);
    assert_eq!(
        server.ask("POST /cache/clear?video_id=x", &[]).await.status,
        404
    );
    assert_eq!(
        *server.library.cleared.lock().unwrap(),
        [None, Some(film_id())]
    );
}

#[tokio::test]
async fn readiness_tells_how_the_library_stands() {
    let server = server().await;
    let ask = async |state, problem: Option<&str>| {
        let problem = problem.map(str::to_owned);
        *server.library.store.lock().unwrap() = Some(StoreStatus {
            state,
            problem,
            troubles: Vec::new(),
            tree: TreeKnowledge::Complete,
        });
        let answer = server.get("/readyz").await;
        (answer.status, answer.text())
    };
    let (status, text) = ask(AttachState::Attached, None).await;
    assert_eq!((status, text.as_str()), (200, "ready\n"));
    let (status, text) = ask(AttachState::Reaching, Some("no route")).await;
    assert!(status == 200 && text.contains("no route"), "{text}");
    let (status, text) = ask(AttachState::Filling, None).await;
    assert!(status == 503 && text.contains("being read"), "{text}");
    let (status, text) = ask(AttachState::Refused, Some("bot 2 may not post")).await;
    assert!(
        status == 503 && text.contains("bot 2 may not post"),
        "{text}"
    );
}

#[tokio::test]
async fn only_the_id_of_a_file_that_is_open_to_all_plays_without_a_login() {
    let server = server().await;
    let film = film_id();
    let paths = |id: String| {
        [
            format!("/playlist/local/{id}.m3u8"),
            format!("/playlist/public/{id}/video.m3u8?v={VERSION}"),
            format!("/segment/{id}/video/00001.m4s"),
            format!("/subtitle/{id}/eng"),
            format!("/subtitles/{id}"),
        ]
    };
    for path in paths(film.to_string()) {
        assert_eq!(server.get_as_stranger(&path).await.status, 200, "{path}");
    }
    let inside = "Films/Heat%20%281995%29.mkv/video/00001.m4s";
    let inside_folder = "Heat%20%281995%29.mkv/video/00001.m4s";
    for path in [
        format!("/segment/{}/{inside}", EntryId::ROOT),
        format!("/segment/{}/{inside_folder}", folder_id()),
        format!("/playlist/local/{}.m3u8", EntryId::ROOT),
        format!("/playlist/local/{}.m3u8", folder_id()),
    ] {
        assert_eq!(server.get_as_stranger(&path).await.status, 404, "{path}");
        // Ids of directories open nothing for the owner, either.
        assert_eq!(server.get(&path).await.status, 404, "{path}");
    }
    for (path, mode) in [
        (FILM, 0o600),
        (FILM, 0o640),
        ("/Films", 0o700),
        ("/Films", 0o754),
        ("/", 0o700),
    ] {
        let path = path.as_bytes().to_vec();
        *server.library.modes.lock().unwrap() = [(path.clone(), mode)].into();
        let shown = String::from_utf8_lossy(&path);
        for path in paths(film.to_string()) {
            let stranger = server.get_as_stranger(&path).await;
            assert_eq!(stranger.status, 404, "{shown} {mode:o}: {path}");
            assert_eq!(server.get(&path).await.status, 200, "{path}");
        }
        // Caches that several people share must not keep it.
        for path in [
            format!("/playlist/local/{film}/video.m3u8?v={VERSION}"),
            format!("/segment/{film}/video/00001.m4s?v={VERSION}"),
        ] {
            let kept = server.get(&path).await;
            let expected = Some("private, max-age=31536000, immutable");
            assert_eq!(kept.header("cache-control"), expected, "{path}");
        }
    }
    server.assert_handles_are_released().await;
}
