//! The one place that reads the clock and the machine's randomness. Everything else takes them as
//! arguments.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

/// Gives the time; replaced in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Gives a chance between 0 and 1, for jitter; replaced in tests.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// The machine's clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn system() -> Clock {
    Arc::new(Timestamp::now)
}

/// Measures how long something takes; not for deciding anything.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], ring::error::Unspecified> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0u8; N];
    ring::rand::SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes)
}

/// Chances from the operating system; one half where it has none.
pub fn chances() -> Chance {
    Arc::new(|| {
        random().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / 4_294_967_296.0)
    })
}
