//! The published tables have the columns that docs/TABLES.md tells of, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Workspace;

/// What **Scalars** stands for in the profile `tiny`.
const SCALARS: [&str; 9] =
    ["arch", "optimizer", "batch", "rate", "decay", "augment", "epochs", "seed", "parameters"];

/// What a section says of its tables.
#[derive(Debug, Default)]
struct Section {
    /// All that stands between backticks.
    words: BTreeSet<String>,
    /// First cells of its rows: columns.
    columns: BTreeSet<String>,
    has_scalars: bool,
}

/// What stands between backticks.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Sections by the names of their tables.
fn sections(page: &str) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::new();
    for text in page.split("\n## ").skip(1) {
        let (heading, body) = text.split_once('\n').unwrap();
        for name in heading.split(':').next().unwrap().split(", ").map(str::to_owned) {
            let mut section = Section { words: words(body).collect(), ..Section::default() };
            for row in body.lines().filter(|line| line.starts_with("| `")) {
                let cell = row.split('|').nth(1).unwrap();
                section.has_scalars |= cell.contains("scalars");
                section.columns.extend(words(cell));
            }
            section.has_scalars |= body.contains("scalars");
            sections.insert(name, section);
        }
    }
    sections
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
    let mut files = 0;
    for entry in fs::read_dir(workspace.path("outputs/tiny/tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() != "parquet" {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let general = ["-train", "-test", "-joint"]
            .into_iter()
            .fold(name.clone(), |name, it| name.replace(it, "-SPLIT"));
        let general = ["-0.001", "-0.5"].into_iter().fold(general, |name, it| name.replace(it, "-C"));
        let section = sections.get(&general).unwrap_or_else(|| panic!("{general} has no section"));
        // Some have the columns of another table, which may have those of a third.
        let mut told = vec![section];
        for base in ["embedding", "spectrum", "configurations", "models"] {
            if told.iter().any(|section| section.words.contains(base)) {
                told.push(&sections[&format!("{base}-SPLIT")]);
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
        let missing: Vec<&String> = section.columns.difference(&found).collect();
        assert!(missing.is_empty(), "docs/TABLES.md tells of {missing:?}, which {name} has not");
        files += 1;
    }
    assert!(files >= 20, "{files} tables");
}
