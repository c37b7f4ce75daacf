//! The rules of docs/ARCHITECTURE.md, as tests over the source text: which module may use which,
//! no cycles, one importer of each heavy crate, the shape of files, and words that must not stay.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use sources::{SourceFile, load, root};

#[path = "architecture/imports.rs"]
mod imports;
#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/shape.rs"]
mod shape;
#[path = "architecture/sources.rs"]
mod sources;

/// Crates that only one module may name, and which.
const SOLE_IMPORTERS: [(&str, &str); 23] = [
    ("fuser", "fuse"),
    ("hyper", "http"),
    ("hyper_util", "http"),
    ("axum", "http"),
    ("tower", "http"),
    ("tower_http", "http"),
    ("tokio_rustls", "http"),
    ("sled", "index"),
    ("bincode", "codec"),
    ("moka", "cache"),
    ("indicatif", "cli"),
    ("clap", "cli"),
    ("tracing_subscriber", "telemetry"),
    ("chacha20", "remote"),
    ("ring", "remote"),
    ("argon2", "remote"),
    ("zeroize", "remote"),
    ("grammers_client", "remote"),
    ("grammers_crypto", "remote"),
    ("grammers_mtproto", "remote"),
    ("grammers_mtsender", "remote"),
    ("grammers_session", "remote"),
    ("grammers_tl_types", "remote"),
];

/// Words of unfinished work and of forbidden shortcuts. Split, so that this file may hold them.
const FORBIDDEN_WORDS: [(&str, &str); 7] = [
    ("todo", "!"),
    ("unimplemented", "!"),
    ("dbg", "!("),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("HA", "CK"),
];

/// Names that say nothing about what is in a file.
const FORBIDDEN_MODULES: [&str; 5] = ["utils", "util", "helpers", "common", "manager"];

/// Without line comments and without what stands behind the first `#[cfg(test)] mod … {`. Files
/// that hold only tests are empty.
fn production_text(source: &SourceFile) -> String {
    let is_test_file = source.path.components().any(|part| {
        let name = part.as_os_str().to_str().unwrap();
        name == "tests" || name == "tests.rs"
    });
    if is_test_file {
        return String::new();
    }
    let mut kept = Vec::new();
    let mut lines = source.text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().map_or("", |line| line.trim());
        let is_inline = next.starts_with("mod ") || next.starts_with("pub mod ");
        if line.trim() == "#[cfg(test)]" && is_inline && next.ends_with('{') {
            break;
        }
        kept.push(without_comment(line));
    }
    kept.join("\n")
}

/// `://` is a URL in a string, not a comment.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| at + from) {
        if at == 0 || !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

fn identifier(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_part).collect()
}

/// Top-level modules named after `crate::` (`tgfs::` in main.rs): in `crate::a::b` and in
/// `crate::{a::b, c}`.
fn named_modules(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "tgfs::"] {
        for rest in text.split(prefix).skip(1) {
            match rest.strip_prefix('{') {
                None => {
                    found.insert(identifier(rest));
                }
                Some(group) => found.extend(group_members(group)),
            }
        }
    }
    found
}

fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut members) = (1, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || depth == 0 {
            members.push(identifier(group[start..at].trim()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    members
}

/// `| module | layer | may use |` rows of docs/ARCHITECTURE.md, in their order.
fn allowed_edges() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, behind) = text
        .split_once("<!-- edges -->")
        .expect("the table is marked");
    let (table, _) = behind
        .split_once("<!-- /edges -->")
        .expect("the table ends");
    let mut edges = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let module = cells[1].trim_matches('`').to_owned();
        let named = cells[3].split('`').skip(1).step_by(2);
        edges.insert(module, named.map(str::to_owned).collect());
    }
    assert!(edges.len() > 5, "the table of edges was not read");
    edges
}

