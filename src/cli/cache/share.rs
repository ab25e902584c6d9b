//! `spb cache export` and `spb cache import`: the cache as one file, for CI.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{self, Limit};
use crate::cli::{Context, Exit, Failure, out};
use crate::disk::{DiskError, Lock};
use crate::engine::export::{self, ShareError};
use crate::report::text;
use crate::workflow::period;

/// Write all results that are whole to one file
///
/// With everything that they need: the files that they changed and their artifacts, each once, compressed. Logs stay here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cache export cache.spb
  spb cache export cache.spb --since 7d     only what was made or used in the last week")]
pub struct ExportArgs {
    /// The file to write; one that is there is replaced
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only results that were made or used within this time
    #[arg(long, value_name = "DURATION", value_parser = period)]
    pub since: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Take results from a file that `spb cache export` wrote
///
/// What is there stays. The file is read to its end before anything is taken from it. It can claim any result for any node:
/// take only files from where you would take the workflow from.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file to read
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Most bytes that it may unpack to
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = limits::size)]
    pub max_size: Limit<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn export(args: &ExportArgs, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let path = context.directory.join(&args.file);
    let since = args.since.map_or(i64::MIN, |since| {
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::now().as_millisecond().saturating_sub(since)
    });
    let write = |source| DiskError::new("write", &path, source);
    let _in_use = store.root().is_dir().then(|| Lock::share(&store.in_use())).transpose()?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let ordinary = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let new = tempfile::Builder::new().prefix(".new-").permissions(ordinary).tempfile_in(directory);
    let (exported, new) = export::export(&store, &repository, since, new.map_err(write)?)
        .map_err(|error| failure(&path, error))?;
    let bytes = new.as_file().metadata().map_or(0, |meta| meta.len());
    new.as_file().sync_all().map_err(write)?;
    new.persist(&path).map_err(|error| write(error.error))?;
    if args.json {
        out::json(&serde_json::json!({
            "entries": exported.entries, "left_out": exported.left_out, "bytes": bytes,
        }))?;
    } else {
        let left_out = match exported.left_out {
            0 => String::new(),
            count => format!(", {count} left out"),
        };
        let entries = text::count(exported.entries, "result");
        out::print(&format!("wrote {entries} ({}){left_out}\n", text::bytes(bytes)))?;
    }
    Ok(Exit::Done)
}

pub fn import(args: &ImportArgs, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let path = context.directory.join(&args.file);
    let file = File::open(&path).map_err(|source| DiskError::new("read", &path, source))?;
    let max = match args.max_size {
        Limit::At(max) => max,
        Limit::Off => u64::MAX,
    };
    let imported = export::import(&store, &repository, max, file).map_err(|error| failure(&path, error))?;
    for refused in &imported.refused {
        out::warn(&format!("refused: {}", text::line(refused)));
    }
    if args.json {
        out::json(&imported)?;
    } else {
        let entries = text::count(imported.entries, "result");
        out::print(&format!(
            "took {entries}; {} were here already, {} refused\n",
            imported.known,
            imported.refused.len()
        ))?;
    }
    Ok(if imported.refused.is_empty() { Exit::Done } else { Exit::Environment })
}

fn failure(path: &Path, error: ShareError) -> Failure {
    match error {
        ShareError::Engine(error) => error.into(),
        ShareError::Archive(error) => {
            Failure::environment(format!("cannot use `{}`: {error}", path.display()))
        }
    }
}
