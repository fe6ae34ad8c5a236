//! Documents: lesson data laid out as Markdown by a template, as one HTML page, as JSON. Knows no model; believes no text that it lays out.

use minijinja::value::Value;
use minijinja::{Environment, context};
use pulldown_cmark::{Event, Options, Parser, Tag, html};
use serde::Serialize;
use spindle_shared::template::Template;

use super::lesson::{Lesson, one_line};

/// Steps of a layout: one that never ends is no layout.
const FUEL: u64 = 2_000_000;
/// A picture's name in the document, and when it is from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    pub file: String,
    pub seconds: f64,
}

/// What a document is made of.
pub struct Draft<'d> {
    pub template: &'d Template,
    pub parameters: &'d [(String, String)],
    pub lesson: &'d Lesson,
    pub pictures: &'d [Shown],
    /// Where the recording can be watched.
    pub link: Option<&'d str>,
    /// Who made it: `local`, or a provider and its model.
    pub made_by: &'d str,
    /// Tags that whoever submitted it gave.
    pub tags: &'d [String],
    /// Language of the document or the recording, where it is known.
    pub language: Option<&'d str>,
    /// What whoever reads it must know; empty = nothing.
    pub notice: &'d str,
}

/// The prompt that a template makes of its parameters.
pub fn prompt(template: &Template, parameters: &[(String, String)]) -> Result<String, String> {
    let values: Value = parameters.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))).collect();
    render(&template.prompt, None, values)
}

/// Markdown with its front matter.
pub fn markdown(draft: &Draft<'_>) -> Result<String, String> {
    Ok(format!("{}\n{}", front_matter(draft), body(draft)?))
}

fn body(draft: &Draft<'_>) -> Result<String, String> {
    let notice = match draft.notice {
        "" => String::new(),
        notice => format!("> {notice}\n"),
    };
    let own: Value =
        draft.parameters.iter().map(|(name, value)| (name.as_str(), Value::from(harmless(value)))).collect();
    let values = context! {
        lesson => harmless_lesson(draft.lesson),
        pictures => draft.pictures,
        link => draft.link,
        notice => notice,
        ..own
    };
    render(&draft.template.layout, draft.link, values)
}

fn render(text: &str, link: Option<&str>, values: Value) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_trim_blocks(false);
    environment.add_filter("clock", clock);
    let link = link.map(str::to_owned);
    environment.add_filter("moment", move |seconds: f64| moment(link.as_deref(), seconds));
    environment.render_str(text, values).map_err(|error| {
        let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        format!("{}{line}", error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
    })
}

/// MM:SS under an hour, else HH:MM:SS.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes:02}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// `[MM:SS]`, and as a link where there is something to link to.
fn moment(link: Option<&str>, seconds: f64) -> String {
    let clock = clock(seconds);
    match link {
        None => format!("[{clock}]"),
        Some(link) => format!("[{clock}]({})", at(link, seconds.max(0.0) as u64)),
    }
}

/// The address of a moment: YouTube has its own way, others the one of media fragments.
fn at(link: &str, seconds: u64) -> String {
    match youtube_id(link) {
        Some(id) => format!("https://www.youtube.com/watch?v={id}&t={seconds}s"),
        None => {
            let plain = link.split('#').next().unwrap_or(link);
            // What would end the link in Markdown stands for itself in an address.
            let safe: String = plain
                .chars()
                .map(|c| match c {
                    '(' => "%28".to_owned(),
                    ')' => "%29".to_owned(),
                    '<' => "%3C".to_owned(),
                    '>' => "%3E".to_owned(),
                    c if c.is_whitespace() || c.is_control() => "%20".to_owned(),
                    c => c.to_string(),
                })
                .collect();
            format!("{safe}#t={seconds}")
        }
    }
}

fn youtube_id(link: &str) -> Option<&str> {
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    let id = match host.strip_prefix("www.").or_else(|| host.strip_prefix("m.")).unwrap_or(host) {
        "youtube.com" => path
            .strip_prefix("watch?")
            .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("v=")))
            .or_else(|| path.strip_prefix("shorts/"))?,
        "youtu.be" => path,
        _ => return None,
    };
    let id = id.split(['?', '&', '#', '/']).next()?;
    let fits = (6..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fits.then_some(id)
}

