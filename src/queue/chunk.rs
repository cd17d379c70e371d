//! Chunks: the jobs of one commit for one destination, due time and group, as one sealed record.
//!
//! A record is a clear head (what leasing and sweeping need to know without opening it) and a
//! sealed, compressed body.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    ChunkKey, JobKind, JobLabel, LeasedJob,
    record::{self, space},
    seal::{Seal, Unsealed},
    store::StoreError,
};

/// Destination, due (epoch milliseconds; 0: fresh), sequence.
const KEY_BYTES: usize = 1 + 2 + 8 + 8;
const HEAD_BYTES: usize = 4 + 4 + 8 + 8 + 8;

/// The number by which the store knows a destination.
pub(super) type DestinationNo = u16;

impl ChunkKey {
    /// Writes a key.
    pub(super) fn new(destination: DestinationNo, due_ms: i64, sequence: u64) -> Self {
        let mut key = Vec::with_capacity(KEY_BYTES);
        key.push(space::CHUNK);
        key.extend_from_slice(&destination.to_be_bytes());
        key.extend_from_slice(&record::unsigned(due_ms).to_be_bytes());
        key.extend_from_slice(&sequence.to_be_bytes());
        Self(key)
    }

    /// The destination's number.
    pub(super) fn destination(&self) -> DestinationNo {
        match self.0.get(1..3) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// When it is due; 0 for fresh jobs.
    pub(super) fn due_ms(&self) -> i64 {
        record::number_at(&self.0, 3).map_or(0, |due| i64::try_from(due).unwrap_or(i64::MAX))
    }

    /// The sequence number of its commit.
    pub(super) fn sequence(&self) -> u64 {
        record::number_at(&self.0, 11).unwrap_or(0)
    }

    /// The key of its `sending` mark.
    pub(super) fn mark(&self) -> Vec<u8> {
        let mut key = self.0.clone();
        if let Some(first) = key.first_mut() {
            *first = space::MARK;
        }
        key
    }

    /// The chunk whose `sending` mark has this key.
    pub(super) fn of_mark(key: &[u8]) -> Self {
        let mut key = key.to_vec();
        if let Some(first) = key.first_mut() {
            *first = space::CHUNK;
        }
        Self(key)
    }
}

/// What stands before a chunk's body, in clear and authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ChunkHead {
    /// Jobs in it.
    pub(super) jobs: u32,
    /// Those of them that are in the books.
    pub(super) counted: u32,
    /// Keyed hash of group and kind: only equal ones share a lease.
    pub(super) group: u64,
    /// When its oldest job was accepted, epoch milliseconds.
    pub(super) oldest_ms: i64,
    /// When its last job expires, epoch milliseconds.
    pub(super) expires_ms: i64,
}

impl ChunkHead {
    /// What the jobs add up to.
    pub(super) fn of(jobs: &[LeasedJob], group: u64) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            jobs: count(jobs.len()),
            counted: count(jobs.iter().filter(|job| !job.uncounted).count()),
            group,
            oldest_ms: jobs.iter().map(|job| job.accepted_at_ms).min().unwrap_or(0),
            expires_ms: jobs.iter().map(|job| job.expires_at_ms).max().unwrap_or(0),
        }
    }

    fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0u8; HEAD_BYTES];
        let fields = self
            .jobs
            .to_be_bytes()
            .into_iter()
            .chain(self.counted.to_be_bytes())
            .chain(self.group.to_be_bytes())
            .chain(self.oldest_ms.to_be_bytes())
            .chain(self.expires_ms.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// A record's beginning.
    #[cfg(test)]
    pub(super) fn encoded(self) -> Vec<u8> {
        self.encode().to_vec()
    }

    /// Reads the head of a record.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let (jobs, rest) = record.split_first_chunk()?;
        let (counted, rest) = rest.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk()?;
        let (oldest, rest) = rest.split_first_chunk()?;
        let (expires, _) = rest.split_first_chunk()?;
        Some(Self {
            jobs: u32::from_be_bytes(*jobs),
            counted: u32::from_be_bytes(*counted),
            group: u64::from_be_bytes(*group),
            oldest_ms: i64::from_be_bytes(*oldest),
            expires_ms: i64::from_be_bytes(*expires),
        })
    }
}

/// The body's shapes. A new shape is a new variant; old ones are read for ever.
#[derive(Serialize, Deserialize)]
enum Body<'a> {
    V1 {
        #[serde(borrow)]
        group: &'a str,
        #[serde(borrow)]
        jobs: Vec<JobV1<'a>>,
    },
}

