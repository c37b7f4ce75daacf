//! The shape of the sources: lengths of files and functions, names defined once, documented items.

use std::collections::BTreeMap;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, TraitItem, Visibility};

use crate::sources::{self, SourceFile, attributes, is_for_tests};

/// Lines. A longer file holds more than one thing.
const MAX_FILE_LINES: usize = 500;

/// Lines, from the signature to the closing brace. A longer function does more than one thing.
const MAX_FUNCTION_LINES: usize = 80;

/// Types whose name is defined in more than one file. Shorten the list; never add to it.
const SHARED_TYPE_NAMES: [&str; 0] = [];

#[test]
fn no_file_is_too_long() {
    for file in sources::load() {
        let lines = file.text.lines().count();
        assert!(
            lines <= MAX_FILE_LINES,
            "{} has {lines} lines, at most {MAX_FILE_LINES}",
            file.shown()
        );
    }
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for file in sources::load() {
        let mut lengths = FunctionLengths::default();
        for item in &file.items {
            lengths.visit_item(item);
        }
        for (name, lines) in lengths.0 {
            if lines > MAX_FUNCTION_LINES {
                long.push(format!("{}: {name} has {lines} lines", file.shown()));
            }
        }
    }
    assert!(
        long.is_empty(),
        "at most {MAX_FUNCTION_LINES} lines a function:\n{}",
        long.join("\n")
    );
}

#[derive(Default)]
struct FunctionLengths(Vec<(String, usize)>);

impl FunctionLengths {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line + 1 - signature.span().start().line;
        self.0.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for FunctionLengths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

/// One name, one type: a reader who meets a name need not ask which one is meant.
#[test]
fn type_names_are_defined_once() {
    let files = sources::load();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        for name in type_names(&file.items) {
            places.entry(name).or_default().push(file.shown());
        }
    }
    places.retain(|_, places| places.len() > 1);
    let more: Vec<_> = places
        .iter()
        .filter(|(name, _)| !SHARED_TYPE_NAMES.contains(&name.as_str()))
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(
        more.is_empty(),
        "{} type names are defined more than once:\n{}",
        more.len(),
        more.join("\n")
    );
    for name in SHARED_TYPE_NAMES {
        assert!(
            places.contains_key(name),
            "{name} is defined once now: strike it from the list"
        );
    }
}

fn type_names(items: &[Item]) -> Vec<String> {
    let mut found = Vec::new();
    for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
        match item {
            Item::Struct(item) => found.push(item.ident.to_string()),
            Item::Enum(item) => found.push(item.ident.to_string()),
            Item::Union(item) => found.push(item.ident.to_string()),
            Item::Trait(item) => found.push(item.ident.to_string()),
            Item::Type(item) => found.push(item.ident.to_string()),
            Item::Mod(item) => {
                if let Some((_, items)) = &item.content {
                    found.extend(type_names(items));
                }
            }
            _ => {}
        }
    }
    found
}

/// Fields and variants may go without: their names say it where the type is documented.
#[test]
fn public_items_are_documented() {
    let mut bare = Vec::new();
    for file in sources::load() {
        if !file.items.is_empty() && !file.text.starts_with("//!") {
            bare.push(format!("{}: the file itself", file.shown()));
        }
        for name in undocumented(&file) {
            bare.push(format!("{}: {name}", file.shown()));
        }
    }
    assert!(
        bare.is_empty(),
        "{} public items have no comment:\n{}",
        bare.len(),
        bare.join("\n")
    );
}

fn undocumented(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    for item in &file.items {
        let named = match item {
            Item::Const(item) => Some((&item.vis, &item.ident)),
            Item::Enum(item) => Some((&item.vis, &item.ident)),
            Item::Fn(item) => Some((&item.vis, &item.sig.ident)),
            Item::Static(item) => Some((&item.vis, &item.ident)),
            Item::Struct(item) => Some((&item.vis, &item.ident)),
            Item::Trait(item) => Some((&item.vis, &item.ident)),
            Item::Type(item) => Some((&item.vis, &item.ident)),
            _ => None,
        };
        if let Some((visibility, name)) = named
            && is_bare(visibility, attributes(item))
        {
            found.push(name.to_string());
        }
        match item {
            Item::Impl(item) if item.trait_.is_none() => {
                found.extend(item.items.iter().filter_map(undocumented_in_impl));
            }
            Item::Trait(item) if !matches!(item.vis, Visibility::Inherited) => {
                found.extend(item.items.iter().filter_map(undocumented_in_trait));
            }
            _ => {}
        }
    }
    found
}

fn undocumented_in_impl(item: &ImplItem) -> Option<String> {
    let ImplItem::Fn(function) = item else {
        return None;
    };
    let name = function.sig.ident.to_string();
    // `new` of a documented type makes one of it.
    let is_plain = name == "new" || is_for_tests(&function.attrs);
    (!is_plain && is_bare(&function.vis, &function.attrs)).then_some(name)
}

fn undocumented_in_trait(item: &TraitItem) -> Option<String> {
    match item {
        TraitItem::Fn(function) if !is_documented(&function.attrs) => {
            Some(function.sig.ident.to_string())
        }
        _ => None,
    }
}

fn is_bare(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_documented(attributes)
}

fn is_documented(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("doc"))
}
