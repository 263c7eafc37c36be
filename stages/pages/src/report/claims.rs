//! The claims of the paper in its order: what it says, what was found here, the figures that show it.

use anyhow::Result;
use tables::{Table, count};

use super::numbers::{self, Apart};
use super::{Inputs, Section, table};
use crate::html::escape;
use crate::networks::Networks;
use crate::table::{common, is_in_nats};

/// Numbers of dimensions that the report tells of, each with the explained stress that the paper publishes for the
/// CIFAR-10 train set.
const DIMENSIONS: [(usize, Option<f64>); 4] = [(1, None), (3, Some(0.76)), (10, None), (50, Some(0.98))];
/// The published numbers of configurations and models.
const PUBLISHED: (usize, usize) = (2296, 151_407);
/// The distance to the truth within which the paper calls a model as good as it, and the largest of test data.
const NEAR: f64 = 0.02;
const FARTHEST: f64 = 0.58;

const SPLITS: [&str; 2] = ["train", "test"];

/// What there is, in a few numbers, as items of a list.
pub fn summary(inputs: &Inputs, networks: &Networks) -> Result<String> {
    let mut archs: Vec<&str> = networks.all.iter().map(|network| network.arch()).collect();
    archs.sort_unstable();
    archs.dedup();
    let checkpoints = networks.all.iter().map(|network| network.rows.len()).sum();
    let mut items = vec![
        (count(networks.all.len()), "networks".to_owned()),
        (count(archs.len()), "architectures".to_owned()),
        (count(checkpoints), "checkpoints".to_owned()),
    ];
    let trained = networks.all.iter().filter(|network| network.trained == Some(true)).count();
    if networks.all.iter().any(|network| network.trained.is_some()) {
        items.push((count(trained), "of them ended trained".to_owned()));
    }
    for split in SPLITS {
        if let Some(spectrum) = inputs.table(&format!("spectrum-{split}"))? {
            items.push((count(common(&spectrum, "samples")?), format!("{split} samples")));
        }
    }
    Ok(items.iter().map(|(number, words)| format!("<li><strong>{number}</strong> {words}</li>\n")).collect())
}

/// All sections but the table of networks.
pub fn sections(inputs: &Inputs, models: &Table, networks: &Networks) -> Result<Vec<Section>> {
    let sections = vec![
        manifold(inputs)?,
        factors(inputs, networks)?,
        speed(inputs, models, networks)?,
        starts(inputs)?,
        scale(inputs, models, networks)?,
        beside(inputs)?,
    ];
    Ok(sections.into_iter().filter(|section| !section.body.is_empty()).collect())
}

/// A section of this content under what the paper claims; nothing where there is no content.
fn claim(
    id: &'static str,
    short: &'static str,
    title: &'static str,
    published: &str,
    body: String,
) -> Section {
    let body = match body.is_empty() {
        true => body,
        false => format!("<p class=\"claim\"><strong>The paper:</strong> {published}</p>\n{body}"),
    };
    Section { id, short, title, body }
}

