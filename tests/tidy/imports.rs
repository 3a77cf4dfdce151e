//! Imports between the files of a crate: finds cycles, and imports from a layer that is not below.
//!
//! A file imports another one if its code, without unit tests, names anything declared there: by `crate`,
//! `super` or `self`, by a module that it declares, or by a name that it imported. A name that a module only
//! re-exports belongs to the file that declares it (`pub use x::*` is not followed). A file may name what its
//! outer modules declare: such imports are no part of a cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{self, Named, Source};

/// Imports of a crate's files, by module, without files at the crate's root.
pub struct Imports {
    /// Importing module, imported module → `file:line` of the first import.
    edges: BTreeMap<(String, String), String>,
    modules: BTreeSet<String>,
}

/// Modules with their own and with re-exported names.
struct Declared {
    modules: BTreeSet<String>,
    /// Module and name → the path that its `pub use` names.
    reexports: BTreeMap<(String, String), Vec<String>>,
}

impl Imports {
    /// Imports of all files of one crate; files that only tests compile have none.
    pub fn of(sources: &[Source]) -> Self {
        let all: Vec<(String, &Source, Vec<Named>)> = sources
            .iter()
            .map(|source| {
                let module = source::module(&source.name).join("::");
                (module, source, names(source))
            })
            .collect();
        let mut declared = Declared {
            modules: all.iter().map(|(module, ..)| module.clone()).collect(),
            reexports: BTreeMap::new(),
        };
        for (module, _, names) in &all {
            for named in names.iter().filter(|named| named.reexported) {
                if let Some(name) = &named.import {
                    let key = (module.clone(), name.clone());
                    declared.reexports.insert(key, named.path.clone());
                }
            }
        }
        let mut edges = BTreeMap::new();
        for (module, source, names) in all.iter().filter(|(module, ..)| !module.is_empty()) {
            for Named { line, path, .. } in names {
                let target = declared.file_of(path.clone());
                if target != *module && !target.is_empty() {
                    edges
                        .entry((module.clone(), target))
                        .or_insert_with(|| format!("{}:{line}", source.name));
                }
            }
        }
        let mut modules = declared.modules;
        modules.remove("");
        Self { edges, modules }
    }

    /// Number of imports between files.
    pub fn count(&self) -> usize {
        self.edges.len()
    }

    /// Cycles, each as its imports with their places. Not all cycles, but every other one has the first import of
    /// a returned one.
    pub fn cycles(&self) -> Vec<String> {
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in self.edges.keys() {
            if !is_inside(from, to) {
                next.entry(from).or_default().insert(to);
            }
        }
        let mut found = Vec::new();
        while let Some(cycle) = cycle(&mut next) {
            let steps = cycle.iter().zip(cycle.iter().cycle().skip(1));
            let steps = steps.map(|(from, to)| {
                let place = &self.edges[&((*from).to_owned(), (*to).to_owned())];
                format!("{from} imports {to} ({place})")
            });
            found.push(steps.collect::<Vec<_>>().join(", "));
            if let Some(targets) = next.get_mut(cycle[0]) {
                targets.remove(cycle[1]);
            }
        }
        found
    }

    /// Imports from a layer that is not below the importing one, and modules without a layer. `layers` are names
    /// of modules at the crate's root, the highest layer first; modules of one layer import nothing of each other.
    pub fn upward(&self, layers: &[&[&str]]) -> Vec<String> {
        let root = |module: &str| module.split("::").next().unwrap_or("").to_owned();
        let layer = |module: &str| layers.iter().position(|names| names.contains(&module));
        let roots: BTreeSet<String> = self.modules.iter().map(|module| root(module)).collect();
        let placed: BTreeSet<&str> = layers.iter().copied().flatten().copied().collect();
        let mut wrong: Vec<String> = roots
            .iter()
            .filter(|name| !placed.contains(name.as_str()))
            .map(|name| format!("{name} has no layer"))
            .collect();
        let gone = placed.iter().filter(|name| !roots.contains(**name));
        wrong.extend(gone.map(|name| format!("{name} has a layer and does not exist")));
        for ((from, to), place) in &self.edges {
            let (above, below) = (root(from), root(to));
            let layers = layer(&above).zip(layer(&below));
            if above != below && layers.is_some_and(|(above, below)| above >= below) {
                wrong.push(format!("{place}: {from} imports {to}, which is not below"));
            }
        }
        wrong
    }
}

/// Whether `inner` is a module in `outer`, at any depth.
fn is_inside(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.starts_with("::"))
}

impl Declared {
    /// The module whose file declares what `path` names; empty for the crate's root.
    fn file_of(&self, mut path: Vec<String>) -> String {
        // Re-exports of re-exports: no crate has so many levels.
        for _ in 0..8 {
            let inner = (0..=path.len())
                .rev()
                .find(|&len| self.modules.contains(&path[..len].join("::")));
            let len = inner.unwrap_or(0);
            let module = path[..len].join("::");
            let Some(name) = path.get(len) else {
                return module;
            };
            match self.reexports.get(&(module.clone(), name.clone())) {
                Some(real) => path = [real, &path[len + 1..]].concat(),
                None => return module,
            }
        }
        path.join("::")
    }
}

