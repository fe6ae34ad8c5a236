//! `man`: the manual, from the definition that reads the command line.

use std::path::PathBuf;

use clap::CommandFactory;
use spindle_shared::exit;

use crate::fault::Fault;
use crate::{Cli, Context};

/// Prints the manual page
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write the pages of all verbs into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let failed = |error: std::io::Error| Fault::error(format!("failed to write the manual: {error}"));
        if let Some(folder) = &self.dir {
            std::fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
            return Ok(exit::DONE);
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(failed)?;
        context.console.data(&String::from_utf8_lossy(&text))?;
        Ok(exit::DONE)
    }
}
