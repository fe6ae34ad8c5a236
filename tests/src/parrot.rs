//! A tiny model in whisper's format that always says the same: for tests of what surrounds a model, in any language. It hears nothing.
//!
//! All weights are zero but the decoder's two embeddings: the one of positions points, at each position, to the token that comes next. So
//! every window with sound in it gives the same phrase. Needs only std, so that any package's tests can include the file.

use std::collections::BTreeMap;
use std::io::{self, Write};

const STATE: usize = 64;
const TEXT_CONTEXT: usize = 448;
const VOCABULARY: usize = 51_865;
const END_OF_TEXT: usize = 50_257;
const START: usize = 50_258;
const FIRST_TIME: usize = 50_364;

/// Writes a multilingual model that takes every sound for language number `language` (whisper's numbering: 0 English, 1 Chinese, 2 German …)
/// and says `tokens` (at most 55 different ones, any bytes) from 0 to `seconds` of each window.
pub fn write(out: &mut impl Write, language: usize, tokens: &[&[u8]], seconds: f64) -> io::Result<()> {
    // whisper.cpp looks for a token that is one space, and throws where there is none.
    let mut vocabulary: Vec<&[u8]> = vec![b" "];
    let mut said = vec![FIRST_TIME];
    for token in tokens {
        let id = vocabulary.iter().position(|known| known == token).unwrap_or_else(|| {
            vocabulary.push(token);
            vocabulary.len() - 1
        });
        said.push(id);
    }
    said.push(FIRST_TIME + (seconds * 50.0).round() as usize);
    // After start comes the language; after start, language and task comes the phrase; then the end, for ever.
    let mut next = vec![START + 1 + language, END_OF_TEXT];
    next.extend(said);
    next.resize(TEXT_CONTEXT, END_OF_TEXT);
    let mut rows = BTreeMap::new();
    for token in &next {
        let row = rows.len() + 1;
        rows.entry(*token).or_insert(row);
    }
    assert!(rows.len() < STATE, "too many different tokens");
    // Rows of a Hadamard matrix: orthogonal, and without a mean that the normalisation would take away.
    let direction = |row: usize| {
        (0..STATE).map(move |column| if (row & column).count_ones().is_multiple_of(2) { 1.0f32 } else { -1.0 })
    };

    out.write_all(&0x6767_6d6c_u32.to_le_bytes())?;
    integers(out, &[VOCABULARY, 1_500, STATE, 1, 1, TEXT_CONTEXT, STATE, 1, 1, 80, 1])?;
    integers(out, &[80, 201])?;
    out.write_all(&vec![0; 80 * 201 * 4])?;
    integers(out, &[vocabulary.len()])?;
    for token in &vocabulary {
        integers(out, &[token.len()])?;
        out.write_all(token)?;
    }

    let s = STATE;
    zeros(out, "encoder.positional_embedding", &[s, 1_500], false)?;
    zeros(out, "encoder.conv1.weight", &[3, 80, s], true)?;
    zeros(out, "encoder.conv1.bias", &[1, s], false)?;
    zeros(out, "encoder.conv2.weight", &[3, s, s], true)?;
    zeros(out, "encoder.conv2.bias", &[1, s], false)?;
    zeros(out, "encoder.ln_post.weight", &[s], false)?;
    zeros(out, "encoder.ln_post.bias", &[s], false)?;
    zeros(out, "decoder.ln.bias", &[s], false)?;
    tensor(out, "decoder.ln.weight", &[s], false, &[1.0f32; STATE].map(f32::to_le_bytes).concat())?;
    let positions: Vec<u8> =
        next.iter().flat_map(|token| direction(rows[token]).flat_map(|x| (1_000.0 * x).to_le_bytes())).collect();
    tensor(out, "decoder.positional_embedding", &[s, TEXT_CONTEXT], false, &positions)?;
    let mut embedding = vec![0u8; VOCABULARY * STATE * 2];
    for (token, row) in &rows {
        let own = &mut embedding[token * STATE * 2..][..STATE * 2];
        // One and minus one as half-precision numbers.
        let halves = direction(*row).flat_map(|x| if x > 0.0 { 0x3c00u16 } else { 0xbc00 }.to_le_bytes());
        own.iter_mut().zip(halves).for_each(|(byte, half)| *byte = half);
    }
    tensor(out, "decoder.token_embedding.weight", &[s, VOCABULARY], true, &embedding)?;
    for (part, attentions) in [("encoder", &["attn"][..]), ("decoder", &["attn", "cross_attn"])] {
        let block = format!("{part}.blocks.0");
        for attention in attentions {
            for norm in ["weight", "bias"] {
                zeros(out, &format!("{block}.{attention}_ln.{norm}"), &[s], false)?;
            }
            for matrix in ["query", "key", "value", "out"] {
                zeros(out, &format!("{block}.{attention}.{matrix}.weight"), &[s, s], true)?;
                if matrix != "key" {
                    zeros(out, &format!("{block}.{attention}.{matrix}.bias"), &[s], false)?;
                }
            }
        }
        for norm in ["weight", "bias"] {
            zeros(out, &format!("{block}.mlp_ln.{norm}"), &[s], false)?;
        }
        zeros(out, &format!("{block}.mlp.0.weight"), &[s, 4 * s], true)?;
        zeros(out, &format!("{block}.mlp.0.bias"), &[4 * s], false)?;
        zeros(out, &format!("{block}.mlp.2.weight"), &[4 * s, s], true)?;
        zeros(out, &format!("{block}.mlp.2.bias"), &[s], false)?;
    }
    Ok(())
}

fn zeros(out: &mut impl Write, name: &str, shape: &[usize], half: bool) -> io::Result<()> {
    let bytes = shape.iter().product::<usize>() * if half { 2 } else { 4 };
    tensor(out, name, shape, half, &vec![0; bytes])
}

fn tensor(out: &mut impl Write, name: &str, shape: &[usize], half: bool, bytes: &[u8]) -> io::Result<()> {
    integers(out, &[shape.len(), name.len(), usize::from(half)])?;
    integers(out, shape)?;
    out.write_all(name.as_bytes())?;
    out.write_all(bytes)
}

fn integers(out: &mut impl Write, numbers: &[usize]) -> io::Result<()> {
    numbers.iter().try_for_each(|number| out.write_all(&(*number as i32).to_le_bytes()))
}
