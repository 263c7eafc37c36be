//! Sweeping: configurations come, go and change places.

use crate::tiny;

#[test]
fn a_new_configuration_runs_its_own_jobs_and_the_tiles_of_its_group() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "    settings:\n", "    include: [{arch: vit, seed: 3}]\n    settings:\n");
    let run = paper.run("");
    assert_eq!(run.made(), "train 1, predict 1, distance 2, embed 1, figure 1");
    assert!(run.jobs("done").contains(&"train[arch=vit,seed=3]".to_owned()));
    assert!(!run.jobs("done").contains(&"distance[cols=fc,rows=fc]".to_owned()));
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("vit 3"));
}

#[test]
fn a_new_group_adds_tiles_and_leaves_those_there_are() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "arch: [fc, vit]", "arch: [allcnn, fc, vit]");
    assert_eq!(paper.run("").made(), "train 2, predict 2, distance 3, embed 1, figure 1");
}

#[test]
fn a_configuration_that_goes_takes_its_tiles_along_and_may_come_back() {
    let paper = tiny::paper();
    paper.run("");
    paper.edit("pipeline.yaml", "    settings:\n", "    exclude: [{arch: vit, seed: 2}]\n    settings:\n");
    assert_eq!(paper.run("").made(), "distance 2, embed 1, figure 1");
    assert!(!paper.read("outputs/quick/figures/figure.svg").contains("vit 2"));
    assert!(!paper.read("pipeline.lock").contains("train[arch=vit,seed=2]"));
    paper.edit("pipeline.yaml", "    exclude: [{arch: vit, seed: 2}]\n", "");
    assert_eq!(paper.run("").made(), "nothing");
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("vit 2"));
}

#[test]
fn the_order_of_configurations_and_of_keys_is_nobodys_business() {
    let paper = tiny::paper();
    paper.run("");
    let lock = paper.read("pipeline.lock");
    paper.edit(
        "pipeline.yaml",
        "      arch: [fc, vit]\n      seed: [1, 2]\n",
        "      seed: [2, 1]\n      arch: [vit, fc]\n",
    );
    paper.edit(
        "pipeline.yaml",
        "params: {arch: $network.arch, seed: $network.seed, rate: $network.rate}",
        "params: {rate: $network.rate, seed: $network.seed, arch: $network.arch}",
    );
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(paper.read("pipeline.lock"), lock);
}

#[test]
fn a_setting_of_some_configurations_runs_these() {
    let paper = tiny::paper();
    paper.run("");
    let setting = "      - set: {rate: $rate}\n";
    paper.edit(
        "pipeline.yaml",
        setting,
        &format!("{setting}      - {{when: {{arch: vit, seed: [2]}}, set: {{rate: 0.5}}}}\n"),
    );
    let run = paper.run("");
    assert_eq!(run.made(), "train 1, predict 1, distance 2, embed 1, figure 1");
    assert!(paper.read("outputs/quick/figures/figure.svg").contains("vit 2 lies at 0.5"));
}

#[test]
fn profiles_share_what_has_the_same_key() {
    let paper = tiny::paper();
    paper.run("");
    let other = paper.run("--profile paper");
    assert_eq!((other.made().as_str(), other.count("cached")), ("nothing", 14));
    let figure = "figures/figure.svg";
    assert_eq!(
        paper.read(&format!("outputs/paper/{figure}")),
        paper.read(&format!("outputs/quick/{figure}"))
    );
}
