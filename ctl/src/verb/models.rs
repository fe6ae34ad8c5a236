//! `models`: which there are, fetching them, checking them, removing them.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use sha2::{Digest, Sha256};
use spindle_shared::batch::{BatchSpec, OnExisting, Priority};
use spindle_shared::catalogue::{self, MIRROR_VARIABLE, Mirror, Model};
use spindle_shared::exit;
use spindle_shared::id::Target;
use spindle_shared::job::{Input, OutputPlan, PathBytes};
use spindle_shared::language::LANGUAGES;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::pull::Pull as PullStage;
use spindle_shared::wire::request::{Request, Submission};
use spindle_shared::wire::response::{ModelView, Response};

use super::submit::send::send;
use super::wait::conclude;
use super::watch::{JOBS_SHOWN, display};
use crate::Context;
use crate::fault::Fault;
use crate::follow::{Course, detach_on_interrupt, follow};
use crate::output::human;
use crate::output::json::{ModelJson, SubmitJson};
use crate::output::progress::Stream;
use crate::output::table::{Align, Cell, Table};

/// Lists, fetches, checks and removes models of speech and of pictures
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the models of the catalogue and of the model folder
    List {
        /// Only those that are installed
        #[arg(long)]
        installed: bool,
    },
    /// Fetches models, checks them against their hashes and installs them
    Pull {
        /// Names from `models list`
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Return when the batch is queued, instead of following it to its end
        #[arg(long)]
        no_wait: bool,
    },
    /// Checks installed models against the catalogue's hashes
    Verify {
        /// Names; all that are installed, if left out
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Removes models of the catalogue from the model folder
    Remove {
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Lists the languages that models know
    Languages,
}

impl Models {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match self.action {
            Action::List { installed } => list(context, installed),
            Action::Pull { names, no_wait } => pull(context, &names, no_wait),
            Action::Verify { names } => verify(context, &names),
            Action::Remove { names } => remove(context, &names),
            Action::Languages => languages(context),
        }
    }
}

fn views(context: &Context) -> Result<Vec<ModelView>, Fault> {
    let responses = context.daemon.ask(&Request::Models)?;
    Ok(responses
        .into_iter()
        .filter_map(|response| match response {
            Response::Models(models) => Some(models),
            _ => None,
        })
        .flatten()
        .collect())
}

fn list(context: &Context, installed: bool) -> Result<u8, Fault> {
    let models: Vec<ModelView> =
        views(context)?.into_iter().filter(|model| !installed || model.path.is_some()).collect();
    context.console.either(
        || models.iter().map(ModelJson::from).collect::<Vec<_>>(),
        || {
            let mut table = Table::new(&[
                ("MODEL", Align::Left),
                ("INSTALLED", Align::Left),
                ("SIZE", Align::Right),
                ("FOR", Align::Left),
                ("LANGUAGES", Align::Left),
                ("LICENCE", Align::Left),
                ("ABOUT", Align::Left),
            ]);
            for model in &models {
                let here = if model.path.is_some() { Cell::coloured("yes", Some("32")) } else { "no".into() };
                let languages = match (model.purpose.as_str(), model.english_only) {
                    ("speech", true) => "English",
                    ("speech" | "voice activity", _) => "all",
                    _ => "-",
                };
                table.row(vec![
                    human::escaped(&model.name).into(),
                    here,
                    human::bytes(model.bytes).into(),
                    human::escaped(&model.purpose).into(),
                    languages.into(),
                    human::escaped(model.licence.as_deref().unwrap_or("-")).into(),
                    human::escaped(&model.about).into(),
                ]);
            }
            table.render(context.console.colour)
        },
    )?;
    Ok(exit::DONE)
}

/// The catalogue's entry for a name; paths and unknown names are faults.
fn known(name: &str) -> Result<&'static Model, Fault> {
    if !catalogue::is_name(name) {
        return Err(Fault::usage(format!("`{}` is no model's name", human::escaped(name))));
    }
    catalogue::find(name).ok_or_else(|| {
        Fault::not_found(format!("there is no model `{name}` in the catalogue"))
            .hint("`spindlectl models list` names them")
    })
}

