//! The pages in a real browser: nothing complains, nothing is asked of elsewhere, and what a reader does acts.

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/sample.rs"]
mod sample;

use std::collections::HashMap;
use std::fs;

use chromium::Chromium;
use sample::{ARCHS, OPTIMIZERS, Sample};
use serde_json::{Value, json};

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (360, 740);
/// What the runner adds to a page, with a few jobs.
const PIPELINE: &str = include_str!("browser/pipeline.html");

/// The pixels of a picture, by rows.
fn pixels(png: &[u8]) -> Vec<Vec<[u8; 3]>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let row = |row: &[u8]| {
        row.chunks(info.color_type.samples()).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    };
    bytes[..info.buffer_size()].chunks(info.line_size).map(row).collect()
}

/// The colours of a picture, with how many pixels have each.
fn colours(png: &[u8]) -> HashMap<[u8; 3], usize> {
    let mut colours = HashMap::new();
    for pixel in pixels(png).into_iter().flatten() {
        *colours.entry(pixel).or_default() += 1;
    }
    colours
}

/// Chooses a value of a list, as a reader does.
fn select(browser: &mut Chromium, list: &str, value: &str) {
    browser.evaluate(&format!(
        "{{ const list = document.querySelector({list:?}); list.value = {value:?};
            list.dispatchEvent(new Event('change', {{bubbles: true}})); }}"
    ));
    browser.settle();
}

fn click(browser: &mut Chromium, element: &str) {
    browser.evaluate(&format!("document.querySelector({element:?}).click()"));
    browser.settle();
}

fn text(browser: &mut Chromium, element: &str) -> String {
    browser.evaluate(&format!("document.querySelector({element:?}).innerText")).as_str().unwrap().to_owned()
}

/// Nothing is wrong, nothing came from elsewhere, and a phone shows it without scrolling sideways, light and dark.
fn check(browser: &mut Chromium) {
    for dark in [true, false] {
        for size in [PHONE, DESKTOP] {
            browser.show(size, dark);
            let width = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(width <= u64::from(size.0), "{width} pixels of {}", size.0);
            let paper = browser.evaluate("getComputedStyle(document.body).backgroundColor");
            assert_eq!(paper, if dark { "rgb(21, 24, 27)" } else { "rgb(255, 255, 255)" });
        }
    }
    check_silence(browser);
}

/// The page complains of nothing and asks nobody for anything.
fn check_silence(browser: &mut Chromium) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), Vec::<String>::new());
}

#[test]
fn the_embedding_shows_all_networks_and_each_toggle_acts() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(2, 24);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    check(&mut browser);

    // Every architecture has its colour, in the figure and not only beside its name.
    let all = colours(&browser.picture(false));
    assert!(all.len() > 200, "{} colours", all.len());
    assert_eq!(text(&mut browser, "#shown"), "1,728 of 1,728 checkpoints shown");
    for (arch, _) in ARCHS {
        let input = format!("#architectures input[value='{arch}']");
        click(&mut browser, &input);
        assert_eq!(text(&mut browser, "#shown"), "1,440 of 1,728 checkpoints shown", "without {arch}");
        let without = colours(&browser.picture(false));
        assert!(without.len() + 20 < all.len(), "{arch}: {} colours of {}", without.len(), all.len());
        click(&mut browser, &input);
    }
    for optimizer in OPTIMIZERS {
        click(&mut browser, &format!("#optimizers input[value='{optimizer}']"));
    }
    assert_eq!(text(&mut browser, "#shown"), "0 of 1,728 checkpoints shown");
    click(&mut browser, "#optimizers input");
    assert_eq!(text(&mut browser, "#shown"), "576 of 1,728 checkpoints shown");

    let before = browser.picture(false);
    for (list, value) in [("#colour", "progress"), ("#colour", "error"), ("#axes select", "4")] {
        select(&mut browser, list, value);
        assert_ne!(browser.picture(false), before, "{list} {value}");
    }
    for box_ in ["#equal", "#lines"] {
        let before = browser.picture(false);
        click(&mut browser, box_);
        assert_ne!(browser.picture(false), before, "{box_}");
    }
    check_silence(&mut browser);
}

