//! `test`: the configuration's own cases.

use std::path::PathBuf;

use super::{Exit, cases, geoip, street};
use crate::{pipeline::SubjectKey, sources::json};

/// Runs the configuration's own cases (`config/tests/*.toml`): an event in, decisions and parts of
/// the requests out.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The configuration folder.
    #[arg(long, default_value = "config")]
    config: PathBuf,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let loaded = street::load_offline(&self.config);
        let Some(config) = loaded.config else {
            for finding in loaded.findings {
                eprintln!("{finding}");
            }
            return Ok(Exit::Configuration);
        };
        let cases = cases::read(&self.config.join("tests"))?;
        let key = SubjectKey::new(&[0; 32]);
        let regions = geoip::regions(&config)?;
        let (mut held, mut failed) = (0, 0);
        for (file, case) in cases {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let differences = case.and_then(|case| {
                let text = case.event.to_string();
                let node = json::parse(&text, config.limits.nesting)?;
                let lines = street::explain(&node, &config, &key, &regions, case.now);
                Ok(cases::differences(&case.expect, &lines))
            });
            // One that cannot be played fails, and the others are played.
            let differences = differences.unwrap_or_else(|error| vec![format!("{error:#}")]);
            if differences.is_empty() {
                held += 1;
                println!("ok    {name}");
                continue;
            }
            failed += 1;
            println!("FAIL  {name}");
            for difference in differences {
                println!("    {difference}");
            }
        }
        println!("{held} passed, {failed} failed");
        Ok(if failed == 0 { Exit::Fine } else { Exit::Failed })
    }
}
