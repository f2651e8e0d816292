//! Owns the check of the dependencies against deny.toml: licences, sources, banned crates, duplicate versions.
//! Does not check security advisories or yanked versions: their lists lie outside the package registry.
//!
//! deny.toml is written for cargo-deny; this reads the part of it that needs no network, with the same meaning, and is
//! stricter in one point: an entry that no longer applies is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::{Doing, Failure};
use crate::licence::Expression;
use crate::workspace::cargo_metadata;

/// The source that cargo records for a package of the default registry.
const DEFAULT_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The rules, from deny.toml.
#[derive(Debug, Default)]
struct Rules {
    /// The platforms whose dependencies count.
    targets: Vec<String>,
    /// Licences accepted from every crate.
    licences: BTreeSet<String>,
    /// Licences accepted from one crate only, by its name.
    licences_of: BTreeMap<String, BTreeSet<String>>,
    /// What may be there beside another version of it.
    skipped: BTreeSet<String>,
    /// Crates that must not be there at all, with the reason.
    banned: BTreeMap<String, String>,
}

/// A package in the graph of dependencies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// `None` for a package of this workspace.
    source: Option<String>,
}

impl Package {
    fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Whether a specification means this package: `name`, or `name@version` where `1` and `1.2` stand for all that
    /// begin with them.
    fn is(&self, specification: &str) -> bool {
        let Some((name, version)) = specification.split_once('@') else {
            return specification == self.name;
        };
        name == self.name
            && self
                .version
                .strip_prefix(version)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '-']))
    }
}

/// Checks the workspace's dependencies.
///
/// # Errors
/// When deny.toml or the graph cannot be read, or a rule is broken: the message lists every breach.
pub(crate) fn run(checkout: &Path) -> Result<(), Failure> {
    let path = checkout.join("deny.toml");
    let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
    let document = toml::from_str::<Value>(&text).doing(|| format!("read {}", path.display()))?;
    let rules =
        Rules::read(&document).map_err(|why| Failure::new(format!("{}: {why}", path.display())))?;
    let mut packages = BTreeSet::new();
    for target in &rules.targets {
        packages.extend(graph(checkout, target)?);
    }
    let packages = packages.into_iter().collect::<Vec<_>>();
    let breaches = breaches(&rules, &packages);
    if breaches.is_empty() {
        println!(
            "dependencies: {} packages hold to deny.toml (licences, sources, bans, duplicates). \
             Not checked: advisories and yanked versions.",
            packages.len()
        );
        return Ok(());
    }
    Err(Failure::new(format!(
        "the dependencies do not hold to deny.toml:\n  - {}",
        breaches.join("\n  - ")
    )))
}

impl Rules {
    /// Takes the rules from the document; keys that only cargo-deny knows are left to it.
    fn read(document: &Value) -> Result<Self, String> {
        let mut rules = Self {
            targets: strings(&document["graph"]["targets"], "graph.targets")?
                .into_iter()
                .collect(),
            licences: strings(&document["licenses"]["allow"], "licenses.allow")?,
            ..Self::default()
        };
        for entry in entries(&document["licenses"]["exceptions"]) {
            let allow = strings(&entry["allow"], "licenses.exceptions.allow")?;
            rules
                .licences_of
                .insert(field(entry, "crate", "licenses.exceptions")?, allow);
        }
        for entry in entries(&document["bans"]["skip"]) {
            field(entry, "reason", "bans.skip")?;
            rules.skipped.insert(field(entry, "crate", "bans.skip")?);
        }
        for entry in entries(&document["bans"]["deny"]) {
            rules.banned.insert(
                field(entry, "crate", "bans.deny")?,
                field(entry, "reason", "bans.deny")?,
            );
        }
        Ok(rules)
    }
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value, key: &str) -> Result<BTreeSet<String>, String> {
    let list = value
        .as_array()
        .filter(|list| !list.is_empty())
        .ok_or(format!("`{key}` is not a list or is empty"))?;
    list.iter()
        .map(|item| {
            item.as_str()
                .map(str::to_owned)
                .ok_or(format!("`{key}` holds {item}"))
        })
        .collect()
}

fn field(entry: &Value, key: &str, table: &str) -> Result<String, String> {
    entry[key]
        .as_str()
        .map(str::to_owned)
        .ok_or(format!("an entry of `{table}` has no `{key}`: {entry}"))
}

/// The packages that the workspace, its tests and its build scripts use on one platform.
fn graph(checkout: &Path, target: &str) -> Result<Vec<Package>, Failure> {
    let metadata = cargo_metadata(checkout, &["--locked", "--filter-platform", target])?;
    Ok(packages_in(&metadata))
}