/// Paths in a file to items of its crate.
fn names(source: &Source) -> Vec<Named> {
    let code = &source.shipped;
    let own = source::module(&source.name);
    let tokens = source::tokens(code);
    let children: BTreeSet<&str> = tokens
        .windows(3)
        .filter(|words| words[0].1 == "mod" && words[2].1 == ";")
        .map(|words| words[1].1)
        .collect();
    let mut found = source::named(code, |word| {
        let mut path = own.clone();
        match word {
            "self" => {}
            child if children.contains(child) => path.push(child.to_owned()),
            other => return source::root(&source.name, other),
        }
        Some(path)
    });
    let imported: BTreeMap<String, Vec<String>> = found
        .iter()
        .filter_map(|named| Some((named.import.clone()?, named.path.clone())))
        .collect();
    found.extend(source::named(code, |word| imported.get(word).cloned()));
    found
}

/// A cycle in `next`; removes modules without imports from it.
fn cycle<'a>(next: &mut BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    loop {
        next.retain(|_, targets| !targets.is_empty());
        let left: BTreeSet<&str> = next.keys().copied().collect();
        let before: usize = next.values().map(BTreeSet::len).sum();
        for targets in next.values_mut() {
            targets.retain(|target| left.contains(target));
        }
        if next.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    // Every module left has a target that is left, so a walk returns to a module that it has visited.
    let mut way = vec![*next.keys().next()?];
    loop {
        let to = *next[way[way.len() - 1]].first()?;
        if let Some(start) = way.iter().position(|module| *module == to) {
            return Some(way.split_off(start));
        }
        way.push(to);
    }
}

fn planted(files: &[(&str, &str)]) -> Imports {
    let sources: Vec<Source> = files
        .iter()
        .map(|(name, text)| Source::new(&format!("some/src/{name}"), text))
        .collect();
    Imports::of(&sources)
}

#[test]
fn a_cycle_is_found_with_every_form_of_import() {
    for b in [
        "use crate::c::f;",
        "use crate::{d, c::{self, f}};",
        "fn f() { crate::c::f() }",
        "fn f(it: super::c::It) {}",
        "use super::c as other; fn f() { other::f() }",
        "use crate::d; fn f() { d::again() }",
        "pub use crate::d::Renamed;",
    ] {
        let imports = planted(&[
            ("lib.rs", "pub mod a; pub mod b; pub mod c; pub mod d;"),
            ("a.rs", "use crate::b;"),
            ("b.rs", b),
            ("c/mod.rs", "mod inner;\npub fn f() { inner::f() }"),
            ("c/inner.rs", "use crate::a::g; use super::f;"),
            ("d.rs", "pub use crate::c::{f as again, It as Renamed};"),
        ]);
        let cycles = imports.cycles();
        assert_eq!(cycles.len(), 1, "{b}: {cycles:?}");
        for step in [
            "b imports c (some/src/b.rs:1)",
            "c imports c::inner (some/src/c/mod.rs:2)",
        ] {
            assert!(cycles[0].contains(step), "{b}: {cycles:?}");
        }
    }
}

#[test]
fn imports_without_a_cycle_give_none() {
    for inner in [
        "use super::Shared;",
        "#[cfg(test)]\nmod tests { use crate::top; }",
        "// use crate::top;\nconst TEXT: &str = \"crate::top\";",
        "use std::top;",
    ] {
        let imports = planted(&[
            ("top.rs", "use crate::low::{Inner, Shared};"),
            (
                "low/mod.rs",
                "mod inner; pub use inner::Inner; pub struct Shared;",
            ),
            ("low/inner.rs", inner),
            ("low/beside.rs", "use super::Inner;"),
        ]);
        assert_eq!(imports.cycles(), [""; 0], "{inner}");
    }
    // One cycle: each names the other through the same outer module.
    let imports = planted(&[
        (
            "low/mod.rs",
            "mod one; mod two; pub use one::One; pub use two::Two;",
        ),
        ("low/one.rs", "use super::Two; pub struct One;"),
        ("low/two.rs", "use super::One; pub struct Two;"),
    ]);
    assert_eq!(imports.cycles().len(), 1);
}

#[test]
fn an_import_that_is_not_from_a_lower_layer_is_found() {
    let imports = planted(&[
        (
            "lib.rs",
            "pub mod top; pub mod left; pub mod right; pub mod low;",
        ),
        ("top.rs", "use crate::{left, low};"),
        ("left/mod.rs", "mod inner;"),
        (
            "left/inner.rs",
            "use super::super::low;\nfn f() { crate::right::f() }",
        ),
        ("right.rs", "use crate::right;"),
        ("low.rs", "\nuse crate::top::It;"),
    ]);
    assert_eq!(
        imports.upward(&[&["top"], &["left", "right"], &["low"]]),
        [
            "some/src/left/inner.rs:2: left::inner imports right, which is not below",
            "some/src/low.rs:2: low imports top, which is not below",
        ]
    );
    assert_eq!(
        imports.upward(&[&["top"], &["left"], &["right"], &["none"]]),
        ["low has no layer", "none has a layer and does not exist",]
    );
}
