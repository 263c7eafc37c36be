//! Page: the claims of the paper, each with its figures and numbers, and the table of networks.
//!
//! What a profile does not have is left out: every input is optional but the table of models. Where figures and numbers
//! came from is not known to a stage; the page marks them with the hashes of the inputs they are of, by which its script
//! finds the jobs in what the runner adds to the page.

mod claims;
mod numbers;
mod sweep;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kit::{Artifact, Job, Tensors};
use tables::Table;

use crate::html::{self, escape, fill};
use crate::networks::Networks;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// The report of the job's inputs.
///
/// # Errors
/// When an input that is there cannot be read, or lacks columns.
pub fn page(job: &Job) -> Result<String> {
    let inputs = Inputs(job);
    let models = inputs.table("models-train")?.context("the report needs an input `models-train`")?;
    let networks = Networks::of(&models)?;
    let mut sections = claims::sections(&inputs, &models, &networks)?;
    sections.push(sweep::section(&inputs, &models, &networks)?);
    let link = |section: &Section| format!("<li><a href=\"#{}\">{}</a></li>\n", section.id, section.short);
    let nav: String = sections.iter().map(link).collect();
    let body: String = sections.iter().map(Section::html).collect();
    Ok(fill(
        PAGE,
        &[
            ("base", html::STYLE),
            ("style", STYLE),
            ("summary", &claims::summary(&inputs, &networks)?),
            ("nav", &nav),
            ("sections", &body),
            ("script", &[html::SCRIPT, SCRIPT].concat()),
        ],
    ))
}

/// The inputs of a report, each of which may be absent.
struct Inputs<'a>(&'a Job);

impl Inputs<'_> {
    fn artifact(&self, name: &str) -> Result<Option<&Artifact>> {
        Ok(if self.0.has_input(name) { Some(self.0.input(name)?) } else { None })
    }

    fn table(&self, name: &str) -> Result<Option<Table>> {
        Ok(self.artifact(name)?.map(|it| Table::read(&it.path)).transpose()?)
    }

    fn tensors(&self, name: &str) -> Result<Option<Tensors>> {
        Ok(self.artifact(name)?.map(|it| Tensors::open(&it.path)).transpose()?)
    }

    /// What a reader may ask about content made of these inputs: how it was made.
    fn made(&self, names: &[&str]) -> Result<String> {
        let mut hashes = Vec::new();
        for name in names {
            hashes.extend(self.artifact(name)?.map(|artifact| artifact.hash.as_str()));
        }
        Ok(match hashes.is_empty() {
            true => String::new(),
            false => format!(
                "<details class=\"made\" data-artifacts=\"{}\" hidden><summary>How it was made</summary></details>\n",
                hashes.join(" ")
            ),
        })
    }

    /// A figure with its caption, if there is one of this name.
    fn figure(&self, name: &str, alt: &str, caption: &str) -> Result<String> {
        let Some(artifact) = self.artifact(name)? else { return Ok(String::new()) };
        let bytes =
            std::fs::read(&artifact.path).with_context(|| format!("cannot read the input `{name}`"))?;
        let kind = match &bytes[..] {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [b'<', ..] => "svg+xml",
            _ => bail!("the input `{name}` is no PNG and no SVG"),
        };
        Ok(format!(
            "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"{name}\">\
             <img alt=\"{}\" src=\"data:image/{kind};base64,{}\"></div>\n<figcaption id=\"{name}\">{caption}</figcaption>\n{}</figure>\n",
            escape(alt),
            BASE64_STANDARD.encode(bytes),
            self.made(&[name])?,
        ))
    }

    /// A link to another page, which the page's script completes, if there is one of this name.
    fn turn(&self, name: &str, words: &str) -> Result<String> {
        Ok(self.artifact(name)?.map_or(String::new(), |artifact| {
            format!("<a class=\"turn\" data-artifact=\"{}\" hidden>{words}</a>\n", artifact.hash)
        }))
    }
}

/// A part of the page.
struct Section {
    id: &'static str,
    /// What the list of sections calls it.
    short: &'static str,
    title: &'static str,
    /// HTML.
    body: String,
}

impl Section {
    fn html(&self) -> String {
        let Section { id, title, body, .. } = self;
        format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{body}</section>\n"
        )
    }
}

/// A small table: its caption, the names of its columns, and its rows, whose first cell names them. Cells are HTML.
fn table(caption: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = columns.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let row = |cells: &Vec<String>| {
        let (first, others) = cells.split_first().expect("a row has the cell that names it");
        let others: String = others.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr><th scope=\"row\">{first}</th>{others}</tr>\n")
    };
    let body: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n<table class=\"numbers\">\n\
         <caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n",
        escape(caption),
    )
}
