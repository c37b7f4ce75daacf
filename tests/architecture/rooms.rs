//! The rooms of a folder and which may use which, held against the tables of docs/ARCHITECTURE.md;
//! and circles of files.
//!
//! A room is a file or a folder directly in the table's folder. Its table stands between
//! `<!-- edges FOLDER -->` and `<!-- /edges -->`; each row names only rooms of rows below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::imports::Graph;
use crate::sources::{self, SourceFile, root};

/// Folders that must have a table of their own.
const FOLDERS: [&str; 2] = ["src/media", "src/remote/telegram"];

struct RoomTable {
    /// Module path of the folder.
    folder: Vec<String>,
    /// Room and the rooms that it may use, in the order of the rows.
    rows: Vec<(String, BTreeSet<String>)>,
}

impl RoomTable {
    fn allows(&self, from: &str, to: &str) -> bool {
        self.rows
            .iter()
            .any(|(room, may_use)| room == from && may_use.contains(to))
    }

    /// Room of a module below the folder, `None` for the folder itself and for what lies elsewhere.
    fn room_of<'a>(&self, file: &'a SourceFile) -> Option<&'a str> {
        let below = file.module.strip_prefix(self.folder.as_slice())?;
        below.first().map(String::as_str)
    }
}

fn table(text: &str, folder: &str) -> Option<RoomTable> {
    let (_, behind) = text.split_once(&format!("<!-- edges {folder} -->"))?;
    let (table, _) = behind.split_once("<!-- /edges -->")?;
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let may_use = cells[3].split('`').skip(1).step_by(2).map(str::to_owned);
            (cells[1].trim_matches('`').to_owned(), may_use.collect())
        });
    let path = folder.strip_prefix("src/").unwrap_or(folder);
    Some(RoomTable {
        folder: path.split('/').map(str::to_owned).collect(),
        rows: rows.collect(),
    })
}

#[test]
fn rooms_use_only_what_their_table_allows() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let files = sources::load();
    let graph = Graph::of(&files);
    let mut wrong = Vec::new();
    for folder in FOLDERS {
        let table = table(&text, folder)
            .unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no table for {folder}"));
        for (at, file) in files
            .iter()
            .enumerate()
            .filter(|(_, file)| !file.items.is_empty())
        {
            let Some(from) = table.room_of(file) else {
                continue;
            };
            assert!(
                table.rows.iter().any(|(room, _)| room == from),
                "{} is of no room that the table of {folder} lists",
                file.shown()
            );
            for (to, path) in &graph.uses[at] {
                let allowed = match table.room_of(&files[*to]) {
                    // The folder's own file composes the rooms: none of them may use it.
                    None => files[*to].module != table.folder,
                    Some(to) => to == from || table.allows(from, to),
                };
                if !allowed {
                    wrong.push(format!("{} uses {path}", file.shown()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/ARCHITECTURE.md forbids:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn tables_of_rooms_lead_downward() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    for folder in FOLDERS {
        let table = table(&text, folder).unwrap();
        let mut above = BTreeSet::new();
        for (room, may_use) in &table.rows {
            above.insert(room.clone());
            for to in may_use {
                assert!(
                    table.rows.iter().any(|(row, _)| row == to) && !above.contains(to),
                    "{folder}: {room} may use {to}, whose row must stand below"
                );
            }
        }
    }
}

#[test]
fn files_form_no_circles() {
    let files = sources::load();
    let graph = Graph::of(&files);
    let circles: Vec<_> = graph
        .circles()
        .iter()
        .map(|circle| arrows(&files, &graph, circle))
        .collect();
    assert!(
        circles.is_empty(),
        "{} circles of files:\n{}",
        circles.len(),
        circles.join("\n\n")
    );
}

/// The uses inside `circle`, a line each.
fn arrows(files: &[SourceFile], graph: &Graph, circle: &BTreeSet<usize>) -> String {
    let inside = |at: &usize| -> BTreeMap<usize, String> {
        let uses = graph.uses[*at].clone();
        uses.into_iter()
            .filter(|(to, _)| circle.contains(to))
            .collect()
    };
    let mut lines = Vec::new();
    for at in circle {
        for path in inside(at).values() {
            lines.push(format!("{} uses {path}", files[*at].shown()));
        }
    }
    lines.join("\n")
}
