//! The form of a new batch: its recipes and options are those of `spindlectl submit`, and what it makes is a command line of it. Knows no
//! daemon and no screen.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use spindle_shared::job::PathBytes;
use spindle_shared::wire::response::PlannedJob;

use crate::errand::{FileEntry, HERE};

#[derive(Debug)]
pub struct Form {
    recipes: Vec<Command>,
    pub recipe: usize,
    pub fields: Vec<Field>,
    pub at: usize,
    pub inputs: Vec<PathBuf>,
    /// The value that is being written.
    pub line: Option<String>,
    pub files: Option<Files>,
    pub plan: Option<Plan>,
    /// The daemon has it.
    pub sent: bool,
}

/// A line of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub kind: FieldKind,
    /// As people type it: `--model NAME`.
    pub name: String,
    pub help: String,
    /// As it will be given; `None` = as the default is.
    pub value: Option<String>,
    pub default: String,
    /// All that it may be; empty = anything.
    pub choices: Vec<String>,
    pub group: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Recipe,
    Inputs,
    /// Given or not.
    Switch,
    /// Takes a value.
    Value,
    /// Takes values, one after another.
    Values,
}

/// The files to choose from.
#[derive(Debug)]
pub struct Files {
    pub folder: PathBuf,
    /// `None` = not read yet.
    pub entries: Option<Result<Vec<FileEntry>, String>>,
    pub at: usize,
    pub marked: BTreeSet<PathBuf>,
}

#[derive(Debug)]
pub struct Plan {
    /// `None` = on its way.
    pub jobs: Option<Result<Vec<PlannedJob>, String>>,
    pub scroll: usize,
}

/// Options that make no sense without a terminal of their own.
const LEFT_OUT: [&str; 12] = [
    "help",
    "version",
    "dry_run",
    "wait",
    "follow",
    "progress_file",
    "socket",
    "system",
    "json",
    "quiet",
    "inputs",
    "recurse",
];

impl Form {
    pub fn new() -> Form {
        let submit = spindle_ctl::submission();
        let recipes: Vec<Command> =
            submit.get_subcommands().filter(|recipe| recipe.get_name() != "help").cloned().collect();
        let mut form = Form {
            recipes,
            recipe: 0,
            fields: Vec::new(),
            at: 0,
            inputs: Vec::new(),
            line: None,
            files: None,
            plan: None,
            sent: false,
        };
        form.refill();
        form
    }

    fn name_of_recipe(&self) -> String {
        self.recipes.get(self.recipe).map(|recipe| recipe.get_name().to_owned()).unwrap_or_default()
    }

    /// The chosen recipe's lines; what has been set and is there again stays.
    fn refill(&mut self) {
        let Some(recipe) = self.recipes.get(self.recipe) else { return };
        let before = std::mem::take(&mut self.fields);
        let about = recipe.get_about().map(ToString::to_string).unwrap_or_default();
        let names: Vec<String> = self.recipes.iter().map(|recipe| recipe.get_name().to_owned()).collect();
        let line = |kind, name: &str, help: String| Field {
            kind,
            name: name.to_owned(),
            help,
            value: None,
            default: String::new(),
            choices: Vec::new(),
            group: String::new(),
        };
        let mut fields = vec![
            Field { choices: names, ..line(FieldKind::Recipe, "recipe", about) },
            line(FieldKind::Inputs, "inputs", "Files and folders; of folders what fits the recipe".to_owned()),
        ];
        let mut options: Vec<&Arg> = recipe.get_arguments().filter(|arg| is_offered(arg)).collect();
        // Those of the recipe itself first: what all have comes after.
        options.sort_by_key(|arg| arg.get_help_heading().is_some_and(|heading| heading == "Batch options"));
        fields.extend(options.into_iter().map(field));
        for field in &mut fields {
            if let Some(old) = before.iter().find(|old| old.name == field.name && old.kind == field.kind) {
                let fits =
                    field.choices.is_empty() || old.value.as_ref().is_none_or(|value| field.choices.contains(value));
                field.value = old.value.clone().filter(|_| fits && field.kind != FieldKind::Recipe);
            }
        }
        self.fields = fields;
    }

