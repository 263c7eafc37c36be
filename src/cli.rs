//! The command line: what people type, and what each command does with a project.

mod exchange;
mod lock;
mod tell;
mod verify;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser, Subcommand};

use crate::explain::{self, Format};
use crate::gc;
use crate::graph::JobId;
use crate::plan::Plan;
use crate::project::{self, Project, Selection};
use crate::ro_crate;
use crate::run::{self, Bars, Interrupts, Json, Options, Plain, Report};
use crate::share;
use crate::slots::Slots;
use crate::store::Limits;
use crate::target;

/// Runs a pipeline: what changed, and what depends on it, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "ribbon", version, arg_required_else_help = true)]
struct Cli {
    /// The pipeline.yaml; looked for in this folder and those above it when not given.
    #[arg(long, global = true, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// The profile; pipeline.yaml names the default.
    #[arg(long, global = true)]
    profile: Option<String>,
    /// Another value for a parameter of the profile, as `epochs=30` or `data.kind=cifar10`.
    #[arg(long = "set", global = true, value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Hash every file at every use instead of trusting its times.
    #[arg(long, global = true)]
    paranoid: bool,
    #[command(subcommand)]
    command: Command,
}

const TARGETS: &str = "\
A target is a stage (`train`), a job or several by their labels (`train[arch=fc,seed=42]`), or a path under outputs/, which \
also says the profile.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make targets: run what is not up to date, publish under outputs/PROFILE/, write pipeline.lock.
    #[command(after_help = TARGETS)]
    Run {
        /// What to make; everything when not given.
        targets: Vec<String>,
        /// CPU threads that jobs share; all of the machine's when not given.
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        jobs: Option<u32>,
        /// Say what would run and why; run nothing.
        #[arg(short = 'n', long, conflicts_with = "json")]
        dry_run: bool,
        /// After a job has failed, go on with what does not depend on it. A program that cannot be built ends the run.
        #[arg(short, long)]
        keep_going: bool,
        /// Run these though they are up to date.
        #[arg(long, value_name = "TARGET")]
        force: Vec<String>,
        /// Let jobs open every file and reach the network, whatever the pipeline declares.
        #[arg(long)]
        no_sandbox: bool,
        /// Where a key makes other bits than pipeline.lock says, take the new ones into it.
        #[arg(long)]
        update_lock: bool,
        /// Leave heavy stages as they are: what depends on them takes what they made before.
        #[arg(long)]
        light: bool,
        /// Publish on the share what jobs have made, as they end.
        #[arg(long)]
        push: bool,
        /// Tell events as JSON, one a line, on standard output.
        #[arg(long)]
        json: bool,
        /// When another run is at work in this workspace, end with exit code 1 instead of waiting for it.
        #[arg(long)]
        no_wait: bool,
        /// Begin though the disk seems too small.
        #[arg(long)]
        ignore_space: bool,
    },
    /// Publish finished work on the share, for others to pull. Signed, where one has a key.
    #[command(after_help = TARGETS)]
    Push {
        /// What to publish; everything that is up to date when not given.
        targets: Vec<String>,
        /// Write also what is there already.
        #[arg(long)]
        again: bool,
    },
    /// Fetch finished work from the share; run nothing. Published files appear under outputs/PROFILE/.
    #[command(after_help = TARGETS)]
    Pull {
        /// What to fetch; what is published when not given.
        targets: Vec<String>,
    },
    /// One's own key, which signs what one pushes.
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Say what is up to date.
    #[command(after_help = TARGETS)]
    Status {
        /// Of what, with all that it is made from; of everything when not given.
        targets: Vec<String>,
        /// Tell it as JSON.
        #[arg(long)]
        json: bool,
        /// End with exit code 1 if anything has to run or is not published as it should be.
        #[arg(long)]
        check: bool,
    },
    /// Say why a target would run: what changed, from what to what, back to the root cause.
    #[command(after_help = TARGETS)]
    Why {
        /// What to explain.
        target: String,
    },
    /// Say where a target came from: keys, code, parameters, inputs, back to the data.
    #[command(after_help = TARGETS)]
    Show {
        /// What to trace.
        target: String,
    },
    /// Keep what jobs made over changes that are cosmetic: their outputs count for the new code and parameters.
    #[command(after_help = TARGETS)]
    Accept {
        /// What keeps its outputs. What depends on it needs no accepting.
        #[arg(required = true)]
        targets: Vec<String>,
        /// Why the change does not matter; `ribbon show` tells it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        because: String,
    },
    /// Say what differs between two versions of pipeline.lock: jobs, parameters, outputs.
    Diff {
        /// A git revision, as `HEAD~3`, a tag or a branch.
        #[arg(default_value = "HEAD")]
        before: String,
        /// Another one; pipeline.lock as it is now when not given.
        after: Option<String>,
        /// Compare two profiles instead.
        #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "before")]
        profiles: Vec<String>,
        /// Tell it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Merge two versions of pipeline.lock line by line into OURS; for git, as docs/PIPELINE.md says.
    MergeLock {
        /// What both came from (%O).
        base: PathBuf,
        /// The version that is replaced by the result (%A).
        ours: PathBuf,
        /// The other version (%B).
        theirs: PathBuf,
    },
    /// Print what a job printed when it last ran.
    #[command(after_help = TARGETS)]
    Log {
        /// A target that is one job.
        job: String,
    },
    /// Read everything in the store, and pipeline.lock; drop what is damaged, fetch it from the share if there is one, and say
    /// what it was. Ends with exit code 1 if anything was.
    #[command(after_help = TARGETS)]
    Verify {
        /// Instead, run these jobs once more, and say which make the same bits again. Nothing of it is stored. Ends with
        /// exit code 1 if any does not.
        #[arg(long, value_name = "TARGET", num_args = 1..)]
        rerun: Vec<String>,
        /// Of each stage only so many jobs, evenly among its targets.
        #[arg(long, value_name = "N", requires = "rerun")]
        sample: Option<std::num::NonZeroUsize>,
    },
    /// Remove from the store what the pipeline.lock of no workspace that uses it names, as it is or on a branch or tag.
    Gc {
        /// Keep for so many days after it was made what no lock names.
        #[arg(long, value_name = "N", default_value_t = 14)]
        keep_days: u32,
        /// Remove it earlier, oldest first, until the store takes no more than this: 500M, 1.5G, 2TiB. Ends with exit
        /// code 1 if what the locks name takes more.
        #[arg(long, value_name = "SIZE", value_parser = crate::pipeline::bytes)]
        max_size: Option<u64>,
        /// Do not keep what only branches and tags name that are not checked out.
        #[arg(long)]
        no_branches: bool,
        /// Say what would go; remove nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// List the profiles of pipeline.yaml; the default one is marked.
    Profiles,
    /// Print the graph of stages.
    Graph {
        /// For which program.
        #[arg(long, value_enum, default_value = "mermaid")]
        format: Format,
    },
    /// Write published outputs, and where they came from, for other tools and for archives.
    #[command(after_help = TARGETS)]
    Export {
        /// In which form.
        #[arg(value_enum)]
        form: Form,
        /// A folder that is empty or not there yet.
        folder: PathBuf,
        /// Whose published outputs; everything when not given.
        targets: Vec<String>,
    },
    /// Print the JSON schema of pipeline.yaml, for editors.
    Schema,
    /// Start processes for a run, which asks for them through standard input.
    #[command(hide = true)]
    Launch,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What published outputs are exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A Workflow Run RO-Crate: the files, and provenance as JSON-LD.
    RoCrate,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Make a key, in the user's configuration folder, and print what others put into `trust:`.
    New,
    /// Print what others put into `trust:`.
    Show,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Exits with 2 for wrong use, and 0 after help.
    let cli = Cli::parse();
    match cli.execute() {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("ribbon: {}", told(&error)));
            ExitCode::from(2)
        }
    }
}

