//! Verifying: records and index are checked as objects are, and jobs run again for their bits.

use std::fs;
use std::path::Path;

use crate::scratch::Scratch;
use crate::tiny;

/// Flips a bit in the middle of a file, through the file system.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_index_loses_one_record_which_comes_back() {
    let paper = tiny::paper();
    paper.run("");
    flip(&paper.path(".ribbon/store/index"));
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains(" bytes of the index\n"), "{}", found.out);
    assert!(found.out.contains("back in the index, by their records: "), "{}", found.out);
    assert_eq!(paper.ribbon("verify").code, Some(0));
    paper.remove("pipeline.lock");
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn a_lost_index_is_written_again_from_the_records() {
    let paper = tiny::paper();
    paper.run("");
    paper.remove(".ribbon/store/index");
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.out.contains("back in the index, by their records: "), "{}", found.out);
    paper.remove("pipeline.lock");
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn a_record_of_another_key_is_dropped_and_its_job_stays_up_to_date() {
    let paper = tiny::paper();
    paper.run("");
    let record = |job: &str| {
        let key = paper.locked(job)[2].clone();
        paper.path(".ribbon/store/records").join(&key[..2]).join(&key[2..])
    };
    fs::copy(record("prepare"), record("embed")).unwrap();
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1));
    assert!(
        found.out.contains("damaged, dropped: record ") && found.out.contains("(embed)"),
        "{}",
        found.out
    );
    assert_eq!(paper.run("").made(), "nothing");
}

#[test]
fn a_damaged_memo_and_a_lock_with_other_bits_are_named() {
    let paper = tiny::paper();
    paper.run("");
    flip(&paper.path(".ribbon/memo"));
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("damaged, dropped: the memo of hashes\n"), "{}", found.out);
    assert_eq!(paper.ribbon("verify").code, Some(0));

    // Another digit of the hash of what `embed` has made.
    let hash = paper.locked("embed")[3].split(['=', ':']).nth(1).unwrap().to_owned();
    let digit = hash.chars().last().unwrap();
    let other = format!("{}{}", &hash[..hash.len() - 1], if digit == '0' { '1' } else { '0' });
    paper.edit("pipeline.lock", &hash, &other);
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("pipeline.lock has other bits of embed than the record"), "{}", found.out);
    paper.run("--update-lock");
    assert_eq!(paper.ribbon("verify").code, Some(0));
}

#[test]
fn whatever_bit_flips_in_the_head_of_the_index_no_job_runs_again_and_verify_heals_it() {
    let paper = tiny::paper();
    paper.run("");
    paper.remove("pipeline.lock");
    let index = paper.path(".ribbon/store/index");
    let sound = fs::read(&index).unwrap();
    for byte in 0..8 {
        let mut bytes = sound.clone();
        bytes[byte] ^= 1 << byte;
        fs::write(&index, &bytes).unwrap();
        assert_eq!(paper.run("").made(), "nothing", "byte {byte}");
        let found = paper.ribbon("verify");
        assert_eq!(found.code, Some(1), "{found:?}");
        assert!(found.out.contains("damaged, dropped: 8 bytes of the index\n"), "{}", found.out);
        assert_eq!(paper.ribbon("verify").code, Some(0));
        assert_eq!(fs::read(&index).unwrap()[..8], sound[..8]);
    }
}

#[test]
fn lines_of_the_lock_that_are_none_stop_a_run_until_verify_takes_them_out() {
    let paper = tiny::paper();
    paper.run("");
    let lock = fs::read(paper.path("pipeline.lock")).unwrap();
    let line = |job: &str| paper.locked(job).join(" ").into_bytes();
    let [embed, figure] = ["embed", "figure"].map(line);
    // An output without its hash, and a name that is no text.
    let mut damaged = replaced(&lock, &embed, &embed[..embed.len() - 70]);
    damaged = replaced(&damaged, &figure, b"quick fig\xf5re");
    fs::write(paper.path("pipeline.lock"), &damaged).unwrap();
    let stopped = paper.ribbon("run");
    assert_eq!(stopped.code, Some(2), "{stopped:?}");
    assert!(stopped.err.contains("pipeline.lock:") && stopped.err.contains("`ribbon verify`"), "{stopped:?}");

    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert_eq!(found.out.matches("damaged, dropped: pipeline.lock:").count(), 2, "{}", found.out);
    assert!(found.out.contains("(quick embed)") && found.out.contains("`ribbon gc`"), "{}", found.out);
    let second = paper.ribbon("verify");
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(paper.run("").made(), "nothing");
    assert_eq!(fs::read(paper.path("pipeline.lock")).unwrap(), lock);

    // The copy that a collection goes by when it cannot see the workspace.
    let notes = fs::read_dir(paper.path(".ribbon/store/workspaces")).unwrap();
    let copy = notes
        .map(|note| note.unwrap().path())
        .find(|note| note.extension().is_some_and(|it| it == "lock"))
        .unwrap();
    flip(&copy);
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("written anew: the store's copy of pipeline.lock"), "{}", found.out);
    assert!(fs::read(&copy).unwrap().starts_with(&lock));

    // A digit of a key on the disk, which leaves a line that still is one.
    let key = paper.locked("embed")[2].clone();
    let other = format!("{}{}", &key[..63], if key.ends_with('0') { '1' } else { '0' });
    let time = fs::metadata(paper.path("pipeline.lock")).unwrap().modified().unwrap();
    paper.edit("pipeline.lock", &key, &other);
    fs::File::options().write(true).open(paper.path("pipeline.lock")).unwrap().set_modified(time).unwrap();
    let found = paper.ribbon("verify");
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("damaged, put back: pipeline.lock:"), "{}", found.out);
    assert!(found.out.contains("it is not as it was written (quick embed)"), "{}", found.out);
    assert_eq!(fs::read(paper.path("pipeline.lock")).unwrap(), lock);
    assert_eq!(paper.ribbon("verify").code, Some(0));
}

