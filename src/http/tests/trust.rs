//! Tests of the rules for hosts, tokens and origins.

use super::library::Scripted;
use super::{Server, TOKEN, config};

fn library() -> Scripted {
    Scripted::new(&[(b"/a.mkv", b"bytes".to_vec())])
}

#[tokio::test]
async fn other_hosts_names_are_misdirected() {
    let mut config = config();
    config.local_host = Some("nas.lan".to_owned());
    config.public_domain = Some("films.example:8443".to_owned());
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
async fn beyond_loopback_the_owner_shows_the_token() {
    let server = Server::start_at("0.0.0.0:0", library(), config()).await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for path in [
        "/fs/a.mkv",
        "/fs/",
        "/fs",
        "/files.json",
        "/debug",
        "/metrics",
        "/api/v1/x",
    ] {
        let refused = server.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        let wrong = server
            .ask(&format!("GET {path}"), &["Authorization: Bearer no"])
            .await;
        assert_eq!(wrong.status, 401, "{path}");
        let shown = server.ask(&format!("GET {path}"), &[&bearer]).await;
        assert_ne!(shown.status, 401, "{path}");
        let in_path = server.get(&format!("/t/{TOKEN}{path}")).await;
        assert_eq!(in_path.status, shown.status, "{path}");
        assert_eq!(in_path.body.len() > 20, shown.body.len() > 20, "{path}");
    }
    for path in ["/", "/healthz", "/readyz", "/cache/stats"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/playlist/local/x.m3u8",
        "/segment/x/y",
        "/subtitle/x/eng",
        "/thumbnail/x.jpg",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert_eq!(server.ask("POST /cache/clear", &[]).await.status, 401);
    assert_eq!(
        server.ask("POST /cache/clear", &[&bearer]).await.status,
        200
    );
    assert_eq!(
        server.get("/t/wrong-token-wrong/fs/a.mkv").await.status,
        401
    );
    assert_eq!(server.get(&format!("/t/{TOKEN}")).await.status, 404);
    // Links in a listing below the token keep the token.
    let listing = server.get(&format!("/t/{TOKEN}/fs")).await.text();
    assert!(listing.contains("href=\"fs/a.mkv\""), "{listing}");
    assert!(!listing.contains(TOKEN));
}

#[tokio::test]
async fn open_means_open() {
    let mut config = config();
    config.trust = crate::http::Trust::Open;
    let server = Server::start_at("0.0.0.0:0", library(), config).await;
    assert_eq!(server.get("/fs/a.mkv").await.status, 200);
    assert_eq!(server.get("/t/an-old-token/fs/a.mkv").await.status, 200);
    assert_eq!(server.ask("POST /cache/clear", &[]).await.status, 200);
}

#[tokio::test]
async fn a_proxy_on_this_machine_is_not_the_owner() {
    let mut config = config();
    config.public_domain = Some("films.example".to_owned());
    let server = Server::start(library(), config).await;
    assert_eq!(server.get("/fs/a.mkv").await.status, 200);
    for header in [
        "Host: films.example",
        "X-Forwarded-For: 198.51.100.7",
        "Forwarded: for=x",
    ] {
        assert_eq!(
            server.ask("GET /fs/a.mkv", &[header]).await.status,
            401,
            "{header}"
        );
    }
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let server = Server::start(library(), config()).await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 403),
        ("http://localhost", 200),
    ] {
        let reply = server
            .ask("POST /cache/clear", &[&format!("Origin: {origin}")])
            .await;
        assert_eq!(reply.status, status, "{origin}");
    }
}
