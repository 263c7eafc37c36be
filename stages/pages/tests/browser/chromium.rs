//! A headless Chromium that a test drives by the DevTools protocol, over two pipes: no port, no other program, no library.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Longer than anything takes on a busy machine; after it the browser counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Alone, offline, without a graphics card.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
];

/// A browser with one page.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts one with an empty page, with more flags; none where there is no browser, which is said.
    pub fn start(more: &[&str]) -> Option<Chromium> {
        let Some(program) = PROGRAMS.into_iter().find(|program| is_there(program)) else {
            // Past the test runner, which shows what a test prints only when it fails.
            let text =
                "SKIPPED: the pages in a browser: there is no chromium; setup/servers.sh installs it\n";
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", program])
            .args(FLAGS)
            .args(more)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in from.split(0).map_while(Result::ok) {
                let _ = sender.send(serde_json::from_slice(&message).unwrap());
            }
        });
        let mut browser =
            Chromium { child, to, messages, session: None, sent: 0, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        Some(browser)
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        let url = format!("file://{}", file.display());
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        let is_loaded = |event: &Value| {
            let params = &event["params"];
            event["method"] == "Page.lifecycleEvent"
                && params["name"] == "load"
                && params["loaderId"] == opened["loaderId"]
        };
        while !self.events.iter().any(is_loaded) {
            let message = self.message();
            self.events.push(message);
        }
        self.settle();
    }

    /// Sets the size of the page in pixels, and whether it is dark.
    pub fn show(&mut self, (width, height): (u32, u32), dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
        self.settle();
    }

    /// Waits until the page has drawn what it has to.
    pub fn settle(&mut self) {
        self.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))",
        );
    }

    /// The value of an expression of JavaScript, awaited.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let given = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", given);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Presses a key where the focus is, with or without Shift.
    pub fn key(&mut self, key: &str, shift: bool) {
        let text = if key.len() == 1 { json!(key) } else { Value::Null };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "modifiers": if shift { 8 } else { 0 }});
            // The page sees what the key types as a person's keyboard says it.
            if !text.is_null() && kind == "keyDown" {
                event["text"] = text.clone();
            }
            if key == "Tab" {
                event["windowsVirtualKeyCode"] = json!(9);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
        self.settle();
    }

    /// Moves the focus to an element, an expression of JavaScript, as somebody without a mouse does.
    pub fn tab_to(&mut self, element: &str) {
        for _ in 0..500 {
            if self.evaluate(&format!("document.activeElement === {element}")) == true {
                return;
            }
            self.key("Tab", false);
        }
        panic!("no Tab reaches {element}");
    }

    /// Moves the mouse through places on the page, with the button held from the first to the last if `held`.
    pub fn mouse(&mut self, places: &[(f64, f64)], held: bool) {
        let mut send = |kind: &str, (x, y): (f64, f64), button: &str| {
            let buttons = u8::from(button == "left");
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}),
            );
        };
        let button = if held { "left" } else { "none" };
        if held {
            send("mousePressed", places[0], button);
        }
        for place in places {
            send("mouseMoved", *place, button);
        }
        if held {
            send("mouseReleased", places[places.len() - 1], button);
        }
        self.settle();
    }

    /// Touches a place on the page with a finger.
    pub fn touch(&mut self, (x, y): (f64, f64)) {
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": true}));
        for (kind, points) in [("touchStart", json!([{"x": x, "y": y}])), ("touchEnd", json!([]))] {
            self.call("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": points}));
        }
        self.settle();
    }

    /// A picture of what is seen, or of the whole page, as PNG.
    pub fn picture(&mut self, whole: bool) -> Vec<u8> {
        let picture =
            self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}));
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// What the page has complained of: messages of the console but plain ones, exceptions, what the browser notes.
    pub fn complaints(&mut self) -> Vec<String> {
        self.settle();
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Log.entryAdded") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != "log",
            _ => false,
        };
        self.events.iter().filter(is_complaint).map(ToString::to_string).collect()
    }

    /// The addresses that the page has asked for, but its own and what it holds itself.
    pub fn requests(&self) -> Vec<String> {
        let urls = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let urls: Vec<&str> = urls.filter_map(|event| event["params"]["request"]["url"].as_str()).collect();
        urls.into_iter().skip(1).filter(|url| !url.starts_with("data:")).map(str::to_owned).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut request = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.to.write_all(request.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let message = self.message();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn message(&self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("the browser answers")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Without its pipes the browser ends by itself; one that hangs does not.
        let _ = self.to.write_all(b"{\"id\": 0, \"method\": \"Browser.close\"}\0");
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
