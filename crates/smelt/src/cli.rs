//! The command line, as plain data.

mod publish;
mod quarantine;
mod sim;

use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use self::publish::{FileFormat, PublishArgs};
pub use self::quarantine::*;
pub use self::sim::{Destination, DirtArgs, SimArgs};
use crate::day::Day;

/// Retail events from Kafka and landing files to Bronze, Silver and Gold tables, and answers about them in SQL.
///
/// Results go to standard output, everything else to standard error. Exit codes: 0 fine; 1 failed; 2 wrong usage or
/// configuration; 3 a quality gate failed; 4 input not there yet.
///
/// S3 is reached by the usual AWS_* variables. Keys may also come from a role, or from a profile (AWS_PROFILE) of the
/// shared credentials file (AWS_SHARED_CREDENTIALS_FILE), which is read again when it changes.
#[derive(Debug, Parser)]
#[command(name = "smelt", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start here:\n  smelt demo                       a simulated retail week, with answers\n  \
    smelt ingest --input pos_sales=exports/   your own files to Bronze\n  smelt refine                     Bronze to Silver and Gold\n  \
    smelt query --list               the questions that can be asked by name\n  smelt sql                        a prompt")]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line as it is parsed. Every command takes `--set` itself: of one that clap makes `global`, values before
    /// the command are lost where others come after it.
    pub fn definition() -> clap::Command {
        fn with(command: clap::Command, set: &clap::Arg) -> clap::Command {
            command.mut_subcommands(|sub| with(sub.arg(set.clone()), set))
        }
        let command = Self::command();
        let set =
            command.get_arguments().find(|arg| arg.get_id() == SET).cloned().expect("it is among the common ones");
        with(command, &set)
    }

    /// What the process was called with; says what is wrong and ends it otherwise.
    pub fn read() -> Self {
        let matches = Self::definition().get_matches();
        Self::of(&matches).unwrap_or_else(|error| error.exit())
    }

    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        let mut at = matches;
        while let Some((_, below)) = at.subcommand() {
            cli.common.set.extend(below.get_many::<String>(SET).into_iter().flatten().cloned());
            at = below;
        }
        Ok(cli)
    }
}

/// The id of `--set`.
const SET: &str = "set";

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// Project folder: its `smelt.toml`, `models/` and `queries/` add to and override the built-in ones [default: here]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    pub project: Option<PathBuf>,
    /// Where the tables are: a path, file:// or s3://bucket/prefix [default: the project's `lake`]
    #[arg(long, global = true, value_name = "URL", help_heading = "Common options")]
    pub lake: Option<String>,
    /// Any setting of smelt.toml, for example --set limits.memory=2GiB
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Common options")]
    pub set: Vec<String>,
    /// How logs look on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Common options"
    )]
    pub log_format: LogFormat,
    /// More on standard error: -v what was done, -vv every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands, one file each in `cmd/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a retail week, take it through Bronze, Silver and Gold, and print the answers
    Demo(DemoArgs),
    /// Make a project folder of your own
    Init(InitArgs),
    /// Take what is new in topics and landing files to Bronze
    Ingest(IngestArgs),
    /// Bring Silver and Gold up to date
    Refine(RefineArgs),
    /// Check the tables as they stand
    Check(CheckArgs),
    /// Answer a question by name
    Query(QueryArgs),
    /// Run one SQL statement, or open a prompt
    Sql(SqlArgs),
    /// Put the figures of a Gold table elsewhere as files
    Publish(PublishArgs),
    /// Records that were set aside: list them by reason, show them, mend and replay them
    Quarantine(QuarantineArgs),
    /// Tables, their versions, rows and files, and how far they are behind
    Status(StatusArgs),
    /// Compact, checkpoint and vacuum the tables
    Maintain(MaintainArgs),
    /// Make retail events from a seed, and the right answers to them
    Sim(SimArgs),
    /// Print a completion script for your shell
    Completions(CompletionsArgs),
}

/// `smelt demo`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt demo\n  smelt demo --dir /tmp/retail --rows 2000000 --seed 7")]
pub struct DemoArgs {
    /// The folder of the demo's lake; that of an earlier demo is made anew
    #[arg(long, default_value = "smelt-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// About how many events
    #[arg(long, default_value_t = 400_000, value_name = "N")]
    pub rows: u64,
    /// The seed that all of it comes from
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
}

/// `smelt init`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  smelt init shop && cd shop && smelt ingest && smelt refine && smelt query kiosk_daily"
)]
pub struct InitArgs {
    /// The folder to make; it must not hold a project yet
    pub dir: PathBuf,
}

