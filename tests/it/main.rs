//! The one integration binary: real PostgreSQL, the built `rowback`, real archives. One file per stage or command;
//! `support` is the harness. Every file here must be named below (`architecture` checks that).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail, and says where"
)]
#![allow(clippy::too_many_lines, reason = "a test reads from top to bottom")]

mod after_backup;
mod apply;
mod apply_privileges;
mod apply_races;
mod apply_side_by_side;
mod architecture;
mod backup;
mod backup_damage;
mod backup_plain;
mod circles;
mod cli_bad_input;
mod cli_bad_recipe;
mod cli_bad_server;
mod cli_recover;
mod cli_recover_choices;
mod cli_recover_meanwhile;
mod cli_usage;
mod cluster;
mod companions;
mod companions_in_the_way;
mod compare;
mod compare_case;
mod compare_partitions;
mod composite_keys;
mod corrupted_below;
mod diff_corrupted;
mod diff_lookups;
mod diff_misrouted;
mod diff_order;
mod diff_unfit;
mod doctor;
mod equality;
mod error_codes;
mod examples;
mod extract;
mod fault_apply;
mod fault_recover;
mod fault_waits;
mod hand_made_case;
mod inheritance;
mod keys_added_since;
mod kinds_together;
mod live_changed;
mod live_journal;
mod locales;
mod misrouted_schema;
mod misrouted_schema_meanwhile;
mod not_restored;
mod not_valid;
mod periods;
mod pg;
mod pg_tls;
mod polymorphic;
mod predicate;
mod probes;
mod prop_pushdown;
mod prop_recovery;
mod prop_values;
mod pushdown;
mod queries;
mod references_json;
mod references_typed;
mod removed_beside;
mod removed_by_triggers;
mod replay;
mod repoint;
mod report;
mod scenario_3scale;
mod scenario_deleted_on_purpose;
mod scenario_double_accident;
mod scenario_linear;
mod scenario_travis;
mod show;
mod slow_live;
mod staging;
mod staging_files;
mod support;
mod support_self;
mod tombstones_apply;
mod trees;
mod triggers;
mod type_drift;
mod undo_races;
mod undo_references;
mod undo_triggers;
mod unlinked;
mod verify;
mod versions;
