//! The pages in a real browser: nothing complains, nothing is asked of elsewhere, and what a reader does acts.

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/sample.rs"]
mod sample;

use chromium::Chromium;
use sample::Sample;

#[test]
fn look() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(2, 24);
    for (name, page) in [("embedding", sample.embedding())] {
        browser.open(&page);
        for (size, dark) in
            [((1280, 900), false), ((1280, 900), true), ((360, 740), false), ((360, 740), true)]
        {
            browser.show(size, dark);
            std::fs::copy(&page, "/tmp/w/report-look/embedding.html").unwrap();
            std::fs::write(
                format!("/tmp/w/report-look/{name}-{}-{dark}.png", size.0),
                browser.picture(size.0 == 360),
            )
            .unwrap();
        }
        eprintln!("{:?} {:?}", browser.complaints(), browser.requests());
        browser.show((1280, 900), false);
    }
    let page = sample.report();
    browser.open(&page);
    for (size, dark) in [((1280, 900), false), ((1280, 900), true), ((360, 740), false), ((360, 740), true)] {
        browser.show(size, dark);
        std::fs::write(format!("/tmp/w/report-look/report-{}-{dark}.png", size.0), browser.picture(true))
            .unwrap();
    }
    eprintln!("{:?} {:?}", browser.complaints(), browser.requests());
}
