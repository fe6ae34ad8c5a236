//! Lesson data: what a report says, as a model writes it and as it is checked. Names here are an interface: they stand in prompts and in JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::language::{lenient, moments};

/// Lists and texts of a model's have an end.
const ITEMS_MAX: usize = 500;
const TEXT_CHARS_MAX: usize = 100_000;
const LINE_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Lesson {
    pub title: String,
    pub author: Option<String>,
    /// Seconds.
    pub duration: f64,
    pub summary: String,
    pub learning_objectives: Vec<String>,
    pub content_sections: Vec<Section>,
    pub important_timestamps: Vec<Timestamp>,
    pub suggested_activities: Vec<String>,
    pub related_resources: Vec<String>,
    pub tags: Vec<String>,
    pub subject: Option<String>,
    pub difficulty: Option<String>,
    /// What is seen and not said.
    pub picture_notes: Vec<Timestamp>,
    pub terms: Vec<Term>,
    pub takeaways: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Section {
    pub title: String,
    pub content: String,
    pub timestamp_seconds: f64,
    pub key_points: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timestamp {
    pub seconds: f64,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Term {
    pub term: String,
    pub explanation: String,
}

/// What a model is told of the data, in the words of JSON Schema.
pub fn schema() -> Value {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let list = |properties: Value, required: &[&str]| json!({"type": "array", "items": {"type": "object", "properties": properties, "required": required}});
    let timed = || list(json!({"seconds": {"type": "number"}, "description": text()}), &["seconds", "description"]);
    json!({
        "type": "object",
        "properties": {
            "title": text(), "author": text(), "summary": text(), "subject": text(), "difficulty": text(),
            "learning_objectives": texts(),
            "content_sections": list(
                json!({"title": text(), "content": text(), "timestamp_seconds": {"type": "number"}, "key_points": texts()}),
                &["title", "content", "timestamp_seconds"],
            ),
            "important_timestamps": timed(),
            "picture_notes": timed(),
            "terms": list(json!({"term": text(), "explanation": text()}), &["term", "explanation"]),
            "takeaways": texts(), "suggested_activities": texts(), "related_resources": texts(), "tags": texts(),
        },
        "required": ["title", "summary", "content_sections"],
    })
}

/// The lesson in an answer, or what is wrong with it, in words that a model understands.
pub fn from_text(text: &str, seconds: f64) -> Result<Lesson, String> {
    let value = lenient::find(text, |value| value.is_object() && value.get("content_sections").is_some())
        .or_else(|| lenient::find(text, Value::is_object));
    let Some(value) = value else { return Err("there is no JSON object in it".to_owned()) };
    let mut wrong: Vec<String> = Vec::new();
    let lesson = Lesson {
        title: line(value.get("title")),
        author: optional(value.get("author")),
        duration: seconds,
        summary: text_of(value.get("summary")),
        learning_objectives: lines(value.get("learning_objectives")),
        content_sections: objects(&value, "content_sections", &mut wrong, |section| {
            Some(Section {
                title: line(section.get("title")),
                content: text_of(section.get("content")),
                timestamp_seconds: time(section.get("timestamp_seconds"), seconds)?,
                key_points: lines(section.get("key_points")),
            })
        }),
        important_timestamps: timestamps(&value, "important_timestamps", seconds, &mut wrong),
        suggested_activities: lines(value.get("suggested_activities")),
        related_resources: lines(value.get("related_resources")),
        tags: lines(value.get("tags")),
        subject: optional(value.get("subject")),
        difficulty: optional(value.get("difficulty")),
        picture_notes: timestamps(&value, "picture_notes", seconds, &mut wrong),
        terms: objects(&value, "terms", &mut wrong, |term| {
            let name = line(term.get("term"));
            (!name.is_empty()).then(|| Term { term: name, explanation: line(term.get("explanation")) })
        }),
        takeaways: lines(value.get("takeaways")),
    };
    for (name, empty) in [
        ("title", lesson.title.is_empty()),
        ("summary", lesson.summary.is_empty()),
        ("content_sections", lesson.content_sections.iter().all(|section| section.content.is_empty())),
    ] {
        if empty {
            wrong.push(format!("`{name}` is missing or empty"));
        }
    }
    match wrong.is_empty() {
        true => Ok(lesson),
        false => Err(wrong.join("; ")),
    }
}

fn timestamps(value: &Value, key: &str, seconds: f64, wrong: &mut Vec<String>) -> Vec<Timestamp> {
    let mut times = objects(value, key, wrong, |entry| {
        let seconds = time(entry.get("seconds").or_else(|| entry.get("timestamp_seconds")), seconds)?;
        Some(Timestamp { seconds, description: line(entry.get("description")) })
    });
    times.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    times
}

/// A list of objects; one that makes no sense is named, and so is a list that is none.
fn objects<T>(value: &Value, key: &str, wrong: &mut Vec<String>, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    let list = match value.get(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            wrong.push(format!("`{key}` is no list"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(list.iter().take(ITEMS_MAX)) {
        match read(entry) {
            Some(entry) => found.push(entry),
            None => wrong.push(format!("entry {number} of `{key}` lacks what it needs")),
        }
    }
    found
}

/// Seconds as a number, or as models write them: `"02:03"`. Inside the recording, where its length is known.
fn time(value: Option<&Value>, seconds: f64) -> Option<f64> {
    let time = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => moments::time(text.trim_matches(['[', ']']))?,
        _ => return None,
    };
    let most = if seconds > 0.0 { seconds } else { f64::MAX };
    time.is_finite().then(|| (time.clamp(0.0, most) * 1_000.0).round() / 1_000.0)
}

fn text_of(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let plain = text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).take(TEXT_CHARS_MAX);
    plain.collect::<String>().trim().to_owned()
}

/// Of one line, whatever was in it; what is too long ends with its last whole word, and says so.
pub fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c });
    let plain: String = plain.collect();
    let line = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(LINE_CHARS_MAX) else { return line };
    // Scripts without spaces are cut where they are.
    let words = line[..end].rfind(' ').filter(|at| *at * 2 > end).unwrap_or(end);
    format!("{}…", &line[..words])
}

fn line(value: Option<&Value>) -> String {
    one_line(value.and_then(Value::as_str).unwrap_or_default())
}

fn optional(value: Option<&Value>) -> Option<String> {
    Some(line(value)).filter(|text| !text.is_empty())
}

fn lines(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().take(ITEMS_MAX).map(|entry| line(Some(entry))).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_is_read_from_what_models_write() {
        let text = "Here it is:\n```json\n{title: 'A \"fine\"\\n title', summary: 'S', content_sections: [{title: 'One', \
                    content: 'Text\\nmore', timestamp_seconds: '01:05', key_points: ['a', ''],}], important_timestamps: \
                    [{seconds: 999, description: 'late'}, {seconds: 3, description: 'early'}], tags: ['x']}\n```";
        let lesson = from_text(text, 120.0).unwrap();
        assert_eq!(lesson.title, "A \"fine\" title");
        assert_eq!(lesson.content_sections[0].timestamp_seconds, 65.0);
        assert_eq!(lesson.content_sections[0].content, "Text\nmore");
        assert_eq!(lesson.content_sections[0].key_points, ["a"]);
        assert_eq!(lesson.important_timestamps.iter().map(|t| t.seconds).collect::<Vec<_>>(), [3.0, 120.0]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_with_a_whole_word() {
        assert_eq!(one_line(" a\n b\t"), "a b");
        let exact = "x".repeat(LINE_CHARS_MAX);
        assert_eq!(one_line(&exact), exact);
        let line = one_line(&"seven ".repeat(LINE_CHARS_MAX));
        assert!(line.ends_with("seven…") && line.chars().count() <= LINE_CHARS_MAX, "{line}");
        let unspaced = one_line(&"字".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(unspaced, format!("{}…", "字".repeat(LINE_CHARS_MAX)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, told) in [
            ("no idea", "no JSON object"),
            ("{\"title\": \"x\"}", "`summary` is missing or empty; `content_sections` is missing or empty"),
            (
                "{\"title\":\"x\",\"summary\":\"y\",\"content_sections\":[{\"content\":\"z\"}]}",
                "entry 1 of `content_sections` lacks what it needs",
            ),
            ("{\"title\":\"x\",\"summary\":\"y\",\"content_sections\":\"z\"}", "`content_sections` is no list"),
        ] {
            let wrong = from_text(text, 10.0).unwrap_err();
            assert!(wrong.contains(told), "{text}: {wrong}");
        }
    }
}
