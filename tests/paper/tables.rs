//! The published tables have the columns that docs/TABLES.md tells of, and no others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Workspace;

/// What **Scalars** stands for in the profile `tiny`.
const SCALARS: [&str; 9] =
    ["arch", "optimizer", "batch", "rate", "decay", "augment", "epochs", "seed", "parameters"];

/// What a section says of its tables.
#[derive(Debug)]
struct Section {
    /// Of the tables, as the heading has them: `spectrum-SPLIT`.
    names: Vec<String>,
    /// All that stands between backticks.
    words: BTreeSet<String>,
    /// First cells of its rows: columns of one of the tables or more.
    columns: BTreeSet<String>,
    has_scalars: bool,
}

/// What stands between backticks.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn sections(page: &str) -> Vec<Section> {
    let section = |text: &str| {
        let (heading, body) = text.split_once('\n').unwrap();
        let cells =
            body.lines().filter(|line| line.starts_with("| `")).map(|row| row.split('|').nth(1).unwrap());
        Section {
            names: heading.split(':').next().unwrap().split(", ").map(str::to_owned).collect(),
            words: words(body).collect(),
            columns: cells.flat_map(words).collect(),
            has_scalars: body.contains("scalars"),
        }
    };
    page.split("\n## ").skip(1).map(section).collect()
}

/// The name of a table as a heading has it.
fn general(name: &str) -> String {
    let splits = ["-train", "-test", "-joint"].into_iter().map(|split| (split, "-SPLIT"));
    let spectra = ["-0.001", "-0.5"].into_iter().map(|spectrum| (spectrum, "-C"));
    splits.chain(spectra).fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

fn columns(path: &Path) -> BTreeSet<String> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    schema.columns().iter().map(|column| column.name().to_owned()).collect()
}

/// A step of the paper's test, in its workspace.
pub fn have_the_columns_that_their_page_tells_of(workspace: &Workspace) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TABLES.md");
    let sections = sections(&fs::read_to_string(page).unwrap());
    let of = |name: &str| {
        let place = sections.iter().position(|section| section.names.iter().any(|known| known == name));
        place.unwrap_or_else(|| panic!("docs/TABLES.md has no section of {name}"))
    };
    // Which columns there are in the tables of a section.
    let mut there = vec![BTreeSet::new(); sections.len()];
    for entry in fs::read_dir(workspace.path("outputs/tiny/tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() != "parquet" {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let place = of(&general(&name));
        // Some have the columns of another table, which may have those of a third.
        let mut told = vec![&sections[place]];
        for base in ["embedding", "spectrum", "configurations", "models"] {
            if told.iter().any(|section| section.words.contains(base)) {
                told.push(&sections[of(&format!("{base}-SPLIT"))]);
            }
        }
        let is_told = |column: &String| {
            // Of both splits one is told of; of a row of names the first and the last.
            let column = &column.replace("test_", "train_");
            told.iter().any(|section| {
                section.words.contains(column)
                    || section.has_scalars && SCALARS.contains(&&**column)
                    || section.words.contains("pc1") && column.starts_with("pc")
                    || section.words.contains("to_arithmetic") && column.starts_with("to_")
            })
        };
        let found = columns(&path);
        let untold: Vec<&String> = found.iter().filter(|column| !is_told(column)).collect();
        assert!(untold.is_empty(), "docs/TABLES.md does not tell of {untold:?} of {name}");
        there[place].extend(found);
    }
    for (section, there) in sections.iter().zip(&there).filter(|(_, there)| !there.is_empty()) {
        let missing: Vec<&String> = section.columns.difference(there).collect();
        assert!(
            missing.is_empty(),
            "docs/TABLES.md tells of {missing:?}, which no table of {:?} has",
            section.names
        );
    }
    assert!(there.iter().filter(|there| !there.is_empty()).count() >= 10, "sections with tables");
}
