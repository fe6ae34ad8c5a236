//! What a model file says of itself, read before whisper.cpp sees it: that library trusts lengths, counts and ids it finds in a file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// A whisper model whose file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechHeader {
    pub vocabulary: i32,
    pub text_context: i32,
    pub mel_bands: i32,
    /// Width of its encoder.
    pub audio_state: i32,
}

/// Why a file is no model that could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("it is no model in whisper.cpp's format: its first bytes are {0:?}")]
    Magic(String),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it ends too early: the download or the copy was cut off")]
    Truncated,
    #[error("it holds a vocabulary but no weights: it is a file for tests and hears nothing")]
    NoWeights,
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => HeaderError::Truncated,
            _ => HeaderError::Io(error),
        }
    }
}

const MAGIC: [u8; 4] = 0x6767_6d6c_u32.to_le_bytes();
/// English only; with it 99 languages; with it 100. Token ids are computed from this number.
const VOCABULARIES: [i32; 3] = [51_864, 51_865, 51_866];
const TOKEN_BYTES_MAX: u32 = 1_024;
const TENSOR_NAME_BYTES_MAX: i32 = 128;

impl SpeechHeader {
    /// Only a model with more than the English vocabulary knows languages.
    pub fn multilingual(&self) -> bool {
        self.vocabulary > VOCABULARIES[0]
    }

    /// How many languages the model has tokens for.
    pub fn languages(&self) -> usize {
        if self.multilingual() { (self.vocabulary - 51_766) as usize } else { 1 }
    }

    /// Walks the whole file from head to tail, skipping the weights' bytes.
    pub fn read(file: &File) -> Result<Self, HeaderError> {
        let mut walk = Walk::open(file)?;
        let [vocabulary, audio_context, audio_state, audio_heads, audio_layers] = walk.integers()?;
        let [text_context, text_state, text_heads, text_layers, mel_bands, kind] = walk.integers()?;
        let header = SpeechHeader { vocabulary, text_context, mel_bands, audio_state };

        let sane = VOCABULARIES.contains(&vocabulary)
            && (1..=1_500).contains(&audio_context)
            && (32..=1_024).contains(&text_context)
            && (16..=4_096).contains(&audio_state)
            && audio_state == text_state
            && [audio_heads, text_heads].iter().all(|heads| *heads > 0 && audio_state % heads == 0)
            && [audio_layers, text_layers].iter().all(|layers| (1..=128).contains(layers))
            && [80, 128].contains(&mel_bands)
            && (0..100_000).contains(&kind);
        if !sane {
            return Err(HeaderError::Damaged("the numbers in its header fit no model of this kind".to_owned()));
        }
        let [bands, bins] = walk.integers()?;
        if bands != mel_bands || bins != 201 {
            return Err(HeaderError::Damaged(format!("its filter bank is {bands} × {bins}")));
        }
        walk.skip(bands as u64 * bins as u64 * 4)?;

        let [tokens] = walk.integers()?;
        if !(1..=vocabulary).contains(&tokens) {
            return Err(HeaderError::Damaged(format!("it lists {tokens} tokens of {vocabulary}")));
        }
        let mut has_space = false;
        for _ in 0..tokens {
            let [bytes] = walk.integers()?;
            if bytes as u32 > TOKEN_BYTES_MAX {
                return Err(HeaderError::Damaged(format!("a token of {bytes} bytes")));
            }
            if bytes == 1 {
                let mut token = [0];
                walk.reader.read_exact(&mut token)?;
                walk.at += 1;
                has_space |= token == *b" ";
            } else {
                walk.skip(bytes as u64)?;
            }
        }
        if !has_space {
            // whisper.cpp looks it up and throws where it is missing.
            return Err(HeaderError::Damaged("its vocabulary has no space".to_owned()));
        }
        if walk.at_end()? {
            return Err(HeaderError::NoWeights);
        }
        // Eleven outside the layers; memory for the weights is taken by these numbers before the weights are read.
        let expected = 11 + 15 * audio_layers as usize + 24 * text_layers as usize;
        let state = audio_state as u64;
        walk.tensors(expected, |name, elements| match name {
            "decoder.token_embedding.weight" => elements == state * vocabulary as u64,
            name if name.ends_with(".mlp.0.weight") || name.ends_with(".mlp.2.weight") => elements == 4 * state * state,
            _ => true,
        })?;
        Ok(header)
    }
}

/// Whether a file is a model for finding speech that whisper.cpp can load.
pub fn check_voice_model(file: &File) -> Result<(), HeaderError> {
    let mut walk = Walk::open(file)?;
    let [name_bytes] = walk.integers()?;
    if !(1..=64).contains(&name_bytes) {
        return Err(HeaderError::Damaged("it is no model for finding speech".to_owned()));
    }
    let mut name = vec![0; name_bytes as usize];
    walk.reader.read_exact(&mut name)?;
    if name != b"silero-16k" {
        return Err(HeaderError::Damaged(format!("it is a `{}`", String::from_utf8_lossy(&name).escape_debug())));
    }
    let [_, _, _, window, context, layers] = walk.integers()?;
    if window != crate::speech::voice::FRAME as i32 || !(0..=window).contains(&context) || layers != 4 {
        return Err(HeaderError::Damaged("the numbers in its header fit no model of this kind".to_owned()));
    }
    // Channels in, channels out and kernel of each of the four layers, then the four sizes of what follows: the layout is fixed.
    let shape: [i32; 16] = walk.integers()?;
    if shape != [129, 128, 3, 128, 64, 3, 64, 64, 3, 64, 128, 3, 128, 128, 128, 1] {
        return Err(HeaderError::Damaged(format!("its layers are {shape:?}")));
    }
    walk.tensors(15, |_, _| true)
}

