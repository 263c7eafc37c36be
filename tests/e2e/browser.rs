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
    let slow = tiny::slow();
    slow.run("");
    slow.edit("pipeline.yaml", "cat \"$@\"", "sort \"$@\"");
    let page = slow.ribbon("graph --format html");
    assert_eq!(page.code, Some(0), "{}", page.err);
    slow.write("graph.html", &page.out);
    browser.show(DESKTOP, false);
    browser.open(&slow.path("graph.html"));
    for dark in [true, false] {
        for size in [PHONE, DESKTOP] {
            browser.show(size, dark);
            let width = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(width <= u64::from(size.0), "{width} pixels of {}", size.0);
        }
    }

    // By keyboard: a stage, and the order of its jobs.
    browser.tab_to("document.querySelector('svg .stage')");
    browser.key("Enter", false);
    browser.settle();
    assert_eq!(text(&mut browser, ".panel h2"), "slow");
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("#slow"));
    let column = |browser: &mut Chromium, place: usize| -> Vec<String> {
        let found = browser.evaluate(&format!(
            "[...document.querySelectorAll('.panel tbody tr')].map((row) => row.cells[{place}].innerText)"
        ));
        found.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
    };
    let keys = column(&mut browser, 4);
    assert!(keys.len() == 12 && !keys.is_sorted(), "{keys:?}");
    browser.tab_to("document.querySelectorAll('.panel th button')[4]");
    browser.key(" ", false);
    browser.settle();
    assert_eq!(browser.evaluate("document.querySelectorAll('.panel th')[4].ariaSort"), "ascending");
    assert!(column(&mut browser, 4).is_sorted());
    browser.evaluate(
        "{ const filter = document.querySelector('.panel input'); filter.value = 'n=11';
           filter.dispatchEvent(new Event('input', {bubbles: true})); }",
    );
    assert_eq!(column(&mut browser, 0), ["n=11"]);
    // A job, by its name in the address.
    browser.evaluate("location.hash = encodeURIComponent('slow[n=1]')");
    browser.settle();
    assert_eq!(column(&mut browser, 0).len(), 4, "1, 10, 11, 12");
    assert_eq!(text(&mut browser, ".panel tr[aria-current=true] td"), "n=1");

    // By mouse: the one below, which an edit has made stale.
    browser.evaluate(
        "[...document.querySelectorAll('svg .stage')].find((box) => box.textContent.includes('join'))
           .dispatchEvent(new MouseEvent('click', {bubbles: true}))",
    );
    browser.settle();
    assert_eq!(text(&mut browser, ".panel h2"), "join");
    assert!(text(&mut browser, ".panel").contains("1 to run"), "{}", text(&mut browser, ".panel"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), Vec::<String>::new());
}