/// The packages that the graph in the output of `cargo metadata` reaches.
fn packages_in(metadata: &Value) -> Vec<Package> {
    let reached = entries(&metadata["resolve"]["nodes"])
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect::<BTreeSet<_>>();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    entries(&metadata["packages"])
        .iter()
        .filter(|package| {
            package["id"]
                .as_str()
                .is_some_and(|id| reached.contains(id))
        })
        .map(|package| Package {
            name: text(&package["name"]).unwrap_or_default(),
            version: text(&package["version"]).unwrap_or_default(),
            licence: text(&package["license"]),
            source: text(&package["source"]),
        })
        .collect()
}

/// Every breach of the rules, in the order of the checks.
fn breaches(rules: &Rules, packages: &[Package]) -> Vec<String> {
    [check_licences, check_sources, check_bans, check_duplicates]
        .iter()
        .flat_map(|check| check(rules, packages))
        .collect()
}

fn check_licences(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    let mut used_exceptions = BTreeSet::new();
    for package in packages {
        let expression = match package
            .licence
            .as_deref()
            .ok_or("it states none".to_owned())
            .and_then(Expression::parse)
        {
            Ok(expression) => expression,
            Err(why) => {
                breaches.push(format!(
                    "the licence of {} cannot be read: {why}",
                    package.id()
                ));
                continue;
            }
        };
        seen.extend(expression.licences().into_iter().map(str::to_owned));
        let accepted = |name: &str| rules.licences.contains(name);
        let excepted = |name: &str| {
            rules
                .licences_of
                .get(&package.name)
                .is_some_and(|of| of.contains(name))
        };
        if expression.is_satisfied(&accepted) {
            continue;
        }
        if expression.is_satisfied(&|name| accepted(name) || excepted(name)) {
            used_exceptions.insert(package.name.as_str());
            continue;
        }
        let licence = package.licence.as_deref().unwrap_or_default();
        breaches.push(format!(
            "{} is under `{licence}`, which deny.toml does not accept",
            package.id()
        ));
    }
    for licence in rules
        .licences
        .iter()
        .filter(|licence| !seen.contains(*licence))
    {
        breaches.push(format!(
            "no package is under `{licence}`: take it out of `licenses.allow`"
        ));
    }
    for name in rules
        .licences_of
        .keys()
        .filter(|name| !used_exceptions.contains(name.as_str()))
    {
        breaches.push(format!(
            "the exception for {name} applies to nothing: take it out of `licenses.exceptions`"
        ));
    }
    breaches
}

