//! Small files that are written whole or not at all, whatever a crash or a power cut interrupts.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Replaces a file, readable for this user alone. On disk, under its name, when it returns; on an
/// error what was there before is still there.
///
/// Written beside, synced, renamed, and the folder synced: a name without its bytes, which is what a
/// power cut makes of a file that is written in place, cannot be found afterwards.
pub fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = beside(file);
    let written = write_new(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, file));
    if written.is_err() {
        // On a full disk it would only take room.
        _ = fs::remove_file(&unfinished);
    }
    written?;
    sync_folder(parent(file))
}

/// Makes a folder and those above it that are missing; on disk, under their names, when it returns.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !is_there(path)).collect();
    fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(|made| sync_folder(parent(made)))
}

/// Makes what was renamed, made or removed in a folder last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".new");
    file.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // What an interrupted write left may have another owner's rights.
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("note");
        fs::write(dir.path().join("note.new"), "what a crash left, and longer than the next")
            .unwrap();
        write_whole(&file, b"first").unwrap();
        write_whole(&file, b"2nd").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2nd");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        // A folder of that name cannot be replaced by a file.
        let file = dir.path().join("note");
        make_folder(&file.join("within")).unwrap();
        assert!(write_whole(&file, b"first").is_err());
        assert!(file.join("within").is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