/// `smelt ingest`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt ingest                                        every stream that has a source\n  \
    smelt ingest --input pos_sales=exports/*.csv.gz     these files, under the contract pos_sales\n  \
    smelt ingest --stream invoices --follow             until stopped (Ctrl-C commits what it has)\n  \
    smelt ingest --stream weekly --day                  the job at 03:00: exit code 4 if files of yesterday's set lack\n  \
    smelt ingest --accept-gap sales_events              go on behind messages that expired unread, which is recorded"
)]
pub struct IngestArgs {
    /// Only these streams; the name of a landing set stands for all its members
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,
    /// Files for a stream or a landing set: a file, folder, glob or URL
    #[arg(long = "input", value_name = "STREAM=PATH")]
    pub inputs: Vec<String>,
    /// The day of which each landing set that runs must have all files: YYYY-MM-DD, today or yesterday (the default
    /// where no day follows), in the zone `time_zone` of smelt.toml
    ///
    /// A set is stored a day at a time, all files of a day or none. Any run that meets a day of which files are missing,
    /// empty or cut names them, stores nothing new of that day, loads the days that are complete, and ends with exit code
    /// 4. With this flag the day must be there even if no file of it is, and later days are not due yet.
    #[arg(long, value_name = "DAY", num_args = 0..=1, default_missing_value = "yesterday", conflicts_with = "follow")]
    pub day: Option<Day>,
    /// Go on with this stream although messages expired before they were read, or its topic was made anew; what is
    /// missing is recorded with the commit and the run
    ///
    /// A run stops at such a gap, because nothing may be missing in silence. With this flag it goes on at the oldest
    /// message that the broker has; a topic that was made anew is read as another log (topic#2), all of it but for partitions
    /// that still have the message that was stored last.
    #[arg(long = "accept-gap", value_name = "STREAM", conflicts_with = "follow")]
    pub accept_gaps: Vec<String>,
    /// Take what is there and end (the default)
    #[arg(long, conflicts_with = "follow")]
    pub once: bool,
    /// Go on until stopped
    #[arg(long)]
    pub follow: bool,
}

/// `smelt refine`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt refine\n  smelt refine --select gold.pos_monthly --full-refresh\n  \
    smelt refine --from 2024-01-01 --to 2024-01-31      compute these days again\n  \
    smelt refine --allow sales_events                   publish what that feed's gate holds back")]
pub struct RefineArgs {
    /// Only these models, for example silver.sales_lines
    #[arg(long = "select", value_name = "MODEL")]
    pub select: Vec<String>,
    /// Compute everything again from Bronze, and commit what differs
    #[arg(long)]
    pub full_refresh: bool,
    /// First day to compute again
    ///
    /// Models with a date in their scope or partitions compute the days from --from to --to again and move no position:
    /// what is new upstream is consumed by the next refresh, which counts it once. Where these days have new rows
    /// upstream, they are taken along at once; only a table whose entities can move to another day (a date among its
    /// partitions that is not part of the entity) takes none of them, because an entity could leave these days for one
    /// that is not computed.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "to", conflicts_with = "full_refresh")]
    pub from: Option<chrono::NaiveDate>,
    /// Last day to compute again
    #[arg(long, value_name = "YYYY-MM-DD", requires = "from")]
    pub to: Option<chrono::NaiveDate>,
    /// Let this feed through its gate this once; it is recorded, and what was let through holds nothing back later
    #[arg(long = "allow", value_name = "FEED")]
    pub allow: Vec<String>,
    /// Go on until stopped
    #[arg(long, conflicts_with_all = ["full_refresh", "from", "allow"])]
    pub follow: bool,
}

/// `smelt check`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt check\n  smelt check --select silver.sales_lines --format junit --output checks.xml\n\n\
    Exit code 3: a check that is no warning is not met. What was found is kept in quality.results."
)]
pub struct CheckArgs {
    /// Only these models, for example silver.sales_lines
    #[arg(long = "select", value_name = "MODEL")]
    pub select: Vec<String>,
    /// Evaluate nothing: the last result of each check, and of the gate of each feed
    #[arg(long)]
    pub last: bool,
    /// How the results are printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub format: CheckFormat,
    /// Write the results to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The formats of results of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Aligned columns for people
    Table,
    /// One JSON object in the shape of a validation result of Great Expectations
    Json,
    /// JUnit's XML, for CI servers
    Junit,
}

/// How results are printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub format: OutputFormat,
    /// Write the result to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Ndjson,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

/// `smelt query`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt query --list\n  smelt query pos_monthly --format csv\n  smelt query pos_best_products --param top=5"
)]
pub struct QueryArgs {
    /// The question's name
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    /// List the questions with their parameters
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    /// A parameter of the question
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub params: Vec<String>,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt sql`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt sql \"SELECT count(*) FROM silver.sales_lines\"\n  smelt sql < report.sql\n  smelt sql        a prompt, \\? for help"
)]
pub struct SqlArgs {
    /// The statement; without it, a prompt, or standard input where that is not a terminal
    pub statement: Option<String>,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt status`
#[derive(Debug, Args)]
#[command(long_about = "Tables, their versions, and how far they are behind: one row a table.\n\n\
    quarantined and open: records of Bronze that were set aside, and those not mended since; quarantine_rate: open ones of \
    all that were delivered. behind: upstream versions not yet consumed; messages_behind: messages of topics not yet \
    consumed, as the brokers say within 3 s; waiting_s: how long the oldest rows in upstream versions have waited. \
    newest_event: the newest event that has reached the table. tombstones: files that were removed and are not vacuumed. \
    last_run_s and last_run_rows: the seconds of the last run that committed to the table, and the records or upstream \
    rows that it took; empty where none of the newest 200 runs did.")]
#[command(after_help = "Examples:\n  smelt status\n  smelt status --format json")]
pub struct StatusArgs {
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt maintain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt maintain\n  smelt maintain --table silver.sales_lines")]
pub struct MaintainArgs {
    /// Only these tables
    #[arg(long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
}

/// `smelt completions`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  smelt completions bash > ~/.local/share/bash-completion/completions/smelt")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_count_wherever_they_stand() {
        Cli::definition().debug_assert();
        let words = ["smelt", "--set", "a=1", "quarantine", "--set", "b=2", "list", "--set", "c=3", "--set", "d=4"];
        let matches = Cli::definition().try_get_matches_from(words).expect("a command");
        let cli = Cli::of(&matches).expect("a command");
        assert_eq!(cli.common.set, ["a=1", "b=2", "c=3", "d=4"]);
    }
}