impl Command {
    /// The profile whose published outputs the command is about, if its targets are paths that say so.
    fn profile(&self, selection: &Selection) -> Result<Option<String>> {
        let (Ok(pipeline), Ok(root)) = (project::find(selection), root(selection)) else { return Ok(None) };
        let mut said = self.targets().into_iter().filter_map(|target| {
            let profile = target::profile_of(&root, target)?;
            Some((target, profile))
        });
        let Some(first) = said.next() else { return Ok(None) };
        // What is wrong with the file is told when it is read.
        let Ok(profiles) = crate::pipeline::profiles(&pipeline) else { return Ok(None) };
        let is_there = |said: &(_, String)| profiles.iter().any(|listed| listed.name == said.1);
        let mut said = std::iter::once(first).chain(said).filter(is_there);
        let Some((target, profile)) = said.next() else { return Ok(None) };
        match said.find(|(_, other)| *other != profile) {
            Some((path, other)) => {
                bail!("a command is about one profile; {target} is of {profile}, {path} of {other}")
            }
            None => Ok(Some(profile)),
        }
    }

    fn targets(&self) -> Vec<&str> {
        match self {
            Command::Run { targets, force, .. } => targets.iter().chain(force).map(String::as_str).collect(),
            Command::Push { targets, .. }
            | Command::Pull { targets }
            | Command::Status { targets, .. }
            | Command::Accept { targets, .. }
            | Command::Verify { rerun: targets, .. }
            | Command::Export { targets, .. } => targets.iter().map(String::as_str).collect(),
            Command::Why { target } | Command::Show { target } | Command::Log { job: target } => vec![target],
            _ => Vec::new(),
        }
    }
}

