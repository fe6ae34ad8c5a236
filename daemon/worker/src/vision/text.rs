//! What was read in a picture, and how it is written down: text, hOCR, JSON. Pure; knows no recognizer.

use std::fmt::Write;

use serde_json::json;

/// A rectangle of pixels; right and bottom are the first that no longer belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub text: String,
    /// 0–100.
    pub confidence: f32,
    pub frame: Frame,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Counted from 1 over the picture.
    pub block: u32,
    /// Counted from 1 over the picture.
    pub paragraph: u32,
    pub frame: Frame,
    pub words: Vec<Word>,
}

/// All that was read in a picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    pub width: u32,
    pub height: u32,
    pub languages: String,
    /// As the recognizer sets it: lines, and an empty one between paragraphs.
    pub text: String,
    pub lines: Vec<Line>,
}

/// Languages whose words stand without blanks between them.
fn is_wide(character: char) -> bool {
    matches!(character as u32, 0x2E80..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0xFF00..=0xFFEF | 0x20000..=0x3FFFF)
}

impl Line {
    pub fn text(&self) -> String {
        let mut text = String::new();
        for word in &self.words {
            let between = (text.chars().next_back(), word.text.chars().next());
            if !text.is_empty() && !matches!(between, (Some(before), Some(after)) if is_wide(before) && is_wide(after))
            {
                text.push(' ');
            }
            text.push_str(&word.text);
        }
        text
    }
}

impl Page {
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.lines.iter().flat_map(|line| &line.words)
    }

    /// 0–100, long words counting more; `None` where nothing was read.
    pub fn confidence(&self) -> Option<f32> {
        let (sum, count) = self.words().fold((0.0, 0.0), |(sum, count), word| {
            let characters = word.text.chars().count() as f32;
            (sum + word.confidence * characters, count + characters)
        });
        (count > 0.0).then(|| sum / count)
    }

    pub fn to_txt(&self) -> String {
        let text = self.text.trim_end();
        if text.is_empty() { String::new() } else { format!("{text}\n") }
    }

    pub fn to_json(&self) -> String {
        let frame = |frame: &Frame| json!([frame.left, frame.top, frame.right, frame.bottom]);
        let rounded = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let words: Vec<_> = line
                    .words
                    .iter()
                    .map(|word| json!({"text": word.text, "confidence": rounded(word.confidence), "box": frame(&word.frame)}))
                    .collect();
                json!({
                    "block": line.block,
                    "paragraph": line.paragraph,
                    "text": line.text(),
                    "box": frame(&line.frame),
                    "words": words,
                })
            })
            .collect();
        let document = json!({
            "width": self.width,
            "height": self.height,
            "languages": self.languages,
            "confidence": self.confidence().map(rounded),
            "text": self.text.trim_end(),
            "lines": lines,
        });
        format!("{document:#}\n")
    }

    /// hOCR 1.2: XHTML whose classes and titles say what stands where.
    pub fn to_hocr(&self, picture: &str) -> String {
        let mut out = String::new();
        let within = format!("bbox 0 0 {} {}", self.width, self.height);
        let _ = write!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
             \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
             <html xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<title>{title}</title>\n\
             <meta http-equiv=\"Content-Type\" content=\"text/html;charset=utf-8\"/>\n\
             <meta name=\"ocr-system\" content=\"tesseract\"/>\n\
             <meta name=\"ocr-capabilities\" content=\"ocr_page ocr_carea ocr_par ocr_line ocrx_word\"/>\n\
             </head>\n<body>\n<div class=\"ocr_page\" id=\"page_1\" title=\"image &quot;{title}&quot;; {within}; ppageno 0\">\n",
            title = escaped(picture),
        );
        let mut word_number = 0;
        for (block_number, block) in self.lines.chunk_by(|a, b| a.block == b.block).enumerate() {
            let _ = writeln!(
                out,
                "<div class=\"ocr_carea\" id=\"block_1_{}\" title=\"{}\">",
                block_number + 1,
                bbox(&around(block))
            );
            for paragraph in block.chunk_by(|a, b| a.paragraph == b.paragraph) {
                let _ = writeln!(
                    out,
                    "<p class=\"ocr_par\" id=\"par_1_{}\" title=\"{}\">",
                    paragraph.first().map_or(0, |line| line.paragraph),
                    bbox(&around(paragraph))
                );
                for line in paragraph {
                    let _ = write!(out, "<span class=\"ocr_line\" title=\"{}\">", bbox(&line.frame));
                    for (at, word) in line.words.iter().enumerate() {
                        word_number += 1;
                        let _ = write!(
                            out,
                            "{}<span class=\"ocrx_word\" id=\"word_1_{word_number}\" title=\"{}; x_wconf {:.0}\">{}</span>",
                            if at == 0 { "" } else { " " },
                            bbox(&word.frame),
                            word.confidence,
                            escaped(&word.text)
                        );
                    }
                    out.push_str("</span>\n");
                }
                out.push_str("</p>\n");
            }
            out.push_str("</div>\n");
        }
        out.push_str("</div>\n</body>\n</html>\n");
        out
    }
}

