//! Collect: the texts of all inputs, one after the other in one document.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::collect::{Collect, DOCUMENT_STEM, DocumentFormat};
use spindle_shared::text::escaped;
use spindle_shared::worker::Done;

use crate::context::{Context, Gathering, Halt, disk_failure};

pub fn run(context: &Context, stage: &Collect) -> Result<Done, Halt> {
    let results = context.results()?;
    let name = format!("{DOCUMENT_STEM}.{}", stage.format.name());
    let of = |error: &io::Error| disk_failure(error, &context.scratch().join(&name));
    let file = context.write_artifact(&name, |to| {
        if let Some(title) = &stage.title {
            heading(stage.format, 1, &escaped(title), to).map_err(|e| of(&e))?;
        }
        for (at, Gathering { row, files }) in results.iter().enumerate() {
            context.go_on()?;
            let input = escaped(&row.input.as_path().file_name().unwrap_or_default().to_string_lossy());
            let Some(text) = files.first() else {
                return Err(Failure::new(FailureKind::Internal, format!("{input} has no text to collect")).into());
            };
            heading(stage.format, 2, &input, to).map_err(|e| of(&e))?;
            body(stage.format, text, to).map_err(|e| of(&e))?;
            context.progress((at + 1) as f32 / results.len() as f32);
        }
        Ok(())
    })?;
    let words = results.iter().map(|result| result.row.detail.words.unwrap_or(0)).sum();
    let seconds = results.iter().map(|result| result.row.detail.media_seconds.unwrap_or(0.0)).sum();
    let detail = Detail { words: Some(words), media_seconds: Some(seconds), ..Detail::default() };
    let work = file.bytes as f64;
    Ok(Done { files: vec![file], detail, work, ..Done::default() })
}

fn heading(format: DocumentFormat, level: usize, text: &str, to: &mut impl Write) -> io::Result<()> {
    match format {
        DocumentFormat::Md => write!(to, "{} {}\n\n", "#".repeat(level), plain(text)),
        DocumentFormat::Txt => {
            let line = if level == 1 { "=" } else { "-" };
            write!(to, "{text}\n{}\n\n", line.repeat(unicode_width::UnicodeWidthStr::width(text)))
        }
    }
}

/// The lines of a text, and an empty one.
fn body(format: DocumentFormat, text: &File, to: &mut impl Write) -> io::Result<()> {
    for line in BufReader::new(text).lines() {
        match format {
            DocumentFormat::Md => writeln!(to, "{}", plain(line?.trim_start()))?,
            DocumentFormat::Txt => writeln!(to, "{}", line?)?,
        }
    }
    writeln!(to)
}

/// One line of Markdown that shows this text and does nothing (CommonMark 0.31, section 2.4: any ASCII punctuation may be escaped).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - numbered.len();
    for (at, c) in text.char_indices() {
        let begins_list = at == 0 && matches!(c, '-' | '+' | '=' | '~' | '#');
        let ends_number = digits > 0 && at == digits && matches!(numbered.get(..2), None | Some(". " | ") "));
        if begins_list || ends_number || matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '!') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use spindle_shared::id::{ContentHash, RunId};
    use spindle_shared::job::PathBytes;
    use spindle_shared::stage::Stage;
    use spindle_shared::wire::codec;
    use spindle_shared::worker::{ArtifactFile, Assignment, Gathered, InputFile, RESULTS_FILE};

    use super::*;

    fn in_memory(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    /// What comes of these inputs' texts; `files`: how many of them come along.
    fn collected(stage: Collect, texts: &[(&str, &str)], files: usize) -> Result<String, Halt> {
        let scratch = tempfile::tempdir().unwrap();
        let rows: Vec<Gathered> = (1..)
            .zip(texts)
            .map(|(index, (input, text))| Gathered {
                index,
                input: PathBytes(format!("/lectures/{input}").into_bytes()),
                address: ContentHash([0; 32]),
                detail: Detail::default(),
                files: vec![ArtifactFile {
                    name: "subtitles.txt".to_owned(),
                    bytes: text.len() as u64,
                    content: ContentHash([0; 32]),
                }],
                lost: None,
            })
            .collect();
        let rows = codec::encode(&rows);
        let mut inputs = vec![InputFile::new(PathBytes(RESULTS_FILE.into()), rows.len() as u64)];
        let mut descriptors = vec![in_memory(&rows).into()];
        for (_, text) in &texts[..files] {
            inputs.push(InputFile::new(PathBytes(b"subtitles.txt".to_vec()), text.len() as u64));
            descriptors.push(in_memory(text.as_bytes()).into());
        }
        let assignment = Assignment {
            inputs,
            scratch: scratch.path().into(),
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Collect(stage.clone()))
        };
        let context = Context::new(assignment, descriptors, Arc::new(AtomicBool::new(false)), Arc::new(|_| ()));
        let done = run(&context, &stage)?;
        Ok(std::fs::read_to_string(scratch.path().join(&done.files[0].name)).unwrap())
    }

    #[test]
    fn inputs_follow_each_other_under_their_names() {
        let texts = [("1 hello.mp4", "hello\nworld\n"), ("二.wav", ""), ("3.mp3", "end\n")];
        let title = Some("Lectures".to_owned());
        let text = collected(Collect { format: DocumentFormat::Txt, title: title.clone() }, &texts, 3).unwrap();
        assert_eq!(
            text,
            "Lectures\n========\n\n1 hello.mp4\n-----------\n\nhello\nworld\n\n二.wav\n------\n\n\n3.mp3\n-----\n\nend\n\n"
        );
        let text = collected(Collect { format: DocumentFormat::Md, title }, &texts, 3).unwrap();
        assert_eq!(text, "# Lectures\n\n## 1 hello.mp4\n\nhello\nworld\n\n## 二.wav\n\n\n## 3.mp3\n\nend\n\n");
    }

    #[test]
    fn a_text_is_no_markup() {
        let said = "# no heading\n- no list\n1. no number\n2026 is a year\n*a* <b> `c` [d](e) 5 - 3\n";
        let text = collected(Collect::default(), &[("a.wav", said)], 1).unwrap();
        let wanted = "## a.wav\n\n\\# no heading\n\\- no list\n1\\. no number\n2026 is a year\n\\*a\\* \\<b\\> \\`c\\` \\[d\\](e) 5 - 3\n\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_result_without_its_files_is_an_error() {
        match collected(Collect::default(), &[("a.wav", "x"), ("b.wav", "y")], 1) {
            Err(Halt::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Internal),
            other => panic!("{other:?}"),
        }
    }
}
