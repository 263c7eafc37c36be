//! Provenance: a published page tells where it came from, after the page as its job made it.

use serde_json::Value;

use crate::scratch::Scratch;
use crate::tiny;

const PAGE: &str = "outputs/quick/pages/report.html";
const MADE: &str = "<!doctype html><title>report</title><p>Networks";

/// The tiny paper with a page at its end, made of the figure.
fn paper() -> Scratch {
    let paper = tiny::paper();
    let text = paper.read("pipeline.yaml");
    let stage = format!(
        "  report:\n    run: [sh, -c, 'echo report >> \"$HOME/ran\"; printf \"%s\" \"{MADE}\" > {{outputs.html}}']\n    \
         inputs: {{figure: figure.svg}}\n    outputs: {{html: report.html}}\n    \
         publish: {{html: pages/report.html}}\n    provenance: true\n"
    );
    paper.write("pipeline.yaml", &(text + &stage));
    paper
}

/// The stages that the page tells of.
fn stages(page: &str) -> Value {
    let data = page.split("id=\"pipeline-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn a_page_begins_as_its_job_made_it_and_tells_keys_times_and_hashes() {
    let paper = paper();
    paper.run("");
    let page = paper.read(PAGE);
    assert!(page.starts_with(&format!("{MADE}<section class=\"pipeline\"")), "{page}");
    assert_eq!(paper.read(&paper.object("report").display().to_string()), MADE);
    let stages = stages(&page);
    let of = |name: &str| stages.as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap();
    let figure = &of("figure")["jobs"][0];
    assert_eq!(figure["key"], paper.locked("figure")[2].as_str());
    assert_eq!(figure["files"], serde_json::json!(["outputs/quick/figures/figure.svg"]));
    assert_eq!(figure["params"], serde_json::json!([["title", "\"Networks\""]]));
    let hash = blake3::hash(paper.read("outputs/quick/figures/figure.svg").as_bytes()).to_hex();
    assert_eq!(figure["made"], serde_json::json!([hash.as_str()]));
    assert!(figure["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(of("train")["jobs"].as_array().unwrap().len(), 4);
    // From its folder back to the project's.
    assert!(page.contains("data-base=\"../../../\""));
}

#[test]
fn a_page_is_put_right_without_running_anything() {
    let paper = paper();
    paper.run("");
    let page = paper.read(PAGE);
    assert_eq!(paper.ribbon("status --check").code, Some(0));
    for wrong in [page.replace("<section", "<div"), page.replace("Networks", "Nothing"), MADE.to_owned()] {
        paper.write(PAGE, &wrong);
        assert_eq!(paper.run("").made(), "nothing");
        assert_eq!(paper.read(PAGE), page);
    }
    paper.remove(PAGE);
    assert_eq!(paper.run(PAGE).made(), "nothing");
    assert_eq!(paper.read(PAGE), page);
}

#[test]
fn what_changes_above_and_leaves_the_page_is_told_in_it() {
    let paper = paper();
    paper.run("");
    let before = stages(&paper.read(PAGE));
    // Another command, the same figure: the page's job does not run.
    paper.edit("pipeline.yaml", "(echo \"$1\"; cat", "(true; echo \"$1\"; cat");
    assert_eq!(paper.run("").made(), "figure 1");
    let after = stages(&paper.read(PAGE));
    let key = |stages: &Value| stages[5]["jobs"][0]["key"].clone();
    assert_eq!(key(&after), paper.locked("figure")[2].as_str());
    assert_ne!(key(&before), key(&after));
}
