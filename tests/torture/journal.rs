//! What a relay did to its data folder, recorded, and what of it a power cut would have left.
//!
//! `recorder.c` writes the journal. [`Disk`] plays it back as a disk with a volatile cache would
//! have taken it: a file's bytes are safe when the file was synced, a name when its folder was.
//! Nothing else is, whatever happened to reach the platter in the machine that ran the test.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::Folder;

/// The recorder, compiled where there is a C compiler (a linker is there wherever Rust is).
pub(crate) fn recorder(into: &Path) -> PathBuf {
    compile("recorder.c", into)
}

/// A library of this folder.
pub(crate) fn compile(source: &str, into: &Path) -> PathBuf {
    let library = into.join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(source);
    let done = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([library.as_path(), source.as_path()])
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler");
    assert!(done.success(), "it compiles");
    library
}

/// A journal beside a relay's folders.
#[derive(Clone)]
pub(crate) struct Journal {
    path: PathBuf,
    under: PathBuf,
}

impl Journal {
    /// Has every relay over a folder write to a journal.
    pub(crate) fn attach(folder: &mut Folder) -> Self {
        let beside = folder.dir.path().canonicalize().unwrap();
        let library = recorder(&beside);
        let (path, under) = (beside.join("journal"), beside.join("data"));
        for (name, value) in
            [("LD_PRELOAD", &library), ("RELAY_RECORD", &path), ("RELAY_RECORD_UNDER", &under)]
        {
            folder.env.push((name.to_owned(), value.display().to_string()));
        }
        Self { path, under }
    }

    /// How far it is; what is answered after this is not before it.
    pub(crate) fn position(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// After a kill: it caught the recorder between what it did and what it wrote of that. A torn last
    /// entry goes, and what the folder holds beyond the journal is added, as the machine's cache
    /// still has it: written and not synced.
    pub(crate) fn mend(&self) {
        let entries = self.read();
        let whole = entries.last().map_or(0, |entry| entry.end);
        let file = fs::OpenOptions::new().append(true).open(&self.path).unwrap();
        file.set_len(whole).unwrap();
        let mut disk = Disk::new();
        entries.iter().for_each(|entry| disk.play(entry));
        let mut found = BTreeMap::new();
        files(&self.under, &mut found);
        for name in disk.names.keys() {
            if !disk.inodes[disk.names[name]].is_folder && !found.contains_key(name) {
                self.add("U", 0, name, &[]);
            }
        }
        for (name, bytes) in found {
            let known = disk.names.get(&name).map(|number| disk.inodes[*number].seen());
            if known.is_none() {
                self.add("C", 0, &name, &[]);
            }
            let known = known.unwrap_or_default();
            if known.len() != bytes.len() {
                self.add("T", bytes.len(), &name, &[]);
            }
            for (number, block) in bytes.chunks(BLOCK).enumerate() {
                let at = number * BLOCK;
                if known.get(at..at + block.len()) != Some(block) {
                    self.add("W", at, &name, block);
                }
            }
        }
    }

    fn add(&self, kind: &str, offset: usize, name: &Path, bytes: &[u8]) {
        let mut file = fs::OpenOptions::new().append(true).open(&self.path).unwrap();
        let path = self.under.join(name);
        writeln!(file, "{kind} {offset} {} {}", bytes.len(), path.display()).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// What happened, in order.
    pub(crate) fn read(&self) -> Vec<Entry> {
        let bytes = fs::read(&self.path).unwrap();
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            // Killed while it wrote the entry, here or below: what it says had not been answered.
            let Some(line) = bytes[at..].iter().position(|byte| *byte == b'\n') else { break };
            let head = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            let mut words = head.splitn(4, ' ');
            let kind = words.next().unwrap();
            let offset: usize = words.next().unwrap().parse().unwrap();
            let length: usize = words.next().unwrap().parse().unwrap();
            let path = words.next().unwrap();
            let data = at + line + 1;
            if data + length > bytes.len() {
                break;
            }
            at = data + length;
            let change = match kind {
                "W" => Change::Write { offset, bytes: bytes[data..at].to_vec() },
                "T" => Change::Truncate(offset),
                "C" => Change::Create,
                "D" => Change::Folder,
                "U" => Change::Remove,
                "S" => Change::Sync,
                "R" => {
                    let (from, to) = path.split_once('\t').unwrap();
                    let to = self.inside(to);
                    let from = self.inside(from);
                    entries.push(Entry { path: from, change: Change::Rename(to), end: at as u64 });
                    continue;
                }
                other => panic!("no such entry: {other}"),
            };
            entries.push(Entry { path: self.inside(path), change, end: at as u64 });
        }
        entries
    }

    fn inside(&self, path: &str) -> PathBuf {
        Path::new(path).strip_prefix(&self.under).unwrap_or(Path::new(path)).to_owned()
    }
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) struct Entry {
    path: PathBuf,
    pub(crate) change: Change,
    /// Where the journal stands after it.
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
    Create,
    Folder,
    Remove,
    Rename(PathBuf),
    Sync,
}

/// What a cut leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unsynced {
    /// Nothing.
    Lost,
    /// The names, but no byte of the files: a journal of metadata got through before the data.
    Named,
    /// Some sectors of some writes, by a number that chooses them.
    Torn(u64),
}