#[test]
fn axes_say_what_they_add_and_time_like_ones_are_red() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    let labels = |browser: &mut Chromium, kind: &str| {
        browser.evaluate(&format!(
            "[...document.querySelectorAll('#labels .{kind}')].filter((it) => !it.hidden).map((it) => it.textContent).join('; ')"
        ))
    };
    assert_eq!(
        text(&mut browser, "header p"),
        "36 networks of 6 architectures, 360 checkpoints; N = 1,000 samples, M = 460 models"
    );
    let names = labels(&mut browser, "name");
    assert_eq!(
        names,
        "PC1 (√nats), 60.0 % of stress; PC2 (√nats), +20.0 % of stress, time-like; \
         PC3 (√nats), +6.7 % of stress; geodesic"
    );
    assert_eq!(labels(&mut browser, "end"), "P0; P*");
    let colour =
        browser.evaluate("getComputedStyle(document.querySelector('#labels .name.time-like')).color");
    assert_eq!(colour, "rgb(200, 16, 46)");
    // Without its name and the legend, which are of that colour too.
    let show = |browser: &mut Chromium, how: &str| {
        browser.evaluate(&format!(
            "['labels', 'controls'].forEach((id) => document.getElementById(id).style.visibility = '{how}')"
        ));
    };
    show(&mut browser, "hidden");
    assert!(colours(&browser.picture(false)).contains_key(&[200, 16, 46]), "the axis is red too");
    show(&mut browser, "");
    select(&mut browser, "#axes label:nth-of-type(2) select", "9");
    assert!(labels(&mut browser, "name").as_str().unwrap().contains("PC10"), "another axis");
    assert_eq!(browser.evaluate("document.getElementById('time-like').hidden"), true);
}

/// Where the checkpoint is that is told of, up and left of what is told.
fn pointed(browser: &mut Chromium) -> (f64, f64) {
    let place = browser.evaluate(
        "(() => { const tip = document.getElementById('tip').getBoundingClientRect();
                  return [tip.left - 14, tip.top - 14]; })()",
    );
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

#[test]
fn a_pointer_and_keys_turn_the_embedding_and_choose_a_network() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    let mut last = browser.picture(false);
    let mut changes = |browser: &mut Chromium, what: &str| {
        let now = browser.picture(false);
        assert_ne!(now, last, "{what}");
        last = now;
    };
    browser.mouse(&[(300.0, 650.0), (340.0, 640.0), (380.0, 630.0)], true);
    changes(&mut browser, "a drag");
    browser.evaluate("document.getElementById('reset').click()");
    browser.tab_to("document.getElementById('canvas')");
    for (key, shift) in [("ArrowLeft", false), ("ArrowUp", true), ("+", false), ("n", false), (".", false)] {
        browser.key(key, shift);
        changes(&mut browser, key);
    }
    let chosen = text(&mut browser, "#chosen");
    assert!(chosen.contains("allcnn") && chosen.contains("49,966"), "{chosen}");
    let tip = text(&mut browser, "#tip");
    for words in ["allcnn, adam", "batch 25", "seed 42", "checkpoint 0 of 10", "epoch 0", "error"] {
        assert!(tip.contains(words), "{words} in {tip}");
    }
    assert_eq!(text(&mut browser, "#said"), tip.replace('\n', " "), "what is shown is said");
    let stands = |browser: &mut Chromium| browser.evaluate("document.getElementById('tip').style.transform");
    let before = stands(&mut browser);
    browser.key("ArrowRight", false);
    assert_ne!(stands(&mut browser), before, "it goes where its checkpoint goes");
    browser.key("Escape", false);
    assert_eq!(text(&mut browser, "#chosen"), "");

    // Where the tooltip of a checkpoint stood, the pointer finds that checkpoint, and a click its network.
    browser.key("0", false);
    browser.key("n", false);
    (0..5).for_each(|_| browser.key(".", false));
    let tip = text(&mut browser, "#tip");
    let at = pointed(&mut browser);
    browser.key("Escape", false);
    browser.mouse(&[(at.0 + 300.0, at.1 + 150.0), at], false);
    assert_eq!(text(&mut browser, "#tip"), tip);
    // Its trajectory stays as it was, and the colours of the others fade.
    let others = browser.evaluate(
        "[...document.querySelectorAll('#architectures i')].map((dot) => getComputedStyle(dot).backgroundColor)
           .slice(1).map((colour) => colour.match(/\\d+/g).map(Number))",
    );
    let others: Vec<[u8; 3]> = serde_json::from_value(others).unwrap();
    assert_eq!(others.len(), ARCHS.len() - 1);
    let shown = |browser: &mut Chromium| {
        let all = colours(&browser.picture(false));
        others.iter().filter_map(|colour| all.get(colour)).sum::<usize>()
    };
    let before = shown(&mut browser);
    browser.mouse(&[at], true);
    assert!(text(&mut browser, "#chosen").contains("allcnn"));
    let after = shown(&mut browser);
    // What is left are the dots beside their names, mostly.
    assert!(after + 50 < before, "{after} pixels of {before}");
    check_silence(&mut browser);
}

