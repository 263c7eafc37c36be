//! Small made-up tables for tests, with the columns of the real ones, and what every figure must hold.

use resvg::tiny_skia::Pixmap;
use tables::{Column, Table};

use crate::page;

/// Points of the geodesic in `models` and `points`.
pub const GEODESIC_POINTS: usize = 20;
const CHECKPOINTS: usize = 11;
const OPTIMIZERS: [&str; 3] = ["adam", "nesterov", "sgd"];

/// A table of models: three optimizers and two seeds for each architecture; one of the runs stays untrained.
pub fn models(archs: &[&str]) -> Table {
    Table::new(model_columns(archs)).unwrap()
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

fn model_columns(archs: &[&str]) -> Vec<Column> {
    let (mut run, mut arch, mut optimizer) = (vec![], vec![], vec![]);
    let (mut parameters, mut checkpoint, mut epoch) = (vec![], vec![], vec![]);
    let (mut progress, mut distance, mut trained) = (vec![], vec![], vec![]);
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

/// Checks what holds for every figure: the texts are there, nothing lies outside the page, and its PNG shows it.
pub fn check(svg: &str, texts: &[&str]) {
    for text in texts {
        let escaped = text.replace('&', "&amp;").replace('\'', "&apos;");
        assert!(svg.contains(&format!(">\n{escaped}\n</text>")), "the figure does not say \"{text}\"");
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
