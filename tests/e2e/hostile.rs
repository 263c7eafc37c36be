//! Shares that lie, break or hang: a run is slower for it, never wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::scratch::{Run, Scratch};
use crate::share::{append, become_user, bobs_clone, files, paper, said};
use crate::tiny::{self, WHOLE_PAPER};

const FIGURE: &str = "outputs/quick/figures/figure.svg";

/// Bytes before what is packed in a record: magic, signer, signature.
const HEAD: usize = 8 + 32 + 64;

/// What ada has pushed, tampered with, and then what bob's run makes of it: he trusts ada, or everybody.
fn exchanged(trusts_any: bool, tamper: impl Fn(&Scratch)) -> (Scratch, Run) {
    let mut ada = paper();
    let key = become_user(&mut ada, "ada");
    let trust = if trusts_any { "trust: any\n".to_owned() } else { format!("trust: {{ada: '{key}'}}\n") };
    append(&ada, &trust);
    assert_eq!(ada.run("--push").made(), WHOLE_PAPER);
    let bob = bobs_clone(&ada);
    tamper(&ada);
    let run = bob.run("");
    assert_eq!((run.code, run.count("failed")), (Some(0), 0), "{}{}", run.out, run.err);
    assert_eq!(bob.read("outputs/quick/tables/points.txt"), ada.read("outputs/quick/tables/points.txt"));
    assert_eq!(bob.read(FIGURE), ada.read(FIGURE));
    assert_eq!(bob.read("pipeline.lock"), ada.read("pipeline.lock"));
    (bob, run)
}

/// Where the share keeps a job's record.
fn record(paper: &Scratch, job: &str) -> PathBuf {
    let key = &paper.locked(job)[2];
    paper.path("../lab/records").join(&key[..2]).join(&key[2..])
}

/// The JSON and the objects of a record on the share.
fn opened(path: &Path) -> (Value, Vec<Vec<u8>>) {
    let bytes = fs::read(path).unwrap();
    let body = zstd::decode_all(&bytes[HEAD..]).unwrap_or_else(|_| bytes[HEAD..].to_vec());
    let (mut parts, mut rest) = (Vec::new(), &body[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part.to_vec());
        rest = after;
    }
    (serde_json::from_slice(&parts[0]).unwrap(), parts.split_off(1))
}

/// Writes a record that nobody signed.
fn forge(path: &Path, record: &Value, objects: &[Vec<u8>]) {
    let mut bytes = b"ribshar1".to_vec();
    bytes.resize(HEAD, 0);
    for part in std::iter::once(&serde_json::to_vec(record).unwrap()).chain(objects) {
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(part);
    }
    fs::write(path, bytes).unwrap();
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Zeros: a few kilobytes that would become 4 GiB.
fn bomb() -> Vec<u8> {
    let mut bomb = zstd::Encoder::new(Vec::new(), 19).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..4096).for_each(|_| bomb.write_all(&zeros).unwrap());
    bomb.finish().unwrap()
}

#[test]
fn wrong_bytes_are_not_used_and_their_job_runs() {
    let (bob, run) = exchanged(false, |ada| {
        for object in files(&ada.path("../lab"), "objects") {
            let length = fs::read(&object).unwrap().len();
            fs::write(object, "x".repeat(length)).unwrap();
        }
    });
    assert_eq!(run.made(), "embed 1, figure 1");
    assert!(said(&run).contains("damaged on the share, and not used: objects/"), "{}", said(&run));
    assert!(said(&run).contains("and 1 more; `ribbon push --again` writes them anew"), "{}", said(&run));
    bob.ribbon("push --again embed figure");
    let clone = bob.clone_as("clone");
    assert_eq!(clone.ribbon("pull").code, Some(0), "they are right again");
}

#[test]
fn what_is_cut_short_is_not_used() {
    let (_, run) = exchanged(false, |ada| {
        for section in ["objects", "records"] {
            for file in files(&ada.path("../lab"), section) {
                let half = fs::metadata(&file).unwrap().len() / 2;
                fs::File::options().write(true).open(file).unwrap().set_len(half).unwrap();
            }
        }
    });
    assert_eq!(run.made(), WHOLE_PAPER);
    assert!(said(&run).contains("damaged on the share, and not used: records/"), "{}", said(&run));
}

#[test]
fn what_is_no_file_is_not_read() {
    let (_, run) = exchanged(false, |ada| {
        for object in files(&ada.path("../lab"), "objects") {
            fs::remove_file(&object).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &object).unwrap();
        }
        let path = record(ada, "prepare");
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    });
    assert_eq!(run.made(), "prepare 1, embed 1, figure 1");
    assert!(said(&run).contains("damaged on the share, and not used: "), "{}", said(&run));
}