fn edges_in_use() -> BTreeMap<(String, String), PathBuf> {
    let sources = load();
    let modules: BTreeSet<_> = sources
        .iter()
        .map(|source| source.top_module().to_owned())
        .collect();
    let mut edges = BTreeMap::new();
    for source in &sources {
        for to in named_modules(&production_text(source)) {
            if to != source.top_module() && modules.contains(&to) {
                edges.insert((source.top_module().to_owned(), to), source.path.clone());
            }
        }
    }
    edges
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let allowed = allowed_edges();
    let nothing = BTreeSet::new();
    let wrong: Vec<_> = edges_in_use()
        .into_iter()
        .filter(|((from, to), _)| !allowed.get(from).unwrap_or(&nothing).contains(to))
        .map(|((from, to), path)| format!("{} uses {to}, which {from} may not", path.display()))
        .collect();
    assert!(
        wrong.is_empty(),
        "docs/ARCHITECTURE.md forbids:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_stands_in_the_table() {
    let allowed = allowed_edges();
    for source in load() {
        if source.top_module() != "lib" {
            assert!(
                allowed.contains_key(source.top_module()),
                "{} is of no module that docs/ARCHITECTURE.md lists",
                source.path.display()
            );
        }
    }
}

/// The table alone allows no cycle: each row names only modules of rows below it.
#[test]
fn the_table_has_no_cycle() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let allowed = allowed_edges();
    let place = |module: &str| text.find(&format!("\n| `{module}` |"));
    for (from, targets) in &allowed {
        for to in targets {
            assert!(
                allowed.contains_key(to),
                "{from} may use {to}, which has no row"
            );
            assert!(
                place(from) < place(to),
                "the row of {to} must stand below that of {from}"
            );
        }
    }
}

/// `use crate_name`, `crate_name::`, but not `my_crate_name::` or `crate::crate_name`.
fn names_crate(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    }) || text.contains(&format!("use {name};"))
}

#[test]
fn heavy_crates_have_one_importer() {
    for source in load() {
        let text = production_text(&source);
        for (name, owner) in SOLE_IMPORTERS {
            assert!(
                source.top_module() == owner || !names_crate(&text, name),
                "{} names the crate {name}, which only {owner} may",
                source.path.display()
            );
        }
        let spawns = [
            "std::process::Command",
            "process::Command::new",
            "tokio::process",
        ];
        for spawner in spawns {
            assert!(
                source.top_module() == "process" || !text.contains(spawner),
                "{} starts processes; only process may",
                source.path.display()
            );
        }
        assert!(
            source.path.starts_with("remote/telegram") || !text.contains("grammers_"),
            "{} names grammers, which only remote/telegram may",
            source.path.display()
        );
    }
}

#[test]
fn no_file_is_unfinished() {
    for source in load() {
        let shown = source.path.display();
        for (start, end) in FORBIDDEN_WORDS {
            let word = format!("{start}{end}");
            let found = source.text.match_indices(&word).any(|(at, _)| {
                let before = source.text[..at].chars().next_back();
                let behind = source.text[at + word.len()..].chars().next();
                let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                // `XXXXXX` in rsync's names is a pattern, not a remark.
                !is_word(before) && (word.ends_with(['!', '(']) || !is_word(behind))
            });
            assert!(!found, "{shown} holds {word}");
        }
        for name in FORBIDDEN_MODULES {
            let is_named = source
                .path
                .iter()
                .any(|part| part.to_str().unwrap().trim_end_matches(".rs") == name);
            assert!(
                !is_named,
                "{shown}: a module is named after what it does, not {name}"
            );
        }
    }
}

#[test]
fn nothing_refers_to_the_machine_it_was_written_on() {
    // Split, so that this file does not find itself.
    let hints = [
        ["../sha", "red"].concat(),
        ["/work/", ""].concat() + "main",
        ["/work/", "wt"].concat(),
    ];
    let mut pending = vec![root()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name.as_str()) {
                    pending.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                // `.git` of a linked worktree is a file with a path.
                for hint in hints.iter().filter(|_| name != ".git") {
                    assert!(!text.contains(hint), "{} refers to {hint}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_edge_finder_sees_groups_and_urls() {
    let text = "use crate::{a::{x, y}, b::z, c};\nuse crate::d::e; crate::f();";
    let found: Vec<_> = named_modules(text).into_iter().collect();
    assert_eq!(found, ["a", "b", "c", "d", "f"]);
    assert_eq!(
        without_comment("let x = \"http://y\"; // crate::z"),
        "let x = \"http://y\"; "
    );
    assert!(names_crate("use sled;", "sled"));
    assert!(names_crate("sled::Db", "sled"));
    assert!(!names_crate("crate::sled::Db my_sled::x", "sled"));
}
