//! Foreign keys that live got after the backup was taken: what the accident took or cut along them comes back as well.

use super::support::{Rescue, TestDb};

const SHOP: &str = "
create table clients (id int primary key, name text not null);
create table orders (id int primary key, client int, note text);
create table parts (id int primary key, order_no int);
create table calls (id int primary key, client int);
insert into clients select g, 'client ' || g from generate_series(1, 10) as g;
insert into orders select g, 1 + g % 10, 'order ' || g from generate_series(1, 40) as g;
insert into parts select g, 1 + g % 40 from generate_series(1, 80) as g;
insert into calls select g, 1 + g % 10 from generate_series(1, 30) as g;";

/// One of them over a column that was renamed since.
const SINCE: &str = "
alter table parts rename order_no to order_id;
alter table orders add constraint orders_of foreign key (client) references clients on delete cascade;
alter table parts add constraint parts_of foreign key (order_id) references orders on delete cascade;
alter table calls add constraint calls_of foreign key (client) references clients on delete set null;";

const RECIPE: &str = "[[recover]]\ntable = \"clients\"\nwhere = \"id < 3\"\n[columns.\"public.parts\"]\nmap = { order_no = \"order_id\" }\n";

/// Live after the accident, live as it would be without it, and the backup, which is a file of the third.
fn shop() -> (std::path::PathBuf, TestDb<'static>, TestDb<'static>, TestDb<'static>) {
    let shop = TestDb::with("since", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql(SINCE);
    let wanted = live.copy("wanted");
    live.psql("delete from clients where id < 3");
    (dump, live, wanted, shop)
}

#[test]
fn rows_and_links_come_back_along_keys_that_the_backup_lacks() {
    let (dump, live, wanted, _shop) = shop();
    let gone = live.value("select (select count(*) from orders), (select count(*) from parts), (select count(*) from calls where client is null)");
    assert_eq!(gone, "32|64|6", "the accident went along all three");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(RECIPE).expect_code(0);
    for key in ["orders_of of public.orders", "parts_of of public.parts", "calls_of of public.calls"] {
        let told = format!("live's foreign key {key}, which the backup lacks, is followed as well");
        assert!(planned.stdout.contains(&told), "{}", planned.stdout);
    }
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
    let _verified = rescue.verify().expect_code(0);
    let _undone = rescue.undo().expect_code(0);
    assert_eq!(live.value("select count(*) from clients where id < 3"), "0");
}

#[test]
fn stages_that_were_run_alone_say_what_they_did_not_look_for() {
    let (dump, live, wanted, _shop) = shop();
    let rescue = Rescue::new(&live, &dump);
    let recipe = rescue.directory().write("stages.toml", RECIPE).display().to_string();
    let (dump, case, url) = (dump.display().to_string(), rescue.case().display().to_string(), live.url());
    let extract = ["extract", &recipe, "--backup", &dump, "--case", &case];
    let diff = ["diff", &case, "--live", &url];
    let _staged = rescue.rowback().run(extract).expect_code(0);
    let diffed = rescue.rowback().run(diff);
    for (key, told) in [("orders_of", true), ("calls_of", true), ("parts_of", false)] {
        let wanted = format!("by live's foreign key {key} of ");
        assert_eq!(diffed.stdout.contains(&wanted), told, "{key}: {}", diffed.stdout);
    }
    // Where live is named, it is asked.
    let _staged = rescue.rowback().run([&extract[..], &["--live", &url]].concat()).expect_code(0);
    let diffed = rescue.rowback().run(diff).expect_code(0);
    assert!(!diffed.stdout.contains("is not looked for"), "{}", diffed.stdout);
    let _planned = rescue.rowback().run(["plan", &case]).expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    wanted.digest().assert_same(&live.digest(), "after the recovery");
}

#[test]
fn a_key_that_the_backups_columns_cannot_be_followed_by_is_told_and_costs_the_exit_code() {
    let recipe = "[[recover]]\ntable = \"clients\"\nwhere = \"id < 3\"\n";
    for (client, since, why) in [
        (
            "client int",
            "alter table calls rename client to client_id; alter table calls add constraint calls_of foreign key (client_id) references clients on delete set null",
            "the backup has not all of its columns",
        ),
        (
            "client numeric(6, 2)",
            "alter table calls alter client type int; alter table calls add constraint calls_of foreign key (client) references clients on delete cascade",
            "its columns had other types then",
        ),
    ] {
        let calls = "create table calls (id int primary key, ";
        let shop =
            TestDb::with("since", &SHOP.replace(&format!("{calls}client int"), &format!("{calls}{client}")));
        let dump = shop.dump(&["-Fc"]);
        let live = shop.copy("live");
        live.psql(since);
        live.psql("delete from clients where id < 3");
        let rescue = Rescue::new(&live, &dump);
        let planned = rescue.recover_text(recipe).expect_code(1);
        let told = format!(
            "what hung on public.clients by live's foreign key calls_of of public.calls is not looked for: {why}"
        );
        assert!(planned.stdout.contains(&told), "{}", planned.stdout);
        assert!(!planned.stdout.contains("followed as well"), "{}", planned.stdout);
        let _applied = rescue.apply().expect_code(0);
        let verified = rescue.verify().expect_code(1);
        assert!(verified.stdout.contains("1 by keys that were not followed"), "{}", verified.stdout);
    }
    // Where children are not asked for, nothing is missed; and a table that the backup never had holds nothing of it.
    let shop = TestDb::with("since", SHOP);
    let dump = shop.dump(&["-Fc"]);
    let live = shop.copy("live");
    live.psql("alter table calls rename client to client_id; alter table calls add foreign key (client_id) references clients on delete cascade;
        create table news (id int primary key, client int references clients on delete cascade); delete from clients where id < 3");
    let rescue = Rescue::new(&live, &dump);
    let planned = rescue.recover_text(&format!("{recipe}children = [\"public.orders\"]\n")).expect_code(0);
    assert!(!planned.stdout.contains("live's foreign key"), "{}", planned.stdout);
    let rescue = Rescue::new(&live, &dump);
    live.psql("alter table calls drop constraint calls_client_id_fkey");
    let planned = rescue.recover_text(recipe).expect_code(0);
    assert!(
        planned.stdout.contains("of public.news is not looked for: the backup has no table of this name"),
        "{}",
        planned.stdout
    );
}
