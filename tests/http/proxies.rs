//! A real nginx in front of the daemon, as people set it up: what strangers may do behind it, how films
//! play there, and how a browser signs in.

use std::process::Command;

use crate::client::{Asked, Reply, send};
use crate::daemon::Daemon;
use crate::nginx::{Nginx, documented, free_ports};
use crate::{FILM, addresses, film, path_of, playlists};

/// A way to the daemon, as a browser sees it.
struct Route {
    name: &'static str,
    /// Host with port in the address bar.
    host: String,
    /// `host:port` of the proxy.
    address: String,
    /// Path before those of the daemon.
    prefix: &'static str,
}

impl Route {
    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        self.post(method, path, headers, "")
    }
    fn post(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        send(&Asked {
            address: &self.address,
            host: &self.host,
            method,
            path: &format!("{}{path}", self.prefix),
            headers,
            body,
        })
    }
}

fn with_film(settings: &[(&str, &str)]) -> (Daemon, String) {
    let daemon = Daemon::start_with(settings);
    let source = daemon.directory().join("Heat & Dust #1.mkv");
    film::make(&source);
    daemon.run(&["upload", "--to", "/Films", source.to_str().unwrap()]);
    daemon.run(&["status", "--wait", FILM]);
    let listed = daemon.run(&["list", "--json", FILM]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    (daemon, id)
}

/// Returns a documented block with the ports of a test in it.
pub fn filled_in(block: &str, port: u16, daemon: &Daemon) -> String {
    assert!(block.contains("listen 80;") && block.contains("http://127.0.0.1:8080"));
    block
        .replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
        .replace("127.0.0.1:8080", daemon.address())
}

fn server(port: u16, location: &str, lines: &str) -> String {
    format!("server {{ listen 127.0.0.1:{port}; location {location} {{ {lines} }} }}\n")
}

#[test]
fn behind_nginx_strangers_play_by_id_and_do_nothing_else() {
    let [own, bare, real_ip, local_host, port_less] = free_ports();
    let public = format!("http://films.example.org:{own}");
    let (daemon, id) = with_film(&[
        ("PUBLIC_DOMAIN", public.as_str()),
        ("TGFS_TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let pass = format!("proxy_pass http://{};", daemon.address());
    let servers = [
        filled_in(&documented()[0], own, &daemon),
        server(bare, "/", &pass),
        server(
            real_ip,
            "/",
            &format!("{pass} proxy_set_header X-Real-IP $remote_addr;"),
        ),
        server(
            local_host,
            "/",
            &format!("{pass} proxy_set_header Host 127.0.0.1;"),
        ),
        // $host has lost the port.
        server(
            port_less,
            "/",
            &format!("{pass} proxy_set_header Host $host;"),
        ),
    ];
    let _nginx = Nginx::start(&servers.concat(), own);
    let routes = [
        ("the documented lines", own),
        ("a bare proxy_pass", bare),
        ("X-Real-IP alone", real_ip),
        ("Host 127.0.0.1", local_host),
        ("another port", port_less),
    ];
    for (name, port) in routes {
        let route = Route {
            name,
            host: format!("films.example.org:{own}"),
            address: format!("127.0.0.1:{port}"),
            prefix: "",
        };
        holds(&route, &daemon, &id);
    }
    another_user_of_this_machine_gets_nothing(&daemon);
}

#[test]
fn behind_nginx_a_sub_path_plays_as_well() {
    let [documented_port, bare] = free_ports();
    let public = format!("http://example.org:{documented_port}/films");
    let (daemon, id) = with_film(&[
        ("PUBLIC_DOMAIN", public.as_str()),
        ("TGFS_TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let servers = [
        filled_in(&documented()[1], documented_port, &daemon),
        // Without a path of its own, proxy_pass passes on the whole path.
        server(
            bare,
            "/films/",
            &format!("proxy_pass http://{};", daemon.address()),
        ),
    ];
    let _nginx = Nginx::start(&servers.concat(), bare);
    for (name, port) in [("a sub-path", documented_port), ("a bare sub-path", bare)] {
        let route = Route {
            name,
            host: format!("example.org:{documented_port}"),
            address: format!("127.0.0.1:{port}"),
            prefix: "/films",
        };
        holds(&route, &daemon, &id);
    }
    let url = daemon.run(&["url", FILM]);
    let expected = format!("{public}/playlist/public/{id}.m3u8");
    assert!(url.lines().any(|line| line == expected), "{url}");
}

fn holds(route: &Route, daemon: &Daemon, id: &str) {
    strangers_are_refused(route, id);
    the_film_plays(route, daemon, id);
    a_player_on_another_site_may_ask(route, id);
    a_browser_signs_in(route, daemon);
}

fn strangers_are_refused(route: &Route, id: &str) {
    let name = route.name;
    let forged = ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"];
    for headers in [[].as_slice(), &forged] {
        for path in [
            "/fs/",
            "/fs/Films/Heat%20%26%20Dust%20%231.mkv",
            "/files.json",
            "/metrics",
            "/debug",
            "/playlist/public/heat-dust-1.m3u8",
        ] {
            let refused = route.ask("GET", path, headers);
            assert_eq!(refused.status, 401, "{name}: {path}");
        }
        let clear = route.ask("POST", "/cache/clear", headers);
        assert_eq!(clear.status, 401, "{name}");
    }
    let root = format!("/segment/{}/Films/x/master.m3u8", "0".repeat(32));
    assert_eq!(route.ask("GET", &root, &[]).status, 404, "{name}");
    let page = route.ask("GET", "/", &[]);
    assert_eq!(page.status, 200, "{name}");
    let gone = route.ask("GET", &format!("/segment/{id}/absent"), &[]);
    assert_eq!(gone.status, 404, "{name}");
}

/// Follows every address from the multivariant playlist on.
fn the_film_plays(route: &Route, daemon: &Daemon, id: &str) {
    let name = route.name;
    let master_at = format!("/playlist/public/{id}.m3u8");
    let master = route.ask("GET", &master_at, &[]);
    assert_eq!(master.status, 200, "{name}");
    let mut segments = 0;
    for address in playlists(&master.text()) {
        let playlist_at = path_of(&master_at, &address);
        let playlist = route.ask("GET", &playlist_at, &[]);
        assert_eq!(playlist.status, 200, "{name}: {playlist_at}");
        for address in addresses(&playlist.text()) {
            let path = path_of(&playlist_at, &address);
            let segment = route.ask("GET", &path, &[]);
            let direct = crate::client::get(daemon, &path);
            assert!(segment.body == direct.body, "{name}: {path} differs");
            segments += 1;
        }
    }
    assert!(segments > 10, "{name}: {segments} segments");
}

fn a_player_on_another_site_may_ask(route: &Route, id: &str) {
    let name = route.name;
    let path = format!("/segment/{id}/video/00001.m4s");
    let asked = route.ask(
        "OPTIONS",
        &path,
        &[
            "Origin: https://player.example",
            "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: range,x-playback-session-id",
        ],
    );
    assert_eq!(asked.status, 204, "{name}");
    let allowed = asked.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("X-Playback-Session-Id"), "{allowed}");
    let refused = route.ask("GET", "/segment/some-name/video/00001.m4s", &[]);
    let shared = refused.header("access-control-allow-origin");
    assert_eq!((refused.status, shared), (401, Some("*")), "{name}");
}

fn a_browser_signs_in(route: &Route, daemon: &Daemon) {
    let name = route.name;
    let link = daemon.run(&["login-link"]);
    let code = link.lines().next().unwrap().split_once("code=").unwrap().1;
    let looked = route.ask("GET", &format!("/login?code={code}"), &[]);
    assert_eq!(looked.status, 200, "{name}");
    let form = format!("code={code}");
    let ours = format!("Origin: http://{}", route.host);
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let forged = ["Origin: https://evil.example", kind];
    let forged = route.post("POST", "/login", &forged, &form);
    assert_eq!(forged.status, 403, "{name}");
    let signed_in = route.post("POST", "/login", &[&ours, kind], &form);
    assert_eq!(signed_in.status, 303, "{name}: {}", signed_in.text());
    // nginx may make the address absolute; it leads to the page below the prefix.
    let location = signed_in.header("location").unwrap();
    let page = format!("{}/", route.prefix);
    assert!(location == "./" || location.ends_with(&page), "{location}");
    let cookie = signed_in.header("set-cookie").unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let list = route.ask("GET", "/files.json", &[&cookie]);
    assert_eq!(list.status, 200, "{name}");
    let cleared = route.ask("POST", "/cache/clear", &[&cookie, &ours]);
    assert_eq!(cleared.status, 200, "{name}");
    let forged = route.ask(
        "POST",
        "/cache/clear",
        &[&cookie, "Origin: http://evil.example"],
    );
    assert_eq!(forged.status, 403, "{name}");
}

/// Other users reach the port over loopback, as the owner does.
fn another_user_of_this_machine_gets_nothing(daemon: &Daemon) {
    let as_other = |program: &str| match nix::unistd::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
            command
        }
        false => Command::new(program),
    };
    for path in ["/fs/Films/", "/files.json", "/metrics"] {
        let url = format!("http://{}{path}", daemon.address());
        let output = as_other("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "401", "{path}");
    }
    if nix::unistd::geteuid().is_root() {
        for secret in ["http-token", "http-sessions"] {
            let file = daemon.directory().join("state").join(secret);
            assert!(file.exists(), "{secret}");
            let read = as_other("cat").arg(file).output().unwrap();
            assert!(!read.status.success(), "{secret} is readable");
        }
    }
}