fn manifold(inputs: &Inputs) -> Result<Section> {
    let mut body = String::new();
    let mut spectra = Vec::new();
    for split in SPLITS {
        spectra.extend(inputs.table(&format!("spectrum-{split}"))?.map(|spectrum| (split, spectrum)));
    }
    if !spectra.is_empty() {
        let mut rows = Vec::new();
        for (dimensions, published) in DIMENSIONS {
            let mut row = vec![dimensions.to_string()];
            row.push(published.map_or(String::new(), |stress| format!("{stress:.2}")));
            let mut has_any = false;
            for (_, spectrum) in &spectra {
                let explained = numbers::explained(spectrum, dimensions)?;
                has_any |= explained.is_some();
                let cells = explained.map_or(["–".to_owned(), "–".to_owned()], |(stress, left)| {
                    [format!("<b>{stress:.3}</b>"), format!("{left:.2}")]
                });
                row.extend(cells);
            }
            if has_any {
                rows.push(row);
            }
        }
        let mut columns = vec!["dimensions".to_owned(), "published, train".to_owned()];
        for (split, _) in &spectra {
            columns.extend([format!("here, {split}"), format!("distance left, {split}")]);
        }
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let caption = "Explained stress of the first dimensions of InPCA, and the relative error of the distances \
                       that they leave";
        body += &table(caption, &columns, &rows);
        body += &inputs.made(&["spectrum-train", "spectrum-test"])?;
    }
    for split in SPLITS {
        body += &inputs.figure(
            &format!("figure-embedding-{split}"),
            &format!("Scatter plots of the first four dimensions of InPCA, {split} set: trajectories run from ignorance, P0, to truth, P*, coloured by architecture, with the geodesic between them"),
            &format!("Every checkpoint of every network, {split} set: a line a network, a colour an architecture; P0 is ignorance, P* the truth. Red axes are time-like."),
        )?;
        body += &inputs.turn(
            &format!("page-embedding-{split}"),
            &format!("Turn the {split} embedding in three dimensions"),
        )?;
    }
    body += &inputs.figure(
        "figure-spectrum",
        "Explained stress against the number of dimensions, and eigenvalues with their signs, train and test",
        "Explained stress against the number of dimensions, and the eigenvalues by magnitude, with their signs.",
    )?;
    body += &inputs.figure(
        "figure-embedding-joint",
        "Scatter plots of InPCA of train and test predictions together",
        "Distances over the samples of train and test together, a model a point.",
    )?;
    Ok(claim(
        "manifold",
        "One manifold",
        "1. Trajectories lie on one manifold of few dimensions",
        "the trajectories of many networks lie on one manifold of very low dimension; on the CIFAR-10 train set the first \
         3 InPCA dimensions explain 76 % of the stress, the first 50 explain 98 %.",
        body,
    ))
}

/// What is known of one setting: its name, and of each split distances between and within, R² and p.
type Factor = (String, Vec<(Option<Apart>, Option<(f64, Option<f64>)>)>);

fn factors(inputs: &Inputs, networks: &Networks) -> Result<Section> {
    let mut body = String::new();
    let mut found: Vec<Factor> = Vec::new();
    let mut splits = Vec::new();
    for split in SPLITS {
        let tensors = inputs.tensors(&format!("trajectories-{split}"))?;
        let Some((tensors, configurations)) = tensors.zip(inputs.table(&format!("configurations-{split}"))?)
        else {
            continue;
        };
        let explained = inputs.table(&format!("factors-{split}"))?;
        // Rates and epochs differ as well, but follow from the others.
        let factors = explained.as_ref().map(|table| table.values::<&str>("factor")).transpose()?;
        let is_factor = |name: &str| factors.as_ref().is_none_or(|factors| factors.contains(&name));
        let settings = networks.settings.iter().filter(|name| *name != "seed" && is_factor(name));
        let settings: Vec<String> = settings.filter(|name| varies(&configurations, name)).cloned().collect();
        let apart = numbers::apart(&tensors, &configurations, &settings)?;
        for (name, apart) in settings.into_iter().zip(apart) {
            let of_setting =
                explained.as_ref().map(|table| explained_by(table, &name)).transpose()?.flatten();
            if apart.is_none() && of_setting.is_none() {
                continue;
            }
            let place = found.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                found.push((name, vec![(None, None); splits.len()]));
                found.len() - 1
            });
            found[place].1.push((apart, of_setting));
        }
        splits.push(split);
        found.iter_mut().for_each(|(_, of)| of.resize(splits.len(), (None, None)));
    }
    if !found.is_empty() {
        let mut columns = vec!["setting".to_owned()];
        for split in &splits {
            columns.extend([
                format!("between / within, {split}"),
                format!("R², {split}"),
                format!("p, {split}"),
            ]);
        }
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = found.iter().map(factor_row).collect();
        let caption = "Mean distance (nats) between the trajectories of two configurations that differ in a setting, over \
                       that of two that agree in it; the share of the squared distances that the setting explains after all \
                       others, and its p by permutation";
        body += &table(caption, &columns, &rows);
        body +=
            &inputs.made(&["factors-train", "factors-test", "trajectories-train", "trajectories-test"])?;
    }
    for (name, alt, caption) in [
        (
            "figure-factors",
            "Bars: what each factor explains of the distances between trajectories, by permutation and by random forests",
            "What each factor explains of the distances between trajectories.",
        ),
        (
            "figure-dendrogram",
            "Tree of configurations by the distance of their trajectories, with columns of their settings",
            "The complete-linkage tree of configurations; the columns show what they differ in.",
        ),
        (
            "figure-trajectories",
            "Scatter plots of InPCA of whole trajectories, a point a configuration",
            "Whole trajectories: a point a configuration, near where trajectories are.",
        ),
    ] {
        body += &inputs.figure(name, alt, caption)?;
    }
    Ok(claim(
        "factors",
        "What separates them",
        "2. Architecture separates trajectories",
        "architecture separates trajectories; optimizer, batch size, weight decay and augmentation hardly do.",
        body,
    ))
}

