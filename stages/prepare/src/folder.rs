//! Image files in folders of classes: a folder on disk, or a tar archive of one.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What image files are called.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Where image files lie.
#[derive(Debug)]
pub enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// A tar archive, not compressed.
    Archive {
        path: PathBuf,
        file: File,
        /// Its files by their names: where they begin, and their lengths.
        members: BTreeMap<String, (u64, usize)>,
    },
}

/// The image files of a class: paths from the folder, sorted.
pub type Class = Vec<String>;

impl Folder {
    /// Opens a folder, or a tar archive.
    ///
    /// # Errors
    /// When it is neither, or cannot be read.
    pub fn open(path: &Path) -> Result<Folder> {
        let open = || -> Result<Folder> {
            if path.metadata()?.is_dir() {
                return Ok(Folder::Disk(path.to_owned()));
            }
            let file = File::open(path)?;
            let members = members(&file).context("not a tar archive (compressed ones are not read)")?;
            Ok(Folder::Archive { path: path.to_owned(), file, members })
        };
        open().with_context(|| path.display().to_string())
    }

    /// The classes below `start`, a path from the folder (`.` is the folder itself): each folder there, with all image
    /// files below it.
    ///
    /// # Errors
    /// When there are none, or a class has no image file.
    pub fn classes(&self, start: &str) -> Result<BTreeMap<String, Class>> {
        let start = match start.trim_end_matches('/') {
            "." => "",
            start => start,
        };
        let inside = |name: &str| if start.is_empty() { name.to_owned() } else { format!("{start}/{name}") };
        let mut classes = BTreeMap::<String, Class>::new();
        match self {
            Folder::Disk(root) => {
                let place = root.join(start);
                for (name, is_folder) in list(&place)? {
                    if is_folder {
                        let mut class = Class::new();
                        walk(&place.join(&name), &inside(&name), &mut class)?;
                        classes.insert(name, class);
                    }
                }
            }
            Folder::Archive { members, .. } => {
                for path in members.keys() {
                    let below = path.strip_prefix(&inside("")).and_then(|below| below.split_once('/'));
                    if let Some((class, _)) = below {
                        let class = classes.entry(class.to_owned()).or_default();
                        class.extend(is_image(path).then(|| path.clone()));
                    }
                }
            }
        }
        ensure!(!classes.is_empty(), "{}: no folders of classes", self.place(start));
        for (name, class) in &mut classes {
            let place = self.place(&inside(name));
            ensure!(!class.is_empty(), "{place}: no files that end in {}", EXTENSIONS.join(", "));
            class.sort_unstable();
        }
        Ok(classes)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let read = || -> Result<Vec<u8>> {
            match self {
                Folder::Disk(root) => Ok(std::fs::read(root.join(path))?),
                Folder::Archive { file, members, .. } => {
                    let &(start, length) = members.get(path).context("not in the archive")?;
                    let mut bytes = vec![0; length];
                    file.read_exact_at(&mut bytes, start)?;
                    Ok(bytes)
                }
            }
        };
        read().with_context(|| self.place(path))
    }

    /// What to call a path from here in a message.
    pub fn place(&self, path: &str) -> String {
        let (Folder::Disk(root) | Folder::Archive { path: root, .. }) = self;
        root.join(path).display().to_string()
    }
}

/// The files of a tar archive.
fn members(file: &File) -> Result<BTreeMap<String, (u64, usize)>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            members.insert(name, (entry.raw_file_position(), usize::try_from(entry.size())?));
        }
    }
    Ok(members)
}

/// All image files below a folder, which is called `name`.
fn walk(folder: &Path, name: &str, found: &mut Class) -> Result<()> {
    for (entry, is_folder) in list(folder)? {
        let path = format!("{name}/{entry}");
        if is_folder {
            walk(&folder.join(&entry), &path, found)?;
        } else if is_image(&entry) {
            found.push(path);
        }
    }
    Ok(())
}

/// The entries of a folder, links followed, and whether each is a folder.
fn list(folder: &Path) -> Result<Vec<(String, bool)>> {
    let list = || -> Result<Vec<(String, bool)>> {
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| anyhow::anyhow!("{name:?} is not UTF-8"))?;
            let is_folder = entry.path().metadata().with_context(|| name.clone())?.is_dir();
            Ok((name, is_folder))
        };
        std::fs::read_dir(folder)?.map(entry).collect()
    };
    list().with_context(|| folder.display().to_string())
}

/// By its name; hidden files are none.
fn is_image(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    !name.starts_with('.') && extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Writes files, given by their paths, below a folder.
    pub fn write(root: &Path, files: &[(&str, &[u8])]) {
        for (path, bytes) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// An archive of a folder.
    pub fn archive(root: &Path, to: &Path) {
        let mut archive = tar::Builder::new(File::create(to).unwrap());
        archive.append_dir_all(".", root).unwrap();
        archive.finish().unwrap();
    }

    const FILES: [(&str, &[u8]); 6] = [
        ("train/b/2.JPEG", b"two"),
        ("train/b/10.jpg", b"ten"),
        ("train/b/notes.txt", b""),
        ("train/a/images/1.png", b"one"),
        ("train/a/.hidden.png", b""),
        ("train/readme.png", b""),
    ];

    #[test]
    fn classes_are_folders_with_the_image_files_below_them_on_disk_and_in_an_archive() {
        let scratch = tempfile::tempdir().unwrap();
        let (folder, tar) = (scratch.path().join("images"), scratch.path().join("images.tar"));
        write(&folder, &FILES);
        archive(&folder, &tar);
        for path in [&folder, &tar] {
            let folder = Folder::open(path).unwrap();
            let classes: Vec<_> = folder.classes("train").unwrap().into_iter().collect();
            let expected = [
                ("a".to_owned(), vec!["train/a/images/1.png".to_owned()]),
                ("b".to_owned(), vec!["train/b/10.jpg".to_owned(), "train/b/2.JPEG".to_owned()]),
            ];
            assert_eq!(classes, expected);
            let of_root = folder.classes(".").unwrap();
            assert_eq!(of_root.keys().collect::<Vec<_>>(), ["train"]);
            assert_eq!(of_root["train"].len(), 4);
            assert_eq!(folder.read("train/b/10.jpg").unwrap(), b"ten");
        }
    }

    #[test]
    fn what_is_absent_or_no_archive_is_told_by_its_path() {
        let scratch = tempfile::tempdir().unwrap();
        write(scratch.path(), &[("train/a/notes.txt", b""), ("x.tar", b"no archive at all")]);
        let failure = |result: Result<_>| format!("{:#}", result.err().unwrap());
        let folder = Folder::open(scratch.path()).unwrap();
        let message = failure(folder.classes("train"));
        assert!(message.ends_with("/train/a: no files that end in jpg, jpeg, png"), "{message}");
        let message = failure(folder.classes("train/a"));
        assert!(message.ends_with("/train/a: no folders of classes"), "{message}");
        let message = failure(folder.classes("val"));
        assert!(message.contains("/val: No such file"), "{message}");
        let message = failure(Folder::open(&scratch.path().join("x.tar")).map(|_| BTreeMap::new()));
        assert!(message.contains("x.tar: not a tar archive"), "{message}");
    }
}
