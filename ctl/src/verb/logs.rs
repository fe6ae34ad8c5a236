//! `logs`: what the daemon has said, or what happened to a batch's jobs.

use serde_json::Value;
use spindle_shared::exit;
use spindle_shared::id::Target;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use crate::Context;
use crate::fault::Fault;
use crate::follow::detach_on_interrupt;
use crate::named;
use crate::output::human;

/// Shows the daemon's log, or that of a batch or a job: its tries, its stages, and what workers printed
///
/// Of the daemon's own log it has the last 2000 lines since its start; where more is kept (systemd's journal, files) its configuration says, under
/// `log`. With `--json` each line is an object.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// A batch (`12`) or a job (`12/3`); without one, the daemon
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Show what comes, too, until the batch has ended or somebody interrupts
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: u32,
}

impl Logs {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let named: Vec<String> = self.id.into_iter().collect();
        let of = match named::targets(&named)?.as_slice() {
            [] => None,
            [target] => Some(*target),
            _ => return Err(Fault::usage("one batch or job at a time")),
        };
        if self.follow {
            detach_on_interrupt(context, "let go; the daemon goes on".to_owned())?;
        }
        let request = Request::Logs { of, lines: self.lines, follow: self.follow };
        for response in context.daemon.connect()?.ask(&request)? {
            if let Response::Log(lines) = response? {
                for line in lines {
                    match context.console.json {
                        true => context.console.data(&format!("{line}\n"))?,
                        false => context.console.data(&plain(&line, of))?,
                    }
                }
            }
        }
        Ok(exit::DONE)
    }
}

/// A line as people read it: when, how bad or what, and then the rest.
fn plain(line: &str, of: Option<Target>) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else {
        return format!("{}\n", human::escaped(line));
    };
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (time, message) = (take("time"), take("message"));
    let head = match of {
        None => take("level").to_uppercase(),
        Some(_) => format!("{} {}", take("job"), take("event")),
    };
    let mut text = format!("{} {}", human::escaped(&time), human::escaped(&head));
    if !message.is_empty() {
        text += &format!(" {}", human::escaped(&message));
    }
    let printed = take("printed");
    for (name, value) in &fields {
        let value = match value {
            Value::String(text) => human::escaped(text),
            other => other.to_string(),
        };
        text += &format!(" {}={value}", human::escaped(name));
    }
    text.push('\n');
    for line in printed.lines() {
        text += &format!("    | {}\n", human::escaped(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_as_people_read_it() {
        let line = r#"{"event":"ended","job":"1/2","message":"it \u001b[31mfailed","printed":"a\nb","stage":"decode","time":"T","tries":3}"#;
        let target = named::targets(&["1".to_owned()]).unwrap().first().copied();
        let text = "T 1/2 ended it \\u{1b}[31mfailed stage=decode tries=3\n    | a\n    | b\n";
        assert_eq!(plain(line, target), text);
        assert_eq!(plain(r#"{"level":"warn","message":"m","time":"T","x":"y"}"#, None), "T WARN m x=y\n");
        assert_eq!(plain("no json", None), "no json\n");
    }
}
