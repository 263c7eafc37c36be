//! Small made-up tables for tests, with the columns of the real ones, and what every figure must hold.

use resvg::tiny_skia::Pixmap;
use tables::{Column, Table};

use crate::page;
use crate::style::Palette;

/// Points of the geodesic in `models` and `points`.
pub const GEODESIC_POINTS: usize = 20;
const CHECKPOINTS: usize = 11;
const OPTIMIZERS: [&str; 3] = ["adam", "nesterov", "sgd"];

/// A table of models: three optimizers and two seeds for each architecture; one of the runs stays untrained.
pub fn models(archs: &[&str]) -> Table {
    Table::new(model_columns(archs)).unwrap()
}

/// A table of how the runs of `models` ended.
pub fn outcomes(archs: &[&str]) -> Table {
    let models = models(archs);
    let (run, trained) = (models.values::<&str>("run").unwrap(), models.optional::<bool>("trained").unwrap());
    let rows: Vec<usize> = (0..models.height())
        .filter(|&row| trained[row].is_some() && (row == 0 || run[row] != run[row - 1]))
        .collect();
    let ends = models.rows(&rows).unwrap();
    let error = |trained: bool| if trained { 0.02 } else { 0.3 };
    let errors: Vec<f64> = ends.values::<bool>("trained").unwrap().into_iter().map(error).collect();
    let mut columns = ends.columns().to_vec();
    columns.push(Column::new("train_error".into(), errors));
    Table::new(columns).unwrap()
}

/// `models` with coordinates.
pub fn points(archs: &[&str]) -> Table {
    let mut columns = model_columns(archs);
    let rows = columns[0].len();
    for pc in 1..=10 {
        let values: Vec<f64> = (0..rows).map(|row| ((row * pc) as f64 * 0.7).sin() / pc as f64).collect();
        columns.push(Column::new(format!("pc{pc}").into(), values));
    }
    Table::new(columns).unwrap()
}

/// `points` of three architectures: the first is ordinary, each of the others has another start, far from it and then near.
pub fn starts() -> Table {
    let points = points(&["fc", "vit", "wr"]);
    let arch = points.values::<&str>("arch").unwrap();
    let checkpoint = points.values::<i64>("checkpoint").unwrap();
    let last = CHECKPOINTS as i64 - 1;
    let of = |row: usize| match arch[row] {
        "fc" => (None, Some(0.02)),
        "vit" => (Some("random-labels"), Some(1.0 - 0.9 * checkpoint[row] as f64 / last as f64)),
        "wr" => (Some("subset-200"), Some(1.0 - 0.9 * checkpoint[row] as f64 / last as f64)),
        _ => (None, None),
    };
    let of: Vec<(Option<&str>, Option<f64>)> = (0..points.height()).map(of).collect();
    let mut columns = points.columns().to_vec();
    columns.push(Column::new("from".into(), of.iter().map(|row| row.0).collect::<Vec<_>>()));
    columns.push(Column::new("nearest".into(), of.iter().map(|row| row.1).collect::<Vec<_>>()));
    Table::new(columns).unwrap()
}

fn model_columns(archs: &[&str]) -> Vec<Column> {
    let (mut run, mut arch, mut optimizer) = (vec![], vec![], vec![]);
    let (mut parameters, mut checkpoint, mut epoch) = (vec![], vec![], vec![]);
    let (mut progress, mut distance, mut trained) = (vec![], vec![], vec![]);
    let mut loss = vec![];
    for (a, name) in archs.iter().enumerate() {
        for (o, method) in OPTIMIZERS.iter().enumerate() {
            for seed in 42..44 {
                for t in 0..CHECKPOINTS {
                    let end = t as f64 / (CHECKPOINTS - 1) as f64;
                    run.push(format!("{name}-{method}-{seed}"));
                    arch.push((*name).to_owned());
                    optimizer.push(Some(*method));
                    parameters.push(Some(77_000 + 1_000 * a as i64));
                    checkpoint.push(t as i64);
                    epoch.push(Some(30.0 * end));
                    loss.push(Some((2.3 + 1.9 * a as f64) * (1.0 - 0.9 * end)));
                    progress.push(0.02 + (0.9 - 0.05 * o as f64) * end.sqrt());
                    distance.push(Some(0.1 * a as f64 + 0.4 * end * (1.0 - end)));
                    trained.push(Some((a, o, seed) != (0, 0, 42)));
                }
            }
        }
    }
    for t in 0..GEODESIC_POINTS {
        run.push("geodesic".to_owned());
        arch.push("geodesic".to_owned());
        optimizer.push(None);
        parameters.push(None);
        checkpoint.push(t as i64);
        epoch.push(None);
        loss.push(None);
        progress.push(t as f64 / (GEODESIC_POINTS - 1) as f64);
        distance.push(None);
        trained.push(None);
    }
    vec![
        Column::new("run".into(), run),
        Column::new("arch".into(), arch),
        Column::new("optimizer".into(), optimizer),
        Column::new("parameters".into(), parameters),
        Column::new("checkpoint".into(), checkpoint),
        Column::new("epoch".into(), epoch),
        Column::new("loss".into(), loss),
        Column::new("progress".into(), progress),
        Column::new("geodesic_distance".into(), distance),
        Column::new("trained".into(), trained),
    ]
}