#[test]
fn a_finger_chooses_a_network_and_what_is_told_of_it_stays() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    browser.tab_to("document.getElementById('canvas')");
    browser.key("n", false);
    (0..5).for_each(|_| browser.key(".", false));
    let (tip, place) = (text(&mut browser, "#tip"), pointed(&mut browser));
    browser.key("Escape", false);
    browser.touch(place);
    assert!(text(&mut browser, "#chosen").contains("allcnn"));
    assert_eq!(text(&mut browser, "#tip"), tip, "it is still there when the finger is lifted");
    check_silence(&mut browser);
}

#[test]
fn a_network_that_is_chosen_from_the_list_is_shown_though_its_kind_was_not() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    let shown = |browser: &mut Chromium| text(browser, "#shown");
    let all = shown(&mut browser);
    click(&mut browser, "#architectures input[value=fc]");
    click(&mut browser, "#optimizers input[value=adam]");
    assert_ne!(shown(&mut browser), all);
    let fc = browser.evaluate(
        "[...document.querySelectorAll('#network option')].find((it) => /^fc.*adam/.test(it.textContent)).value",
    );
    select(&mut browser, "#network", fc.as_str().unwrap());
    assert!(text(&mut browser, "#chosen").contains("fc"));
    assert_eq!(shown(&mut browser), all);
    let augmented = browser.evaluate(
        "[...document.querySelectorAll('#network option')].map((it) => it.textContent)
           .filter((name) => /· augment ·/.test(name)).map((name) => name.split(' · ')[2])",
    );
    let augmented: Vec<String> = serde_json::from_value(augmented).unwrap();
    assert_eq!(augmented, ["50"; 18], "settings of yes or no are in the names of those that have them");
}

#[test]
fn a_wheel_and_buttons_bring_the_figure_nearer() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    browser.open(&sample.embedding());
    let whole = browser.picture(false);
    browser.evaluate("document.getElementById('canvas').dispatchEvent(new WheelEvent('wheel', {deltaY: -240, cancelable: true}))");
    browser.settle();
    assert_ne!(browser.picture(false), whole, "the wheel");
    click(&mut browser, "#reset");
    assert_eq!(browser.picture(false), whole, "as in the beginning");
    click(&mut browser, "#nearer");
    let near = browser.picture(false);
    assert_ne!(near, whole);
    click(&mut browser, "#farther");
    assert_ne!(browser.picture(false), near);
}

