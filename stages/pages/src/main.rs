//! Stage: pages to read and to turn, one a job, as HTML files that need nothing else.

mod embedding;
mod html;
mod networks;
mod report;
mod table;

use anyhow::{Context, Result};
use kit::Job;
use serde::Deserialize;

/// The parameters: which page.
#[derive(Debug, Deserialize)]
#[serde(tag = "page", rename_all = "kebab-case", deny_unknown_fields)]
enum Page {
    /// Every checkpoint in three dimensions of its InPCA, to turn; of the split named, for the title.
    Embedding {
        #[serde(default)]
        split: String,
    },
    /// The paper's claims with figures, numbers, and the table of networks.
    Report {},
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let page: Page = job.params()?;
    let html = match &page {
        Page::Embedding { split } => embedding::page(job, split),
        Page::Report {} => report::page(job),
    };
    let html = html.with_context(|| format!("page {page:?}"))?;
    let path = job.output("html")?;
    std::fs::write(path, html).with_context(|| format!("cannot write {}", path.display()))
}
