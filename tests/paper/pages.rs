//! The pages that the pipeline has made, in a real browser.

#[allow(dead_code)] // Tests of the report use all of it.
#[path = "../../stages/pages/tests/browser/chromium.rs"]
mod chromium;

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
    browser.open(&workspace.path("outputs/tiny/report.html"));
    assert_eq!(browser.evaluate("document.querySelectorAll('#sweep tbody tr').length"), 6);
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