/// A spectrum of these eigenvalues, which are all there are.
pub fn spectrum(eigenvalues: &[f64]) -> Table {
    let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let all = square(eigenvalues).max(f64::MIN_POSITIVE);
    let stress = |k: usize| 1.0 - (1.0 - square(&eigenvalues[..k]) / all).max(0.0).sqrt();
    let count = eigenvalues.len();
    Table::new(vec![
        Column::new("dimension".into(), (1..=count as i64).collect::<Vec<_>>()),
        Column::new("eigenvalue".into(), eigenvalues.to_vec()),
        Column::new("explained_stress".into(), (1..=count).map(stress).collect::<Vec<_>>()),
        Column::new("models".into(), vec![152_i64; count]),
        Column::new("samples".into(), vec![1_000_i64; count]),
        Column::new("measure".into(), vec!["bhattacharyya"; count]),
    ])
    .unwrap()
}

/// A table of configurations: three optimizers for each architecture, leaves from the last row to the first.
pub fn configurations(archs: &[&str]) -> Table {
    Table::new(configuration_columns(archs)).unwrap()
}

/// `configurations` with coordinates.
pub fn trajectories(archs: &[&str]) -> Table {
    let mut columns = configuration_columns(archs);
    let rows = columns[0].len();
    for pc in 1..=10 {
        let values: Vec<f64> = (0..rows).map(|row| ((row + pc) as f64).cos()).collect();
        columns.push(Column::new(format!("pc{pc}").into(), values));
    }
    Table::new(columns).unwrap()
}

fn configuration_columns(archs: &[&str]) -> Vec<Column> {
    let of_each = |value: fn(usize) -> f64| (0..3 * archs.len()).map(value).collect::<Vec<_>>();
    let rows = 3 * archs.len() as i64;
    let arch: Vec<String> = archs.iter().flat_map(|name| vec![(*name).to_owned(); 3]).collect();
    let optimizer: Vec<&str> = archs.iter().flat_map(|_| OPTIMIZERS).collect();
    vec![
        Column::new("arch".into(), arch),
        Column::new("optimizer".into(), optimizer),
        Column::new("batch".into(), (0..rows).map(|i| 25 * (1 + i % 2)).collect::<Vec<_>>()),
        Column::new("rate".into(), of_each(|i| if i % 3 == 0 { 0.001 } else { 0.1 })),
        Column::new("decay".into(), of_each(|_| 0.0)),
        Column::new("augment".into(), vec![false; rows as usize]),
        Column::new("runs".into(), vec![2_i64; rows as usize]),
        Column::new("leaf".into(), (0..rows).rev().collect::<Vec<_>>()),
    ]
}

/// A table of runs along progress: two seeds for three optimizers and each architecture.
pub fn tube(archs: &[&str]) -> Table {
    let (mut run, mut arch, mut progress, mut distance) = (vec![], vec![], vec![], vec![]);
    for (name, method) in groups(archs) {
        for seed in 42..44 {
            for step in 1..=100 {
                run.push(format!("{name}-{method}-{seed}"));
                arch.push(name.to_owned());
                progress.push(f64::from(step) / 100.0);
                distance.push(0.02 + 1e-4 * f64::from(step % 10 * (seed - 40)));
            }
        }
    }
    Table::new(vec![
        Column::new("run".into(), run),
        Column::new("arch".into(), arch),
        Column::new("progress".into(), progress),
        Column::new("distance".into(), distance),
    ])
    .unwrap()
}

