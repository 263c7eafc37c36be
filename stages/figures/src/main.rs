//! Stage: the figures, one a job, as SVG and PNG.

mod boxes;
mod centroids;
mod cosines;
mod curves;
mod dendrogram;
mod embedding;
mod factors;
mod geodesic_distance;
mod indexed;
mod ink;
mod inpca;
mod legend;
mod outliers;
mod page;
mod panel;
mod runs;
#[cfg(test)]
mod sample;
mod sloppy;
mod spectrum;
mod speed;
mod starts;
mod style;
mod tangents;
mod trajectories;
mod tree;
mod tube;
mod values;

use anyhow::{Context, Result};
use kit::Job;
use serde::Deserialize;
use tables::Table;

/// The parameters: which figure, and the split that its tables are about, for the title (`joint`: both).
#[derive(Debug, Deserialize)]
#[serde(tag = "figure", rename_all = "kebab-case", deny_unknown_fields)]
enum Figure {
    /// Every checkpoint in the first four dimensions of its InPCA.
    Embedding { split: String },
    /// Explained stress and eigenvalues of the embeddings of train and test.
    Spectrum {},
    /// Whole trajectories, a point a configuration.
    Trajectories {
        #[serde(default)]
        split: String,
    },
    /// The complete-linkage tree of configurations.
    Dendrogram {
        #[serde(default)]
        split: String,
    },
    /// Progress against epoch.
    Speed {
        #[serde(default)]
        split: String,
    },
    /// Distance to the geodesic against progress.
    GeodesicDistance {
        #[serde(default)]
        split: String,
    },
    /// Distance to the mean trajectory of the configuration against progress.
    Tube {
        #[serde(default)]
        split: String,
    },
    /// What factors explain of the distances between trajectories, of train and test.
    Factors {},
    /// Six averages along progress.
    Centroids {
        #[serde(default)]
        split: String,
    },
    /// The embedding that four points span, and the directions at both ends.
    Tangents {
        #[serde(default)]
        split: String,
    },
    /// Eigenvalues of sloppy and other data, and explained stress of their networks.
    Sloppy {
        #[serde(default)]
        split: String,
    },
    /// Trajectories from other starts, and how near they come to the ordinary ones.
    Starts {
        #[serde(default)]
        split: String,
    },
    /// Where and when models leave the manifold, and which runs are left out.
    Outliers {
        #[serde(default)]
        split: String,
        /// The distance to truth over which a model has left the manifold.
        far: f64,
        /// The largest final train error of a run that counts as trained.
        untrained: f64,
    },
}

fn main() {
    kit::serve(run)
}

fn run(job: &Job) -> Result<()> {
    let figure: Figure = job.params()?;
    let svg = draw(&figure, job).with_context(|| format!("figure {figure:?}"))?;
    let (svg_path, png_path) = (job.output("svg")?, job.output("png")?);
    std::fs::write(svg_path, &svg).with_context(|| format!("cannot write {}", svg_path.display()))?;
    std::fs::write(png_path, page::png(&svg)?)
        .with_context(|| format!("cannot write {}", png_path.display()))?;
    Ok(())
}

fn draw(figure: &Figure, job: &Job) -> Result<String> {
    let table = |name: &str| -> Result<Table> { Ok(Table::read(&job.input(name)?.path)?) };
    match figure {
        Figure::Embedding { split } => embedding::draw(&table("points")?, &table("spectrum")?, split),
        Figure::Spectrum {} => spectrum::draw(&table("train")?, &table("test")?),
        Figure::Trajectories { split } => {
            trajectories::draw(&table("points")?, &table("spectrum")?, &table("runs")?, split)
        }
        Figure::Dendrogram { split } => {
            let tables = dendrogram::Tables {
                configurations: table("configurations")?,
                linkage: table("linkage")?,
                spectrum: table("spectrum")?,
                runs: table("runs")?,
            };
            dendrogram::draw(&tables, split)
        }
        Figure::Speed { split } => speed::draw(&table("models")?, &table("spectrum")?, split),
        Figure::GeodesicDistance { split } => {
            geodesic_distance::draw(&table("models")?, &table("spectrum")?, split)
        }
        Figure::Tube { split } => tube::draw(&table("tube")?, &table("spectrum")?, &table("runs")?, split),
        Figure::Factors {} => factors::draw(
            (&table("train")?, &table("train-spectrum")?),
            (&table("test")?, &table("test-spectrum")?),
        ),
        Figure::Centroids { split } => centroids::draw(&table("centroids")?, &table("spectrum")?, split),
        Figure::Tangents { split } => {
            let tables = tangents::Tables {
                four: table("four")?,
                misfit: table("misfit")?,
                tangents: table("tangents")?,
                points: table("points")?,
                spectrum: table("spectrum")?,
            };
            tangents::draw(&tables, split)
        }
        Figure::Sloppy { split } => {
            sloppy::draw(&sloppy::read(job.inputs("eigenvalues")?, job.inputs("spectra")?)?, split)
        }
        Figure::Starts { split } => starts::draw(&table("points")?, &table("spectrum")?, split),
        Figure::Outliers { split, far, untrained } => {
            let tables = outliers::Tables {
                points: table("points")?,
                spectrum: table("spectrum")?,
                runs: table("runs")?,
            };
            outliers::draw(&tables, *far, *untrained, split)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_named_as_in_the_pipeline() {
        let figure = |params| serde_json::from_value::<Figure>(params).map_err(|error| error.to_string());
        for name in [
            "trajectories",
            "dendrogram",
            "speed",
            "geodesic-distance",
            "tube",
            "centroids",
            "tangents",
            "sloppy",
            "starts",
        ] {
            assert!(figure(json!({"figure": name, "split": "train"})).is_ok(), "{name}");
            assert!(figure(json!({"figure": name})).is_ok(), "{name} without a split");
        }
        let outliers = json!({"figure": "outliers", "split": "train", "far": 2, "untrained": 0.1});
        assert!(figure(outliers).is_ok());
        assert!(figure(json!({"figure": "spectrum"})).is_ok());
        assert!(figure(json!({"figure": "factors"})).is_ok());
        assert!(figure(json!({"figure": "embedding", "split": "test"})).is_ok());
        assert_eq!(figure(json!({"figure": "embedding"})).unwrap_err(), "missing field `split`");
        let unknown = figure(json!({"figure": "speed", "splits": "train"})).unwrap_err();
        assert!(unknown.starts_with("unknown field `splits`"), "{unknown}");
    }
}
