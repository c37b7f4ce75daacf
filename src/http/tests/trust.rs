//! Tests of the rules for hosts, tokens and origins.

use super::library::Scripted;
use super::{Server, TOKEN, config};
use crate::model::PublicAddress;

fn library() -> Scripted {
    Scripted::new(&[(b"/a.mkv", b"bytes".to_vec())])
}

#[tokio::test]
async fn other_hosts_names_are_misdirected() {
    let mut config = config();
    config.local_host = Some("nas.lan".to_owned());
    config.public = PublicAddress::parse("films.example:8443").ok();
    let server = Server::start(library(), config).await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1", 200),
        ("192.168.1.5:8080", 200),
        ("[::1]:8080", 200),
        ("nas.lan:8080", 200),
        ("NAS.lan.", 200),
        ("films.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("user@localhost", 400),
        ("", 400),
    ] {
        let reply = server
            .ask("GET /healthz", &[&format!("Host: {host}")])
            .await;
        assert_eq!(reply.status, status, "{host:?}");
    }
    let two = server
        .ask("GET /healthz", &["Host: localhost", "Host: evil.example"])
        .await;
    assert_eq!(two.status, 400);
    // The target's host takes precedence over the header (RFC 9112 §3.2.2).
    let absolute = server.ask("GET http://evil.example/healthz", &[]).await;
    assert_eq!(absolute.status, 421);
}

#[tokio::test]
async fn no_address_is_trusted_and_the_owner_shows_the_token() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = Server::start_at(address, library(), config()).await;
        the_owner_shows_the_token(&server).await;
    }
}

async fn the_owner_shows_the_token(server: &Server) {
    for path in [
        "/fs/a.mkv",
        "/fs/",
        "/fs",
        "/files.json",
        "/debug",
        "/metrics",
        "/api/v1/x",
        "/playlist/local/x.m3u8",
        "/playlist/public/x/video.m3u8",
        "/segment/x/y",
        "/subtitle/x/eng",
        "/subtitles/x",
        "/thumbnail/x.jpg",
    ] {
        let refused = server.get_as_stranger(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        let shown = server.get(path).await;
        assert_ne!(shown.status, 401, "{path}");
        let in_path = server.get_as_stranger(&format!("/t/{TOKEN}{path}")).await;
        assert_eq!(in_path.status, shown.status, "{path}");
        assert_eq!(in_path.body.len() > 20, shown.body.len() > 20, "{path}");
    }
    for path in ["/", "/healthz", "/readyz", "/cache/stats", "/login"] {
        assert_eq!(server.get_as_stranger(path).await.status, 200, "{path}");
    }
    let clear = "POST /cache/clear";
    assert_eq!(server.ask_as_stranger(clear, &[]).await.status, 401);
    assert_eq!(server.ask(clear, &[]).await.status, 200);
    let wrong = ["Authorization: Bearer no-such-token-here"];
    assert_eq!(server.ask_as_stranger(clear, &wrong).await.status, 401);
    let wrong = server.get_as_stranger("/t/wrong-token-wrong/fs/a.mkv");
    assert_eq!(wrong.await.status, 401);
    let bare = format!("/t/{TOKEN}");
    assert_eq!(server.get_as_stranger(&bare).await.status, 404);
    // Links in a listing below the token keep the token.
    let listing = server.get_as_stranger(&format!("/t/{TOKEN}/fs")).await;
    let listing = listing.text();
    assert!(listing.contains("href=\"fs/a.mkv\""), "{listing}");
    assert!(!listing.contains(TOKEN));
}

#[tokio::test]
async fn headers_of_proxies_open_nothing() {
    let mut config = config();
    config.public = PublicAddress::parse("films.example").ok();
    let server = Server::start(library(), config).await;
    for header in [
        "Host: 127.0.0.1",
        "Host: films.example",
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
    ] {
        let reply = server.ask_as_stranger("GET /fs/a.mkv", &[header]).await;
        assert_eq!(reply.status, 401, "{header}");
        let reply = server.ask("GET /fs/a.mkv", &[header]).await;
        assert_eq!(reply.status, 200, "{header}");
    }
}

#[tokio::test]
async fn open_means_open() {
    let mut config = config();
    config.trust = crate::http::Trust::Open;
    let server = Server::start_at("0.0.0.0:0", library(), config).await;
    for path in ["/fs/a.mkv", "/t/an-old-token/fs/a.mkv"] {
        assert_eq!(server.get_as_stranger(path).await.status, 200, "{path}");
    }
    let cleared = server.ask_as_stranger("POST /cache/clear", &[]).await;
    assert_eq!(cleared.status, 200);
    let evil = ["Origin: https://evil.example"];
    let other = server.ask_as_stranger("POST /cache/clear", &evil).await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let mut config = config();
    config.public = PublicAddress::parse("films.example:8443").ok();
    let server = Server::start(library(), config).await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 403),
        ("http://localhost", 200),
        ("https://films.example:8443", 200),
        ("https://films.example", 403),
    ] {
        let reply = server
            .ask("POST /cache/clear", &[&format!("Origin: {origin}")])
            .await;
        assert_eq!(reply.status, status, "{origin}");
    }
    for (site, status) in [
        ("same-origin", 200),
        ("none", 200),
        ("same-site", 403),
        ("cross-site", 403),
    ] {
        let header = format!("Sec-Fetch-Site: {site}");
        let reply = server.ask("POST /cache/clear", &[&header]).await;
        assert_eq!(reply.status, status, "{site}");
    }
}
