//! `completions`: for shells, from the definition that reads the command line.

use clap::CommandFactory;
use clap_complete::Shell;
use spindle_shared::exit;

use crate::fault::Fault;
use crate::{Cli, Context};

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell they are for
    shell: Shell,
}

impl Completions {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "spindlectl", &mut text);
        context.console.data(&String::from_utf8_lossy(&text))?;
        Ok(exit::DONE)
    }
}
