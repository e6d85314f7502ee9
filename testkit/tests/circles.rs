//! Modules that stand side by side do not use each other in circles of two: where both know the other, they are one module, or a
//! third one is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use testkit::project;

type ModulePath = Vec<String>;

/// Every source file of a crate below `folder`, by the path of its module; tests are left out.
fn modules(root: &Path, folder: &Path, found: &mut BTreeMap<ModulePath, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modules(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let mut names: ModulePath = relative.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            if ["lib", "main", "mod"].contains(&names.last().unwrap().as_str()) {
                names.pop();
            }
            if !names.iter().any(|name| name.ends_with("tests")) {
                found.insert(names, without_tests_and_comments(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

fn without_tests_and_comments(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules that `source`, which is the module `own`, names by `crate::` or `super::`.
fn named(own: &ModulePath, source: &str, all: &BTreeMap<ModulePath, String>) -> BTreeSet<ModulePath> {
    let mut found = BTreeSet::new();
    for keyword in ["crate::", "super::"] {
        for (start, _) in source.match_indices(keyword) {
            let before = source[..start].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || "_:$".contains(letter)) {
                continue;
            }
            let mut rest = &source[start..];
            let mut base = if keyword == "crate::" { Vec::new() } else { own.clone() };
            while let Some(behind) = rest.strip_prefix("super::") {
                base.pop();
                rest = behind;
            }
            rest = rest.strip_prefix("crate::").unwrap_or(rest);
            for path in first_paths(rest) {
                let mut path: ModulePath = base.iter().cloned().chain(path).collect();
                while !path.is_empty() && !all.contains_key(&path) {
                    path.pop();
                }
                if !path.is_empty() && path != *own {
                    found.insert(path);
                }
            }
        }
    }
    found
}

/// The paths that begin a text: one, or those of a group in braces.
fn first_paths(text: &str) -> Vec<ModulePath> {
    let Some(group) = text.strip_prefix('{') else {
        let end = text.find(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter))).unwrap_or(text.len());
        let names = text[..end].split("::").filter(|name| !name.is_empty());
        return vec![names.map(str::to_owned).collect()];
    };
    let (mut depth, mut paths, mut current) = (0, Vec::new(), String::new());
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(std::mem::take(&mut current)),
            letter if depth == 0 => current.push(letter),
            _ => {}
        }
    }
    paths.push(current);
    paths.iter().flat_map(|path| first_paths(path.trim())).collect()
}

#[test]
fn modules_that_stand_side_by_side_do_not_use_each_other() {
    let mut roots: Vec<PathBuf> =
        fs::read_dir(project().join("common")).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    roots.extend(["train", "predict", "functions"].map(|program| project().join(program).join("src")));
    let mut circles = Vec::new();
    for root in roots.iter().filter(|root| root.is_dir()) {
        let mut all = BTreeMap::new();
        modules(root, root, &mut all);
        let edges: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
            all.iter().map(|(own, source)| (own, named(own, source, &all))).collect();
        for (own, uses) in &edges {
            for other in uses.iter().filter(|other| *own < *other && !other.starts_with(own)) {
                if edges.get(other).is_some_and(|back| back.contains(*own)) {
                    let crate_root = root.strip_prefix(project()).unwrap().display();
                    circles.push(format!("{crate_root}: {} and {}", own.join("::"), other.join("::")));
                }
            }
        }
    }
    circles.sort();
    assert!(circles.is_empty(), "these modules use each other: {circles:#?}");
}
