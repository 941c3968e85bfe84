//! Links that the end of a parent cut, in every way that PostgreSQL knows: of one and of several columns, with a list of columns,
//! to NULL and to a default. They are set again where nobody else did.

use super::support::{Rescue, TestDb};

const OFFICE: &str = "
create table users (tenant int, id int, name text not null, primary key (tenant, id));
create table posts (id int primary key, tenant int not null, author int, body text,
  foreign key (tenant, author) references users on delete set null (author));
create table files (id int primary key, tenant int not null, owner int not null default 1,
  foreign key (tenant, owner) references users on delete set default (owner));
create table calls (id int primary key, tenant int, caller int, foreign key (tenant, caller) references users on delete set null);
create table rooms (id int primary key, tenant int default 1, host int default 1, foreign key (tenant, host) references users on delete set default);
create table logs (id int primary key, tenant int, actor int, foreign key (tenant, actor) references users match full on delete set null);
insert into users select t, u, 'user ' || t || '.' || u from generate_series(1, 3) as t, generate_series(1, 9) as u;
insert into posts select g, 1 + g % 3, 1 + g % 9, 'post ' || g from generate_series(1, 90) as g;
insert into files select g, 1 + g % 3, 1 + g % 9 from generate_series(1, 90) as g;
insert into calls select g, 1 + g % 3, 1 + g % 9 from generate_series(1, 90) as g;
insert into rooms select g, 1 + g % 3, 1 + g % 9 from generate_series(1, 90) as g;
insert into logs select g, 1 + g % 3, 1 + g % 9 from generate_series(1, 90) as g;
insert into posts values (101, 2, null, 'nobody'), (102, 3, 1, 'first'); insert into logs values (101, null, null);";

const ACCIDENT: &str = "delete from users where id between 4 and 6;";

/// Some links have another end by now, some rows have other contents, one is gone.
const LATER: &str = "
update posts set author = 2 where id = 3; update posts set body = 'edited' where id = 4; delete from posts where id = 12;
update files set owner = 2 where id = 3; update rooms set (tenant, host) = (3, 3) where id = 4; update calls set (tenant, caller) = (2, 2) where id = 5;";

const RECIPE: &str = "[[recover]]\ntable = \"users\"\nwhere = \"id between 4 and 6\"\nchildren = \"all\"\n";

/// A backup and what is left after the accident.
fn office(later: &str) -> (std::path::PathBuf, TestDb<'static>, TestDb<'static>) {
    let office = TestDb::with("office", OFFICE);
    let dump = office.dump(&["-Fc"]);
    let live = office.copy("live");
    live.psql(&format!("{ACCIDENT}{later}"));
    // The dump is a file of this database.
    (dump, live, office)
}

#[test]
fn links_of_several_columns_and_with_a_list_of_columns_are_set_again() {
    let (dump, live, office) = office(LATER);
    let cut = live.value("select (select count(*) from posts where author is null), (select count(*) from calls where caller is null),
        (select count(*) from logs where actor is null), (select count(*) from files where owner = 1), (select count(*) from rooms where host = 1)");
    assert_eq!(cut, "29|29|31|39|39", "the accident cut links of every sort");
    let wanted = office.copy("wanted");
    // Post 12 would hang on a user who came back; the row itself was deleted on purpose, and a predicate cannot know that.
    wanted.psql(&LATER.replace("delete from posts where id = 12;", ""));
    let damaged = live.digest();
    let rescue = Rescue::new(&live, &dump);
    // Room 4 and call 5 lead elsewhere by now, and so does file 3: kept, and told.
    let _planned = rescue.recover_text(RECIPE).expect_code(1);
    damaged.assert_same(&live.digest(), "recover writes nothing to live");
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
    let _verified = rescue.verify().expect_code(1);
    let _nothing = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "a second apply changes nothing");
    let _undone = rescue.undo().expect_code(0);
    damaged.assert_same(&live.digest(), "undo takes back what apply did");
}

#[test]
fn without_links_the_rows_come_back_alone() {
    let (dump, live, _office) = office("");
    let wanted = live.copy("wanted");
    wanted.psql("insert into users select t, u, 'user ' || t || '.' || u from generate_series(1, 3) as t, generate_series(4, 6) as u");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(&format!("{RECIPE}links = false\n")).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "no link was set");
}

#[test]
fn a_link_that_somebody_sets_between_plan_and_apply_stays() {
    let (dump, live, office) = office("");
    let meanwhile = "update posts set author = 9 where id = 3; update files set owner = 9 where id = 4;
        update calls set (tenant, caller) = (1, 9) where id = 5; update rooms set (tenant, host) = (2, 9) where id = 5;";
    let wanted = office.copy("wanted");
    wanted.psql(meanwhile);
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(RECIPE).expect_code(0);
    live.psql(meanwhile);
    let applied = rescue.apply().expect_code(1);
    for row in
        ["public.posts (id = 3)", "public.files (id = 4)", "public.calls (id = 5)", "public.rooms (id = 5)"]
    {
        assert!(applied.stdout.contains(row), "{row}: {}", applied.stdout);
    }
    wanted.digest().assert_same(&live.digest(), "the colleague's links stay");
    let _verified = rescue.verify().expect_code(1);
}