fn pull(context: &Context, names: &[String], no_wait: bool) -> Result<u8, Fault> {
    let mirror = match std::env::var(MIRROR_VARIABLE) {
        Ok(url) if !url.is_empty() => {
            Some(Mirror::parse(&url).map_err(|error| Fault::usage(format!("{MIRROR_VARIABLE}: {error}")))?)
        }
        _ => None,
    };
    let mut wanted: Vec<&Model> = Vec::new();
    for name in names {
        let model = known(name)?;
        if !wanted.iter().any(|other| other.name == model.name) {
            wanted.push(model);
        }
    }
    let installed = views(context)?;
    wanted.retain(|model| {
        let here =
            installed.iter().any(|view| view.name == model.name && view.path.is_some() && view.bytes == model.bytes);
        if here {
            context.console.talk(format_args!("{} is installed already (`models verify` checks it)", model.name));
        }
        !here
    });
    let Some(first) = wanted.first() else {
        if context.console.json {
            context.console.document(&Vec::<ModelJson>::new())?;
        }
        return Ok(exit::DONE);
    };
    let recipe = |model: &Model| {
        Recipe::pull(PullStage {
            name: model.name.to_owned(),
            url: model.url(mirror.as_ref()),
            file: model.file(),
            bytes: model.bytes,
            sha256: model.sha256.to_owned(),
        })
    };
    let directory = context.daemon.house()?.model_dir;
    let spec = BatchSpec {
        recipe: recipe(first),
        name: Some(
            format!("models {}", wanted.iter().map(|model| model.name).collect::<Vec<_>>().join(" "))
                .chars()
                .take(100)
                .collect(),
        ),
        tags: Vec::new(),
        priority: Priority::NORMAL,
        parallel: 2,
        retries: None,
        timeout: None,
        key: None,
        on_existing: OnExisting::Refuse,
        terms: Default::default(),
        gather_to: None,
    };
    let inputs: Vec<Submission> = wanted
        .iter()
        .map(|model| Submission {
            input: Input::Name(model.name.to_owned()),
            output: OutputPlan { directory: directory.clone(), stem: PathBytes(model.name.as_bytes().to_vec()) },
            stages: (model.name != first.name).then(|| recipe(model).map),
            taken: Vec::new(),
        })
        .collect();
    let submitted = send(context, spec, &inputs)?.submitted;
    let id = submitted.batch.id;
    context.console.talk(format_args!(
        "batch {id}: fetching {}",
        wanted
            .iter()
            .map(|model| format!("{} ({})", model.name, human::bytes(model.bytes)))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    if context.console.json {
        context.console.document(&SubmitJson::from(&submitted))?;
    }
    if no_wait {
        if !context.console.json {
            context.console.data(&format!("{id}\n"))?;
        }
        return Ok(exit::DONE);
    }
    detach_on_interrupt(context, format!("let go; batch {id} goes on"))?;
    let course = Course { targets: vec![Target::Batch(id)], jobs: JOBS_SHOWN, ..Course::default() };
    let ending = follow(context, &course, &mut [display(context.console, Stream::Err)])?;
    conclude(context, ending)
}

#[derive(Debug, Serialize)]
struct VerifiedJson {
    name: String,
    path: Option<String>,
    /// `sound`, `damaged`, `missing` or `unknown` (not in the catalogue).
    state: &'static str,
    message: String,
}

fn verify(context: &Context, names: &[String]) -> Result<u8, Fault> {
    let models = views(context)?;
    let chosen: Vec<ModelView> = if names.is_empty() {
        models.into_iter().filter(|model| model.path.is_some()).collect()
    } else {
        let mut chosen = Vec::new();
        for name in names {
            let name = catalogue::canonical(name);
            let fault = || Fault::not_found(format!("there is no model `{}`", human::escaped(name)));
            chosen.push(models.iter().find(|model| model.name == name).ok_or_else(fault)?.clone());
        }
        chosen
    };
    if chosen.is_empty() && !context.console.json {
        context.console.talk("no model is installed");
    }
    let verified: Vec<VerifiedJson> = chosen.iter().map(|model| verified(context, model)).collect();
    context.console.either(
        || &verified,
        || {
            let mut table = Table::new(&[("MODEL", Align::Left), ("STATE", Align::Left), ("", Align::Left)]);
            for model in &verified {
                let colour = if model.state == "sound" { "32" } else { "31" };
                table.row(vec![
                    human::escaped(&model.name).into(),
                    Cell::coloured(model.state, Some(colour)),
                    human::escaped(&model.message).into(),
                ]);
            }
            if verified.is_empty() { String::new() } else { table.render(context.console.colour) }
        },
    )?;
    let any = |state| verified.iter().any(|model| model.state == state);
    Ok(match () {
        () if any("damaged") => exit::ERROR,
        () if any("missing") => exit::MISSING,
        () => exit::DONE,
    })
}

fn verified(context: &Context, model: &ModelView) -> VerifiedJson {
    let told = |state, message: String| VerifiedJson {
        name: model.name.clone(),
        path: model.path.as_ref().map(|path| path.as_path().to_string_lossy().into_owned()),
        state,
        message,
    };
    let Some(path) = &model.path else {
        return told("missing", format!("`spindlectl models pull {}` fetches it", model.name));
    };
    let Some(expected) = catalogue::find(&model.name).map(|known| known.sha256).or(model.sha256.as_deref()) else {
        return told("unknown", "not in the catalogue: nothing to compare with".to_owned());
    };
    context.console.talk(format_args!("checking {} ({})", human::escaped(&model.name), human::bytes(model.bytes)));
    match sha256(path.as_path()) {
        Ok(found) if found == expected => told("sound", "as the publisher has it".to_owned()),
        Ok(_) => {
            let name = &model.name;
            told("damaged", format!("its hash is another one; `models remove {name}`, then `models pull {name}`"))
        }
        Err(error) => told("damaged", format!("failed to read {path}: {error}")),
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            bytes => hasher.update(&buffer[..bytes]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[derive(Debug, Serialize)]
struct RemovedJson {
    name: &'static str,
    path: String,
}

fn remove(context: &Context, names: &[String]) -> Result<u8, Fault> {
    let models = names.iter().map(|name| known(name)).collect::<Result<Vec<_>, _>>()?;
    let folder = context.daemon.house()?.model_dir;
    let files: Vec<(&Model, PathBuf)> =
        models.iter().map(|model| (*model, folder.as_path().join(model.file()))).collect();
    // All are there before one is gone.
    if let Some((model, _)) = files.iter().find(|(_, path)| path.symlink_metadata().is_err()) {
        return Err(Fault::not_found(format!("the model `{}` is not installed", model.name)));
    }
    let mut removed = Vec::new();
    for (model, path) in files {
        std::fs::remove_file(&path).map_err(|error| {
            let message = format!("failed to remove {}: {error}", PathBytes::from(path.as_path()));
            match error.kind() {
                std::io::ErrorKind::PermissionDenied => Fault::new(exit::NOT_PERMITTED, "not_permitted", message),
                _ => Fault::error(message),
            }
        })?;
        context.console.talk(format_args!("removed {}", PathBytes::from(path.as_path())));
        removed.push(RemovedJson { name: model.name, path: path.to_string_lossy().into_owned() });
    }
    if context.console.json {
        context.console.document(&removed)?;
    }
    Ok(exit::DONE)
}

#[derive(Debug, Serialize)]
struct LanguageJson {
    code: &'static str,
    name: &'static str,
}

fn languages(context: &Context) -> Result<u8, Fault> {
    context.console.either(
        || LANGUAGES.map(|(code, name)| LanguageJson { code, name }).into_iter().collect::<Vec<_>>(),
        || {
            let mut table = Table::new(&[("CODE", Align::Left), ("LANGUAGE", Align::Left)]);
            for (code, name) in LANGUAGES {
                table.row(vec![code.into(), name.into()]);
            }
            table.render(context.console.colour)
        },
    )?;
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_never_paths() {
        assert_eq!(known("turbo").map(|model| model.name), Ok("large-v3-turbo"));
        for path in ["../base", "/etc/passwd", "", ".base", "a/b"] {
            assert_eq!(known(path).map_err(|fault| fault.code), Err(exit::USAGE), "{path}");
        }
        assert_eq!(known("huge").map_err(|fault| fault.code), Err(exit::NOT_FOUND));
    }

    #[test]
    fn hashes_are_those_of_the_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), expected);
    }
}
