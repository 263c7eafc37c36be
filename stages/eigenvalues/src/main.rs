//! Stage: the eigenvalues of synthetic data's covariance, by their formula and of the inputs drawn by it, as a table.

use anyhow::{Result, ensure};
use kit::{Job, Tensors};
use tables::{Column, Table};

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let input = job.input("data")?;
    let data = Tensors::open(&input.path)?;
    let [formula, sample] = [data.f64s("eigenvalues")?.values, data.f64s("sample_eigenvalues")?.values];
    ensure!(
        formula.len() == sample.len(),
        "{}: {} eigenvalues by the formula and {} of the inputs",
        input.path.display(),
        formula.len(),
        sample.len()
    );
    let numbers: Vec<i64> = (1..=formula.len() as i64).collect();
    Table::new(vec![
        Column::new("number".into(), numbers),
        Column::new("formula".into(), formula),
        Column::new("sample".into(), sample),
    ])?
    .write(job.output("eigenvalues")?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kit::TensorsWriter;
    use serde_json::json;

    use super::*;

    fn made(folder: &Path, formula: &[f64], sample: &[f64]) -> Result<Table> {
        let data = folder.join("data");
        TensorsWriter::new()
            .f64s("eigenvalues", &[formula.len()], formula)
            .f64s("sample_eigenvalues", &[sample.len()], sample)
            .write(&data, &json!({}))?;
        let job = json!({
            "stage": "eigenvalues-sloppy", "key": "k", "params": {}, "device": "cpu", "threads": 1,
            "inputs": {"data": {"path": data, "hash": "h"}},
            "outputs": {"eigenvalues": folder.join("eigenvalues")},
        });
        let path = folder.join("job.json");
        std::fs::write(&path, job.to_string())?;
        run(&Job::read(&path)?)?;
        Ok(Table::read(&folder.join("eigenvalues"))?)
    }

    #[test]
    fn a_row_an_eigenvalue() {
        let folder = tempfile::tempdir().unwrap();
        let table = made(folder.path(), &[3.0, 1.0], &[2.5, 1.25]).unwrap();
        assert_eq!(table.values::<i64>("number").unwrap(), [1, 2]);
        assert_eq!(table.values::<f64>("formula").unwrap(), [3.0, 1.0]);
        assert_eq!(table.values::<f64>("sample").unwrap(), [2.5, 1.25]);
    }

    #[test]
    fn as_many_of_the_inputs_as_by_the_formula() {
        let folder = tempfile::tempdir().unwrap();
        let message = made(folder.path(), &[3.0, 1.0], &[2.5]).unwrap_err().to_string();
        assert!(message.ends_with("data: 2 eigenvalues by the formula and 1 of the inputs"), "{message}");
    }
}