impl Cli {
    fn execute(self) -> Result<ExitCode> {
        let sets = self.sets.iter().map(|set| {
            let (path, value) =
                set.split_once('=').with_context(|| format!("--set {set}: write PATH=VALUE"))?;
            Ok((path.to_owned(), value.to_owned()))
        });
        let mut selection = Selection {
            pipeline: self.pipeline,
            profile: self.profile,
            sets: sets.collect::<Result<_>>()?,
            paranoid: self.paranoid,
        };
        if selection.profile.is_none() {
            selection.profile = self.command.profile(&selection)?;
        }
        match self.command {
            Command::Launch => Ok(run::launch()),
            Command::Schema => print(&format!("{:#}\n", crate::pipeline::schema())),
            Command::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "ribbon", &mut text);
                print(&String::from_utf8_lossy(&text))
            }
            Command::Run {
                targets,
                jobs,
                dry_run: false,
                keep_going,
                force,
                no_sandbox,
                update_lock,
                light,
                push,
                json,
                no_wait,
                ignore_space,
            } => {
                let options = Options {
                    threads: jobs,
                    keep_going,
                    no_sandbox,
                    update_lock,
                    light,
                    push,
                    ignore_space,
                    discard: false,
                };
                run(&selection, &targets, &force, &options, json, no_wait)
            }
            Command::Run { targets, force, light, jobs, .. } => {
                let project = open(&selection)?;
                let (wanted, forced) = (wanted(&project, &targets)?, forced(&project, &force, light)?);
                let mut plan = match light {
                    true => Plan::light(&project, &wanted, &forced),
                    false => Plan::new(&project, &wanted, &forced),
                };
                plan.demand();
                run::check(&project, &plan, share::configured(&project)?.is_some())?;
                print(&tell::dry_run(&project, &plan, Some(Slots::here(jobs))))
            }
            Command::Push { targets, again } => exchange::push(&open(&selection)?, &targets, again),
            Command::Pull { targets } => exchange::pull(&selection, &targets),
            Command::Key { action } => exchange::key(&action),
            Command::Status { targets, json, check } => {
                let project = open(&selection)?;
                let plan = Plan::new(&project, &wanted(&project, &targets)?, &BTreeSet::new());
                let status = explain::status(&project, plan);
                match json {
                    true => print(&format!("{:#}\n", status.to_json()))?,
                    false => print(&format!("{status}\n"))?,
                };
                Ok(if check && !status.is_done() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
            Command::Why { target } => {
                let project = open(&selection)?;
                let targets = jobs(&project, &[target])?;
                let mut plan = Plan::new(&project, &targets, &BTreeSet::new());
                let is_current = targets.iter().all(|id| plan.current_key(*id).is_some());
                plan.demand();
                print(&tell::dry_run(&project, &plan, None))?;
                if is_current && lock::is_in_git(&project.root) {
                    print("what differs from the last commit's pipeline.lock: ribbon diff\n")?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Show { target } => {
                let project = open(&selection)?;
                let targets = jobs(&project, &[target])?;
                let plan = Plan::new(&project, &targets, &BTreeSet::new());
                print(&explain::show(&project, &plan, &targets))
            }
            Command::Accept { targets, because } => lock::accept(&selection, &targets, &because),
            Command::Diff { before, after, profiles, json } => {
                lock::diff(&open(&selection)?, &before, after.as_deref(), &profiles, json)
            }
            Command::MergeLock { base, ours, theirs } => lock::merge([&base, &ours, &theirs]),
            Command::Log { job } => tell::log(&open(&selection)?, &job),
            Command::Verify { rerun, .. } if rerun.is_empty() => verify::store(&selection),
            Command::Verify { rerun, sample } => {
                verify::bits(&open(&selection)?, &rerun, sample.map(usize::from))
            }
            Command::Gc { keep_days, max_size, no_branches, dry_run } => {
                let limits = Limits { keep: keep_days * gc::DAY, max_size, dry_run };
                let report = gc::gc(&root(&selection)?, limits, !no_branches)?;
                print(&report.to_string())?;
                Ok(if report.excess().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
            Command::Export { form: Form::RoCrate, folder, targets } => {
                let project = open(&selection)?;
                let published = ro_crate::export(&project, &wanted(&project, &targets)?, &folder)?;
                print(&format!("{published} published outputs in {}\n", folder.display()))
            }
            Command::Profiles => print(&tell::profiles(&project::find(&selection)?)?),
            Command::Graph { format } => print(&explain::draw(&open(&selection)?, format)),
        }
    }
}

fn run(
    selection: &Selection,
    targets: &[String],
    force: &[String],
    options: &Options,
    json: bool,
    no_wait: bool,
) -> Result<ExitCode> {
    let mut report = report(json);
    let Some((mut project, _lock)) = open_to_change(selection, no_wait)? else {
        return Ok(ExitCode::FAILURE);
    };
    let (wanted, forced) = (wanted(&project, targets)?, forced(&project, force, options.light)?);
    let interrupts = Interrupts::catch().context("cannot catch Ctrl-C")?;
    let ended = run::run(&mut project, &wanted, &forced, options, &interrupts, report.as_mut());
    let completed = explain::complete(&project);
    // The process ends here; to take thousands of jobs apart takes longer than to find that none has to run.
    std::mem::forget(project);
    let summary = match ended {
        Ok(summary) => summary,
        Err(error) => {
            // What was finished is in the store; not all that was to be done was.
            complain(&format!("ribbon: {}", told(&error.into())));
            return Ok(ExitCode::FAILURE);
        }
    };
    completed?;
    Ok(match () {
        () if summary.interrupted => ExitCode::from(130),
        () if !summary.failed.is_empty() || summary.unshared > 0 => ExitCode::FAILURE,
        () => ExitCode::SUCCESS,
    })
}

fn report(json: bool) -> Box<dyn Report> {
    match () {
        () if json => Box::new(Json),
        () if io::stderr().is_terminal() => Box::new(Bars::new()),
        () => Box::new(Plain),
    }
}

/// The folder of the pipeline.yaml that a command is about.
fn root(selection: &Selection) -> Result<PathBuf> {
    let path = project::find(selection)?;
    Ok(path.parent().context("pipeline.yaml stands in a folder")?.to_owned())
}

/// Takes the lock that lets one command at a time change a workspace, and says so where that takes a while.
fn lock_workspace(root: &Path) -> Result<std::fs::File> {
    let waits = || complain(&format!("waiting for another run in {}", root.display()));
    Ok(Project::lock_workspace(root, waits)?)
}

/// Opens a project; what was learnt of its files is remembered for the next command.
fn open(selection: &Selection) -> Result<Project> {
    let project = Project::open(selection)?;
    // Only speed is lost when this cannot be written.
    let _ = project.memo.save();
    Ok(project)
}

/// Opens a project that no other command changes while the file is held; none when another does and this one is not to
/// wait.
fn open_to_change(selection: &Selection, no_wait: bool) -> Result<Option<(Project, std::fs::File)>> {
    let root = root(selection)?;
    let lock = match Project::try_lock_workspace(&root)? {
        Some(lock) => lock,
        None if no_wait => {
            complain(&format!("ribbon: another run is at work in {}", root.display()));
            return Ok(None);
        }
        None => lock_workspace(&root)?,
    };
    Ok(Some((open(selection)?, lock)))
}

/// The jobs of targets, or all that the pipeline is for.
fn wanted(project: &Project, targets: &[String]) -> Result<BTreeSet<JobId>> {
    if targets.is_empty() { Ok(target::everything(project)) } else { jobs(project, targets) }
}

fn jobs(project: &Project, targets: &[String]) -> Result<BTreeSet<JobId>> {
    let mut jobs = BTreeSet::new();
    for target in targets {
        jobs.extend(target::select(project, target)?);
    }
    Ok(jobs)
}

/// The jobs that run though they are up to date.
fn forced(project: &Project, targets: &[String], light: bool) -> Result<BTreeSet<JobId>> {
    let forced = jobs(project, targets)?;
    match forced.iter().find(|id| light && project.stage(**id).heavy) {
        Some(id) => bail!("--force {} and --light: {} is heavy", project.name(*id), project.stage(*id).name),
        None => Ok(forced),
    }
}

/// An error and what led to it, each once: some tell their cause themselves.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.is_empty() {
            true => text = cause,
            false if !text.contains(&cause) => text = format!("{text}: {cause}"),
            false => {}
        }
    }
    text
}

/// Tells people. When nobody reads it, there is no reason to end in the middle.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn print(text: &str) -> Result<ExitCode> {
    let mut stdout = io::stdout();
    printed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// A closed pipe (`| head`) is the reader's wish; a full disk is not.
fn printed<T>(written: io::Result<T>) -> Result<ExitCode> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