fn varies(configurations: &Table, name: &str) -> bool {
    configurations.scalars(name).is_ok_and(|values| values.windows(2).any(|pair| pair[0] != pair[1]))
}

/// R² and p of a factor, if the table has it.
fn explained_by(factors: &Table, name: &str) -> Result<Option<(f64, Option<f64>)>> {
    let row = factors.values::<&str>("factor")?.iter().position(|factor| *factor == name);
    let (r2, p) = (factors.optional::<f64>("r2")?, factors.optional::<f64>("p")?);
    Ok(row.and_then(|row| Some((r2[row]?, p[row]))))
}

fn factor_row((name, splits): &Factor) -> Vec<String> {
    let mut row = vec![escape(name)];
    for (apart, explained) in splits {
        row.push(apart.map_or("–".to_owned(), |Apart { between, within }| {
            format!("{between:.4} / {within:.4} = <b>{:.2}</b>", between / within)
        }));
        row.push(explained.map_or("–".to_owned(), |(r2, _)| format!("{r2:.2}")));
        row.push(explained.and_then(|(_, p)| p).map_or("–".to_owned(), |p| format!("{p:.3}")));
    }
    row
}

fn speed(inputs: &Inputs, models: &Table, networks: &Networks) -> Result<Section> {
    let rows: Vec<Vec<String>> = numbers::speeds(models, networks)?
        .into_iter()
        .map(|speed| {
            let median = numbers::median(speed.epochs.iter().copied());
            vec![
                escape(&speed.arch),
                speed.parameters.map_or("–".to_owned(), |parameters| count(parameters as usize)),
                format!("{} of {}", speed.epochs.len(), speed.networks),
                median.map_or("–".to_owned(), |epoch| format!("<b>{}</b>", (epoch * 10.0).round() / 10.0)),
            ]
        })
        .collect();
    let caption = "When networks have passed half of the way from ignorance to truth (progress 0.5), train set; of those in several \
         sizes the networks whose settings all sizes have";
    let mut body = table(caption, &["architecture", "parameters", "came so far", "median epoch"], &rows);
    body += &inputs.made(&["models-train"])?;
    body += &inputs.figure(
        "figure-speed",
        "Lines: mean progress against epoch for each architecture, named with its number of parameters",
        "Progress against epoch, by architecture with its number of parameters.",
    )?;
    Ok(claim(
        "speed",
        "Larger is faster",
        "3. A larger network moves along the same manifold, faster",
        "a larger network moves along the same manifold as a smaller one, just faster.",
        body,
    ))
}

fn starts(inputs: &Inputs) -> Result<Section> {
    let mut body = String::new();
    for split in SPLITS {
        if let Some(points) = inputs.table(&format!("starts-{split}"))? {
            let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
            let row = |start: numbers::Start| {
                vec![
                    start.from.as_deref().map_or("initialisation, as all others".to_owned(), escape),
                    count(start.networks),
                    shown(start.first),
                    format!("<b>{}</b>", shown(start.last)),
                ]
            };
            let rows: Vec<Vec<String>> = numbers::starts(&points)?.into_iter().map(row).collect();
            let unit = unit(inputs, split)?;
            let caption = format!(
                "Median distance{unit} to the nearest model of another, ordinary network, {split} set"
            );
            let columns = ["start", "networks", "where the task begins", "at the end"];
            body += &table(&caption, &columns, &rows);
            body += &inputs.made(&[&format!("starts-{split}")])?;
        }
        body += &inputs.figure(
            &format!("figure-starts-{split}"),
            &format!("Trajectories from other starts in InPCA, {split} set, and their distance to the nearest ordinary model against progress"),
            &format!("Networks that fitted something else first, {split} set: their trajectories among the others'."),
        )?;
    }
    Ok(claim(
        "starts",
        "Other starts",
        "4. Networks from other starts join the same manifold",
        "networks that start at very different places of the prediction space join the same manifold.",
        body,
    ))
}

