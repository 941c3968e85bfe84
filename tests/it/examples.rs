//! What `examples/` promises: every recipe can be read, and every one that names an accident undoes exactly it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use rowback::recipe::Recipe;

use super::support::{Rescue, TempDir, TestDb, repository, run};

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
fn the_recipes_of_the_readme_can_be_read() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 4, "the blocks were found");
    for block in blocks {
        let whole = if block.contains("[[recover]]") {
            block.to_owned()
        } else {
            format!("[[recover]]\ntable = \"public.orders\"\nwhere = \"true\"\n{block}")
        };
        Recipe::parse(&whole, &repository().join("examples"))
            .unwrap_or_else(|error| panic!("{error}:\n{whole}"));
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

/// One example: its name, what else differs from a shop that never had the accident, and the exit code of `recover`.
struct Example {
    name: &'static str,
    besides: &'static str,
    left_for_a_human: bool,
}

/// The text of a file of `examples/`.
fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join("examples").join(path)).unwrap()
}

/// Runs the accident of an example and its rescue; live must then be the shop without the accident, row by row.
fn rescue(example: &Example) {
    let shop = TestDb::with("shop", &read("shop.sql"));
    let backup = shop.dump(&["-Fc"]);
    let (live, wanted) = (shop.copy("live"), shop.copy("wanted"));
    live.psql(&read(&format!("accidents/{}.sql", example.name)));
    live.psql(&read("later.sql"));
    wanted.psql(example.besides);
    wanted.psql(&read("later.sql"));
    let damaged = live.digest();
    assert_ne!(wanted.digest(), damaged, "the accident did something");

    let rescue = Rescue::new(&live, &backup);
    let code = i32::from(example.left_for_a_human);
    let _plan = rescue.recover(&recipe_path(example.name)).expect_code(code);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), example.name);
    let _certificate = rescue.verify().expect_code(code);
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn deleted_where() {
    rescue(&Example { name: "deleted-where", besides: "", left_for_a_human: false });
}

#[test]
fn deleted_query() {
    let besides = "delete from orders o using customers c where c.id = o.customer_id and o.status = 'open' and c.phone is null";
    rescue(&Example { name: "deleted-query", besides, left_for_a_human: false });
}

#[test]
fn deleted_where_file() {
    rescue(&Example { name: "deleted-where-file", besides: "", left_for_a_human: false });
}

#[test]
fn deleted_children() {
    let besides =
        "delete from payments p using orders o where o.id = p.order_id and o.placed_at < '2025-02-15'";
    rescue(&Example { name: "deleted-children", besides, left_for_a_human: false });
}

#[test]
fn deleted_identity() {
    let besides = "update customers set phone = '+44 20 7946 0777', created_at = '2026-02-28 12:00+00',
                   updated_at = '2026-02-28 12:00+00' where id = 6";
    rescue(&Example { name: "deleted-identity", besides, left_for_a_human: true });
}

#[test]
fn deleted_erased() {
    rescue(&Example {
        name: "deleted-erased",
        besides: "delete from customers where id in (8, 13)",
        left_for_a_human: false,
    });
}

#[test]
fn deleted_declared_key() {
    rescue(&Example { name: "deleted-declared-key", besides: "", left_for_a_human: false });
}

#[test]
fn repoint() {
    // A trigger stamps orders that are updated; the rescue inserts them as they were.
    let besides = "alter table orders disable trigger user; update customers set email = 'old ' || email where id in (14, 22);
        insert into customers (id, tenant_id, email, full_name, created_at, updated_at) overriding system value
        select 9000 + id, tenant_id, substr(email, 5), 'signed up again', '2026-03-01 08:00+00', '2026-03-01 08:00+00'
        from customers where id in (14, 22);
        update orders set customer_id = 9000 + customer_id where customer_id in (14, 22);
        update reviews set customer_id = 9000 + customer_id where customer_id in (14, 22);
        update notes set subject_id = 9000 + subject_id where subject_type = 'customer' and subject_id in (14, 22);
        delete from customers where id in (14, 22); alter table orders enable trigger user";
    rescue(&Example { name: "repoint", besides, left_for_a_human: false });
}

#[test]
fn corrupted() {
    let besides = "update customers set email = 'corrected@example.org' where id = 4;
                   update customers set phone = '+44 20 7946 0555' where id = 9";
    rescue(&Example { name: "corrupted", besides, left_for_a_human: true });
}

#[test]
fn deleted_replay() {
    let besides = "delete from customers where id = 197";
    rescue(&Example { name: "deleted-replay", besides, left_for_a_human: false });
}

#[test]
fn corrupted_replay() {
    let besides = "update products set price = 9.99 where id = 8";
    rescue(&Example { name: "corrupted-replay", besides, left_for_a_human: false });
}

#[test]
fn misrouted_schema() {
    rescue(&Example { name: "misrouted-schema", besides: "", left_for_a_human: false });
}

#[test]
fn misrouted() {
    let besides = "insert into reviews (id, tenant_id, product_id, customer_id, stars, body)
                   values (1001, 4, 3, 5, 5, 'written after the backup')";
    rescue(&Example { name: "misrouted", besides, left_for_a_human: false });
}

#[test]
fn the_program_that_uses_the_library() {
    run(Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--example", "library"])
        .current_dir(repository()));
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples/library");
    let shop = TestDb::with("shop", &read("shop.sql"));
    let (backup, live) = (shop.dump(&["-Fc"]), shop.copy("live"));
    live.psql(&read("accidents/deleted-where.sql"));
    let damaged = live.digest();
    let directory = TempDir::new("library");
    let rescue = |case: &str, expected: &str| {
        let mut command = Command::new(&program);
        command.arg(recipe_path("deleted-where")).arg(&backup).arg(live.url());
        command.arg(directory.join(case)).arg(expected).env("TMPDIR", directory.path()).output().unwrap()
    };

    let other = rescue("other", "772");
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    damaged.assert_same(&live.digest(), "a plan of another size is left for a human");
    let done = rescue("case", "773");
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        "planned: 773 rows to insert, 60 links to set, 0 conflicts\n\
         applied: 773 rows inserted, 60 updated\nverified: 833 rows as planned, 0 differences\n"
    );
    assert_eq!(done.status.code(), Some(0));
    shop.digest().assert_same(&live.digest(), "everything is back");
}