    pub fn chosen(&self) -> Option<&Field> {
        self.fields.get(self.at)
    }

    /// What stands in a line.
    pub fn shown(&self, field: &Field) -> String {
        match field.kind {
            FieldKind::Recipe => self.name_of_recipe(),
            FieldKind::Inputs => match self.inputs.as_slice() {
                [] => String::new(),
                [one] => PathBytes::from(one.as_path()).to_string(),
                [one, others @ ..] => {
                    let name = one.file_name().map_or_else(|| PathBytes::from(one.as_path()), PathBytes::from);
                    format!("{name} +{}", others.len())
                }
            },
            FieldKind::Switch => if field.value.is_some() { "[x]" } else { "[ ]" }.to_owned(),
            FieldKind::Value | FieldKind::Values => field.value.clone().unwrap_or_else(|| field.default.clone()),
        }
    }

    /// Changes the chosen line; gives a folder whose files are wanted.
    pub fn change(&mut self) -> Option<PathBuf> {
        let recipes = self.recipes.len();
        let field = self.fields.get_mut(self.at)?;
        match field.kind {
            FieldKind::Recipe => {
                self.recipe = (self.recipe + 1) % recipes.max(1);
                self.refill();
            }
            FieldKind::Inputs => {
                let last = self.inputs.last().and_then(|path| path.parent()).map(Path::to_owned);
                let folder = last.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"));
                let marked = self.inputs.iter().cloned().collect();
                self.files = Some(Files { folder: folder.clone(), entries: None, at: 0, marked });
                return Some(folder);
            }
            FieldKind::Switch => {
                field.value = if field.value.is_some() { None } else { Some(String::new()) };
            }
            FieldKind::Value if !field.choices.is_empty() => {
                let now = field.value.as_ref().unwrap_or(&field.default);
                let at = field.choices.iter().position(|choice| choice == now);
                let next = &field.choices[at.map_or(0, |at| (at + 1) % field.choices.len())];
                field.value = (*next != field.default).then(|| next.clone());
            }
            FieldKind::Value | FieldKind::Values => {
                self.line = Some(field.value.clone().unwrap_or_default());
            }
        }
        None
    }

    /// The choice before; what is written or switched is as it was at first.
    pub fn change_back(&mut self) {
        let recipes = self.recipes.len();
        let Some(field) = self.fields.get_mut(self.at) else { return };
        match field.kind {
            FieldKind::Recipe => {
                self.recipe = (self.recipe + recipes.saturating_sub(1)) % recipes.max(1);
                self.refill();
            }
            FieldKind::Inputs => self.inputs.clear(),
            FieldKind::Value if !field.choices.is_empty() => {
                let now = field.value.as_ref().unwrap_or(&field.default);
                let at = field.choices.iter().position(|choice| choice == now).unwrap_or(0);
                let before = &field.choices[(at + field.choices.len() - 1) % field.choices.len()];
                field.value = (*before != field.default).then(|| before.clone());
            }
            FieldKind::Switch | FieldKind::Value | FieldKind::Values => field.value = None,
        }
    }

    /// Takes what has been written; nothing = the default again.
    pub fn keep(&mut self) {
        let Some(line) = self.line.take() else { return };
        if let Some(field) = self.fields.get_mut(self.at) {
            field.value = Some(line).filter(|line| !line.is_empty());
        }
    }

    /// As it would be typed.
    pub fn command_line(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["spindlectl".into(), "submit".into(), self.name_of_recipe().into()];
        for field in &self.fields {
            let Some(value) = &field.value else { continue };
            let option = field.name.split(' ').next().unwrap_or_default();
            match field.kind {
                FieldKind::Recipe | FieldKind::Inputs => {}
                FieldKind::Switch => line.push(option.into()),
                FieldKind::Value => line.push(format!("{option}={value}").into()),
                FieldKind::Values => {
                    let each = value.split_whitespace().map(|one| format!("{option}={one}").into());
                    line.extend(each);
                }
            }
        }
        if self.inputs.iter().any(|path| path.is_dir()) {
            line.push("--recurse".into());
        }
        line.push("--".into());
        line.extend(self.inputs.iter().map(|path| path.clone().into_os_string()));
        line
    }
}

