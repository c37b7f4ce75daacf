//! nginx as a proxy in front of a daemon, with the lines of docs/OPERATIONS.md or others.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// Running nginx; a drop stops it.
pub struct Nginx {
    child: Child,
    _directory: TempDir,
}

impl Nginx {
    /// Starts nginx with these `server` blocks, and waits until it takes connections at `port`.
    pub fn start(servers: &str, port: u16) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tgfs-nginx-")
            .tempdir()
            .unwrap();
        let place = directory.path().display();
        let owner = match nix::unistd::geteuid().is_root() {
            true => "user root;",
            false => "",
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind}; "))
            .concat();
        let text = format!(
            "{owner} daemon off; worker_processes 1; pid {place}/pid; error_log {place}/log;\n\
             events {{ worker_connections 2048; }}\n\
             http {{ access_log off; {temporary}\n{servers}\n}}\n"
        );
        let configuration = directory.path().join("nginx.conf");
        std::fs::write(&configuration, &text).unwrap();
        let mut child = Command::new("nginx")
            .arg("-c")
            .arg(&configuration)
            .arg("-e")
            .arg(directory.path().join("log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is missing: `apt-get install nginx-light`");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "nginx ended: {log}\n{text}");
            assert!(begun.elapsed() < PATIENCE, "nginx does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            _directory: directory,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers on SIGTERM, and would leave them behind on SIGKILL.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Returns ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Returns the blocks of nginx's language in docs/OPERATIONS.md.
pub fn documented() -> Vec<String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    let text = std::fs::read_to_string(document).unwrap();
    let blocks = text.split("```nginx\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}