/// The unit of distances that embeddings are made of.
fn unit(inputs: &Inputs, split: &str) -> Result<&'static str> {
    let spectrum = inputs.table(&format!("spectrum-{split}"))?;
    Ok(if spectrum.as_ref().is_none_or(is_in_nats) { " (nats)" } else { "" })
}

fn scale(inputs: &Inputs, models: &Table, networks: &Networks) -> Result<Section> {
    let checkpoints: usize = networks.all.iter().map(|network| network.rows.len()).sum();
    let mut rows = vec![
        vec!["networks".to_owned(), count(PUBLISHED.0), count(networks.all.len())],
        vec!["models (checkpoints)".to_owned(), count(PUBLISHED.1), count(checkpoints)],
    ];
    let (to_truth, error) = (numbers::to_truth(models)?, models.optional::<f64>("error")?);
    let rows_of_networks = || networks.all.iter().flat_map(|network| network.rows.iter().copied());
    let near: Vec<f64> = rows_of_networks()
        .filter(|&row| to_truth[row].is_some_and(|distance| distance <= NEAR))
        .filter_map(|row| error[row])
        .collect();
    let worst = near.iter().copied().fold(0.0, f64::max);
    rows.push(vec![
        format!("largest train error of a model within {NEAR} nats of the truth"),
        "as good as the truth".to_owned(),
        match near.len() {
            0 => "no model is so near".to_owned(),
            models => format!("{:.1} % ({} models)", 100.0 * worst, count(models)),
        },
    ]);
    if let Some(test) = inputs.table("models-test")? {
        let networks = Networks::of(&test)?;
        let to_truth = numbers::to_truth(&test)?;
        let ends = networks.all.iter().filter(|network| network.trained != Some(false)).map(|it| it.last());
        let farthest = ends.filter_map(|row| to_truth[row]).reduce(f64::max);
        rows.push(vec![
            "largest distance to the truth of a trained network, test set, nats".to_owned(),
            format!("{FARTHEST}"),
            farthest.map_or("–".to_owned(), |distance| format!("{distance:.2}")),
        ]);
    }
    let mut body = table("Sizes and distances", &["what", "published, CIFAR-10", "here"], &rows);
    body += &inputs.made(&["models-train", "models-test"])?;
    for split in SPLITS {
        body += &inputs.figure(
            &format!("figure-outliers-{split}"),
            &format!("Scatter plot of all models with those far from the truth marked, and when they occur, {split} set"),
            &format!("Where and when models leave the manifold, far from the truth, {split} set."),
        )?;
    }
    Ok(claim(
        "scale",
        "Scale",
        "5. How many, and how far",
        "2,296 configurations and 151,407 models on CIFAR-10; on train data models within a Bhattacharyya distance of 0.02 \
         of the truth are as good as it, on test data the distances reach 0.58.",
        body,
    ))
}

fn beside(inputs: &Inputs) -> Result<Section> {
    let mut body = String::new();
    body += &inputs.figure(
        "figure-geodesic-distance",
        "Lines: distance to the geodesic against progress, by architecture and optimizer",
        "How far trajectories stray from the geodesic, against progress.",
    )?;
    for (name, alt, caption) in [
        (
            "tube",
            "Box plots: distance of runs to the mean trajectory of their configuration, against progress",
            "How far runs that differ in their seed alone stray from their mean trajectory",
        ),
        (
            "centroids",
            "Lines: six averages of trajectories along progress",
            "Six averages of trajectories along progress",
        ),
        (
            "tangents",
            "The embedding that four points span beside the full one, and directions at both ends",
            "The embedding that four points span beside the full one, and the directions at both ends",
        ),
    ] {
        for split in SPLITS {
            let name = format!("figure-{name}-{split}");
            body +=
                &inputs.figure(&name, &format!("{alt}, {split} set"), &format!("{caption}, {split} set."))?;
        }
    }
    body += &inputs.figure(
        "figure-sloppy",
        "Eigenvalues of sloppy and other synthetic data, and the explained stress of networks trained on them",
        "Sloppy synthetic data against data that is not: the spectrum of the inputs, and the explained stress.",
    )?;
    Ok(Section { id: "beside", short: "Beside the claims", title: "Beside the claims", body })
}