fn is_offered(arg: &Arg) -> bool {
    !arg.is_hide_set() && !arg.is_positional() && arg.get_long().is_some() && !LEFT_OUT.contains(&arg.get_id().as_str())
}

fn field(arg: &Arg) -> Field {
    let takes = arg.get_action().takes_values();
    let many = matches!(arg.get_action(), ArgAction::Append);
    let kind = match (takes, many) {
        (false, _) => FieldKind::Switch,
        (true, false) => FieldKind::Value,
        (true, true) => FieldKind::Values,
    };
    let mut name = format!("--{}", arg.get_long().unwrap_or_default());
    if takes && let Some(value) = arg.get_value_names().and_then(<[_]>::first) {
        name = format!("{name} {value}");
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let choices = if takes && !many {
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
    } else {
        Vec::new()
    };
    Field {
        kind,
        name,
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        value: None,
        default: if takes { default.join(" ") } else { String::new() },
        choices,
        group: arg.get_help_heading().unwrap_or_default().to_owned(),
    }
}

impl Files {
    pub fn entries(&self) -> &[FileEntry] {
        match &self.entries {
            Some(Ok(entries)) => entries,
            _ => &[],
        }
    }

    /// The path of what the row stands for.
    pub fn path(&self, at: usize) -> Option<PathBuf> {
        let name = &self.entries().get(at)?.name;
        Some(if name == HERE { self.folder.clone() } else { self.folder.join(name) })
    }

    /// The row stands for the folder that is shown.
    pub fn is_here(&self, at: usize) -> bool {
        self.entries().get(at).is_some_and(|entry| entry.name == HERE)
    }

    pub fn mark(&mut self) {
        let Some(path) = self.path(self.at) else { return };
        if !self.marked.remove(&path) {
            self.marked.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(form: &Form) -> Vec<String> {
        form.command_line().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn every_recipe_of_ctl_is_offered_with_its_options() {
        let mut form = Form::new();
        let recipes = form.fields[0].choices.clone();
        for name in ["subtitles", "compress", "convert", "preview", "highlights", "images", "custom"] {
            assert!(recipes.iter().any(|recipe| recipe == name), "{name} in {recipes:?}");
        }
        for _ in &recipes {
            let names: Vec<_> = form.fields.iter().map(|field| field.name.clone()).collect();
            assert!(names.iter().any(|name| name == "--skip-existing"), "{names:?}");
            assert!(form.fields.iter().skip(2).all(|field| !field.help.is_empty()), "{:?}", form.fields);
            form.at = 0;
            form.change();
        }
        assert_eq!(form.recipe, 0, "and around");
    }

    #[test]
    fn a_line_that_is_made_is_one_that_ctl_reads() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wav"), "x").unwrap();
        let mut form = Form::new();
        form.inputs = vec![folder.path().to_owned()];
        let choose = |form: &mut Form, name: &str| {
            form.at = form.fields.iter().position(|field| field.name.split(' ').next() == Some(name)).unwrap();
        };
        choose(&mut form, "--model");
        assert_eq!(form.change(), None);
        form.line = Some("tiny".to_owned());
        form.keep();
        choose(&mut form, "--force");
        form.change();
        choose(&mut form, "--tag");
        form.change();
        form.line = Some("a=1 b=2".to_owned());
        form.keep();
        let line = texts(&form);
        for word in ["--model=tiny", "--force", "--tag=a=1", "--tag=b=2", "--recurse"] {
            assert!(line.iter().any(|known| known == word), "{word} in {line:?}");
        }
        let (spec, inputs) = spindle_ctl::prepared(&form.command_line()).unwrap();
        assert_eq!((spec.recipe.name.as_str(), inputs.len(), spec.tags.len()), ("subtitles", 1, 2));
        form.inputs.clear();
        assert!(spindle_ctl::prepared(&form.command_line()).is_err());
    }
}
