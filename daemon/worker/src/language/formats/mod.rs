//! Cues and transcripts as files: one writer per format, and for formats with a structure of their own a check that it holds.

pub mod clock;
pub mod csv;
pub mod json;
pub mod lrc;
pub mod srt;
pub mod tsv;
pub mod txt;
pub mod vtt;

use std::io::{self, Write};

use spindle_shared::stage::subtitle::Format;

use super::cues::Cue;
use super::transcript::Transcript;

/// Writes the format. Subtitles and tables hold cues; `txt` and `json` hold the transcript as it was heard.
pub fn write(format: Format, transcript: &Transcript, cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Srt => srt::write(cues, to),
        Format::Vtt => vtt::write(cues, to),
        Format::Txt => txt::write(transcript, to),
        Format::Json => json::write(transcript, to),
        Format::Lrc => lrc::write(cues, to),
        Format::Csv => csv::write(cues, to),
        Format::Tsv => tsv::write(cues, to),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn cue(start_ms: u64, end_ms: u64, lines: &[&str]) -> Cue {
        Cue { start_ms, end_ms, lines: lines.iter().map(|&line| line.to_owned()).collect(), text: lines.join(" ") }
    }

    pub fn written(format: Format, transcript: &Transcript, cues: &[Cue]) -> String {
        let mut out = Vec::new();
        write(format, transcript, cues, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_empty_transcript_is_a_valid_file_in_every_format() {
        let transcript = Transcript { language: "und".to_owned(), duration: 3.0, ..Transcript::default() };
        let expected = |format| match format {
            Format::Srt | Format::Txt | Format::Lrc => "",
            Format::Vtt => "WEBVTT\n\n",
            Format::Csv => "start,end,text\r\n",
            Format::Tsv => "start\tend\ttext\n",
            Format::Json => "{\"language\":\"und\",\"language_probability\":0.0,\"duration\":3.0,\"segments\":[]}\n",
        };
        for format in Format::ALL {
            assert_eq!(written(format, &transcript, &[]), expected(format), "{}", format.name());
        }
        assert_eq!(srt::check(&b""[..]), Ok(()));
        assert_eq!(vtt::check(&b"WEBVTT\n\n"[..]), Ok(()));
    }

    #[test]
    fn subtitles_are_written_as_players_read_them() {
        let cues = [cue(0, 1_500, &["Hello <i>", "& bye --> there"]), cue(61_001, 360_000_000, &["字幕"])];
        assert_eq!(
            written(Format::Srt, &Transcript::default(), &cues),
            "1\n00:00:00,000 --> 00:00:01,500\nHello <i>\n& bye → there\n\n2\n00:01:01,001 --> 100:00:00,000\n字幕\n\n"
        );
        assert_eq!(
            written(Format::Vtt, &Transcript::default(), &cues),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello &lt;i&gt;\n&amp; bye --&gt; there\n\n\
             00:01:01.001 --> 100:00:00.000\n字幕\n\n"
        );
    }

    #[test]
    fn tables_are_written_as_programs_read_them() {
        let cues = [cue(0, 1_500, &["He said", "\"no\", then"]), cue(59_999, 60_005, &["[12:00]\tx"])];
        assert_eq!(
            written(Format::Csv, &Transcript::default(), &cues),
            "start,end,text\r\n0.000,1.500,\"He said \"\"no\"\", then\"\r\n59.999,60.005,[12:00]\tx\r\n"
        );
        assert_eq!(
            written(Format::Tsv, &Transcript::default(), &cues),
            "start\tend\ttext\n0\t1500\tHe said \"no\", then\n59999\t60005\t[12:00] x\n"
        );
        assert_eq!(
            written(Format::Lrc, &Transcript::default(), &cues),
            "[00:00.00]He said \"no\", then\n[01:00.00] [12:00]\tx\n"
        );
    }
}