/// A table of these factors, the first of which explains most, all of them together, and the rest.
pub fn factors(names: &[&str]) -> Table {
    let all = [names, &["all", "residual"]].concat();
    let of_each = |first: f64, other: f64, all: [Option<f64>; 2]| {
        let of_factors = (0..names.len()).map(|i| Some(if i == 0 { first } else { other }));
        of_factors.chain(all).collect::<Vec<_>>()
    };
    Table::new(vec![
        Column::new("r2".into(), of_each(0.6, 0.05, [Some(0.7), Some(0.3)])),
        Column::new("p".into(), of_each(0.001, 0.4, [Some(0.001), None])),
        Column::new("importance".into(), of_each(1.4, -0.01, [None; 2])),
        Column::new("importance_sd".into(), of_each(0.2, 0.02, [None; 2])),
        Column::new("importance_p".into(), of_each(0.001, 0.7, [None; 2])),
        Column::new("forest_r2".into(), vec![0.8; all.len()]),
        Column::new("freedom".into(), of_each(4.0, 2.0, [Some(7.0), Some(22.0)])),
        Column::new("factor".into(), all),
    ])
    .unwrap()
}

/// A table of the six averages of four runs for three optimizers and each architecture.
pub fn centroids(archs: &[&str]) -> Table {
    const NAMES: [&str; 6] = ["arithmetic", "geometric", "harmonic", "root", "bhattacharyya", "jeffreys"];
    let (mut arch, mut optimizer, mut progress, mut centroid) = (vec![], vec![], vec![], vec![]);
    let mut distance = vec![];
    for (name, method) in groups(archs) {
        for (step, (place, average)) in (1..=20).flat_map(|step| NAMES.map(|name| (step, name))).enumerate() {
            arch.push(name.to_owned());
            optimizer.push(method);
            progress.push(f64::from(place) / 20.0);
            centroid.push(average);
            distance.push((step % NAMES.len()) as f64 * 0.01);
        }
    }
    let rows = arch.len();
    let spread: Vec<f64> = distance.iter().map(|distance| 0.02 + distance).collect();
    Table::new(vec![
        Column::new("arch".into(), arch),
        Column::new("optimizer".into(), optimizer),
        Column::new("runs".into(), vec![4_i64; rows]),
        Column::new("own_progress".into(), progress.clone()),
        Column::new("progress".into(), progress),
        Column::new("centroid".into(), centroid),
        Column::new("to_arithmetic".into(), distance),
        Column::new("geodesic_distance".into(), spread.clone()),
        Column::new("spread".into(), spread),
    ])
    .unwrap()
}

/// A table of tangents at ignorance, two runs for three optimizers and each architecture.
pub fn tangents(archs: &[&str]) -> Table {
    let groups = groups(archs);
    let mut pairs = vec![];
    for (i, one) in groups.iter().enumerate() {
        for (j, other) in groups.iter().enumerate() {
            pairs.push((one, other, 1.0 - 0.15 * i.abs_diff(j) as f64));
        }
    }
    let rows = pairs.len();
    Table::new(vec![
        Column::new("end".into(), vec!["ignorance"; rows]),
        Column::new("arch".into(), pairs.iter().map(|pair| pair.0.0).collect::<Vec<_>>()),
        Column::new("optimizer".into(), pairs.iter().map(|pair| pair.0.1).collect::<Vec<_>>()),
        Column::new("other_arch".into(), pairs.iter().map(|pair| pair.1.0).collect::<Vec<_>>()),
        Column::new("other_optimizer".into(), pairs.iter().map(|pair| pair.1.1).collect::<Vec<_>>()),
        Column::new("runs".into(), vec![2_i64; rows]),
        Column::new("cosine".into(), pairs.iter().map(|pair| pair.2).collect::<Vec<_>>()),
        Column::new("geodesic_cosine".into(), vec![0.35; rows]),
    ])
    .unwrap()
}