fn check_sources(_: &Rules, packages: &[Package]) -> Vec<String> {
    let foreign = |package: &&Package| {
        package
            .source
            .as_deref()
            .is_some_and(|source| source != DEFAULT_REGISTRY)
    };
    packages
        .iter()
        .filter(foreign)
        .map(|package| {
            format!(
                "{} comes from {}",
                package.id(),
                package.source.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

fn check_bans(rules: &Rules, packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter_map(|package| {
            let (_, reason) = rules.banned.iter().find(|(spec, _)| package.is(spec))?;
            Some(format!("{} is banned: {reason}", package.id()))
        })
        .collect()
}

/// Of each name all versions but one must be skipped by an entry of their own.
fn check_duplicates(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut by_name = BTreeMap::<&str, Vec<&Package>>::new();
    for package in packages {
        by_name.entry(&package.name).or_default().push(package);
    }
    let mut breaches = Vec::new();
    let mut used = BTreeSet::new();
    for (name, versions) in by_name.iter().filter(|(_, versions)| versions.len() > 1) {
        let is_skipped = |package: &&&Package| {
            let entry = rules.skipped.iter().find(|entry| package.is(entry));
            used.extend(entry.cloned());
            entry.is_some()
        };
        let skipped = versions.iter().filter(is_skipped).count();
        if versions.len() > skipped + 1 {
            let list = versions
                .iter()
                .map(|package| package.version.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            breaches.push(format!(
                "{name} is there in {} versions ({list}); `cargo tree --invert {name}@VERSION` says who asks for which",
                versions.len()
            ));
        }
    }
    for entry in rules.skipped.difference(&used) {
        breaches.push(format!(
            "the entry {entry} skips no duplicate: take it out of `bans.skip`"
        ));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [graph]
        targets = ["t"]
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "odd", allow = ["ISC"] }]
        [bans]
        multiple-versions = "deny"
        skip = [{ crate = "twice@1.0.0", reason = "somebody is late" }]
        deny = [{ crate = "evil", reason = "it is" }]
    "#;

    fn rules() -> Rules {
        Rules::read(&toml::from_str(RULES).expect("TOML")).expect("rules")
    }

    fn package(name: &str, version: &str, licence: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: Some(licence.to_owned()),
            source: Some(DEFAULT_REGISTRY.to_owned()),
        }
    }

    /// Packages that make use of every rule and break none.
    fn sound() -> Vec<Package> {
        vec![
            Package {
                source: None,
                ..package("ours", "0.1.0", "MIT OR Apache-2.0")
            },
            package("odd", "1.0.0", "MIT AND ISC"),
            package("twice", "1.0.0", "MIT"),
            package("twice", "2.0.0", "MIT"),
        ]
    }

    fn check(change: impl FnOnce(&mut Vec<Package>), expected: &[&str]) {
        let mut packages = sound();
        change(&mut packages);
        let found = breaches(&rules(), &packages);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (breach, part) in found.iter().zip(expected) {
            assert!(breach.contains(part), "{breach} does not say {part}");
        }
    }

    #[test]
    fn sound_packages_pass() {
        check(|_| {}, &[]);
    }

    #[test]
    fn a_licence_must_be_accepted_and_stated() {
        check(
            |packages| packages.push(package("new", "1.0.0", "GPL-3.0-only")),
            &["new@1.0.0 is under `GPL-3.0-only`"],
        );
        check(
            |packages| packages.push(package("new", "1.0.0", "ISC")),
            &["new@1.0.0 is under `ISC`"],
        );
        check(
            |packages| {
                packages.push(Package {
                    licence: None,
                    ..package("new", "1.0.0", "")
                })
            },
            &["new@1.0.0 cannot be read: it states none"],
        );
    }

    #[test]
    fn a_source_must_be_the_registry() {
        let source = Some("git+https://example.org/fork".to_owned());
        check(
            |packages| {
                packages.push(Package {
                    source,
                    ..package("fork", "1.0.0", "MIT")
                })
            },
            &["fork@1.0.0 comes from git+"],
        );
    }

    #[test]
    fn a_banned_crate_is_named_with_the_reason() {
        check(
            |packages| packages.push(package("evil", "6.6.6", "MIT")),
            &["evil@6.6.6 is banned: it is"],
        );
    }

    #[test]
    fn one_version_beside_the_skipped_ones_is_allowed() {
        check(
            |packages| packages.push(package("twice", "3.0.0", "MIT")),
            &["twice is there in 3 versions (1.0.0, 2.0.0, 3"],
        );
        check(
            |packages| packages.push(package("odd", "2.0.0", "MIT")),
            &["odd is there in 2 versions"],
        );
    }

    #[test]
    fn entries_that_apply_to_nothing_are_breaches() {
        check(
            |packages| packages.retain(|package| package.name == "ours"),
            &["the exception for odd", "the entry twice@1.0.0"],
        );
        let unused = breaches(&rules(), &[]);
        assert!(
            unused
                .iter()
                .any(|breach| breach.contains("no package is under `MIT`")),
            "{unused:?}"
        );
    }

    #[test]
    fn rules_without_reasons_or_licences_are_refused() {
        let read = |text: &str| {
            Rules::read(&toml::from_str(text).expect("TOML"))
                .map(|_| ())
                .expect_err(text)
        };
        assert!(read("").contains("graph.targets"));
        assert!(read("graph.targets = [\"t\"]\nlicenses.allow = []").contains("licenses.allow"));
        let silent = RULES.replace(", reason = \"somebody is late\"", "");
        assert!(read(&silent).contains("no `reason`"));
    }

    #[test]
    fn a_specification_means_whole_parts_of_a_version() {
        let package = package("toml", "0.9.12+spec-1.1.0", "MIT");
        for good in [
            "toml",
            "toml@0",
            "toml@0.9",
            "toml@0.9.12",
            "toml@0.9.12+spec-1.1.0",
        ] {
            assert!(package.is(good), "{good}");
        }
        for bad in [
            "tom",
            "toml@",
            "toml@0.9.1",
            "toml@9",
            "toml@0.9.12.1",
            "other@0.9",
        ] {
            assert!(!package.is(bad), "{bad}");
        }
    }

    #[test]
    fn only_packages_of_the_graph_count() {
        let metadata = serde_json::json!({
            "packages": [
                { "id": "a", "name": "a", "version": "1.0.0", "license": "MIT", "source": null },
                { "id": "b", "name": "b", "version": "1.0.0", "license": "MIT", "source": DEFAULT_REGISTRY },
            ],
            "resolve": { "nodes": [{ "id": "a" }] },
        });
        let names = packages_in(&metadata)
            .into_iter()
            .map(|package| package.name)
            .collect::<Vec<_>>();
        assert_eq!(names, ["a"]);
    }
}
