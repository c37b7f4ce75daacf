//! Which file uses which: every path in the sources, followed through `use` and re-exports to the
//! file that defines what it names.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro, UseTree};

use crate::sources::{SourceFile, attributes, is_for_tests};

/// A path as its names, without `crate`.
type Names = Vec<String>;

/// Re-exports that lead to each other end the search after as many steps.
const MAX_REEXPORTS: usize = 8;

/// Uses between files, by the index of each file in the list that the graph was made of.
pub struct Graph {
    /// For each file the files that it uses, and the path by which it does.
    pub uses: Vec<BTreeMap<usize, String>>,
}

impl Graph {
    pub fn of(files: &[SourceFile]) -> Self {
        let resolver = Resolver::of(files);
        let found = files.iter().enumerate().map(|(at, file)| {
            let mut uses = BTreeMap::new();
            for path in paths_in(file, &resolver) {
                if let Some(to) = resolver.file_of(&path).filter(|to| *to != at) {
                    uses.entry(to).or_insert_with(|| path.join("::"));
                }
            }
            uses
        });
        Self {
            uses: found.collect(),
        }
    }

    /// Sets of files that use each other, directly or through others of the set.
    pub fn circles(&self) -> Vec<BTreeSet<usize>> {
        let reach: Vec<_> = (0..self.uses.len()).map(|at| self.reachable(at)).collect();
        let mut circles = BTreeSet::new();
        for at in 0..reach.len() {
            let circle: BTreeSet<_> = reach[at]
                .iter()
                .copied()
                .filter(|other| reach[*other].contains(&at))
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let (mut seen, mut pending) = (BTreeSet::new(), vec![from]);
        while let Some(at) = pending.pop() {
            for to in self.uses[at].keys() {
                if seen.insert(*to) {
                    pending.push(*to);
                }
            }
        }
        seen
    }
}

struct Resolver {
    /// File of each module, by the module's path.
    modules: BTreeMap<Names, usize>,
    /// What `use` brings into each module: the name there, and the path that it stands for.
    imported: BTreeMap<Names, BTreeMap<String, Names>>,
}

impl Resolver {
    fn of(files: &[SourceFile]) -> Self {
        let modules: BTreeMap<_, _> = files
            .iter()
            .enumerate()
            .map(|(at, file)| (file.module.clone(), at))
            .collect();
        let mut resolver = Self {
            modules,
            imported: BTreeMap::new(),
        };
        for file in files {
            let mut names = BTreeMap::new();
            for item in &file.items {
                if let Item::Use(item) = item {
                    for leaf in leaves(&item.tree) {
                        if let Some(path) =
                            resolver.absolute(&file.module, &file.module, &leaf.path)
                        {
                            names.insert(leaf.name, path);
                        }
                    }
                }
            }
            resolver.imported.insert(file.module.clone(), names);
        }
        resolver
    }

