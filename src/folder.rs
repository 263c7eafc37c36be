//! Folders that jobs have written in: removed though they are closed; and folders and files that one job after the other
//! uses: emptied and written over, not removed and made.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes all that is in a folder, also where that, or a folder in it, was closed.
pub fn empty(folder: &Path) -> io::Result<()> {
    match remove_all_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            remove_all_in(folder)
        }
        removed => removed,
    }
}

/// Removes a folder, also where it, or a folder in it, was closed.
pub fn remove(folder: &Path) -> io::Result<()> {
    empty(folder)?;
    fs::remove_dir(folder)
}

fn remove_all_in(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Lets its owner change what is in a folder and those in it.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file that only this process writes, over what was there. Not cut to nothing first: a file system then takes
/// it for one whose old content is worth saving, and brings the new one to the disk when it is closed.
pub fn write_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_folder_is_there_and_what_links_in_it_led_to_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let (out, other) = (folder.path().join("out"), folder.path().join("other"));
        fs::create_dir_all(out.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(&other, out.join("link")).unwrap();
        empty(&out).unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        assert!(other.join("kept").exists());
    }

    #[test]
    fn closed_folders_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir_all(out.join("a/b")).unwrap();
        fs::write(out.join("a/b/file"), "module").unwrap();
        for closed in ["a/b", "a"] {
            fs::set_permissions(out.join(closed), Permissions::from_mode(0o555)).unwrap();
        }
        remove(&out).unwrap();
        assert!(!out.exists());
    }

    #[test]
    fn nothing_of_a_longer_text_stays_behind_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.json");
        write_over(&path, b"longer").unwrap();
        write_over(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }
}
