//! Dependencies of the sensor, and of its tools alone.

use super::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Packages in the dependency sections of a manifest, without dev-dependencies.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            found.extend(section.strip_prefix("dependencies.").map(str::to_owned));
        } else if section.ends_with("dependencies")
            && !section.ends_with("dev-dependencies")
            && section != "workspace.dependencies"
            && let Some((name, value)) = line.split_once('=')
        {
            let renamed = value.split("package = \"").nth(1);
            let name = renamed
                .and_then(|rest| rest.split('"').next())
                .unwrap_or(name);
            found.insert(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    found
}

/// Package → its dependencies, from Cargo.lock; all versions of a name together.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let name = package.lines().find(|line| line.starts_with("name = "));
        let name = name.and_then(quoted).expect("a name");
        let dependencies = package.lines().filter(|line| line.starts_with(" \""));
        let dependencies = dependencies
            .filter_map(quoted)
            .filter_map(|it| it.split(' ').next().map(str::to_owned));
        all.entry(name).or_default().extend(dependencies);
    }
    all
}

#[test]
fn the_sensor_depends_on_no_tool_and_on_no_package_of_tools_alone() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).expect("a manifest");
    let own = manifest("Cargo.toml");
    let members = own
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let members: Vec<&str> = members
        .expect("a workspace")
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    let tools: Vec<String> = members
        .iter()
        .filter(|member| **member != ".")
        .map(|member| manifest(&format!("{member}/Cargo.toml")))
        .collect();
    let locked = locked();
    let (direct, mut tree) = (dependencies(&own), BTreeSet::new());
    let mut left: Vec<&String> = direct.iter().collect();
    while let Some(name) = left.pop() {
        if tree.insert(name.clone()) {
            left.extend(&locked[name]);
        }
    }
    eprintln!(
        "tidy: {} packages of {} are the sensor's, {} directly",
        tree.len(),
        locked.len(),
        direct.len()
    );
    assert!(
        members.contains(&"loadtest") && locked.contains_key("afpacket"),
        "the load tester is a member: {members:?}"
    );
    assert!(
        tree.contains("clap_builder") && !tree.contains("proptest"),
        "{tree:?}"
    );
    for tool in &tools {
        let name = tool
            .split("name = \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let name = name.expect("a package has a name");
        assert!(!tree.contains(name), "the sensor depends on {name}");
    }
    for only_tools in ["plotters", "afpacket", "anyhow", "csv"] {
        assert!(
            !tree.contains(only_tools),
            "the sensor depends on {only_tools}"
        );
    }
}

#[test]
fn dependencies_are_found_in_every_section_but_dev_dependencies() {
    let manifest = "[dependencies]\na = \"1\"\nb = { version = \"1\", package = \"c\" }\n\
        [target.'cfg(unix)'.dependencies]\nd.workspace = true\n[build-dependencies]\ne = \"1\"\n\
        [dev-dependencies]\nf = \"1\"\n[target.x.dev-dependencies]\ng = \"1\"\n[features]\nh = []\n\
        [dependencies.i]\nversion = \"1\"\n";
    let found: Vec<String> = dependencies(manifest).into_iter().collect();
    assert_eq!(found, ["a", "c", "d", "e", "i"]);
}