#[derive(Serialize, Deserialize)]
struct JobV1<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    flags: u8,
    expires_at_ms: i64,
    accepted_at_ms: i64,
    attempts: u32,
    sends: u32,
    slot: u32,
    #[serde(borrow)]
    subjects: Raw<'a>,
    event: &'a str,
    event_id: &'a str,
    #[serde(borrow)]
    body: Raw<'a>,
}

const UNCOUNTED: u8 = 1;
const FOLLOW_UP: u8 = 2;

/// Bytes, written and read as one; serde's own slice goes byte by byte.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = &'de [u8];
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Visitor).map(Raw)
    }
}

/// How many bytes a job takes, about, before compression.
pub(super) fn raw_bytes(job: &LeasedJob) -> usize {
    48 + job.subjects.len() * 16 + job.label.event.len() + job.label.event_id.len() + job.body.len()
}

/// The bytes of some jobs of one group, in clear.
pub(super) fn encode_jobs(group: &str, jobs: &[LeasedJob]) -> Result<Vec<u8>, StoreError> {
    let bytes = 64 + jobs.iter().map(raw_bytes).sum::<usize>();
    let subjects: Vec<Vec<u8>> = jobs.iter().map(|job| job.subjects.concat()).collect();
    let jobs = jobs
        .iter()
        .zip(&subjects)
        .map(|(job, subjects)| JobV1 {
            id: Raw(&job.id),
            flags: if job.uncounted { UNCOUNTED } else { 0 }
                | if job.kind == JobKind::FollowUp { FOLLOW_UP } else { 0 },
            expires_at_ms: job.expires_at_ms,
            accepted_at_ms: job.accepted_at_ms,
            attempts: job.attempts,
            sends: job.sends,
            slot: job.slot,
            subjects: Raw(subjects),
            event: &job.label.event,
            event_id: &job.label.event_id,
            body: Raw(&job.body),
        })
        .collect();
    postcard::to_extend(&Body::V1 { group, jobs }, Vec::with_capacity(bytes))
        .map_err(|e| StoreError::Failed(format!("jobs cannot be written: {e}")))
}

/// Reads what [`encode_jobs`] wrote.
pub(super) fn decode_jobs(bytes: &[u8]) -> Result<Vec<LeasedJob>, Unsealed> {
    let Body::V1 { group, jobs } =
        postcard::from_bytes(bytes).map_err(|e| Unsealed::Unreadable(e.to_string()))?;
    jobs.into_iter()
        .map(|job| {
            let id = job.id.0.try_into().map_err(|_| Unsealed::Broken)?;
            let (subjects, _) = job.subjects.0.as_chunks::<16>();
            Ok(LeasedJob {
                id,
                label: JobLabel { event: job.event.into(), event_id: job.event_id.into() },
                uncounted: job.flags & UNCOUNTED != 0,
                kind: if job.flags & FOLLOW_UP == 0 { JobKind::Event } else { JobKind::FollowUp },
                group: group.to_owned(),
                expires_at_ms: job.expires_at_ms,
                accepted_at_ms: job.accepted_at_ms,
                attempts: job.attempts,
                sends: job.sends,
                subjects: subjects.to_vec(),
                slot: job.slot,
                body: job.body.0.to_vec(),
            })
        })
        .collect()
}

/// Seals jobs into a chunk's record.
pub(super) fn close(
    seal: &Seal,
    key: &ChunkKey,
    head: ChunkHead,
    group: &str,
    jobs: &[LeasedJob],
) -> Result<Vec<u8>, StoreError> {
    let head = head.encode();
    let mut record = head.to_vec();
    record.extend(seal.pack(&[&key.0, &head], &encode_jobs(group, jobs)?)?);
    Ok(record)
}

/// Opens a chunk's record.
pub(super) fn open(seal: &Seal, key: &ChunkKey, record: &[u8]) -> Result<Vec<LeasedJob>, Unsealed> {
    let (head, sealed) = record.split_first_chunk::<HEAD_BYTES>().ok_or(Unsealed::Broken)?;
    decode_jobs(&seal.unpack(&[&key.0, head], sealed)?)
}

/// The keyed hash by which jobs of one group and kind are told from others.
pub(super) fn group_tag(seal: &Seal, kind: JobKind, group: &str) -> u64 {
    let domain = match kind {
        JobKind::Event => "group/event",
        JobKind::FollowUp => "group/follow_up",
    };
    let hash = seal.keyed(domain, &[group.as_bytes()]);
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}