fn bbox(frame: &Frame) -> String {
    format!("bbox {} {} {} {}", frame.left, frame.top, frame.right, frame.bottom)
}

fn around(lines: &[Line]) -> Frame {
    lines.iter().map(|line| line.frame).reduce(Frame::joined).unwrap_or(Frame { left: 0, top: 0, right: 0, bottom: 0 })
}

impl Frame {
    pub fn joined(self, other: Frame) -> Frame {
        Frame {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// For XML, without the control characters that it can't hold.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let frame = |left, right| Frame { left, top: 10, right, bottom: 30 };
        let word =
            |text: &str, left, confidence| Word { text: text.to_owned(), confidence, frame: frame(left, left + 40) };
        let line = |block, paragraph, words: Vec<Word>| Line { block, paragraph, frame: frame(5, 200), words };
        Page {
            width: 300,
            height: 200,
            languages: "eng+chi_sim".to_owned(),
            text: "Fish & chips\n\n鱼 薯条\n\n".to_owned(),
            lines: vec![
                line(1, 1, vec![word("Fish", 5, 96.04), word("&", 50, 90.0), word("chips", 95, 91.5)]),
                line(2, 2, vec![word("鱼", 5, 80.0), word("薯条", 50, 70.0)]),
            ],
        }
    }

    #[test]
    fn text_ends_with_one_line_break_and_nothing_with_none() {
        assert_eq!(page().to_txt(), "Fish & chips\n\n鱼 薯条\n");
        assert_eq!(Page { text: " \n\n".to_owned(), ..Page::default() }.to_txt(), "");
    }

    #[test]
    fn json_has_boxes_and_confidence_of_every_word() {
        let json: serde_json::Value = serde_json::from_str(&page().to_json()).unwrap();
        assert_eq!(json["lines"][0]["words"][0]["confidence"], 96.0);
        assert_eq!(json["lines"][0]["words"][2]["box"], serde_json::json!([95, 10, 135, 30]));
        assert_eq!(json["lines"][0]["text"], "Fish & chips");
        assert_eq!(json["lines"][1]["text"], "鱼薯条");
        assert_eq!(json["confidence"], 88.6);
        let nothing: serde_json::Value = serde_json::from_str(&Page::default().to_json()).unwrap();
        assert!(nothing["confidence"].is_null());
    }

    #[test]
    fn hocr_is_escaped_and_nested() {
        let hocr = page().to_hocr("a \"b\" <c>\u{1}.png");
        assert!(hocr.contains("image &quot;a &quot;b&quot; &lt;c&gt;\u{FFFD}.png&quot;; bbox 0 0 300 200"));
        assert!(hocr.contains("title=\"bbox 50 10 90 30; x_wconf 90\">&amp;</span>"));
        assert_eq!(hocr.matches("<div").count(), hocr.matches("</div>").count());
        assert_eq!(hocr.matches("<span").count(), hocr.matches("</span>").count());
        assert_eq!(hocr.matches("ocr_carea\" id").count(), 2);
        assert_eq!(hocr.matches("ocrx_word\" id").count(), 5);
    }
}
