//! Holds the documents against the code: settings, commands, links, sizes.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the table of docs/CONFIGURATION.md and
//! `.env.example` anew from the table of settings.
#![allow(clippy::unwrap_used)] // A failed step is a failed test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tgfs::config::{Fallback, Numbering, SETTINGS, Setting, Takes};

const TABLE_BEGIN: &str = "<!-- settings: written by tests/docs.rs -->\n";
const TABLE_END: &str = "<!-- /settings -->";

/// Longest README, in lines: what nobody reads helps nobody.
const README_LINES: usize = 150;

/// Headings of `.env.example`, before these names.
const HEADINGS: [(&str, &str); 9] = [
    ("TGFS_STORE", "Where things lie"),
    ("TGFS_VIEWS", "The mount"),
    ("MIN_SEGMENT_DURATION", "Segments"),
    ("TGFS_PACK_SIZE", "The store"),
    ("CACHE_TYPE", "Cache"),
    ("LOCAL_HOST", "HTTP"),
    ("LOG_LEVEL", "Log"),
    ("TELEGRAM_API_ID", "Telegram"),
    ("ENABLE_CACHE_WARMING", "Names of the older system"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn takes(setting: &Setting) -> &'static str {
    match setting.takes {
        Takes::Live => "reload",
        Takes::AtStart => "start",
        Takes::NotYet => "no effect (yet)",
    }
}

fn table() -> String {
    let mut text = "| setting | unit | default | takes effect at | effect |\n\
                    | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for setting in SETTINGS {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            setting.name,
            setting.unit.describe(),
            setting.fallback.describe(),
            takes(setting),
            setting.effect.replace('|', "\\|"),
        ));
    }
    text
}

fn example() -> String {
    let mut text = "# Settings of tgfs: copy this file to .env and take away the # of what you change.\n\
                    # docs/CONFIGURATION.md explains the order of sources and how values are written.\n"
        .to_owned();
    for setting in SETTINGS {
        if let Some((_, heading)) = HEADINGS.iter().find(|(name, _)| *name == setting.name) {
            text.push_str(&format!("\n# ==== {heading} ====\n"));
        }
        let name = match setting.numbering {
            Numbering::Single => setting.name.to_owned(),
            Numbering::Family => format!("{}2", setting.name.trim_end_matches('n')),
        };
        let value = match setting.fallback {
            Fallback::Fixed(value) => value,
            Fallback::Unset | Fallback::Computed(_) => "",
        };
        let note = match setting.fallback {
            Fallback::Computed(words) => format!(" [{words}]"),
            Fallback::Fixed(_) | Fallback::Unset => String::new(),
        };
        let late = match setting.takes {
            Takes::NotYet => "no effect (yet): ",
            Takes::Live | Takes::AtStart => "",
        };
        text.push_str(&format!(
            "# {late}{}{note}\n#{name}={value}\n",
            setting.effect
        ));
    }
    text
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    let path = "docs/CONFIGURATION.md";
    let text = read(path);
    let (before, rest) = text.split_once(TABLE_BEGIN).expect("the table begins");
    let (written, after) = rest.split_once(TABLE_END).expect("the table ends");
    if is_update() {
        let new = [before, TABLE_BEGIN, &table(), TABLE_END, after].concat();
        fs::write(root().join(path), new).unwrap();
    } else {
        assert_eq!(written, table(), "run UPDATE_DOCS=1 cargo test --test docs");
    }
}

#[test]
fn the_example_is_that_of_the_code_and_sets_nothing() {
    if is_update() {
        fs::write(root().join(".env.example"), example()).unwrap();
    }
    let text = read(".env.example");
    for line in text.lines() {
        assert!(
            line.is_empty() || line.starts_with('#'),
            "{line} is not commented out"
        );
    }
    assert_eq!(text, example(), "run UPDATE_DOCS=1 cargo test --test docs");
}