#[test]
fn a_figure_that_is_slow_to_turn_is_drawn_coarser_until_it_rests() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(1, 10);
    browser.show(DESKTOP, false);
    let width = |browser: &mut Chromium| {
        browser.evaluate("document.getElementById('canvas').width").as_u64().unwrap()
    };
    // Milliseconds of each frame that is waited for: all slow, all fast, the first alone slow.
    for (times, is_coarse) in [("[30, 30]", true), ("[5, 5]", false), ("[30, 5]", false)] {
        browser.open(&sample.embedding());
        let all = width(&mut browser);
        let moving = browser.evaluate(&format!(
            "new Promise((done) => {{
               const canvas = document.getElementById('canvas');
               const gl = canvas.getContext('webgl');
               const [read, times] = [gl.readPixels.bind(gl), {times}];
               let [clock, waits] = [0, 0];
               performance.now = () => clock;
               // A frame begins with one wait and ends with another.
               gl.readPixels = (...pixel) => {{ clock += times[Math.min(waits++ >> 1, 1)]; read(...pixel); }};
               const move = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind,
                 {{ pointerId: 1, clientX: x, clientY: 300, buttons: 1, bubbles: true }}));
               canvas.setPointerCapture = () => {{}};
               let frames = 0;
               const step = () => {{
                 move('pointermove', 5 * frames);
                 frames += 1;
                 if (frames < 8) return requestAnimationFrame(step);
                 done(canvas.width);
                 move('pointerup', 1000);
               }};
               move('pointerdown', 0);
               step();
             }})"
        ));
        let wanted = if is_coarse { all / 2 } else { all };
        assert!(moving.as_u64().unwrap().abs_diff(wanted) <= 1, "{times}: {moving} of {all}");
        browser.settle();
        assert_eq!(width(&mut browser), all, "{times}");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
}

#[test]
fn the_report_sorts_and_filters_its_networks_and_tells_how_things_were_made() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    let sample = Sample::new(2, 24);
    let page = sample.report();
    let bare = fs::read_to_string(&page).unwrap();
    fs::write(&page, bare + PIPELINE).unwrap();
    browser.show(DESKTOP, false);
    browser.open(&page);
    check(&mut browser);
    assert_eq!(
        browser.evaluate("[...document.images].every((image) => image.alt && image.naturalWidth > 0)"),
        true
    );

    let column = |browser: &mut Chromium, name: &str| -> Vec<String> {
        let cells = browser.evaluate(&format!(
            "(() => {{ const at = [...document.querySelectorAll('#sweep th')].findIndex((head) => head.innerText.startsWith({name:?}));
               return [...document.querySelectorAll('#sweep tbody tr:not([hidden])')].map((row) => row.cells[at].innerText); }})()"
        ));
        cells.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
    };
    let press = |browser: &mut Chromium, name: &str| {
        browser.tab_to(&format!(
            "[...document.querySelectorAll('#sweep th button')].find((head) => head.innerText.startsWith({name:?}))"
        ));
        browser.key(" ", false);
    };
    // With the keyboard: up, then down.
    let sizes = |browser: &mut Chromium| -> Vec<u64> {
        column(browser, "parameters").iter().map(|text| text.replace(',', "").parse().unwrap()).collect()
    };
    browser.evaluate("[...document.querySelectorAll('#sweep th button')].find((head) => head.innerText.startsWith('parameters')).click()");
    assert!(sizes(&mut browser).is_sorted());
    browser.evaluate("[...document.querySelectorAll('#sweep th button')].find((head) => head.innerText.startsWith('parameters')).click()");
    assert!(sizes(&mut browser).iter().rev().is_sorted());
    assert_eq!(
        browser.evaluate("document.querySelector('#sweep [aria-sort]').innerText.trim()"),
        "parameters"
    );
    press(&mut browser, "arch");
    assert!(column(&mut browser, "arch").is_sorted());

    let filter = |browser: &mut Chromium, words: &str| {
        browser.evaluate(&format!(
            "{{ const field = document.getElementById('filter'); field.value = {words:?}; field.dispatchEvent(new Event('input')); }}"
        ));
        text(browser, "#found")
    };
    assert_eq!(filter(&mut browser, "fc adam"), "4 of 72");
    assert_eq!(filter(&mut browser, "FC adam 25 42"), "1 of 72");
    // Training and prediction of this network, and of no other.
    assert_eq!(column(&mut browser, "time"), ["92.0 s"]);
    assert_eq!(filter(&mut browser, ""), "");
    assert_eq!(column(&mut browser, "time").iter().filter(|time| *time != "–").count(), 2);

    // The figure's job is found by the hash of what it shows.
    let made = browser.evaluate("document.querySelector('figure .made').textContent");
    for words in ["figure-embedding[split=train]", "k4", "0.5 s, today on cpu", "\"embedding\""] {
        assert!(made.as_str().unwrap().contains(words), "{words} in {made}");
    }
    let link =
        browser.evaluate("document.querySelector('figure .made dd a[href^=\"..\"]').getAttribute('href')");
    assert_eq!(link, "../../outputs/quick/figures/embedding-train.svg");
    assert_eq!(browser.evaluate("document.querySelectorAll('.made:not([hidden])').length"), 1);
    check_silence(&mut browser);
}