#[test]
fn bombs_do_not_go_off() {
    let (bob, run) = exchanged(false, |ada| {
        let bomb = bomb();
        assert!(bomb.len() < 1 << 20);
        for object in files(&ada.path("../lab"), "objects") {
            fs::write(object, &bomb).unwrap();
        }
        let path = record(ada, "prepare");
        let mut head = fs::read(&path).unwrap()[..HEAD].to_vec();
        head.extend(bomb);
        fs::write(path, head).unwrap();
    });
    assert_eq!(run.made(), "prepare 1, embed 1, figure 1");
    assert!(said(&run).contains("damaged on the share, and not used: "), "{}", said(&run));
    assert_eq!(fs::read_dir(bob.path(".ribbon/store/tmp")).unwrap().count(), 1, "only the gate is left");
}

#[test]
fn a_record_under_another_key_is_none() {
    let (_, run) = exchanged(true, |ada| {
        let [one, two] = ["train[arch=fc,seed=1]", "train[arch=fc,seed=2]"].map(|job| record(ada, job));
        fs::copy(one, &two).unwrap();
        let (mut lie, objects) = opened(&record(ada, "train[arch=vit,seed=1]"));
        let path = record(ada, "train[arch=vit,seed=2]");
        lie["key"] = opened(&path).0["key"].clone();
        forge(&path, &lie, &objects);
    });
    assert_eq!(run.made(), "train 2", "what they make has its records");
    assert!(said(&run).contains("damaged on the share, and not used: records/"), "{}", said(&run));
}

