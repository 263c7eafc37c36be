//! The drawing of the pipeline in a real browser: nothing complains, nothing is asked of elsewhere, and a reader without a
//! mouse gets everywhere.

#[allow(dead_code)] // Tests of the report use all of it.
#[path = "../../stages/pages/tests/browser/chromium.rs"]
mod chromium;

use self::chromium::Chromium;
use crate::tiny;

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (360, 740);

fn text(browser: &mut Chromium, element: &str) -> String {
    browser.evaluate(&format!("document.querySelector({element:?}).innerText")).as_str().unwrap().to_owned()
}

#[test]
fn stages_are_chosen_and_their_jobs_sorted_and_filtered_by_keyboard_and_mouse() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let paper = tiny::paper();
    paper.run("");
    paper.edit("embed.sh", "lies", "rests");
    let page = paper.ribbon("graph --format html");
    assert_eq!(page.code, Some(0), "{}", page.err);
    paper.write("graph.html", &page.out);
    browser.show(DESKTOP, false);
    browser.open(&paper.path("graph.html"));
    for dark in [true, false] {
        for size in [PHONE, DESKTOP] {
            browser.show(size, dark);
            let width = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(width <= u64::from(size.0), "{width} pixels of {}", size.0);
        }
    }

    // By keyboard: a stage, and the order of its jobs.
    browser.evaluate("document.querySelectorAll('svg .stage')[1].focus()");
    browser.key("Enter", false);
    browser.settle();
    assert_eq!(text(&mut browser, ".panel h2"), "train");
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("#train"));
    let jobs = |browser: &mut Chromium| -> Vec<String> {
        let found = browser.evaluate(
            "[...document.querySelectorAll('.panel tbody tr')].map((row) => row.cells[0].innerText)",
        );
        found.as_array().unwrap().iter().map(|job| job.as_str().unwrap().to_owned()).collect()
    };
    let all = jobs(&mut browser);
    assert_eq!(all.len(), 4, "{all:?}");
    browser.evaluate("document.querySelector('.panel th button').focus()");
    browser.key(" ", false);
    browser.settle();
    assert_eq!(browser.evaluate("document.querySelector('.panel th').ariaSort"), "ascending");
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(jobs(&mut browser), sorted);

    // By mouse: the one below, which an edit has made stale.
    browser.evaluate("[...document.querySelectorAll('svg .stage')].find((box) => box.textContent.includes('embed')).dispatchEvent(new MouseEvent('click', {bubbles: true}))");
    browser.settle();
    assert_eq!(text(&mut browser, ".panel h2"), "embed");
    assert!(text(&mut browser, ".panel").contains("1 to run"), "{}", text(&mut browser, ".panel"));
    assert!(text(&mut browser, ".panel").contains("embed.sh"), "{}", text(&mut browser, ".panel"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), Vec::<String>::new());
}
