//! The admin log: who did what through the admin calls, when, and what came of it. One file a day
//! below the data folder, a JSON object a line, synced before the act is answered.
//!
//! It holds names of tokens and of the configuration, counts and codes; never a body, never anything
//! about the people of events. Kept as long as the decision log (`retention.evidence`).

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The log's folder, below the data folder.
const FOLDER: &str = "admin";
const ENDING: &str = "ndjson";
/// A longer line is none of ours.
const LINE_BYTES: usize = 64 << 10;

/// One act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Act {
    /// When it was answered.
    pub(super) at: Timestamp,
    /// The token's name; `None`: nobody who is known.
    pub(super) who: Option<String>,
    /// Where the call came from.
    pub(super) from: Option<IpAddr>,
    /// The call's method.
    pub(super) method: String,
    /// The call's path, with the names in it.
    pub(super) call: String,
    /// The answer's status.
    pub(super) status: u16,
    /// Why it was refused, a code of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// What it was about and what came of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) detail: Value,
}

/// What a handler says of its act for the log: names, counts and hashes only.
#[derive(Debug, Clone)]
pub(super) struct Detail(pub(super) Value);

/// Which acts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// From this moment on.
    pub(super) from: Option<Timestamp>,
    /// Before this moment.
    pub(super) to: Option<Timestamp>,
    /// By this token's name.
    pub(super) who: Option<String>,
}

/// The log of a data folder.
#[derive(Debug)]
pub(super) struct Acts {
    folder: PathBuf,
    // A std mutex: lines are written one at a time, on threads that may block.
    today: Mutex<Option<(Date, File)>>,
}

impl Acts {
    /// The log in a data folder; made when there is something to write.
    pub(super) fn new(data: &Path) -> Self {
        Self { folder: data.join(FOLDER), today: Mutex::new(None) }
    }

    /// Writes an act, synced. Ends files that are older than `keep` when a day begins.
    pub(super) fn write(&self, act: &Act, keep: Duration) -> io::Result<()> {
        let day = day_of(act.at);
        let mut line = serde_json::to_vec(act)?;
        line.push(b'\n');
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that was taken away is made anew, not written to where nobody finds it.
        let is_there = self.file(day).exists();
        let mut file = match today.take() {
            Some((open, file)) if open == day && is_there => file,
            _ => {
                let file = self.open(day)?;
                self.end_older(day, keep)?;
                file
            }
        };
        // On an error it is opened anew, and what is torn is ended.
        file.write_all(&line)?;
        file.sync_data()?;
        *today = Some((day, file));
        Ok(())
    }

    /// The acts, oldest first, as lines; what cannot be read is left out.
    pub(super) fn read(&self, wanted: &Wanted) -> io::Result<String> {
        let mut lines = String::new();
        for day in self.days()? {
            let before = wanted.from.is_some_and(|from| day < day_of(from));
            if before || wanted.to.is_some_and(|to| day > day_of(to)) {
                continue;
            }
            let bytes = fs::read(self.file(day))?;
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| line.len() < LINE_BYTES) {
                let Ok(act) = serde_json::from_slice::<Act>(line) else { continue };
                let is_wanted = wanted.from.is_none_or(|from| act.at >= from)
                    && wanted.to.is_none_or(|to| act.at < to)
                    && wanted.who.as_ref().is_none_or(|who| act.who.as_ref() == Some(who));
                if is_wanted {
                    lines.push_str(&String::from_utf8_lossy(line));
                    lines.push('\n');
                }
            }
        }
        Ok(lines)
    }

    fn file(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}.{ENDING}"))
    }

    fn open(&self, day: Date) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let mut options = File::options();
        options.create(true).read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.file(day))?;
        // A power cut may have torn the last line: what follows begins a new one.
        let mut last = [0];
        if file.seek(SeekFrom::End(-1)).is_ok() && file.read(&mut last)? == 1 && last != *b"\n" {
            file.write_all(b"\n")?;
        }
        File::open(&self.folder)?.sync_all()?;
        if let Some(data) = self.folder.parent().filter(|data| !data.as_os_str().is_empty()) {
            File::open(data)?.sync_all()?;
        }
        Ok(file)
    }

    fn end_older(&self, today: Date, keep: Duration) -> io::Result<()> {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        let Ok(first) = today.checked_sub(keep) else { return Ok(()) };
        for day in self.days()?.into_iter().filter(|day| *day < first) {
            fs::remove_file(self.file(day))?;
        }
        Ok(())
    }

    fn days(&self) -> io::Result<Vec<Date>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut days = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.strip_suffix('.'));
            days.extend(day.and_then(|day| day.parse::<Date>().ok()));
        }
        days.sort_unstable();
        Ok(days)
    }
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(at: &str, who: Option<&str>) -> Act {
        Act {
            at: at.parse().unwrap(),
            who: who.map(str::to_owned),
            from: Some([203, 0, 113, 9].into()),
            method: "POST".to_owned(),
            call: "/admin/v1/dead/replay".to_owned(),
            status: 200,
            code: None,
            detail: serde_json::json!({"count": 3}),
        }
    }

    const KEEP: Duration = Duration::from_secs(2 * 86_400);

    #[test]
    fn acts_are_kept_read_and_ended() {
        let data = tempfile::tempdir().unwrap();
        let acts = Acts::new(data.path());
        assert_eq!(acts.read(&Wanted::default()).unwrap(), "", "nothing yet");
        for at in ["2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z", "2026-11-22T12:00:00Z"] {
            acts.write(&act(at, Some("jane")), KEEP).unwrap();
        }
        acts.write(&act("2026-11-22T12:00:01Z", None), KEEP).unwrap();
        let read = |wanted: Wanted| acts.read(&wanted).unwrap().lines().count();
        assert_eq!(read(Wanted::default()), 4);
        assert_eq!(read(Wanted { who: Some("jane".to_owned()), ..Wanted::default() }), 3);
        let time = |text: &str| Some(text.parse().unwrap());
        let (from, to) = (time("2026-11-21T00:00:00Z"), time("2026-11-22T12:00:01Z"));
        assert_eq!(read(Wanted { from, to, who: None }), 2);
        acts.write(&act("2026-11-23T00:00:00Z", None), KEEP).unwrap();
        assert_eq!(read(Wanted::default()), 4, "the 20th has ended");
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let data = tempfile::tempdir().unwrap();
        let now = "2026-11-22T12:00:00Z";
        Acts::new(data.path()).write(&act(now, Some("jane")), KEEP).unwrap();
        let file = data.path().join("admin/2026-11-22.ndjson");
        let mut text = fs::read(&file).unwrap();
        text.extend_from_slice(b"{\"at\": \"2026-11-22T12:0");
        fs::write(&file, text).unwrap();
        let acts = Acts::new(data.path());
        acts.write(&act(now, Some("joe")), KEEP).unwrap();
        let lines = acts.read(&Wanted::default()).unwrap();
        let read: Vec<Act> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(read, [act(now, Some("jane")), act(now, Some("joe"))]);
        fs::remove_dir_all(data.path().join("admin")).unwrap();
        acts.write(&act(now, None), KEEP).unwrap();
        assert_eq!(acts.read(&Wanted::default()).unwrap().lines().count(), 1, "made anew");
    }
}
