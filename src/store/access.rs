//! Who may write: in a store whose folder is writable for its group, all that is made is too, whatever the umask says.
//!
//! Such a folder is made once for a lab: `mkdir STORE; chgrp lab STORE; chmod 2775 STORE`. The set-group-id bit hands
//! the group down to everything below.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::geteuid;

const GROUP_WRITE: u32 = 0o020;

/// What modes the files and folders of a store get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// Everybody in the group may write.
    shared: bool,
}

impl Access {
    /// That of a store, as the mode of its folder says.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn of(root: &Path) -> io::Result<Access> {
        let shared = fs::metadata(root)?.permissions().mode() & GROUP_WRITE != 0;
        Ok(Access { shared })
    }

    /// Whether everybody in the group may write.
    pub fn is_shared(self) -> bool {
        self.shared
    }

    /// Makes a folder and those above it, where they are not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_folder(self, path: &Path) -> io::Result<()> {
        if !self.shared {
            return fs::create_dir_all(path);
        }
        if path.is_dir() {
            return Ok(());
        }
        // Under another name until it is the group's: somebody else in it may be waiting for it.
        let scratch = super::beside(path);
        let made = match fs::create_dir(&scratch) {
            Ok(()) => fs::set_permissions(&scratch, Permissions::from_mode(0o2775))
                .and_then(|()| rename_new(&scratch, path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parent(path)?;
                return self.make_folder(path);
            }
            Err(error) => Err(error),
        };
        made.or_else(|error| {
            let _ = fs::remove_dir(&scratch);
            if path.is_dir() { Ok(()) } else { Err(error) }
        })
    }

    /// Makes the folder that a path is in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_parent(self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.make_folder(parent))
    }

    /// Opens a file, and makes it where it is not there.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub fn open(self, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
        if !self.shared {
            return options.create(true).open(path);
        }
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        // Only the one who makes it may change its mode; and nobody sees it before.
        let scratch = super::beside(path);
        let made = File::create_new(&scratch)
            .and_then(|file| self.share(&file))
            .and_then(|()| fs::hard_link(&scratch, path));
        let _ = fs::remove_file(&scratch);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => options.open(path),
        }
    }

    /// Writes a file so that nobody ever sees half of it.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub fn write_whole(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let scratch = super::beside(path);
        let written = File::create(&scratch)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| self.share(&file)))
            .and_then(|()| fs::rename(&scratch, path));
        if written.is_err() {
            let _ = fs::remove_file(&scratch);
        }
        written
    }

    /// Gives all that is in a folder, and belongs to this user, to the group.
    ///
    /// # Errors
    /// When a mode cannot be changed.
    pub fn share_all(self, folder: &Path) -> io::Result<()> {
        if !self.shared {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            let is_own = metadata.uid() == geteuid().as_raw();
            let mode = if metadata.is_dir() { 0o2775 } else { 0o664 };
            if is_own && !metadata.is_symlink() {
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
            if metadata.is_dir() {
                self.share_all(&path)?;
            }
        }
        Ok(())
    }

    fn share(self, file: &File) -> io::Result<()> {
        if self.shared { file.set_permissions(Permissions::from_mode(0o664)) } else { Ok(()) }
    }
}

/// Renames, unless the other name is taken. A plain rename of a folder takes the place of an empty one, in which somebody
/// may be about to make a file.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // File systems that know no such rename: NFS.
        Err(Errno::EINVAL | Errno::ENOSYS) => fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn in_a_folder_of_a_group_everything_is_the_groups() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o2775)).unwrap();
        let access = Access::of(root.path()).unwrap();
        let file = root.path().join("a/b/file");
        access.make_parent(&file).unwrap();
        access.make_parent(&file).unwrap();
        access.write_whole(&file, b"text").unwrap();
        let locks = root.path().join("locks");
        access.open(&locks, OpenOptions::new().write(true)).unwrap();
        access.open(&locks, OpenOptions::new().write(true)).unwrap();
        let modes = [root.path().join("a"), root.path().join("a/b"), file, locks].map(|path| mode(&path));
        assert_eq!(modes, [0o2775, 0o2775, 0o664, 0o664]);
    }

    #[test]
    fn in_ones_own_folder_the_umask_decides() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let access = Access::of(root.path()).unwrap();
        access.make_folder(&root.path().join("a")).unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        assert_eq!(mode(&root.path().join("a")), mode(&root.path().join("b")));
    }
}
