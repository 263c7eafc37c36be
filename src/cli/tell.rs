//! What commands tell that change nothing: profiles, what would run, logs.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::{complain, printed};
use crate::explain;
use crate::pipeline::Listed;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::run;
use crate::share;
use crate::slots::Slots;
use crate::space;
use crate::target;

/// The profiles, a line each, with what they are about.
pub fn profiles(pipeline: &Path) -> Result<String> {
    let profiles = crate::pipeline::profiles(pipeline)?;
    let width = profiles.iter().map(|listed| listed.name.chars().count()).max().unwrap_or(0);
    let line = |Listed { name, about, is_default }: &Listed| {
        let mark = if *is_default { '*' } else { ' ' };
        format!("{mark} {name:width$}  {about}").trim_end().to_owned() + "\n"
    };
    Ok(profiles.iter().map(line).collect())
}

/// What would run and why, and, told in what slots, how long and on how much disk.
pub fn dry_run(project: &Project, plan: &Plan, slots: Option<Slots>) -> String {
    let mut text = String::new();
    let groups = explain::why(project, plan);
    for group in &groups {
        text.push_str(&format!("{group}\n"));
    }
    if let Some(slots) = slots {
        for cardless in run::cardless(plan, &slots) {
            text.push_str(&format!("{cardless}\n"));
        }
        let forecast = explain::forecast(plan, slots.clone());
        text.extend(forecast.map(|forecast| format!("{forecast}\n")));
        let estimate = space::estimate(plan, slots);
        text.extend(estimate.map(|estimate| format!("{estimate}\n")));
    }
    let certain: usize = groups.iter().filter(|group| !group.perhaps).map(|group| group.jobs.len()).sum();
    let more = plan.needed().filter(|id| plan.may_run(*id)).count() - certain;
    let current = plan.needed().filter(|id| plan.current_key(*id).is_some() && !plan.may_run(*id)).count();
    let perhaps = if more > 0 { format!(", and up to {more} more if outputs change") } else { String::new() };
    for left in run::left(project, plan) {
        text.push_str(&format!("{left}\n"));
    }
    let shared = certain > 0 && share::configured(project).is_ok_and(|share| share.is_some());
    let unasked = if shared { "; the share was not asked, and may have some of it" } else { "" };
    text + &format!("would run {certain}{perhaps}; {current} up to date{unasked}\n")
}

/// Prints a job's log: of its key as it is now, or of its line in the lock.
pub fn log(project: &Project, job: &str) -> Result<ExitCode> {
    let jobs = target::select(project, job)?;
    let id = match jobs.first() {
        Some(id) if jobs.len() == 1 => *id,
        _ => bail!("{job} is {} jobs; a log is of one: add labels in brackets", jobs.len()),
    };
    let plan = Plan::new(project, &jobs, &BTreeSet::new());
    let now = match plan.state(id) {
        State::Stale(key, _) | State::Current(key, _) => Some(*key),
        State::Waiting | State::Kept(_) | State::Unneeded => None,
    };
    let locked = project.lock.get(project.name(id)).map(|line| line.key);
    let keys: Vec<_> = now.into_iter().chain(locked).collect();
    let paths = keys.iter().map(|key| project.store.log_path(*key));
    if let Some(path) = paths.into_iter().find(|path| path.exists()) {
        let log = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        return printed(io::stdout().write_all(&log));
    }
    let has_run = keys.iter().any(|key| project.store.record(*key).is_some());
    let why =
        if has_run { "printed nothing, or ran elsewhere: logs are not shared" } else { "has not run here" };
    complain(&format!("{} {why}", project.name(id)));
    Ok(ExitCode::SUCCESS)
}