/// The checkpoints of `points` beside four others, the second of their coordinates mirrored.
pub fn four_points(archs: &[&str]) -> Table {
    let points = points(archs);
    let count = points.height() - GEODESIC_POINTS;
    let run = points.values::<&str>("run").unwrap();
    let optional = |column: &str| {
        let values = points.optional::<&str>(column).unwrap();
        [vec![None; 4], values[..count].to_vec()].concat()
    };
    let checkpoint = points.optional::<i64>("checkpoint").unwrap();
    let mut columns = vec![
        Column::new("run".into(), [&["ignorance", "0.3", "0.7", "truth"], &run[..count]].concat()),
        Column::new("arch".into(), optional("arch")),
        Column::new("optimizer".into(), optional("optimizer")),
        Column::new("checkpoint".into(), [vec![None; 4], checkpoint[..count].to_vec()].concat()),
    ];
    for pc in 1..=3 {
        let values = points.values::<f64>(&format!("pc{pc}")).unwrap();
        let sign = if pc == 2 { -1.0 } else { 1.0 };
        let four = (0..4).map(|i| f64::from(i) / 3.0 - 0.5);
        let all: Vec<f64> = four.chain(values[..count].iter().map(|value| sign * value)).collect();
        columns.push(Column::new(format!("pc{pc}").into(), all));
    }
    Table::new(columns).unwrap()
}

/// A table of the errors of embeddings by four points; their third dimension is time-like.
pub fn misfit() -> Table {
    Table::new(vec![
        Column::new("dimensions".into(), [1_i64, 2, 3]),
        Column::new("eigenvalue".into(), [0.6, 0.03, -0.01]),
        Column::new("four".into(), [0.42, 0.31, 0.37]),
        Column::new("full".into(), [0.43, 0.34, 0.3]),
        Column::new("four_to_full".into(), [0.04, 0.08, 0.1]),
    ])
    .unwrap()
}

/// Every architecture with every optimizer.
fn groups<'a>(archs: &[&'a str]) -> Vec<(&'a str, &'static str)> {
    archs.iter().flat_map(|name| OPTIMIZERS.map(|method| (*name, method))).collect()
}

/// Merges of so many leaves, one after the other.
pub fn linkage(leaves: i64) -> Table {
    let merges = 1..leaves;
    let left = merges.clone().map(|j| if j == 1 { 0 } else { leaves + j - 2 });
    Table::new(vec![
        Column::new("left".into(), left.collect::<Vec<_>>()),
        Column::new("right".into(), merges.clone().collect::<Vec<_>>()),
        Column::new("height".into(), merges.map(|j| j as f64 * 0.1).collect::<Vec<_>>()),
    ])
    .unwrap()
}

/// Checks that a figure of the larger of two sizes alone shows it in the colour that it has beside the smaller one.
pub fn check_larger_of_two(svg: &str, sizes: [&str; 2]) {
    let has = |palette: Palette| {
        let colour = palette.colour(sizes[1]);
        svg.contains(&format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2))
    };
    assert!(has(Palette::of(sizes)) && !has(Palette::of([sizes[1]])), "{}", sizes[1]);
}

/// Checks what holds for every figure: the texts are there, nothing lies outside the page, and its PNG shows it.
pub fn check(svg: &str, texts: &[&str]) {
    let said: Vec<&str> =
        svg.split("</text>").filter_map(|text| Some(text.rsplit_once(">\n")?.1.trim_end())).collect();
    for text in texts {
        let escaped = text.replace('&', "&amp;").replace('\'', "&apos;");
        // A caption may stand in several lines.
        let is_said = (1..=3).any(|lines| said.windows(lines).any(|lines| lines.join(" ") == escaped));
        assert!(is_said, "the figure does not say \"{text}\"");
    }
    assert!(!svg.contains("NaN"), "a number is missing");
    let options = resvg::usvg::Options::default();
    let size = resvg::usvg::Tree::from_str(svg, &options).unwrap().size();
    let image = Pixmap::decode_png(&page::png(svg).unwrap()).unwrap();
    let wanted = [size.width(), size.height()].map(|length| (length * page::DENSITY).ceil() as u32);
    assert_eq!([image.width(), image.height()], wanted);
    let white = |(x, y): (u32, u32)| {
        let pixel = image.pixel(x, y).unwrap();
        (pixel.red(), pixel.green(), pixel.blue()) == (255, 255, 255)
    };
    let border = (0..image.width())
        .flat_map(|x| [(x, 0), (x, image.height() - 1)])
        .chain((0..image.height()).flat_map(|y| [(0, y), (image.width() - 1, y)]));
    assert!(border.into_iter().all(white), "something is cut off at the page's border");
    let inked = (0..image.height()).flat_map(|y| (0..image.width()).map(move |x| (x, y)));
    let inked = inked.filter(|&place| !white(place)).count();
    let all = (image.width() * image.height()) as usize;
    assert!(inked > all / 200, "only {inked} of {all} pixels are drawn on");
}
