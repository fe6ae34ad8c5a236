//! The console: data on standard output, talk and errors on standard error. Knows nothing of what it prints.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::fault::Fault;

#[derive(Debug, Clone, Copy)]
pub struct Console {
    pub json: bool,
    pub quiet: bool,
    /// Standard output is a terminal that takes colours, and nobody has forbidden them.
    pub colour: bool,
}

impl Console {
    pub fn new(json: bool, quiet: bool) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Console { json, quiet, colour: !json && !forbidden && !dumb && io::stdout().is_terminal() }
    }

    /// Prints data; ends lines as they are given.
    pub fn data(&self, text: &str) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Fault::of_output(&error))
    }

    /// Prints one JSON document, or one object of a stream, on one line.
    pub fn document<T: Serialize>(&self, value: &T) -> Result<(), Fault> {
        let mut text =
            serde_json::to_string(value).map_err(|error| Fault::error(format!("failed to write JSON: {error}")))?;
        text.push('\n');
        self.data(&text)
    }

    /// Prints data in the form that was asked for.
    pub fn either<T: Serialize>(
        &self,
        document: impl FnOnce() -> T,
        human: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        if self.json { self.document(&document()) } else { self.data(&human()) }
    }

    /// Says something to the person, unless they want quiet.
    pub fn talk(&self, text: impl fmt::Display) {
        if !self.quiet {
            // Nobody is left to tell where standard error is gone.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Tells a fault in the form that was asked for.
    pub fn report(&self, fault: &Fault) {
        if fault.message.is_empty() {
            return;
        }
        let mut err = io::stderr().lock();
        let _ = if self.json {
            #[derive(Serialize)]
            struct Told<'a> {
                code: u8,
                kind: &'a str,
                message: &'a str,
                hint: Option<&'a str>,
            }
            #[derive(Serialize)]
            struct Document<'a> {
                error: Told<'a>,
            }
            let Fault { code, kind, message, hint } = fault;
            let told = Told { code: *code, kind, message, hint: hint.as_deref() };
            writeln!(err, "{}", serde_json::to_string(&Document { error: told }).unwrap_or_default())
        } else {
            let hint = fault.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            writeln!(err, "error: {}{hint}", fault.message)
        };
    }
}
