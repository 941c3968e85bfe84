//! Reads tables of a backup to their last row and throws them away, on all cores: the time below which no recovery can
//! go. `floor BACKUP SCHEMA.TABLE…`

use std::path::Path;
use std::sync::Mutex;

use rowback::backup::{Backup, KeepAll};
use rowback::cancel::CancelToken;
use rowback::ident::TableName;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("floor BACKUP SCHEMA.TABLE…")?;
    let tables: Vec<TableName> = arguments.filter_map(|name| TableName::parse(&name)).collect();
    let backup = Backup::open(Path::new(&path))?;
    let left = Mutex::new(tables);
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..cores).map(|_| scope.spawn(|| read(&backup, &left))).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().unwrap_or_else(|_| Err("a thread died".into())))
    })?;
    Ok(())
}

fn read(backup: &Backup, left: &Mutex<Vec<TableName>>) -> Result<(), String> {
    loop {
        let next = left.lock().map_err(|error| error.to_string())?.pop();
        let Some(table) = next else { return Ok(()) };
        let read = backup.read_rows(&table, &KeepAll, &CancelToken::default(), &mut |_| Ok(()));
        read.map_err(|error| error.to_string())?;
    }
}
