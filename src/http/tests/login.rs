//! Tests of signing in and out in a browser.

use std::sync::Arc;

use super::library::Scripted;
use super::{Reply, Server, TOKEN, config};
use crate::access::{Access, Identity, Principal, Role};
use crate::http::Trust;

fn library() -> Scripted {
    Scripted::new(&[(b"/a.mkv", b"bytes".to_vec())])
}

async fn server() -> (Server, Arc<Access>) {
    let config = config();
    let Trust::Guarded(access) = config.trust.clone() else {
        unreachable!()
    };
    (Server::start(library(), config).await, access)
}

/// Returns the cookie that an answer sets, as a header of a request.
fn cookie(reply: &Reply) -> String {
    let cookie = reply.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    format!("Cookie: {}", cookie.split(';').next().unwrap())
}

#[tokio::test]
async fn a_link_signs_in_once_and_looking_at_it_does_not_use_it_up() {
    let (server, access) = server().await;
    let code = access.make_code().unwrap();
    let link = format!("/login?code={}", code.reveal());
    // Mail programs, messengers and browsers look at links in advance.
    for method in ["HEAD", "GET", "GET"] {
        let looked = server
            .ask_as_stranger(&format!("{method} {link}"), &[])
            .await;
        assert_eq!(looked.status, 200, "{method}");
        assert_eq!(looked.header("set-cookie"), None);
        assert_eq!(looked.header("cache-control"), Some("no-store"));
        assert_eq!(looked.header("referrer-policy"), Some("same-origin"));
        if method == "GET" {
            assert!(looked.text().contains(code.reveal()));
        }
    }
    let form = format!("code={}", code.reveal());
    let evil = ["Origin: https://evil.example"];
    assert_eq!(server.post_form("/login", &evil, &form).await.status, 403);
    let origin = ["Origin: http://localhost"];
    let signed_in = server.post_form("/login", &origin, &form).await;
    assert_eq!(signed_in.status, 303);
    assert_eq!(signed_in.header("location"), Some("./"));
    let cookie = cookie(&signed_in);
    assert!(cookie.starts_with("Cookie: tgfs="), "{cookie}");
    let again = server.post_form("/login", &origin, &form).await;
    assert_eq!((again.status, again.header("set-cookie")), (401, None));

    for path in ["/fs/a.mkv", "/files.json", "/metrics"] {
        let reply = server
            .ask_as_stranger(&format!("GET {path}"), &[&cookie])
            .await;
        assert_eq!(reply.status, 200, "{path}");
    }
    let (ours, theirs) = ([cookie.as_str(), origin[0]], [cookie.as_str(), evil[0]]);
    let cleared = server.ask_as_stranger("POST /cache/clear", &ours).await;
    assert_eq!(cleared.status, 200);
    let forged = server.ask_as_stranger("POST /cache/clear", &theirs).await;
    assert_eq!(forged.status, 403);

    let out = server.ask_as_stranger("POST /logout", &ours).await;
    assert_eq!(out.status, 303);
    let after = server.ask_as_stranger("GET /fs/a.mkv", &[&cookie]).await;
    assert_eq!(after.status, 401);
}

#[tokio::test]
async fn the_token_signs_in_and_wrong_ones_become_slow() {
    let (server, access) = server().await;
    let right = server
        .post_form("/login", &[], &format!("token={TOKEN}"))
        .await;
    assert_eq!(right.status, 303);
    let cookie = cookie(&right);
    for guess in 0..7 {
        let form = format!("code={guess}");
        let wrong = server.post_form("/login", &[], &form).await;
        let slow = guess > 5;
        assert_eq!(wrong.status, if slow { 429 } else { 401 }, "{guess}");
        assert_eq!(wrong.header("retry-after").is_some(), slow);
    }
    // A right code has to wait as well, or guessing would not be slow; sessions go on.
    let code = access.make_code().unwrap();
    let form = format!("code={}", code.reveal());
    assert_eq!(server.post_form("/login", &[], &form).await.status, 429);
    let seen = server.ask_as_stranger("GET /fs/a.mkv", &[&cookie]).await;
    assert_eq!(seen.status, 200);
    for bad in ["", "x=y", &format!("token={}", "x".repeat(5000))] {
        let reply = server.post_form("/login", &[], bad).await;
        assert_eq!(reply.status, 400);
    }
}

#[tokio::test]
async fn a_viewer_sees_and_plays_what_is_open_to_all_and_changes_nothing() {
    let (server, access) = server().await;
    let viewer = Principal {
        identity: Identity::User("ann".to_owned()),
        role: Role::Viewer,
    };
    let secret = access.start_session(viewer).unwrap();
    let cookie = format!("Cookie: tgfs={}", secret.reveal());
    let ask = async |request: &str| server.ask_as_stranger(request, &[&cookie]).await.status;
    assert_eq!(ask("GET /fs/a.mkv").await, 200);
    assert_eq!(ask("GET /fs/").await, 200);
    assert_eq!(ask("GET /files.json").await, 200);
    assert_eq!(ask("POST /cache/clear").await, 403);
    assert_eq!(ask("GET /debug").await, 403);
    let private = [(b"/a.mkv".to_vec(), 0o600)].into();
    *server.library.modes.lock().unwrap() = private;
    assert_eq!(ask("GET /fs/a.mkv").await, 404);
    assert_eq!(server.get("/fs/a.mkv").await.status, 200);
}

#[tokio::test]
async fn the_sign_in_page_shows_no_text_of_others() {
    let (server, _) = server().await;
    let hostile = server
        .get_as_stranger("/login?code=%22%3E%3Cscript%3E")
        .await;
    assert!(!hostile.text().contains("<script>"), "{}", hostile.text());
    assert!(hostile.text().contains("data-state=\"token\""));
    let policy = hostile.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self'") && !policy.contains("unsafe"));
    assert_eq!(server.get_as_stranger("/login.js").await.status, 200);
}