/// Bytes with others in the place of some that are there once.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// A stage that makes the same bits each time, and one that makes others for `n` = 2.
fn coins() -> Scratch {
    Scratch::new(&[(
        "pipeline.yaml",
        r#"version: 1
profile: quick
profiles: {quick: {}}
sweeps: {numbers: {matrix: {n: [1, 2, 3, 4, 5]}}}
stages:
  fair:
    run: [sh, -c, 'echo {params.n} >> "$HOME/ran"; echo {params.n} > {outputs.x}; echo told']
    each: number in numbers
    params: {n: $number.n}
    outputs: {x: x.txt}
  coin:
    run: [sh, -c, 'sed s/^/n/ {inputs.x} > {outputs.same}; if [ {params.n} = 2 ]; then date +%N; fi > {outputs.coin}']
    each: number in numbers
    params: {n: $number.n}
    inputs: {x: fair.x}
    outputs: {same: same.txt, coin: coin.txt}
    publish: {coin: "coin-{n}.txt"}
"#,
    )])
}

#[test]
fn jobs_that_run_again_show_which_stages_reproduce_and_leave_no_trace() {
    let project = coins();
    project.run("");
    project.told();
    let traces = || {
        let files = ["pipeline.lock", "outputs/quick/coin-2.txt"].map(|path| project.read(path));
        (files, fs::read(project.path(".ribbon/store/index")).unwrap(), project.ribbon("log fair[n=1]").out)
    };
    let before = traces();
    let good = project.ribbon("verify --rerun fair");
    assert_eq!((good.code, good.out.as_str()), (Some(0), "fair: 5 of 5 reproduced bit by bit\n"), "{good:?}");
    assert_eq!(project.told(), ["1", "2", "3", "4", "5"]);
    let sample = project.ribbon("verify --rerun coin fair --sample 2");
    assert_eq!(sample.out, "fair: 2 of 2 reproduced bit by bit\ncoin: 2 of 2 reproduced bit by bit\n");
    assert_eq!((sample.code, project.told()), (Some(0), vec!["1".to_owned(), "5".to_owned()]));
    let bad = project.ribbon("verify --rerun coin");
    assert_eq!(bad.out, "coin: 4 of 5 reproduced bit by bit\n  different: coin[n=2].coin\n");
    assert_eq!(bad.code, Some(1));
    assert_eq!(traces(), before);
    assert_eq!(project.run("").made(), "nothing");
    assert_eq!(project.ribbon("verify").code, Some(0));
}

#[test]
fn a_job_without_its_inputs_is_left_out_and_an_intermediate_can_run_again() {
    let project = coins();
    project.edit("pipeline.yaml", "    outputs: {x: x.txt}\n", "    outputs: {x: x.txt}\n    keep: false\n");
    project.run("");
    let rerun = project.ribbon("verify --rerun fair coin");
    assert_eq!(
        rerun.out,
        "fair: 5 of 5 reproduced bit by bit\n\
         coin: 0 of 0 reproduced bit by bit; 5 left out: not up to date, or without the content of their inputs\n"
    );
    assert_eq!(rerun.code, Some(1), "nothing was shown of coin");
}

#[test]
fn a_job_that_fails_when_it_runs_again_is_not_reproduced() {
    let project = coins();
    project.edit(
        "pipeline.yaml",
        "echo {params.n} >> \"$HOME/ran\";",
        "[ ! -e \"$HOME/broken\" ] || exit 3;",
    );
    project.run("");
    fs::write(project.home("broken"), "").unwrap();
    let rerun = project.ribbon("verify --rerun fair[n=3]");
    assert_eq!((rerun.code, rerun.out.as_str()), (Some(1), "fair: 0 of 1 reproduced bit by bit\n"));
    assert!(rerun.err.contains("failed  fair[n=3]: it ended with exit status 3"), "{}", rerun.err);
}
