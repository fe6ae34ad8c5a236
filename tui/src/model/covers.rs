//! What lies over a view, and what keys do there: pages, questions, a file's name, the form of a new batch.

use std::path::PathBuf;

use spindle_shared::text::escaped;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Submitted;

use super::acting::{PAGE, named};
use super::{Cover, Link, Model, View};
use crate::errand::Errand;
use crate::form::{Form, Plan};
use crate::keys::Action;

/// No page has more lines.
pub(super) const SCROLL_MAX: u16 = 10_000;

impl Model {
    /// Does what was wanted, where it is wanted.
    pub(super) fn do_it(&mut self, action: Action) -> Option<Request> {
        if action == Action::Quit {
            self.ending = Some(Ok(()));
            return None;
        }
        match self.cover.take() {
            None => self.act(action),
            Some(Cover::Question { request, yes }) => match action {
                Action::Toggle => {
                    self.cover = Some(Cover::Question { request, yes: !yes });
                    None
                }
                Action::Yes => self.start(request),
                Action::Answer if yes => self.start(request),
                _ => {
                    self.say(self.look.fill("{}: left as it is", &[&named(&request, self.look)]), false);
                    None
                }
            },
            Some(Cover::Archive { batch, mut path }) => {
                match action {
                    Action::Type(letter) => path.push(letter),
                    Action::Erase => drop(path.pop()),
                    Action::Keep if !path.is_empty() => {
                        self.say(self.look.fill("exporting batch {} …", &[&batch]), false);
                        let line = [
                            "spindlectl".to_owned(),
                            "export".to_owned(),
                            batch.to_string(),
                            format!("--output={path}"),
                        ];
                        let socket = self.socket.iter().map(|socket| {
                            let mut option = std::ffi::OsString::from("--socket=");
                            option.push(socket);
                            option
                        });
                        let line = line.into_iter().map(Into::into).chain(socket).collect();
                        self.errands.push(Errand::Export(line));
                        return None;
                    }
                    _ => return None,
                }
                self.cover = Some(Cover::Archive { batch, path });
                None
            }
            Some(Cover::Form(form)) => {
                self.fill_in(form, action);
                None
            }
            Some(Cover::Zoom { .. }) if matches!(action, Action::Left | Action::Right) => {
                self.act(action);
                self.cover = Some(Cover::Zoom { scroll: 0 });
                self.want_text();
                self.want_pictures();
                None
            }
            Some(mut page) => {
                if let Cover::Help { scroll }
                | Cover::Job { scroll, .. }
                | Cover::Page { scroll, .. }
                | Cover::Zoom { scroll } = &mut page
                {
                    *scroll = scrolled(*scroll, action);
                }
                self.cover = (action != Action::Close).then_some(page);
                None
            }
        }
    }

