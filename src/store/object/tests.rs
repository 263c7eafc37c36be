//! Objects that go in and come out, and what may not.

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    objects: Objects,
    memo: Memo,
}

fn insert(objects: &Objects, path: &Path, kind: Kind, memo: &Memo) -> Result<Artifact, ObjectError> {
    objects.insert(make_ready(path, kind, memo)?, memo)
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::new(folder.path().join("objects"), Access::default());
    let memo = Memo::open(&folder.path().join("memo"), false);
    Bench { folder, objects, memo }
}

#[test]
fn a_file_comes_back_with_its_bytes_and_cannot_be_written() {
    let Bench { folder, objects, memo } = bench();
    let made = folder.path().join("made");
    fs::write(&made, "figure").unwrap();
    let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
    assert_eq!((artifact.hash, artifact.size), (Hash::of(b"figure"), 6));
    assert!(!made.exists());
    let copy = folder.path().join("outputs/figure.svg");
    objects.copy(&artifact, &copy).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), b"figure");
    assert_eq!(fs::metadata(objects.path(artifact.hash)).unwrap().mode() & 0o777, 0o444);
    assert_ne!(fs::metadata(&copy).unwrap().ino(), fs::metadata(objects.path(artifact.hash)).unwrap().ino());
}

#[test]
fn a_folder_is_its_files_whatever_order_they_were_made_in() {
    let Bench { folder, objects, memo } = bench();
    let make = |name: &str, order: [&str; 3]| {
        let made = folder.path().join(name);
        for file in order {
            super::super::make_parent(&made.join(file)).unwrap();
            fs::write(made.join(file), file).unwrap();
        }
        made
    };
    let one = make("one", ["b", "a", "sub/c"]);
    assert_eq!(measure(&one, &memo).unwrap().size, 7);
    let measured = measure(&one, &memo).unwrap();
    let two = insert(&objects, &make("two", ["sub/c", "a", "b"]), Kind::Folder, &memo).unwrap();
    assert_eq!(measured, two);
    let linked = folder.path().join("in");
    objects.link(&two, &linked, &memo).unwrap();
    assert_eq!(fs::read(linked.join("sub/c")).unwrap(), b"sub/c");
    assert!(objects.is_whole(&two, &memo));
    objects.unlink(&two, &linked, &memo);
    assert!(!linked.join("a").exists());
}

#[test]
fn a_link_in_the_project_stands_for_what_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let memo = Memo::open(&at("memo"), false);
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/values"), "1").unwrap();
    for (link, to, below) in [("file", "elsewhere/values", ""), ("folder", "elsewhere", "/values")] {
        std::os::unix::fs::symlink(to, at(link)).unwrap();
        assert_eq!(measure(&at(link), &memo).unwrap(), measure(&at(to), &memo).unwrap());
        let input = at(&format!("in-{link}"));
        link_source(&at(link), &input, &memo).unwrap();
        let placed = at(&format!("in-{link}{below}"));
        assert!(fs::symlink_metadata(&placed).unwrap().is_file());
        assert_eq!(fs::read(&placed).unwrap(), b"1");
        unlink_source(&at(link), &input, &memo);
        assert!(!placed.exists() && at("elsewhere/values").exists());
    }
}

#[test]
fn a_damaged_object_is_dropped_at_its_next_use() {
    let Bench { folder, objects, memo } = bench();
    let made = folder.path().join("made");
    fs::write(&made, "figure").unwrap();
    let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
    let object = objects.path(artifact.hash);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "damage").unwrap();
    assert!(!objects.is_whole(&artifact, &memo));
    assert!(!object.exists());
}

#[test]
fn an_object_that_is_there_stays_and_a_damaged_one_is_replaced() {
    let Bench { folder, objects, memo } = bench();
    let insert_again = || {
        let made = folder.path().join("made");
        fs::write(&made, "figure").unwrap();
        insert(&objects, &made, Kind::File, &memo).unwrap()
    };
    let object = objects.path(insert_again().hash);
    let inode = fs::metadata(&object).unwrap().ino();
    insert_again();
    assert_eq!(fs::metadata(&object).unwrap().ino(), inode);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "damage").unwrap();
    insert_again();
    assert_eq!(fs::read(&object).unwrap(), b"figure");
}

#[test]
fn a_file_with_another_name_is_copied_so_that_nobody_can_write_to_the_object() {
    let Bench { folder, objects, memo } = bench();
    let (made, other) = (folder.path().join("made"), folder.path().join("other"));
    fs::write(&made, "figure").unwrap();
    fs::hard_link(&made, &other).unwrap();
    let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
    fs::write(&other, "edited").unwrap();
    assert!(objects.is_whole(&artifact, &memo));
}

