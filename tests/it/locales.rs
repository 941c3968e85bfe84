//! Databases that do not compare by the C library: predicates must choose in scratch what they chose in the backup's database.

use super::support::{Rescue, TestDb};

#[test]
fn icu_databases_are_asked_by_icu() {
    let live = TestDb::made("icu", "locale_provider icu icu_locale 'en-US' lc_collate 'C' lc_ctype 'C'");
    live.psql("create table words (id int primary key, word text); insert into words values (1,'a'),(2,'B'),(3,'b'),(4,'Z'),(5,'z'),(6,'ä'),(7,'é'),(8,'É'),(9,'ß')");
    let dump = live.dump(&["-Fc"]);
    let wanted = live.digest();
    let predicate = "word > 'b' or upper(word) = 'É'";
    live.psql(&format!("delete from words where {predicate}"));
    assert_eq!(live.value("select string_agg(word, '' order by id) from words"), "abä");
    let rescue = Rescue::new(&live, &dump);
    let _planned = rescue
        .recover_text(&format!("[[recover]]\ntable = \"words\"\nwhere = \"{predicate}\"\n"))
        .expect_code(0);
    let _applied = rescue.apply().expect_code(0);
    wanted.assert_same(&live.digest(), "after the recovery");
}
