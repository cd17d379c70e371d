//! A copy of every configuration that a decision names by its hash, so that an old decision can be
//! explained: `explain --config evidence/config/HASH`. The files hold references to secrets, never
//! secrets, and are kept as they were written.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::files;
use crate::{
    config,
    queue::{make_folder, write_whole},
};

/// Beside the files: the last day on which the configuration was in force.
const IN_FORCE: &str = "in-force";

/// Their folder, beside the log's files.
pub(super) const FOLDER: &str = "config";

fn place(data: &Path) -> PathBuf {
    files::folder(data).join(FOLDER)
}

/// Keeps the files of a configuration (names within its folder, bytes) that is in force now.
pub fn keep(data: &Path, hash: &str, of: &[(String, Vec<u8>)], now: Timestamp) -> io::Result<()> {
    let folder = place(data).join(hash);
    // A power cut may have torn the copy of an earlier start.
    if problem(data, hash).is_some() {
        make_folder(&folder)?;
        for (name, bytes) in of {
            // A path that leads out of the folder is not followed: that file is not copied.
            let within = Path::new(name);
            if within.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
                let file = folder.join(within);
                if let Some(parent) = file.parent() {
                    make_folder(parent)?;
                }
                write_whole(&file, bytes)?;
            }
        }
    }
    touch(data, hash, now)
}

/// What is wrong with the copy of a configuration, if anything is: its name is its hash.
pub(super) fn problem(data: &Path, hash: &str) -> Option<&'static str> {
    let folder = place(data).join(hash);
    if !folder.is_dir() {
        return Some("missing");
    }
    config::hash_of(&folder).filter(|(own, _)| own != hash).map(|_| "changed")
}

/// What lies among the copies and is no part of one, by its path within their folder: files beside
/// them, files within them, and copies that are not what their name says.
pub(super) fn surplus(data: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, _) in files::all(&place(data))? {
        let folder = place(data).join(&name);
        match config::hash_of(&folder).filter(|_| folder.is_dir()) {
            Some((hash, names)) if hash == name => {
                gather(&folder, "", &mut |path| {
                    let is_its = path == IN_FORCE || names.iter().any(|known| known == path);
                    if !is_its {
                        found.push(format!("{name}/{path}"));
                    }
                })?;
            }
            // Its rates lie elsewhere: what it is cannot be told.
            None if folder.is_dir() => {}
            Some(_) | None => found.push(name),
        }
    }
    Ok(found)
}

/// Shows every file within a folder by its path there.
fn gather(folder: &Path, within: &str, see: &mut dyn FnMut(&str)) -> io::Result<()> {
    for (name, _) in files::all(&folder.join(within))? {
        let path = if within.is_empty() { name } else { format!("{within}/{name}") };
        if folder.join(&path).is_dir() {
            gather(folder, &path, see)?;
        } else {
            see(&path);
        }
    }
    Ok(())
}

/// Notes that a configuration is in force today.
pub(super) fn touch(data: &Path, hash: &str, now: Timestamp) -> io::Result<()> {
    let folder = place(data).join(hash);
    if folder.is_dir() {
        let day = now.to_zoned(TimeZone::UTC).date();
        write_whole(&folder.join(IN_FORCE), format!("{day}\n").as_bytes())?;
    }
    Ok(())
}

/// Forgets configurations that were last in force before a day; how many.
pub(super) fn forget(data: &Path, before: Date) -> io::Result<u64> {
    let entries = match fs::read_dir(place(data)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut forgotten = 0;
    for entry in entries {
        let folder = entry?.path();
        // Without a readable day it is kept: nothing says that it may go.
        let last = fs::read_to_string(folder.join(IN_FORCE)).ok();
        let last = last.and_then(|day| day.trim().parse::<Date>().ok());
        if last.is_some_and(|last| last < before) {
            fs::remove_dir_all(folder)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_copy_is_found() {
        let data = tempfile::tempdir().unwrap();
        let now = "2026-11-01T12:00:00Z".parse::<Timestamp>().unwrap();
        let own = tempfile::tempdir().unwrap();
        let events = b"[rates]\nfile = \"own/rates.csv\"\n";
        fs::write(own.path().join("events.toml"), events).unwrap();
        fs::create_dir(own.path().join("own")).unwrap();
        fs::write(own.path().join("own/rates.csv"), b"EUR,1,2026-11-01\n").unwrap();
        let (hash, _) = config::hash_of(own.path()).unwrap();
        let files = [
            ("events.toml".to_owned(), events.to_vec()),
            ("own/rates.csv".to_owned(), b"EUR,1,2026-11-01\n".to_vec()),
        ];
        keep(data.path(), &hash, &files, now).unwrap();
        assert_eq!(surplus(data.path()).unwrap(), Vec::<String>::new());
        let write = |path: &str| {
            let path = place(data.path()).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        };
        let inside = format!("{hash}/own/notes.txt");
        ["notes.txt", "aa/relay.toml", &inside].into_iter().for_each(write);
        let mut found = surplus(data.path()).unwrap();
        found.sort();
        let mut expected = vec!["aa".to_owned(), inside, "notes.txt".to_owned()];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_configuration_is_kept_as_long_as_it_was_in_force() {
        let data = tempfile::tempdir().unwrap();
        let at = |day: &str| format!("{day}T12:00:00Z").parse::<Timestamp>().unwrap();
        let files = [
            ("relay.toml".to_owned(), b"mode = \"live\"".to_vec()),
            ("../escape".to_owned(), b"no".to_vec()),
        ];
        keep(data.path(), "aa", &files, at("2026-11-01")).unwrap();
        keep(data.path(), "bb", &files, at("2026-11-01")).unwrap();
        touch(data.path(), "bb", at("2026-11-20")).unwrap();
        let kept = place(data.path()).join("aa").join("relay.toml");
        assert_eq!(fs::read(&kept).unwrap(), b"mode = \"live\"");
        assert!(!place(data.path()).join("escape").exists());
        // A power cut left a name without its bytes: the next start mends it.
        fs::write(&kept, "").unwrap();
        keep(data.path(), "aa", &files, at("2026-11-01")).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"mode = \"live\"");
        assert_eq!(forget(data.path(), "2026-11-01".parse().unwrap()).unwrap(), 0);
        assert_eq!(forget(data.path(), "2026-11-02".parse().unwrap()).unwrap(), 1);
        assert!(!kept.exists() && place(data.path()).join("bb").exists());
    }
}