#[test]
fn what_is_written_to_an_output_after_it_was_hashed_does_not_pass_for_it() {
    let Bench { folder, objects, memo } = bench();
    for wait in [0, 50] {
        let made = folder.path().join("made");
        fs::write(&made, "figure").unwrap();
        // A program that goes on writing keeps the file open.
        let mut open = fs::OpenOptions::new().write(true).open(&made).unwrap();
        let ready = make_ready(&made, Kind::File, &memo).unwrap();
        // After a while the memo knows it.
        std::thread::sleep(std::time::Duration::from_millis(wait));
        memo.hash(&made).unwrap();
        std::io::Write::write_all(&mut open, b"edited").unwrap();
        let artifact = objects.insert(ready, &memo).unwrap();
        assert!(!objects.is_whole(&artifact, &memo), "after {wait} ms");
        assert!(!objects.path(artifact.hash).exists(), "dropped");
    }
}

#[test]
fn the_hash_of_an_output_that_was_read_long_ago_goes_with_it_into_the_store() {
    let Bench { folder, objects, memo } = bench();
    let made = folder.path().join("made");
    fs::write(&made, "figure").unwrap();
    let ready = make_ready(&made, Kind::File, &memo).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    memo.hash(&made).unwrap();
    let artifact = objects.insert(ready, &memo).unwrap();
    memo.save().unwrap();
    let saved = fs::read(folder.path().join("memo")).unwrap();
    assert!(objects.is_whole(&artifact, &memo));
    memo.save().unwrap();
    assert_eq!(fs::read(folder.path().join("memo")).unwrap(), saved, "served from the memo");
}

#[test]
fn a_published_copy_that_is_edited_at_once_is_seen_to_be() {
    let Bench { folder, objects, memo } = bench();
    let made = folder.path().join("made");
    fs::write(&made, "figure").unwrap();
    let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
    let published = folder.path().join("figure.svg");
    for _ in 0..20 {
        objects.copy(&artifact, &published).unwrap();
        fs::write(&published, "edited").unwrap();
        assert_eq!(measure(&published, &memo).unwrap().hash, Hash::of(b"edited"));
    }
}

#[test]
fn a_copy_replaces_a_folder_with_more_in_it_and_a_thing_of_the_other_kind() {
    let Bench { folder, objects, memo } = bench();
    let made = folder.path().join("made");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("new"), "new").unwrap();
    let images = insert(&objects, &made, Kind::Folder, &memo).unwrap();
    fs::write(made.join("file"), "file").unwrap();
    let file = insert(&objects, &made.join("file"), Kind::File, &memo).unwrap();

    let published = folder.path().join("outputs/images");
    fs::create_dir_all(published.join("older")).unwrap();
    fs::write(published.join("older/stale"), "stale").unwrap();
    for artifact in [images, file, images, images] {
        objects.copy(&artifact, &published).unwrap();
        assert_eq!(measure(&published, &memo).unwrap(), artifact);
    }
    assert_eq!(fs::read_dir(folder.path().join("outputs")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_name_that_is_taken_is_not_written_through() {
    let Bench { folder, objects, memo } = bench();
    let place = |text: &str| {
        let made = folder.path().join("made");
        fs::write(&made, text).unwrap();
        insert(&objects, &made, Kind::File, &memo).unwrap()
    };
    let (one, two) = (place("one"), place("two"));
    let link = folder.path().join("in");
    objects.link(&one, &link, &memo).unwrap();
    assert!(objects.link(&two, &link, &memo).is_err());
    assert!(objects.is_whole(&one, &memo));
}

#[test]
fn links_and_wrong_kinds_are_refused() {
    let Bench { folder, objects, memo } = bench();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let message = insert(&objects, &link, Kind::File, &memo).unwrap_err().to_string();
    assert!(message.ends_with("is a symbolic link, expected a file"), "{message}");
    let message = insert(&objects, folder.path(), Kind::File, &memo).unwrap_err().to_string();
    assert!(message.ends_with("is a folder, expected a file"), "{message}");
}

#[test]
fn a_listing_keeps_names_as_they_are() {
    let member = |path: &str| Member { path: path.to_owned(), hash: Hash::of(b"x"), size: 1 };
    let members = ["a\r", "b c", ".. d", "e//f"].map(member);
    assert_eq!(parse_listing(&listing(members.iter())).as_deref(), Some(&members[..]));
}

#[test]
fn a_listing_that_leaves_its_folder_is_none() {
    let line = |path: &str| format!("{LISTING}{} 1 {path}\n", Hash::of(b"x"));
    assert!(parse_listing(&line("a/b")).is_some());
    for path in ["../a", "/a", "a/../../b", ""] {
        assert!(parse_listing(&line(path)).is_none(), "{path}");
    }
}