struct Walk<'a> {
    reader: BufReader<&'a File>,
    at: u64,
    end: u64,
}

impl<'a> Walk<'a> {
    fn open(file: &'a File) -> Result<Self, HeaderError> {
        let end = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(64 << 10, file);
        reader.seek(SeekFrom::Start(0))?;
        let mut magic = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Err(HeaderError::Magic(String::from_utf8_lossy(&magic).into_owned()));
        }
        Ok(Walk { reader, at: 4, end })
    }

    fn integers<const N: usize>(&mut self) -> Result<[i32; N], HeaderError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            let mut bytes = [0; 4];
            self.reader.read_exact(&mut bytes)?;
            self.at += 4;
            *number = i32::from_le_bytes(bytes);
        }
        Ok(numbers)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), HeaderError> {
        if self.end.saturating_sub(self.at) < bytes {
            return Err(HeaderError::Truncated);
        }
        self.at += bytes;
        // Bounded by the file's length just now, which fits an i64.
        self.reader.seek_relative(bytes as i64)?;
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, HeaderError> {
        use std::io::BufRead;
        Ok(self.reader.fill_buf()?.is_empty())
    }

    /// Walks to the end over exactly `expected` tensors, each with its own name and of a size that `fits`.
    fn tensors(&mut self, expected: usize, fits: impl Fn(&str, u64) -> bool) -> Result<(), HeaderError> {
        let mut names = BTreeSet::new();
        while !self.at_end()? {
            let [dimensions, name_bytes, kind] = self.integers()?;
            if !(0..=4).contains(&dimensions) || !(1..=TENSOR_NAME_BYTES_MAX).contains(&name_bytes) {
                return Err(HeaderError::Damaged("a tensor's head makes no sense".to_owned()));
            }
            let mut elements: u64 = 1;
            for _ in 0..dimensions {
                let [length] = self.integers()?;
                elements = u64::try_from(length)
                    .ok()
                    .and_then(|length| elements.checked_mul(length))
                    .filter(|elements| (1..1 << 31).contains(elements))
                    .ok_or_else(|| HeaderError::Damaged("a tensor's size makes no sense".to_owned()))?;
            }
            let mut name = vec![0; name_bytes as usize];
            self.reader.read_exact(&mut name)?;
            self.at += name.len() as u64;
            let name =
                String::from_utf8(name).map_err(|_| HeaderError::Damaged("a tensor's name is no text".to_owned()))?;
            let (block, block_bytes) = block(kind)
                .ok_or_else(|| HeaderError::Damaged(format!("tensor `{name}` is of unknown kind {kind}")))?;
            if !elements.is_multiple_of(block) || !fits(&name, elements) {
                return Err(HeaderError::Damaged(format!("tensor `{name}` has a wrong size")));
            }
            self.skip(elements / block * block_bytes)?;
            if !names.insert(name) {
                return Err(HeaderError::Damaged("a tensor comes twice".to_owned()));
            }
        }
        match names.len() {
            0 => Err(HeaderError::NoWeights),
            n if n < expected => Err(HeaderError::Truncated),
            n if n > expected => Err(HeaderError::Damaged(format!("it has {n} tensors instead of {expected}"))),
            _ => Ok(()),
        }
    }
}

/// ggml's kinds of numbers: elements in a block, bytes of a block.
fn block(kind: i32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),
        1 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        10 => (256, 84),
        11 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;
    use crate::stage::transcribe::parrot;

    fn model() -> File {
        let mut bytes = Vec::new();
        parrot::write(&mut bytes, 2, &[b" Hallo"], 1.0).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn a_whole_file_is_told_from_any_part_of_it() {
        let file = model();
        let header = SpeechHeader::read(&file).unwrap();
        assert_eq!((header.multilingual(), header.languages()), (true, 99));
        let length = file.metadata().unwrap().len();
        for part in (0..200).rev() {
            file.set_len(length * part / 200).unwrap();
            assert!(SpeechHeader::read(&file).is_err(), "{part}/200");
        }
    }

    proptest! {
        /// Whatever is written over a head, an answer comes back.
        #[test]
        fn no_damage_makes_it_panic(at in 0u64..66_000, bytes in prop::array::uniform4(any::<u8>())) {
            let file = model();
            file.write_all_at(&bytes, at).unwrap();
            let _ = SpeechHeader::read(&file);
            let _ = check_voice_model(&file);
        }
    }
}
