//! What a stream must be like for its packets to be copied among others that are encoded anew. Knows no job.

use std::ptr;

use ffmpeg_next::ffi;

use super::decoder::Colour;
use super::demuxer::Demuxer;
use super::encoder::Codec;
use super::error::MediaError;
use super::facts::{StreamFacts, Turn};
use super::h264;

/// What streams have in common whose packets may stand in one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likeness {
    pub width: u32,
    pub height: u32,
    pub sample_aspect: (i32, i32),
    /// The codec's parameter sets.
    pub extra: Vec<u8>,
}

/// `None` where its packets can't be copied: another codec, another kind of picture than the encoder makes, or turned.
pub fn likeness(demuxer: &Demuxer<'_>, stream: &StreamFacts) -> Option<Likeness> {
    let picture = stream.picture?;
    // SAFETY: null or valid as long as the demuxer.
    let parameters = unsafe { demuxer.parameters(stream.index).as_ref() }?;
    let plain = parameters.codec_id == ffi::AVCodecID::AV_CODEC_ID_H264
        && parameters.format == ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i32
        && picture.turn == Turn::None
        && !picture.interlaced
        && stream.encrypted.is_none();
    let extra = extra_data(parameters);
    let known = plain && h264::strung(&extra).is_some() && h264::free_id(&extra).is_some();
    known.then_some(Likeness {
        width: stream.width,
        height: stream.height,
        sample_aspect: picture.sample_aspect,
        extra,
    })
}

/// The stream's codec, with these parameter sets.
pub fn codec_with(demuxer: &Demuxer<'_>, index: usize, extra: &[u8]) -> Result<Codec, MediaError> {
    let out_of_memory = || MediaError::OutOfMemory { doing: "copying packets" };
    let codec = Codec::of_stream(demuxer, index)?;
    let size = i32::try_from(extra.len()).map_err(|_| out_of_memory())?;
    // SAFETY: the parameters are this codec's own; the new extra data is libav's to free, as the old one was, with its padding.
    unsafe {
        let fields = &mut *codec.as_ptr().cast_mut();
        ffi::av_freep(ptr::from_mut(&mut fields.extradata).cast());
        fields.extradata_size = 0;
        fields.extradata = ffi::av_mallocz(extra.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast();
        if fields.extradata.is_null() {
            return Err(out_of_memory());
        }
        ptr::copy_nonoverlapping(extra.as_ptr(), fields.extradata, extra.len());
        fields.extradata_size = size;
    }
    Ok(codec)
}

/// What libav's scaler calls the matrix of these colours; `None` where nobody says, or the scaler doesn't know it.
pub fn matrix_name(colour: &Colour) -> Option<&'static str> {
    match colour.space {
        ffi::AVColorSpace::AVCOL_SPC_BT709 => Some("bt709"),
        ffi::AVColorSpace::AVCOL_SPC_SMPTE170M => Some("smpte170m"),
        ffi::AVColorSpace::AVCOL_SPC_BT470BG => Some("bt470bg"),
        ffi::AVColorSpace::AVCOL_SPC_BT2020_NCL => Some("bt2020"),
        _ => None,
    }
}

/// An encoder's parameter sets, with start codes.
pub fn parameter_sets(codec: &Codec) -> Vec<u8> {
    // SAFETY: a codec has its parameters.
    extra_data(unsafe { &*codec.as_ptr() })
}

fn extra_data(parameters: &ffi::AVCodecParameters) -> Vec<u8> {
    match usize::try_from(parameters.extradata_size) {
        Ok(size) if size > 0 && !parameters.extradata.is_null() => {
            // SAFETY: extra data has that many bytes.
            unsafe { std::slice::from_raw_parts(parameters.extradata, size) }.to_vec()
        }
        _ => Vec::new(),
    }
}