/// A text from outside in Markdown: no HTML of its own, no picture from elsewhere, and links to nothing but pages.
fn harmless(text: &str) -> String {
    let text = text.replace('<', "&lt;").replace("![", "!\\[").replace("]:", "]\\:");
    let mut parts = text.split("](");
    let mut harmless = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let to = part.trim_start().to_ascii_lowercase();
        let to_page = to.starts_with("https://") || to.starts_with("http://");
        harmless.push_str(if to_page { "](" } else { "]\\(" });
        harmless.push_str(part);
    }
    harmless
}

/// Of one line, and all of it text: no heading, list, fence or link begins in it.
fn harmless_line(text: &str) -> String {
    let text = one_line(text);
    let mut harmless = String::with_capacity(text.len());
    // `1.` begins a list as `-` does: the sign behind the number is what does it.
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    for (at, c) in text.char_indices() {
        let begins = match at {
            0 => matches!(c, '#' | '>' | '-' | '+' | '*' | '=' | '~'),
            at => at == number && matches!(c, '.' | ')'),
        };
        match c {
            '<' => harmless.push_str("&lt;"),
            '\\' | '`' | '[' | ']' => harmless.extend(['\\', c]),
            _ if begins => harmless.extend(['\\', c]),
            c => harmless.push(c),
        }
    }
    harmless
}

fn harmless_lesson(lesson: &Lesson) -> Lesson {
    let mut lesson = lesson.clone();
    let Lesson {
        title,
        author,
        duration: _,
        summary,
        learning_objectives,
        content_sections,
        important_timestamps,
        suggested_activities,
        related_resources,
        tags,
        subject,
        difficulty,
        picture_notes,
        terms,
        takeaways,
    } = &mut lesson;
    *title = harmless_line(title);
    *summary = harmless(summary);
    for text in [author, subject, difficulty].into_iter().flatten() {
        *text = harmless_line(text);
    }
    for list in [learning_objectives, suggested_activities, related_resources, tags, takeaways] {
        list.iter_mut().for_each(|text| *text = harmless_line(text));
    }
    for section in content_sections {
        section.title = harmless_line(&section.title);
        section.content = harmless(&section.content);
        section.key_points.iter_mut().for_each(|text| *text = harmless_line(text));
    }
    for time in important_timestamps.iter_mut().chain(picture_notes) {
        time.description = harmless_line(&time.description);
    }
    for term in terms {
        term.term = harmless_line(&term.term);
        term.explanation = harmless_line(&term.explanation);
    }
    lesson
}

/// YAML between its fences. Texts are written in double quotes with JSON's escapes, which YAML has all of.
fn front_matter(draft: &Draft<'_>) -> String {
    let lesson = draft.lesson;
    let mut lines = vec![
        format!("title: {}", quoted(&lesson.title)),
        "type: lesson_plan".to_owned(),
        format!("template: {}", quoted(&draft.template.name)),
        format!("made_by: {}", quoted(draft.made_by)),
        format!("without_model: {}", draft.made_by == "local"),
        format!("duration_seconds: {:.3}", lesson.duration),
        format!("duration: {}", quoted(&clock(lesson.duration))),
    ];
    let texts = [
        ("author", lesson.author.as_deref()),
        ("subject", lesson.subject.as_deref()),
        ("difficulty", lesson.difficulty.as_deref()),
        ("language", draft.language),
        ("source", draft.link),
    ];
    lines.extend(texts.into_iter().filter_map(|(key, text)| Some(format!("{key}: {}", quoted(text?)))));
    lines.push("tags:".to_owned());
    lines.extend(tags(draft).iter().map(|tag| format!("  - {}", quoted(tag))));
    format!("---\n{}\n---\n", lines.join("\n"))
}