/// Every variable that is read by its name is in the table, or belongs to the system.
#[test]
fn no_setting_is_read_that_the_table_lacks() {
    let mut text = String::new();
    for entry in fs::read_dir(root().join("src/config")).unwrap() {
        let path = entry.unwrap().path();
        // `settings.rs` is the table itself; variables of the system are read in `layers.rs` alone.
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        if is_code && !path.ends_with("layers.rs") && !path.ends_with("settings.rs") {
            let code = fs::read_to_string(&path).unwrap();
            text += code.split("#[cfg(test)]\nmod tests").next().unwrap();
        }
    }
    assert!(
        text.contains("\"TGFS_STORE\""),
        "the settings are read elsewhere"
    );
    // Names that a section reads are arguments: `reader.size("TGFS_SPOOL_SIZE")`.
    let words = text
        .split("(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let is_name = |word: &&str| {
        word.len() > 4
            && word.contains('_')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    for word in words.filter(is_name) {
        let family = format!("{word}n");
        assert!(
            known.contains(word) || known.contains(family.as_str()),
            "{word}"
        );
    }
}

#[test]
fn the_readme_is_short_and_names_both_commands() {
    let text = read("README.md");
    assert!(
        text.lines().count() <= README_LINES,
        "README.md is too long"
    );
    for command in ["scripts/demo", "scripts/test"] {
        assert!(text.contains(command), "README.md does not name {command}");
    }
}

fn documents(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    documents(&root().join("docs"), &mut paths);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.contains('<') {
                continue;
            }
            let linked = path.parent().unwrap().join(target);
            assert!(
                linked.exists(),
                "{} links to {target}, which is not there",
                path.display()
            );
        }
    }
}

#[test]
fn every_script_that_a_document_names_is_there_and_runs() {
    use std::os::unix::fs::PermissionsExt;
    for path in ["scripts/check", "scripts/demo", "scripts/test", ".ci/run"] {
        let mode = fs::metadata(root().join(path))
            .unwrap()
            .permissions()
            .mode();
        assert!(mode & 0o111 != 0, "{path} cannot be run");
        assert!(
            read(path).starts_with("#!/usr/bin/env bash\n"),
            "{path} names no shell"
        );
    }
}

/// Each crate in Cargo.toml stands in the table of dependencies with its reason, and nothing else.
#[test]
fn the_table_of_dependencies_is_that_of_cargo() {
    let manifest = read("Cargo.toml");
    let mut used = BTreeSet::new();
    let mut is_listed = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_listed = ["[dependencies]", "[dev-dependencies]"].contains(&line);
        } else if let Some((name, _)) = line.split_once(" = ")
            && is_listed
        {
            used.insert(name.to_owned());
        }
    }
    let text = read("docs/ARCHITECTURE.md");
    let (_, table) = text.split_once("| crate |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let named: BTreeSet<_> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().trim_end_matches(" (tests)").to_owned())
        .collect();
    assert_eq!(named, used);
}

/// Each decision is in the index of docs/ARCHITECTURE.md, and short enough to be read.
#[test]
fn decisions_are_numbered_indexed_and_short() {
    let index = read("docs/ARCHITECTURE.md");
    for entry in fs::read_dir(root().join("docs/adr")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = read(&format!("docs/adr/{name}"));
        assert!(text.lines().count() <= 40, "{name} is too long");
        assert!(
            name.as_bytes()[..4].iter().all(u8::is_ascii_digit),
            "{name}"
        );
        if !name.starts_with("0000") {
            assert!(index.contains(&format!("(adr/{name})")), "{name}");
            assert!(text.starts_with(&format!("# {}: ", &name[..4])), "{name}");
        }
    }
}

/// Each line of what a stranger can do names tests, and they are there.
#[test]
fn what_a_stranger_can_do_is_tested() {
    let text = read("docs/OPERATIONS.md");
    let (_, section) = text.split_once("### What a stranger can do").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut sources = Vec::new();
    for directory in ["src", "tests"] {
        rust_files(&root().join(directory), &mut sources);
    }
    let sources: String = sources
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let lines: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(lines.len() > 10, "{section}");
    for line in &lines[1..] {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        let names: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || cells[3].starts_with("---"), "{line}");
        for name in names {
            assert!(sources.contains(&format!("fn {name}(")), "{name}: {line}");
        }
    }
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What the code map points at is there.
#[test]
fn paths_in_the_code_map_exist() {
    let text = read("docs/ARCHITECTURE.md");
    let quoted = text.split('`').skip(1).step_by(2);
    // A bare `file.rs` is one too: it would rot unseen when the file moves.
    let is_path = |word: &&str| {
        word.starts_with("src/") || word.starts_with("tests/") || word.ends_with(".rs")
    };
    for path in quoted.filter(is_path) {
        assert!(
            root().join(path).exists(),
            "docs/ARCHITECTURE.md names {path}"
        );
    }
}