#[test]
fn a_lost_row_whose_parent_stays_away_has_the_links_default() {
    let (dump, live, office) = office(
        "delete from posts; delete from files; delete from rooms; delete from calls; delete from logs;",
    );
    let wanted = office.copy("wanted");
    wanted.psql("delete from users where id = 5");
    let rescue = Rescue::new(&live, &dump);
    rescue.directory().write("erased.csv", "tenant,id\n1,5\n2,5\n3,5\n");
    let more = "[[recover]]\ntable = \"posts\"\n[[recover]]\ntable = \"files\"\n[[recover]]\ntable = \"rooms\"\n[[recover]]\ntable = \"calls\"\n\
        [[recover]]\ntable = \"logs\"\n[policy]\nexclude_keys = { users = \"erased.csv\" }\n";
    let recipe = format!(
        "{RECIPE}{}",
        more.replace("\"\n[[", "\"\nwhere = \"true\"\n[[").replace("logs\"\n", "logs\"\nwhere = \"true\"\n")
    );
    let _planned = rescue.recover_text(&recipe).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "as if only the erased had been deleted");
    let _verified = rescue.verify().expect_code(0);
}

/// An update of what others refer to by ON UPDATE SET NULL or SET DEFAULT would cut their links for good.
#[test]
fn links_that_colleagues_made_since_are_not_cut_by_a_repair() {
    for (action, default) in [("set null", "null"), ("set default", "101")] {
        let made = format!(
            "create table invoices (tenant int, id int, v text, primary key (tenant, id));
             create table payments (id int primary key, tenant int default 1, invoice int default {default},
               foreign key (tenant, invoice) references invoices on update {action});
             create table codes (id int primary key, code text not null unique);
             create table uses (id int primary key, code text default null references codes (code) on update {action});
             insert into invoices select t, t * 100 + i, 'x' from generate_series(1, 3) as t, generate_series(1, 5) as i;
             insert into codes select g, 'code ' || g from generate_series(1, 5) as g;
             insert into payments values (1, 1, 101); insert into uses values (1, 'code 1');"
        );
        let backup = TestDb::with("hanging", &made);
        let (dump, live, truth) = (backup.dump(&["-Fc"]), backup.copy("live"), backup.copy("wanted"));
        live.psql("update invoices set tenant = 3 where id in (202, 203); update codes set code = 'bad ' || id where id in (2, 3)");
        let rescue = Rescue::new(&live, &dump);
        let recipe = "[[recover]]\ntable = \"invoices\"\nkind = \"misrouted\"\nowner = \"tenant\"\nwhere = \"tenant = 2\"\ndamaged = \"live.tenant = 3\"
            [[recover]]\ntable = \"codes\"\nkind = \"corrupted\"\ncolumns = [\"code\"]\nwhere = \"true\"\ndamaged = \"live.code like 'bad%'\"";
        let _planned = rescue.recover_text(recipe).expect_code(0);
        live.psql("insert into payments values (900, 3, 202); insert into uses values (900, 'bad 2')");
        let said = rescue.apply().expect_code(1);
        let told = "not written: rows of others hang on the value that it has, and would be cut off";
        assert_eq!(said.stdout.matches(told).count(), 2, "{}", said.stdout);
        truth.psql(
            "update invoices set tenant = 3 where id = 202; update codes set code = 'bad 2' where id = 2",
        );
        truth.psql("insert into payments values (900, 3, 202); insert into uses values (900, 'bad 2')");
        truth.digest().assert_same(&live.digest(), action);
        let _verified = rescue.verify().expect_code(1);
        // What hangs on the repaired rows by now would be cut off by undo.
        let hung = "insert into payments values (901, 2, 203); insert into uses values (901, 'code 3')";
        live.psql(hung);
        truth.psql(hung);
        let undone = rescue.undo().expect_code(1);
        assert_eq!(undone.stdout.matches("still referred to by").count(), 2, "{}", undone.stdout);
        truth.digest().assert_same(&live.digest(), action);
    }
}

/// Nodes hang on nodes; who counts its children is a number and nothing else.
const TREE: &str = "
    create table shops (id int primary key);
    create table nodes (id int primary key, parent int references nodes on delete set null, shop int not null references shops on delete cascade, kids int not null default 0);
    create function count_kids() returns trigger language plpgsql as $f$
    begin
      if tg_op <> 'INSERT' then update nodes set kids = kids - 1 where id = old.parent; end if;
      if tg_op <> 'DELETE' then update nodes set kids = kids + 1 where id = new.parent; end if;
      return null;
    end $f$;
    create trigger count_kids after insert or delete or update of parent on nodes for each row execute function count_kids();
    insert into shops values (1), (2);
    insert into nodes values (1, null, 1), (2, 1, 2), (3, 2, 2), (4, 3, 1), (5, 3, 1);";

#[test]
fn a_row_that_kept_its_place_is_a_parent_though_its_count_moved() {
    let truth = TestDb::with("tree", TREE);
    let dump = truth.dump(&["-Fc"]);
    let recipe = "[[recover]]\ntable = \"shops\"\nwhere = \"id = 1\"\n";
    let live = truth.copy("live");
    live.psql("delete from shops where id = 1");
    let rescue = Rescue::new(&live, &dump);
    // That its count differs is told.
    let planned = rescue.recover_text(recipe).expect_code(1);
    assert!(planned.stdout.contains("1 conflict kept as it is"), "{}", planned.stdout);
    let _applied = rescue.apply().expect_code(0);
    truth.digest().assert_same(&live.digest(), "4 and 5 hang on 3, which lost nothing but its count");
    // Made again elsewhere, it is another one as far as anybody can tell.
    let live = truth.copy("live");
    live.psql("delete from shops where id = 1; delete from nodes where id = 3; insert into nodes values (3, null, 2)");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue.recover_text(recipe).expect_code(1);
    let _applied = rescue.apply().expect_code(0);
    assert_eq!(
        live.psql("select id, parent, kids from nodes order by id").trim(),
        "1||1\n2|1|0\n3||0\n4||0\n5||0"
    );
}