    /// The form of a new batch, and what lies over it.
    pub(super) fn fill_in(&mut self, mut form: Box<Form>, action: Action) {
        if let Some(line) = &mut form.line {
            match action {
                Action::Type(letter) => line.push(letter),
                Action::Erase => drop(line.pop()),
                Action::Keep => form.keep(),
                _ => form.line = None,
            }
        } else if let Some(files) = &mut form.files {
            let last = files.entries().len().saturating_sub(1);
            match action {
                Action::Open => {
                    let folder = files.entries().get(files.at).is_some_and(|entry| entry.folder);
                    match files.path(files.at) {
                        // One goes into other folders; this one is taken.
                        Some(path) if folder && !files.is_here(files.at) => self.show_files(&mut form, path),
                        Some(path) => {
                            files.marked.insert(path);
                            form.inputs = files.marked.iter().cloned().collect();
                            form.files = None;
                        }
                        None => {}
                    }
                }
                Action::Mark => {
                    files.mark();
                    files.at = (files.at + 1).min(last);
                }
                Action::Take => {
                    if files.marked.is_empty() {
                        files.mark();
                    }
                    form.inputs = files.marked.iter().cloned().collect();
                    form.files = None;
                }
                Action::Left => {
                    if let Some(above) = files.folder.parent().map(std::path::Path::to_owned) {
                        self.show_files(&mut form, above);
                    }
                }
                Action::Close => form.files = None,
                other => files.at = moved(files.at, last, other),
            }
        } else if let Some(plan) = &mut form.plan {
            match action {
                Action::Close => form.plan = None,
                Action::Submit => {
                    form.plan = None;
                    return self.fill_in(form, Action::Submit);
                }
                other => plan.scroll = usize::from(scrolled(u16::try_from(plan.scroll).unwrap_or(u16::MAX), other)),
            }
        } else {
            let last = form.fields.len().saturating_sub(1);
            match action {
                Action::Close => return,
                Action::Change => {
                    if let Some(folder) = form.change() {
                        self.errands.push(Errand::Files(folder));
                    }
                }
                Action::ChangeBack => form.change_back(),
                Action::Preview | Action::Submit if form.inputs.is_empty() => {
                    self.say(self.look.t("no inputs are chosen: go to `inputs` and press Enter").to_owned(), true);
                }
                Action::Preview | Action::Submit if matches!(self.link, Link::Connecting | Link::Lost(_)) => {
                    self.say(self.look.t("not done: no daemon answers").to_owned(), true);
                }
                Action::Preview => {
                    form.plan = Some(Plan { jobs: None, scroll: 0 });
                    self.errands.push(Errand::Plan(form.command_line()));
                }
                Action::Submit if !form.sent => {
                    form.sent = true;
                    self.say(self.look.t("submitting …").to_owned(), false);
                    self.errands.push(Errand::Submit(form.command_line()));
                }
                other => form.at = moved(form.at, last, other),
            }
        }
        self.cover = Some(Cover::Form(form));
    }

    pub(super) fn show_files(&mut self, form: &mut Form, folder: PathBuf) {
        if let Some(files) = &mut form.files {
            (files.folder, files.entries, files.at) = (folder.clone(), None, 0);
        }
        self.errands.push(Errand::Files(folder));
    }

    pub(super) fn submitted(&mut self, submitted: Result<Box<Submitted>, String>) {
        match submitted {
            Ok(submitted) => {
                let Submitted { batch, repeated, .. } = *submitted;
                let (total, skipped) = (batch.counts.total(), batch.counts.skipped);
                self.say(self.look.fill("batch {}: {} inputs, {} skipped", &[&batch.id, &total, &skipped]), false);
                if !repeated {
                    self.snapshot.batches.entry(batch.id).or_insert_with(|| batch.clone());
                }
                if matches!(&self.cover, Some(Cover::Form(form)) if form.sent) {
                    self.cover = None;
                    self.moved = true;
                    self.batch_filter.clear();
                    self.go_to(Some(batch.id));
                    self.go(View::Batch);
                }
            }
            Err(why) => {
                if let Some(Cover::Form(form)) = &mut self.cover {
                    form.sent = false;
                }
                self.say(escaped(&why), true);
            }
        }
    }
}

pub(super) fn scrolled(scroll: u16, action: Action) -> u16 {
    match action {
        Action::Down => scroll.saturating_add(1).min(SCROLL_MAX),
        Action::Up => scroll.saturating_sub(1),
        Action::PageDown => scroll.saturating_add(PAGE as u16).min(SCROLL_MAX),
        Action::PageUp => scroll.saturating_sub(PAGE as u16),
        Action::Last => SCROLL_MAX,
        _ => 0,
    }
}

pub(super) fn moved(at: usize, last: usize, action: Action) -> usize {
    match action {
        Action::Down => (at + 1).min(last),
        Action::Up => at.saturating_sub(1),
        Action::PageDown => (at + PAGE).min(last),
        Action::PageUp => at.saturating_sub(PAGE),
        Action::First => 0,
        Action::Last => last,
        _ => at,
    }
}