const SECTOR: usize = 512;
/// What a folder is compared with the journal by.
const BLOCK: usize = 4096;
/// Room that is only reserved: nothing is ever written to it, nor read.
const BALLAST: &str = "relay.ballast";

/// The files below a folder, by their names within it.
fn files(root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != BALLAST) {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inode {
    is_folder: bool,
    synced: Vec<u8>,
    /// Since the last sync.
    waiting: Vec<Waiting>,
}

impl Inode {
    /// As programs see it.
    fn seen(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.waiting.iter().for_each(|waiting| waiting.apply(&mut bytes));
        bytes
    }
}

#[derive(Debug)]
enum Waiting {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Waiting {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Waiting::Write { offset, bytes } => put(to, *offset, bytes),
            Waiting::Truncate(length) => to.resize(*length, 0),
        }
    }
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

/// A disk with a volatile cache.
#[derive(Debug)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    /// Names as programs see them.
    names: HashMap<PathBuf, usize>,
    /// Names that survive.
    synced_names: BTreeMap<PathBuf, usize>,
}

impl Disk {
    /// An empty data folder, made by the test.
    pub(crate) fn new() -> Self {
        let root = Inode { is_folder: true, ..Inode::default() };
        let names = HashMap::from([(PathBuf::new(), 0)]);
        Self { inodes: vec![root], names, synced_names: BTreeMap::new() }
    }

    /// One thing happens.
    pub(crate) fn play(&mut self, entry: &Entry) {
        match &entry.change {
            Change::Create => _ = self.make(&entry.path, false),
            Change::Folder => _ = self.make(&entry.path, true),
            Change::Write { offset, bytes } => {
                let write = Waiting::Write { offset: *offset, bytes: bytes.clone() };
                self.at(&entry.path).waiting.push(write);
            }
            Change::Truncate(length) => {
                self.at(&entry.path).waiting.push(Waiting::Truncate(*length));
            }
            Change::Remove => _ = self.names.remove(&entry.path),
            Change::Rename(to) => {
                if let Some(inode) = self.names.remove(&entry.path) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Change::Sync => self.sync(&entry.path),
        }
    }

    fn make(&mut self, path: &Path, is_folder: bool) -> usize {
        self.inodes.push(Inode { is_folder, ..Inode::default() });
        let number = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), number);
        number
    }

    fn at(&mut self, path: &Path) -> &mut Inode {
        let number = match self.names.get(path) {
            Some(number) => *number,
            // Written through a handle whose name is gone: nobody will find it again.
            None => self.make(path, false),
        };
        &mut self.inodes[number]
    }

    fn sync(&mut self, path: &Path) {
        if self.at(path).is_folder {
            let inside = |name: &Path| name.parent() == Some(path);
            self.synced_names.retain(|name, _| !inside(name));
            let names = self.names.iter().filter(|(name, _)| inside(name));
            self.synced_names.extend(names.map(|(name, number)| (name.clone(), *number)));
        } else {
            let inode = self.at(path);
            for waiting in std::mem::take(&mut inode.waiting) {
                waiting.apply(&mut inode.synced);
            }
        }
    }

    /// Writes what a cut would leave into an empty folder.
    pub(crate) fn cut(&self, unsynced: Unsynced, into: &Path) {
        fs::create_dir_all(into).unwrap();
        let names = match unsynced {
            Unsynced::Named => self.names.iter().map(|(name, n)| (name.clone(), *n)).collect(),
            Unsynced::Lost | Unsynced::Torn(_) => self.synced_names.clone(),
        };
        for (name, number) in &names {
            let inode = &self.inodes[*number];
            let path = into.join(name);
            if inode.is_folder {
                fs::create_dir_all(path).unwrap();
                continue;
            }
            // A name in a folder whose own name did not survive is lost with it.
            if !path.parent().unwrap().is_dir() {
                continue;
            }
            let mut bytes = inode.synced.clone();
            if let Unsynced::Torn(seed) = unsynced {
                tear(&mut bytes, &inode.waiting, seed);
            }
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Some sectors of some writes get through, in any order.
fn tear(bytes: &mut Vec<u8>, waiting: &[Waiting], seed: u64) {
    let mut state = seed | 1;
    let mut coin = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 63 == 1
    };
    for waiting in waiting {
        if let Waiting::Write { offset, bytes: written } = waiting {
            let mut at = 0;
            while at < written.len() {
                let until = (at + SECTOR - (offset + at) % SECTOR).min(written.len());
                if coin() {
                    put(bytes, offset + at, &written[at..until]);
                }
                at = until;
            }
        }
    }
}