#[test]
fn what_goes_on_beyond_its_edge_says_so() {
    let Some(mut browser) = Chromium::start(&[]) else { return };
    browser.open(&Sample::new(2, 24).report());
    for (width, scrolls) in [(PHONE.0, true), (660, true), (700, false), (DESKTOP.0, false)] {
        browser.show((width, 800), false);
        let figures = browser.evaluate(
            "[...document.querySelectorAll('figure .scroll')].map((box) => [box.scrollWidth > box.clientWidth,
               getComputedStyle(box.nextElementSibling, '::before').content.includes('Scroll')])",
        );
        let figures = figures.as_array().unwrap();
        assert!(!figures.is_empty());
        for figure in figures {
            assert_eq!(figure, &json!([scrolls, scrolls]), "{width} pixels");
        }
    }
    // The shade at the right edge of the first table, which scrolling to its end hides.
    browser.show(PHONE, false);
    let mut edge = |scrolled: &str| {
        browser.evaluate(&format!(
            "{{ const box = document.querySelector('.scroll:has(table)'); box.scrollIntoView(); box.scrollLeft = {scrolled}; }}"
        ));
        browser.settle();
        let right = browser
            .evaluate("document.querySelector('.scroll:has(table)').getBoundingClientRect().right - 1");
        pixels(&browser.picture(false))[4][right.as_f64().unwrap() as usize]
    };
    assert!(edge("0") < [240; 3]);
    assert_eq!(edge("1e6"), [255; 3]);
}

#[test]
fn the_report_holds_the_numbers_of_its_tables() {
    let sample = Sample::new(2, 24);
    let page = fs::read_to_string(sample.report()).unwrap();
    for words in [
        "<th scope=\"row\">3</th><td>0.76</td><td><b>0.867</b></td><td>0.17</td><td><b>0.933</b></td>",
        "0.2000 / 0.1000 = <b>2.00</b></td><td>0.78</td><td>0.001</td>",
        "<th scope=\"row\">fc</th><td>830,250</td><td>12 of 12</td><td><b>9</b></td>",
        "<strong>60</strong> of them ended trained",
        "2. Architecture separates trajectories",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("4. Networks from other starts"), "what there is nothing of is left out");
}

#[test]
fn a_report_of_models_alone_is_whole() {
    let sample = Sample::new(1, 5);
    let page =
        sample.page(&json!({"page": "report"}), &[("models-train", sample.path("models-train.parquet"))]);
    let page = fs::read_to_string(page).unwrap();
    let sections: Vec<&str> =
        page.split("<section id=\"").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    assert_eq!(sections, ["speed", "scale", "networks"]);
    let Some(mut browser) = Chromium::start(&[]) else { return };
    browser.open(&sample.path("page.html"));
    check(&mut browser);
    assert_eq!(browser.evaluate("document.querySelectorAll('.made:not([hidden])').length"), Value::from(0));
}
