//! The harness itself: a broken comparison would let every other test pass.

use std::time::Duration;

use super::support::{Rowback, Server, TempDir, TestDb, wait_until};

const SQL: &str = "create table a (id int primary key, note text, weight float8);
    insert into a values (1, 'one', 0.1), (2, null, 'nan'), (3, E'tab\\there', 1e300);
    create table b (a_id int references a); insert into b values (1), (1);
    create schema \"Öde\"; create table \"Öde\".\"T \"\"x\" (\"a b\" text); create sequence s";

#[test]
fn equal_databases_have_equal_digests_and_one_difference_shows() {
    let one = TestDb::with("digest", SQL);
    let two = TestDb::with("digest", SQL);
    one.digest().assert_same(&two.digest(), "two copies of a template");
    assert_eq!(one.digest().count(), 5);
    assert_eq!(one.rows("a"), ["1\tone\t0.1", "2\t\\N\tNaN", "3\ttab\\there\t1e+300"]);
    assert_eq!(one.sequences(), ["public.s|1|f"]);

    two.psql("update a set note = '' where id = 2; delete from b where ctid = '(0,1)'; insert into \"Öde\".\"T \"\"x\" values ('n')");
    assert_eq!(
        one.digest().difference(&two.digest()),
        "== \"Öde\".\"T \"\"x\"(\"a b\"): 0 only expected, 1 only found\n+ n\n\
         == public.a(id, note, weight): 1 only expected, 1 only found\n- 2\t\\N\tNaN\n+ 2\t\tNaN\n\
         == public.b(a_id): 1 only expected, 0 only found\n- 1\n"
    );
}

#[test]
fn a_server_of_its_own_leaves_nothing_behind() {
    let mut server = Server::start(&["max_connections=10"]);
    let directory = server.socket_directory().to_owned();
    assert_eq!(server.psql("postgres", "show max_connections"), "10\n");
    server.stop();
    wait_until("the directory is gone", Duration::from_secs(10), || !directory.exists());
}

#[test]
fn dumps_are_what_pg_dump_writes() {
    let database = TestDb::with("dumps", SQL);
    for (args, start) in [(&["-Fc"], &b"PGDMP"[..]), (&["-Fp"], &b"--\n-- PostgreSQL database dump"[..])] {
        assert!(std::fs::read(database.dump(args)).unwrap().starts_with(start));
        assert!(std::fs::read(database.dump_to_pipe(args)).unwrap().starts_with(start));
    }
    assert!(database.dump(&["-Fd"]).join("toc.dat").exists());
}

#[test]
#[should_panic(expected = "db.example.com is not this machine")]
fn a_foreign_host_is_refused() {
    let directory = TempDir::new("foreign");
    let rowback = Rowback::new(directory.path());
    let _command = rowback.command(["recover", "--live", "postgresql://me:secret@db.example.com:5432/shop"]);
}