/// Tags of the document: its kind, those given, and what it is about, each once.
pub fn tags(draft: &Draft<'_>) -> Vec<String> {
    let subject = draft.lesson.subject.as_deref().map(snake_case).filter(|subject| !subject.is_empty());
    let own = ["lesson_plan".to_owned(), "video_analysis".to_owned()];
    let mut tags: Vec<String> = Vec::new();
    for tag in own.into_iter().chain(draft.tags.iter().cloned()).chain(draft.lesson.tags.iter().cloned()).chain(subject)
    {
        let tag = one_line(&tag);
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// `Machine Learning (intro)` → `machine_learning_intro`.
fn snake_case(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Beyond these YAML has signs that it takes for line ends or not at all.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// One page: the Markdown's body, its pictures put into it by `picture`, which gives their address for a file's name.
pub fn page(draft: &Draft<'_>, picture: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let body = body(draft)?;
    let events = Parser::new_ext(&body, Options::ENABLE_TABLES).map(|event| match event {
        // Whatever passes for HTML in a text stays a text.
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let known = draft.pictures.iter().find(|shown| *shown.file == *dest_url);
            let dest_url = known.and_then(|shown| picture(&shown.file)).unwrap_or_default().into();
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let web = dest_url.starts_with("https://") || dest_url.starts_with("http://");
            let dest_url = if web { dest_url } else { "#".into() };
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        other => other,
    });
    let mut inner = String::new();
    html::push_html(&mut inner, events);
    let mut title = String::new();
    escape_into(&mut title, &draft.lesson.title);
    let language = draft.language.filter(|code| code.bytes().all(|b| b.is_ascii_alphabetic())).unwrap_or("und");
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{inner}</main>\n</body>\n</html>\n"
    ))
}

fn escape_into(to: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '&' => to.push_str("&amp;"),
            '"' => to.push_str("&quot;"),
            c => to.push(c),
        }
    }
}

const STYLE: &str = "body{font:16px/1.6 system-ui,sans-serif;margin:0;background:#fff;color:#222}\
    main{max-width:46rem;margin:2rem auto;padding:0 1rem}img{max-width:100%;height:auto}\
    blockquote{margin:0;padding:.2rem 1rem;border-left:4px solid #888;background:#f4f4f4}";

/// The data as JSON, with what the document says of itself.
#[derive(Debug, Serialize)]
pub struct DocumentJson<'d> {
    pub template: &'d str,
    pub made_by: &'d str,
    pub without_model: bool,
    pub link: Option<&'d str>,
    pub all_tags: Vec<String>,
    pub pictures: &'d [Shown],
    #[serde(flatten)]
    pub lesson: &'d Lesson,
}

