//! The sources under `src/`, parsed, without what only tests compile.

use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

/// One file below `src/`.
pub struct SourceFile {
    /// Path below `src/`.
    pub path: PathBuf,
    /// Module path below the crate, one name a level: `media/hls/mod.rs` is `[media, hls]`.
    pub module: Vec<String>,
    pub text: String,
    /// Items that a release compiles. Empty for a file that only tests compile.
    pub items: Vec<Item>,
}

impl SourceFile {
    /// Top-level module that the file belongs to.
    pub fn top_module(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Parses every file below `src/`, in the order of their paths.
pub fn load() -> Vec<SourceFile> {
    let src = root().join("src");
    let mut paths = Vec::new();
    rust_files(&src, &mut paths);
    paths.sort();
    let mut files: Vec<_> = paths.iter().map(|path| parse(&src, path)).collect();
    let test_only: Vec<_> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        if test_only
            .iter()
            .any(|module| file.module.starts_with(module))
        {
            file.items.clear();
        }
        file.items.retain(|item| !is_for_tests(attributes(item)));
    }
    files
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn parse(src: &Path, path: &Path) -> SourceFile {
    let text = fs::read_to_string(path).unwrap();
    let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let relative = path.strip_prefix(src).unwrap().to_owned();
    let mut module: Vec<_> = relative
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|name| name == "mod") || module == ["lib"] {
        module.pop();
    }
    SourceFile {
        path: relative,
        module,
        text,
        items: syntax.items,
    }
}

/// Modules that `#[cfg(test)] mod name;` declares in `file`.
fn test_modules(file: &SourceFile) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for item in &file.items {
        if let Item::Mod(module) = item
            && module.content.is_none()
            && is_for_tests(&module.attrs)
        {
            let mut path = file.module.clone();
            path.push(module.ident.to_string());
            found.push(path);
        }
    }
    found
}

/// True for `#[cfg(test)]` and `#[cfg(any(test, …))]`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| names_test(&list.tokens.to_string()))
    })
}

fn names_test(tokens: &str) -> bool {
    let words = tokens.split(|c: char| !c.is_alphanumeric() && c != '_');
    !tokens.starts_with("not") && words.into_iter().any(|word| word == "test")
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
