//! Owns the rule of layers: a module imports only modules of lower rows of its crate's table in docs/ARCHITECTURE.md.
//! The table is a Markdown table `| layer | modules |` under the heading; the number in the layer's name is its height.
//! Code that is compiled for tests only is free.

use crate::Text;
use std::collections::BTreeMap;
use syn::visit::Visit;

/// Module of the crate's root -> height.
#[derive(Debug)]
pub(crate) struct Table(BTreeMap<String, u32>);

impl Table {
    /// Reads the table under `heading`.
    pub(crate) fn parse(document: &str, heading: &str) -> Result<Table, String> {
        let is_heading =
            |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
        let below = document
            .lines()
            .skip_while(|line| !is_heading(line))
            .skip(1);
        let rows = below
            .take_while(|line| !line.starts_with('#'))
            .filter(|line| line.starts_with('|'));
        let mut modules = BTreeMap::new();
        for row in rows {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (layer, names) = (
                cells.next().unwrap_or_default(),
                cells.next().unwrap_or_default(),
            );
            let layer = layer.trim_matches('`');
            let Ok(height) = layer
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .parse::<u32>()
            else {
                continue;
            };
            for name in module_names(names) {
                if modules.insert(name.clone(), height).is_some() {
                    return Err(format!("{heading}: {name} is in two rows"));
                }
            }
        }
        if modules.is_empty() {
            Err(format!("no table under the heading `{heading}`"))
        } else {
            Ok(Table(modules))
        }
    }
}

/// `` `worlds::{simulated, regtest}` `` is the module `worlds`; separators are blanks and commas.
fn module_names(cell: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for c in cell.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let words = plain.split(|c: char| c.is_whitespace() || "`,()".contains(c));
    words
        .map(|word| word.split("::").next().unwrap_or_default().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Every import that does not go downwards, and every module that the table does not have.
pub(crate) fn violations(table: &Table, sources: &[Text], folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !is_test(&source.path)) {
        let module = module_of(&source.path, folder);
        let Some(own) = module.first().cloned() else {
            continue;
        };
        let Some(height) = table.0.get(&own) else {
            found.push(format!(
                "{}: module `{own}` is not in the table of layers",
                source.path
            ));
            continue;
        };
        let file = match syn::parse_file(&source.text) {
            Ok(file) => file,
            Err(error) => {
                found.push(format!("{}: {error}", source.path));
                continue;
            }
        };
        let mut imports = Imports {
            module,
            reached: Vec::new(),
        };
        imports.visit_file(&file);
        imports.reached.sort();
        imports.reached.dedup();
        for target in imports.reached.into_iter().filter(|target| *target != own) {
            match table.0.get(&target) {
                Some(other) if other < height => {}
                Some(other) => {
                    found.push(format!(
                        "{}: `{own}` (layer {height}) uses `{target}` (layer {other})",
                        source.path
                    ));
                }
                // Items of the crate's root are not modules; macros live there.
                None => {}
            }
        }
    }
    found
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The module path of a file: `engine/src/payments/mod.rs` is `payments`; the crate's root has none.
fn module_of(path: &str, folder: &str) -> Vec<String> {
    let inner = path
        .trim_start_matches(folder)
        .trim_start_matches('/')
        .trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

/// Collects the root modules that paths lead to.
struct Imports {
    module: Vec<String>,
    reached: Vec<String>,
}

impl Imports {
    fn reach(&mut self, path: &[String]) {
        let mut at = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("super" | "self") => self.module.clone(),
            _ => return,
        };
        let mut rest = path;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => {
                    at.pop();
                }
                name => {
                    at.push(name.to_owned());
                    break;
                }
            }
            rest = others;
        }
        self.reached.extend(at.into_iter().next());
    }

    fn reach_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.reach_tree(&with(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => self.reach(&with(name.ident.to_string())),
            syn::UseTree::Rename(rename) => self.reach(&with(rename.ident.to_string())),
            syn::UseTree::Glob(_) => self.reach(before),
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|item| self.reach_tree(before, item)),
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let cfg = attribute.path().is_ident("cfg");
        cfg && attribute
            .parse_args::<syn::Ident>()
            .is_ok_and(|word| word == "test")
    })
}

impl Visit<'_> for Imports {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.reach_tree(&[], &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if parts.len() > 1 {
            self.reach(&parts);
        }
        syn::visit::visit_path(self, path);
    }

    /// What is inside of a macro call is no syntax tree: paths from the root are found in its text.
    fn visit_macro(&mut self, call: &syn::Macro) {
        let text = call.tokens.to_string();
        for after in text.split("crate ::").skip(1) {
            let name: String = after
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            self.reach(&["crate".to_owned(), name]);
        }
        syn::visit::visit_macro(self, call);
    }
}

const TABLE: &str = "\
# Map
### Layers of engine
| layer | modules | what |
|---|---|---|
| L2 | `api`, `worlds::{one, two}` | the door |
| L1 | rail  ledger  (ecash) | words |
| L0 | money | units |
### Next
| L9 | other |
";

fn check(path: &str, text: &str) -> Vec<String> {
    let table = Table::parse(TABLE, "Layers of engine").expect("a table");
    let source = Text {
        path: format!("engine/src/{path}"),
        text: text.to_owned(),
    };
    violations(&table, &[source], "engine/src")
}

#[test]
fn the_table_is_read() {
    let table = Table::parse(TABLE, "Layers of engine").expect("a table");
    let expected = [
        ("api", 2),
        ("ecash", 1),
        ("ledger", 1),
        ("money", 0),
        ("rail", 1),
        ("worlds", 2),
    ];
    assert_eq!(
        table
            .0
            .iter()
            .map(|(name, height)| (name.as_str(), *height))
            .collect::<Vec<_>>(),
        expected
    );
    assert!(Table::parse(TABLE, "Layers of sim").is_err());
}

#[test]
fn imports_downwards_and_within_are_fine() {
    let text = "use crate::{money::Msat, rail}; use super::Other; fn f() { crate::api::g(); }";
    assert_eq!(check("api/deep/x.rs", text), Vec::<String>::new());
    assert_eq!(
        check("lib.rs", "pub use crate::api::Engine;"),
        Vec::<String>::new()
    );
    let tests = "#[cfg(test)] mod tests { use crate::api::Engine; }";
    assert_eq!(check("money.rs", tests), Vec::<String>::new());
}

#[test]
fn imports_upwards_and_sideways_are_found_however_they_are_written() {
    for text in [
        "use crate::api::Engine;",
        "use crate::{money, api};",
        "use super::api;",
        "fn f(x: crate::api::Engine) {}",
        "fn f() { super::api::g(); }",
        "mod inner { use super::super::api::Engine; }",
        "fn f() { assert!(crate::api::g()); }",
        "use crate::ledger::Ledger;",
    ] {
        assert_eq!(check("rail.rs", text).len(), 1, "{text}");
    }
    let unknown = check("drawer.rs", "");
    assert!(
        unknown[0].contains("`drawer` is not in the table"),
        "{unknown:?}"
    );
}