    /// Path below the crate, or `None` for a path into another crate. `file` is the module of the
    /// file, `here` that of the place in it: they differ inside an inline module.
    fn absolute(&self, file: &Names, here: &Names, path: &[String]) -> Option<Names> {
        let mut base = here.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" | "tgfs" => return Some(path[1..].to_vec()),
            "self" | "super" => {
                while let Some(word @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if word == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            name => {
                let mut child = file.clone();
                child.push(name.to_owned());
                if !self.modules.contains_key(&child) {
                    return None;
                }
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn file_of(&self, path: &[String]) -> Option<usize> {
        let mut path = path.to_vec();
        for _ in 0..MAX_REEXPORTS {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| self.modules.contains_key(&path[..*depth]))?;
            let module = &path[..depth];
            let next = path
                .get(depth)
                .and_then(|name| self.imported.get(module)?.get(name));
            let Some(target) = next else {
                return self.modules.get(module).copied();
            };
            path = [target.as_slice(), &path[depth + 1..]].concat();
        }
        None
    }
}

/// One name that a `use` brings in.
struct Leaf {
    name: String,
    path: Names,
}

fn leaves(tree: &UseTree) -> Vec<Leaf> {
    fn walk(tree: &UseTree, before: &[String], found: &mut Vec<Leaf>) {
        match tree {
            UseTree::Path(part) => {
                let mut path = before.to_vec();
                path.push(part.ident.to_string());
                walk(&part.tree, &path, found);
            }
            UseTree::Name(part) => push(before, &part.ident.to_string(), None, found),
            UseTree::Rename(part) => push(
                before,
                &part.ident.to_string(),
                Some(part.rename.to_string()),
                found,
            ),
            UseTree::Glob(_) => found.push(Leaf {
                name: "*".to_owned(),
                path: before.to_vec(),
            }),
            UseTree::Group(group) => {
                for tree in &group.items {
                    walk(tree, before, found);
                }
            }
        }
    }
    fn push(before: &[String], ident: &str, rename: Option<String>, found: &mut Vec<Leaf>) {
        let mut path = before.to_vec();
        if ident != "self" {
            path.push(ident.to_owned());
        }
        let name = rename.or_else(|| path.last().cloned()).unwrap_or_default();
        found.push(Leaf { name, path });
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Every path in `file` that leads into the crate. A `pub use` only passes a name on: it makes
/// its file use nothing.
fn paths_in(file: &SourceFile, resolver: &Resolver) -> BTreeSet<Names> {
    let mut finder = PathFinder {
        file: &file.module,
        here: file.module.clone(),
        resolver,
        found: BTreeSet::new(),
    };
    for item in &file.items {
        finder.visit_item(item);
    }
    finder.found
}

struct PathFinder<'a> {
    file: &'a Names,
    here: Names,
    resolver: &'a Resolver,
    found: BTreeSet<Names>,
}

impl PathFinder<'_> {
    fn add(&mut self, path: &[String]) {
        self.found
            .extend(self.resolver.absolute(self.file, &self.here, path));
    }
}

impl<'ast> Visit<'ast> for PathFinder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_some() {
            self.here.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.here.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, syn::Visibility::Inherited) {
            for leaf in leaves(&item.tree) {
                self.add(&leaf.path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names: Names = path.segments.iter().map(|s| s.ident.to_string()).collect();
            self.add(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        for path in paths_in_tokens(&mac.tokens) {
            self.add(&path);
        }
        visit::visit_macro(self, mac);
    }
}

/// Paths of two names or more in the tokens of a macro's call, which have no syntax yet.
fn paths_in_tokens(tokens: &TokenStream) -> Vec<Names> {
    let (mut found, mut path, mut colons) = (Vec::new(), Names::new(), 0);
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(ident) => {
                if colons < 2 && !path.is_empty() {
                    found.push(std::mem::take(&mut path));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                found.push(std::mem::take(&mut path));
                found.extend(paths_in_tokens(&group.stream()));
            }
            _ => found.push(std::mem::take(&mut path)),
        }
    }
    found.push(path);
    found.retain(|path| path.len() > 1);
    found
}

#[test]
fn paths_are_found_in_uses_in_expressions_and_in_macros() {
    let source = |module: &[&str], text: &str| SourceFile {
        path: module.join("/").into(),
        module: module.iter().map(|name| (*name).to_owned()).collect(),
        text: text.to_owned(),
        items: syn::parse_file(text).unwrap().items,
    };
    let files = [
        source(&[], "pub mod a; pub mod b;"),
        source(&["a"], "pub mod x; pub use x::Thing; pub struct Own;"),
        source(&["a", "x"], "pub struct Thing;"),
        source(&["b"], "use crate::a::{Thing, x as other};"),
        source(&["c"], "fn f() { crate::a::Own; }"),
        source(&["d"], "fn f() { format!(\"{}\", crate::a::x::Thing) }"),
        source(&["e"], "fn f() { let a = b::Own; std::fs::read(a); }"),
        source(&["f"], "mod inner { use super::super::c::f; }"),
    ];
    let graph = Graph::of(&files);
    let used = |at: usize| graph.uses[at].keys().copied().collect::<Vec<_>>();
    assert!(used(1).is_empty(), "a re-export is no use");
    assert_eq!(used(3), [2], "b uses what a passes on");
    assert_eq!(used(4), [1]);
    assert_eq!(used(5), [2]);
    assert!(used(6).is_empty(), "a local name is no module");
    assert_eq!(used(7), [4]);
    assert!(graph.circles().is_empty());
    let circle = [
        source(&["a"], "use crate::b::B;"),
        source(&["b"], "use crate::c::C;"),
        source(&["c"], "fn f() -> crate::a::A {}"),
    ];
    assert_eq!(Graph::of(&circle).circles(), [BTreeSet::from([0, 1, 2])]);
}
