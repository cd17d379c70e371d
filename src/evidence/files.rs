//! The files: which there are, and how blocks lie in them. What a record says is not known here.
//!
//! A file is a head (`RLYEVID1`, the number of its first record, the hash of the record before it)
//! and blocks: the length of what is sealed, the number of the first record, how many there are,
//! and the sealed lines. A block is bound to its file's name and to its own head.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::chain::{DAY_LENGTH, Hash};
use crate::queue::make_folder;

/// The folder of the log within the data folder.
pub(super) const FOLDER: &str = "evidence";
const MAGIC: &[u8; 8] = b"RLYEVID1";
/// Magic, first number, hash before.
pub(super) const HEAD_BYTES: u64 = 8 + 8 + 32;
/// Sealed length, first number, count.
const BLOCK_HEAD: usize = 4 + 8 + 4;
/// No block is longer: a length beyond it is damage.
const MOST_BLOCK_BYTES: u32 = 64 * 1024 * 1024;

/// Where the log of a data folder lies.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// The name of a day's file; `part` counts those that had to be begun anew.
pub(super) fn name(day: &str, part: u32) -> String {
    match part {
        0 => format!("{day}.log"),
        part => format!("{day}.{part:03}.log"),
    }
}

/// The name of the file to go on in when one of this day cannot be gone on with.
pub(super) fn next_name(file: &str) -> String {
    let day = file.get(..DAY_LENGTH).unwrap_or_default();
    let part = file.get(DAY_LENGTH + 1..).and_then(|rest| rest.strip_suffix(".log"));
    name(day, part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0) + 1)
}

/// The names of the log's files, in the order of their records.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_name(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| order(name));
    Ok(names)
}

/// Whatever lies in the folder, with its length, in the order of names.
pub(super) fn all(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        // One that goes meanwhile was over.
        if let Ok(metadata) = entry.metadata() {
            all.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
        }
    }
    all.sort();
    Ok(all)
}

/// By what file names are in order: `2026-11-22.log` is before `2026-11-22.001.log`.
pub(super) fn order(name: &str) -> (String, String) {
    let (day, rest) = name.split_at_checked(DAY_LENGTH).unwrap_or((name, ""));
    let part = rest.trim_start_matches('.').strip_suffix("log").unwrap_or_default();
    (day.to_owned(), part.to_owned())
}

pub(super) fn is_name(name: &str) -> bool {
    let day = name.get(..DAY_LENGTH).is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok());
    day && name.ends_with(".log")
}

/// Makes a file, and makes it last.
pub(super) fn begin(folder: &Path, name: &str, first: u64, before: &Hash) -> io::Result<()> {
    make_folder(folder)?;
    let mut options = File::options();
    // What a crash left there was never counted.
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(folder.join(name))?;
    file.write_all(&[&MAGIC[..], &first.to_be_bytes(), before].concat())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Appends at a place, beyond which nothing counts, and makes it last.
pub(super) fn append(folder: &Path, name: &str, at: u64, blocks: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).open(folder.join(name))?;
    file.set_len(at)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(blocks)?;
    file.sync_data()
}

/// How long a file is; `None`: it is not there.
pub(super) fn length(folder: &Path, name: &str) -> io::Result<Option<u64>> {
    match fs::metadata(folder.join(name)) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands before a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// The number of its first record.
    pub(super) first: u64,
    /// How many there are.
    pub(super) count: u32,
}

impl BlockHead {
    /// What a block is bound to, besides its file's name.
    pub(super) fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let parts = self.first.to_be_bytes().into_iter().chain(self.count.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }
}

/// Adds a block to what is to be appended.
pub(super) fn push_block(blocks: &mut Vec<u8>, head: BlockHead, sealed: &[u8]) {
    let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    blocks.extend_from_slice(&length.to_be_bytes());
    blocks.extend_from_slice(&head.bytes());
    blocks.extend_from_slice(sealed);
}

/// Reads a file from its beginning, a block at a time.
pub(super) struct Blocks {
    file: io::Take<io::BufReader<File>>,
    /// The number of its first record, and the hash of the one before.
    pub(super) first: u64,
    /// See `first`.
    pub(super) before: Hash,
}