impl<'d> DocumentJson<'d> {
    pub fn of(draft: &Draft<'d>) -> Self {
        DocumentJson {
            template: &draft.template.name,
            made_by: draft.made_by,
            without_model: draft.made_by == "local",
            link: draft.link,
            all_tags: tags(draft),
            pictures: draft.pictures,
            lesson: draft.lesson,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::lesson::{Section, Timestamp};

    fn template(layout: &str) -> Template {
        Template {
            name: "own".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            language: "en".to_owned(),
            parameters: Vec::new(),
            model: Default::default(),
            prompt: "about {{ focus }}{% if none %}x{% endif %}".to_owned(),
            layout: layout.to_owned(),
        }
    }

    fn hostile() -> Lesson {
        Lesson {
            title: "a \"quoted\": title\n---\n# x <script>alert(1)</script> ![p](http://e.example/x.png)".to_owned(),
            duration: 3_725.0,
            subject: Some("Machine Learning: intro".to_owned()),
            content_sections: vec![Section {
                title: "one\n# two".to_owned(),
                content: "<img src=x onerror=y> text".to_owned(),
                timestamp_seconds: 65.4,
                key_points: Vec::new(),
            }],
            important_timestamps: vec![Timestamp { seconds: 3_700.0, description: "[x](javascript:1)".to_owned() }],
            tags: vec!["video_analysis".to_owned(), "x".to_owned()],
            ..Lesson::default()
        }
    }

    const LAYOUT: &str = "# {{ lesson.title }}\n\n{{ notice }}\n{% for s in lesson.content_sections %}## {{ s.timestamp_seconds | moment }} \
                          {{ s.title }}\n\n{{ s.content }}\n{% endfor %}{% for t in lesson.important_timestamps %}- {{ t.seconds | \
                          moment }} {{ t.description }}\n{% endfor %}\n{% for p in pictures %}![]({{ p.file }})\n{% endfor %}";

    fn draft<'d>(template: &'d Template, lesson: &'d Lesson, pictures: &'d [Shown]) -> Draft<'d> {
        Draft {
            template,
            parameters: &[],
            lesson,
            pictures,
            link: Some("https://youtu.be/dQw4w9WgXcQ?t=3"),
            made_by: "local",
            tags: &[],
            language: Some("en"),
            notice: "made without a model",
        }
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let (template, lesson) = (template(LAYOUT), hostile());
        let pictures = [Shown { file: "talk.report.01.jpg".to_owned(), seconds: 1.0 }];
        let draft = draft(&template, &lesson, &pictures);
        let text = markdown(&draft).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("---"));
        let title = lines.next().unwrap().strip_prefix("title: ").unwrap();
        assert_eq!(serde_json::from_str::<String>(title).unwrap(), lesson.title);
        assert_eq!(text.lines().filter(|line| *line == "---").count(), 2);
        assert!(text.contains("[01:05](https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=65s) one # two"), "{text}");
        assert!(text.contains("[01:01:40]("), "{text}");
        for tag in ["lesson_plan", "video_analysis", "x", "machine_learning_intro"] {
            assert_eq!(text.matches(&format!("  - \"{tag}\"\n")).count(), 1, "{tag}: {text}");
        }
        let page = page(&draft, &|_| Some("data:image/jpeg;base64,AA".to_owned())).unwrap();
        assert!(
            !page.contains("<script") && !page.contains("<img src=x") && !page.contains("=\"javascript:"),
            "{page}"
        );
        assert!(!page.contains("e.example/x.png\"") && page.contains("data:image/jpeg;base64,AA"), "{page}");
        let json = serde_json::to_value(DocumentJson::of(&draft)).unwrap();
        assert_eq!(json["title"], lesson.title.as_str());
        assert_eq!(json["without_model"], true);
    }

    #[test]
    fn no_line_of_a_text_becomes_anything_but_a_text() {
        let shown = |text: &str| {
            let mut page = String::new();
            html::push_html(
                &mut page,
                Parser::new_ext(&format!("- {}\n", harmless_line(text)), Options::ENABLE_TABLES),
            );
            page.trim().to_owned()
        };
        for (text, as_shown) in [
            ("# one", "# one"),
            ("- one", "- one"),
            ("* one", "* one"),
            ("> one", "&gt; one"),
            ("12. one", "12. one"),
            ("12) one", "12) one"),
            ("12", "12"),
            ("--- one", "--- one"),
            ("~~~ one", "~~~ one"),
            ("```rust", "```rust"),
            ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
            // Backslashes that would take ours away.
            (r"\[x\](https://e.example)", r"\[x\](https://e.example)"),
            (r"\\[x\\](https://e.example)", r"\\[x\\](https://e.example)"),
            (r"!\[x](https://e.example/p.png)", r"!\[x](https://e.example/p.png)"),
            ("<img src=x onerror=y>", "&lt;img src=x onerror=y&gt;"),
            (r"\<b>", r"\&lt;b&gt;"),
        ] {
            assert_eq!(shown(text), format!("<ul>\n<li>{as_shown}</li>\n</ul>"), "{text}");
        }
    }

    #[test]
    fn longer_texts_link_to_pages_only() {
        for (text, kept) in [
            ("see [it](https://a.example/x)", "see [it](https://a.example/x)"),
            ("see [it](javascript:x)", "see [it]\\(javascript:x)"),
            ("see [it]( JavaScript:x)", "see [it]\\( JavaScript:x)"),
            ("see [it][a]\n\n[a]: data:text/html,x", "see [it][a]\n\n[a]\\: data:text/html,x"),
            ("![p](https://a.example/p.png)", "!\\[p](https://a.example/p.png)"),
        ] {
            assert_eq!(harmless(text), kept);
        }
    }

    #[test]
    fn layouts_that_are_wrong_or_endless_are_told() {
        let lesson = hostile();
        for (layout, told) in [
            ("{% for x in %}", "line 1"),
            ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "fuel"),
        ] {
            let template = template(layout);
            let error = markdown(&draft(&template, &lesson, &[])).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(prompt(&template(""), &[("focus".to_owned(), "x".to_owned())]).unwrap(), "about x");
    }

    #[test]
    fn moments_link_where_one_can_watch() {
        for (link, at) in [
            (None, "[00:09]"),
            (
                Some("https://www.youtube.com/watch?list=1&v=dQw4w9WgXcQ"),
                "[00:09](https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=9s)",
            ),
            (Some("https://a.example/v(1).mp4#x"), "[00:09](https://a.example/v%281%29.mp4#t=9)"),
            (
                Some("https://youtube.com.evil.example/watch?v=dQw4w9WgXcQ"),
                "[00:09](https://youtube.com.evil.example/watch?v=dQw4w9WgXcQ#t=9)",
            ),
        ] {
            assert_eq!(moment(link, 9.9), at);
        }
    }
}
