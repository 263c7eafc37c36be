//! The pages that the pipeline has made, in a real browser.

#[allow(dead_code)] // Tests of the report use all of it.
#[path = "../../stages/pages/tests/browser/chromium.rs"]
mod chromium;

use serde_json::Value;

use self::chromium::Chromium;
use super::{PAGES, Workspace};

/// A step of the paper's test, in its workspace.
pub fn open_without_complaint_and_tell_where_they_came_from(workspace: &Workspace) {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    for (page, (width, height)) in
        PAGES.into_iter().flat_map(|page| [(page, (1280, 800)), (page, (360, 740))])
    {
        browser.show((width, height), false);
        browser.open(&workspace.path(&format!("outputs/tiny/{page}.html")));
        let wide = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= u64::from(width), "{page}: {wide} pixels of {width}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{page}");
        assert_eq!(browser.requests(), Vec::<String>::new(), "{page}");
    }
    // What is seen of the embedding are its networks: without them it is another picture.
    browser.show((1280, 800), false);
    browser.open(&workspace.path("outputs/tiny/embedding-train.html"));
    let all = browser.picture(false);
    browser.evaluate("document.querySelectorAll('#optimizers input').forEach((box) => box.click())");
    browser.settle();
    assert_ne!(browser.picture(false), all);

    browser.open(&workspace.path("outputs/tiny/report.html"));
    assert_eq!(browser.evaluate("document.querySelectorAll('#sweep tbody tr').length"), 6);
    // Each claim has a figure, each figure words for who does not see it.
    let claims = browser.evaluate(
        "['manifold', 'factors', 'speed', 'starts', 'scale'].filter((id) => !document.querySelector(`#${id} figure`)).join()",
    );
    assert_eq!(claims, "", "claims without a figure");
    assert_eq!(browser.evaluate("[...document.images].filter((image) => !image.alt).length"), 0);
    // Both splits have the ordinary networks and two other starts.
    assert_eq!(browser.evaluate("document.querySelectorAll('#starts tbody tr').length"), 2 * 3);
    // Each figure and table tells the job that made it, and both embeddings can be turned where they are published.
    let told =
        browser.evaluate("[...document.querySelectorAll('.made')].map((it) => !it.hidden && it.textContent)");
    let told = told.as_array().unwrap();
    assert!(told.len() >= 17, "{}", told.len());
    let is_told = |it: &Value| it.as_str().is_some_and(|text| text.contains("ribbon show"));
    assert!(told.iter().all(is_told), "{told:?}");
    let links = browser.evaluate(
        "[...document.querySelectorAll('.turn')].map((it) => !it.hidden && decodeURI(new URL(it.href).pathname))",
    );
    let pages =
        ["train", "test"].map(|split| workspace.path(&format!("outputs/tiny/embedding-{split}.html")));
    assert_eq!(links, serde_json::json!(pages));
    // The graph below it, as the runner draws it.
    let stages = browser.evaluate("document.querySelectorAll('svg .stage').length").as_u64().unwrap();
    assert!(stages > 40, "{stages} stages");
    browser.evaluate(
        "[...document.querySelectorAll('svg .stage')].find((box) => box.textContent.includes('train'))
           .dispatchEvent(new MouseEvent('click', {bubbles: true}))",
    );
    browser.settle();
    let panel = browser.evaluate("document.querySelector('.panel').innerText");
    assert!(panel.as_str().unwrap().contains("seed=43"), "{panel}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
