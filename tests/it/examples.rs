//! What `examples/` promises: every recipe can be read, and every one that names an accident undoes exactly it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rowback::recipe::Recipe;

use super::support::repository;

/// The names of the files with this ending in a folder, without the ending.
fn stems(folder: &str, ending: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(repository().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

fn recipe_path(name: &str) -> PathBuf {
    repository().join("examples").join(format!("{name}.toml"))
}

#[test]
fn every_recipe_can_be_read_and_written_again() {
    let names = stems("examples", ".toml");
    assert!(names.len() >= 9, "one for each kind of accident: {names:?}");
    for name in &names {
        let recipe = Recipe::load(&recipe_path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = recipe.to_toml().unwrap();
        let again = Recipe::parse(&written, &repository().join("examples")).unwrap();
        assert_eq!(again, recipe, "{name}: written out as\n{written}");
    }
}

#[test]
fn every_recipe_has_its_accident() {
    assert_eq!(stems("examples/accidents", ".sql"), stems("examples", ".toml"));
}

#[test]
fn the_recipes_of_the_datasets_can_be_read() {
    for name in stems("tests/datasets", ".toml") {
        let path = repository().join("tests/datasets").join(format!("{name}.toml"));
        Recipe::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