/// What there is to read next.
#[derive(Debug)]
pub(super) enum Next {
    /// A block.
    Block(BlockHead, Vec<u8>),
    /// The file ends within a block; with its head, where that is whole.
    Cut(Option<BlockHead>),
    /// The file ends.
    End,
}

impl Blocks {
    /// Opens a file of which so many bytes count. `None`: it has no head of ours.
    pub(super) fn open(folder: &Path, name: &str, bytes: u64) -> io::Result<Option<Self>> {
        let mut file = io::BufReader::new(File::open(folder.join(name))?).take(bytes);
        let mut head = Vec::with_capacity(48);
        io::Read::by_ref(&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
        let parts = head.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<8>());
        let Some((first, before)) = parts else { return Ok(None) };
        let Ok(before) = before.try_into() else { return Ok(None) };
        Ok(Some(Self { file, first: u64::from_be_bytes(*first), before }))
    }

    /// The next block.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        let mut head = Vec::with_capacity(BLOCK_HEAD);
        io::Read::by_ref(&mut self.file).take(BLOCK_HEAD as u64).read_to_end(&mut head)?;
        if head.is_empty() {
            return Ok(Next::End);
        }
        let parts = head.split_first_chunk::<4>().and_then(|(length, rest)| {
            let (first, count) = rest.split_first_chunk::<8>()?;
            Some((*length, *first, <[u8; 4]>::try_from(count).ok()?))
        });
        let Some((length, first, count)) = parts else { return Ok(Next::Cut(None)) };
        let head = BlockHead { first: u64::from_be_bytes(first), count: u32::from_be_bytes(count) };
        let length = u32::from_be_bytes(length);
        if length > MOST_BLOCK_BYTES {
            return Ok(Next::Cut(None));
        }
        let mut sealed = Vec::new();
        let read =
            io::Read::by_ref(&mut self.file).take(u64::from(length)).read_to_end(&mut sealed)?;
        if u64::try_from(read).ok() == Some(u64::from(length)) {
            Ok(Next::Block(head, sealed))
        } else {
            Ok(Next::Cut(Some(head)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_records() {
        assert_eq!(next_name("2026-11-22.log"), "2026-11-22.001.log");
        assert_eq!(next_name("2026-11-22.001.log"), "2026-11-22.002.log");
        let mut names =
            ["2026-11-23.log", "2026-11-22.002.log", "2026-11-22.log", "2026-11-22.001.log"];
        names.sort_by_key(|name| order(name));
        let ordered =
            ["2026-11-22.log", "2026-11-22.001.log", "2026-11-22.002.log", "2026-11-23.log"];
        assert_eq!(names, ordered);
        assert!(!is_name("config") && !is_name("2026-13-01.log") && is_name("2026-11-22.log"));
    }

    #[test]
    fn blocks_read_back_and_a_cut_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let name = "2026-11-22.log";
        begin(folder.path(), name, 7, &[9; 32]).unwrap();
        let mut blocks = Vec::new();
        push_block(&mut blocks, BlockHead { first: 7, count: 2 }, b"sealed");
        push_block(&mut blocks, BlockHead { first: 9, count: 1 }, b"more");
        append(folder.path(), name, HEAD_BYTES, &blocks).unwrap();
        let all = length(folder.path(), name).unwrap().unwrap();
        let mut read = Blocks::open(folder.path(), name, all).unwrap().unwrap();
        assert_eq!((read.first, read.before), (7, [9; 32]));
        assert!(matches!(read.next().unwrap(), Next::Block(head, bytes)
            if head.first == 7 && bytes == b"sealed"));
        assert!(matches!(read.next().unwrap(), Next::Block(head, _) if head.count == 1));
        assert!(matches!(read.next().unwrap(), Next::End));
        let mut read = Blocks::open(folder.path(), name, all - 1).unwrap().unwrap();
        read.next().unwrap();
        assert!(matches!(read.next().unwrap(), Next::Cut(Some(head)) if head.first == 9));
    }
}