#[test]
fn unsigned_and_wrongly_signed_records_do_not_count() {
    let (_, run) = exchanged(false, |ada| {
        let (record_one, objects) = opened(&record(ada, "train[arch=fc,seed=1]"));
        forge(&record(ada, "train[arch=fc,seed=1]"), &record_one, &objects);
        for (job, byte) in [("train[arch=fc,seed=2]", 8), ("train[arch=vit,seed=1]", 40)] {
            let path = record(ada, job);
            let mut bytes = fs::read(&path).unwrap();
            bytes[byte] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    });
    assert_eq!(run.made(), "train 3");
    assert!(said(&run).contains("ignored records on the share: 3 that nobody signed"), "{}", said(&run));
}

/// A stage that makes a folder, of which the share says that it holds `listing`.
fn folder_of(listing: &str, objects: &[Vec<u8>]) -> (Scratch, Run) {
    let mut ada = Scratch::new(&[(
        "pipeline.yaml",
        "version: 1\nprofile: quick\nprofiles: {quick: {about: a folder}}\nshare: ../lab\ntrust: any\nstages:\n  \
         pages: {run: [sh, -c, 'mkdir {outputs.pages} && echo page > {outputs.pages}/page'], \
         outputs: {pages: pages/}, publish: {pages: pages}}\n",
    )]);
    become_user(&mut ada, "ada");
    ada.run("--push");
    let path = record(&ada, "pages");
    let (mut lie, _) = opened(&path);
    lie["outputs"]["pages"] = json!({"hash": hash(listing.as_bytes()), "size": 5, "folder": true});
    forge(&path, &lie, &[&[listing.as_bytes().to_vec()], objects].concat());
    let bob = bobs_clone(&ada);
    let run = bob.run("");
    (bob, run)
}

#[test]
fn a_folder_that_would_write_elsewhere_is_not_used_and_the_job_runs() {
    let line = |path: &str| format!("ribbon folder 1\n{} 5 {path}\n", hash(b"evil\n"));
    let harmless = folder_of(&line("other"), &[b"evil\n".to_vec()]);
    assert_eq!(harmless.1.made(), "nothing", "`trust: any` means it");
    let root = harmless.0.path("../../");
    for path in ["../escaped", "../../escaped", "/tmp/ribbon-escaped", "a/../../escaped"] {
        let (bob, run) = folder_of(&line(path), &[b"evil\n".to_vec()]);
        assert_eq!((run.code, run.made().as_str()), (Some(0), "pages 1"), "{path}");
        assert_eq!(bob.read("outputs/quick/pages/page"), "page\n");
        let above = [bob.path(".."), bob.path("outputs"), bob.path(""), PathBuf::from("/tmp"), root.clone()];
        assert!(above.iter().all(|folder| !folder.join("escaped").exists()), "{path}");
        assert!(!Path::new("/tmp/ribbon-escaped").exists());
    }
}

#[test]
fn a_share_with_more_names_than_anybody_listens_to_is_asked_file_by_file() {
    // So many jobs that the share's records are listed first.
    const JOBS: usize = 600;
    let mut ada = tiny::many(JOBS, "echo \"number $1\" > \"$2\"\n");
    append(&ada, "share: ../lab\n");
    become_user(&mut ada, "ada");
    ada.run("");
    // A folder of records that somebody has filled.
    let key = ada.locked("join")[2].clone();
    let folder = ada.path("../lab/records").join(&key[..2]);
    fs::create_dir_all(&folder).unwrap();
    (0..=1 << 16).for_each(|n| drop(fs::File::create(folder.join(n.to_string())).unwrap()));
    let push = ada.ribbon("push");
    assert!(push.code == Some(0) && push.out.starts_with(&format!("pushed {} jobs, ", JOBS + 1)), "{push:?}");
    assert!(ada.ribbon("push").out.contains("pushed 0 jobs, 0 B"));
}

#[test]
fn a_huge_listing_is_not_read_to_its_end() {
    let listing = "ribbon folder 1\n".to_owned() + &"x".repeat(1 << 20);
    let (bob, run) = folder_of(&listing, &[]);
    assert_eq!(run.made(), "pages 1");
    // Its listing lies by itself, and would become 4 GiB.
    let object = hash(listing.as_bytes());
    let path = bob.path("../lab/objects").join(&object[..2]).join(&object[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bomb()).unwrap();
    let carol = bob.clone_as("carol");
    carol.remove("pipeline.lock");
    let run = carol.run("");
    assert_eq!((run.code, run.made().as_str()), (Some(0), "pages 1"));
    assert!(said(&run).contains("damaged on the share"), "{}", said(&run));
}

/// A server that says "not found" so many times, and then does what `then` says: closes, errs, says nothing, or sends
/// files a byte at a time.
fn failing_after(good: usize, then: &'static str) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("dav://{}/share", server.local_addr().unwrap());
    std::thread::spawn(move || {
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for connection in server.incoming() {
                let (mut connection, answered) = (connection.unwrap(), &answered);
                scope.spawn(move || {
                    let mut request = [0; 4096];
                    while connection.read(&mut request).is_ok_and(|read| read > 0) {
                        let text = match then {
                            _ if answered.fetch_add(1, Ordering::SeqCst) < good => "404 Not Found",
                            "hang" => return std::thread::sleep(std::time::Duration::from_secs(60)),
                            "close" => return,
                            "trickle" if request.starts_with(b"GET") => return trickle(&mut connection),
                            "flood" if request.starts_with(b"GET") => return flood(&mut connection),
                            "trickle" | "flood" => "404 Not Found",
                            error => error,
                        };
                        let _ = write!(connection, "HTTP/1.1 {text}\r\nContent-Length: 0\r\n\r\n");
                    }
                });
            }
        });
    });
    address
}

/// Sends a file without an end.
fn flood(connection: &mut TcpStream) {
    let _ = write!(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    while connection.write_all(&chunk).is_ok() {}
}

/// Sends the first minute of a file that would take an hour.
fn trickle(connection: &mut TcpStream) {
    let _ = write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 36000\r\n\r\n");
    for _ in 0..600 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        if connection.write_all(b"x").is_err() {
            return;
        }
    }
}

#[test]
fn a_share_that_fails_midway_or_hangs_is_told_once_and_the_run_goes_on() {
    if crate::servers::remote().is_none() {
        return;
    }
    let failures = [
        (0, "503 Busy"),
        (3, "500 Broken"),
        (3, "close"),
        (0, "hang"),
        (3, "hang"),
        (0, "trickle"),
        (0, "flood"),
    ];
    for (good, then) in failures {
        let mut paper = tiny::paper();
        append(&paper, &format!("share: {{url: '{}', timeout: 1}}\n", failing_after(good, then)));
        become_user(&mut paper, "ada");
        let run = paper.run("--push");
        assert_eq!((run.code, run.made().as_str()), (Some(1), WHOLE_PAPER), "{good} {then}: {}", run.err);
        assert_eq!(run.events_of("share").len(), 2, "{good} {then}: {}", said(&run));
        assert!(said(&run).contains("; going on without the share\nfinished jobs that are not there: "));
        assert!(run.count("ran") == 14 && run.events().pop().unwrap()["seconds"].as_f64().unwrap() < 30.0);
        assert!(run.err.is_empty(), "{}", run.err);
    }
}
