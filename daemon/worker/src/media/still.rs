//! A picture that stands alone through libav's codecs: what AVIF, HEIC and WebP hold. Knows no container and no file.

use ffmpeg_next::ffi;
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use spindle_shared::limits::PICTURE_PIXELS_MAX;

use super::decoder::{Answer, Colour, Decoder, Frame};
use super::demuxer::Packet;
use super::encoder::{VideoEncoder, VideoSettings, pixel_format};
use super::error::MediaError;
use super::graph::{Feed, Graph};
use super::logs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillCodec {
    Av1,
    Hevc,
}

/// What a container says of its colours, before what the codec says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// As ITU-T H.273 numbers them.
    pub matrix: Option<u16>,
    /// Black is 0 and white is all of it.
    pub full_range: Option<bool>,
}

const NO_PICTURE: &str = "no picture came out of it";

/// Decodes one picture; `grey`: only its brightness, as of a mask. 16 bits for a channel where it has more than 8.
pub fn decode(
    codec: StillCodec,
    setup: &[u8],
    data: &[u8],
    said: Said,
    grey: bool,
) -> Result<DynamicImage, MediaError> {
    let nothing = |reason: &str| MediaError::NoPicture {
        codec: format!("{codec:?}"),
        packets: 1,
        reason: match logs::reason(0) {
            told if told.is_empty() => reason.to_owned(),
            told => told,
        },
    };
    logs::begin();
    let (id, setup) = match codec {
        // What stands there of AV1 stands in the data, too.
        StillCodec::Av1 => (ffi::AVCodecID::AV_CODEC_ID_AV1, &[][..]),
        StillCodec::Hevc => (ffi::AVCodecID::AV_CODEC_ID_HEVC, setup),
    };
    let mut decoder = Decoder::of_still(id, setup, PICTURE_PIXELS_MAX)?;
    let mut packet = Packet::new()?;
    packet.fill(data)?;
    if decoder.send(Some(&packet))? == Answer::Damaged {
        return Err(nothing("its data make no sense"));
    }
    decoder.send(None)?;
    let mut frame = Frame::new()?;
    if decoder.receive(&mut frame)? != Answer::Ok {
        return Err(nothing(NO_PICTURE));
    }
    if frame.damaged() {
        return Err(nothing("there is damage in it"));
    }
    let shape = frame.picture().ok_or_else(|| nothing(NO_PICTURE))?;
    let deep = bits_of(shape.format) > 8;
    let form = match (grey, deep) {
        (true, false) => "gray",
        (true, true) => "gray16le",
        (false, false) => "rgb24",
        (false, true) => "rgb48le",
    };
    let scale = scale_of(said, frame.colour());
    let chain = format!("scale={scale}flags=bicubic+accurate_rnd+full_chroma_int,format={form}");
    let mut graph = Graph::new(Feed::Pictures { shape, time_base: (1, 1) }, &chain, 1)?;
    frame.set_timestamp(Some(0));
    graph.push(Some(&mut frame))?;
    graph.push(None)?;
    let mut out = Frame::new()?;
    if !graph.pull(&mut out)? {
        return Err(nothing(NO_PICTURE));
    }
    let (width, height) = (shape.width.unsigned_abs(), shape.height.unsigned_abs());
    let channels = if grey { 1 } else { 3 };
    let bytes = out.packed_rows(channels * if deep { 2 } else { 1 });
    let wide = || bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect::<Vec<_>>();
    let image = match (grey, deep) {
        (true, false) => GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        (true, true) => ImageBuffer::from_raw(width, height, wide()).map(DynamicImage::ImageLuma16),
        (false, false) => RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        (false, true) => ImageBuffer::from_raw(width, height, wide()).map(DynamicImage::ImageRgb16),
    };
    image.ok_or_else(|| nothing(NO_PICTURE))
}

/// Bits of a channel; 8 where libav can't say.
fn bits_of(format: i32) -> i32 {
    // SAFETY: the number came from libav, which knows its own formats; what comes back is static, or null.
    unsafe {
        let format: ffi::AVPixelFormat = std::mem::transmute(format);
        ffi::av_pix_fmt_desc_get(format).as_ref().map_or(8, |about| about.comp[0].depth)
    }
}

/// What the scaler is told of the colours: nothing where they are RGB already.
fn scale_of(said: Said, own: Colour) -> String {
    let matrix = said.matrix.unwrap_or(own.space as u16);
    let matrix = match matrix {
        0 => return String::new(),
        1 => "bt709",
        7 => "smpte240m",
        9 | 10 => "bt2020",
        // What says nothing is as JPEG has it.
        _ => "smpte170m",
    };
    let full = said.full_range.unwrap_or(own.range == ffi::AVColorRange::AVCOL_RANGE_JPEG);
    format!("in_color_matrix={matrix}:in_range={}:", if full { "pc" } else { "tv" })
}

/// A WebP file with losses, of a picture of 8 bits with or without transparency.
pub fn webp(image: &DynamicImage, quality: u32) -> Result<Vec<u8>, MediaError> {
    let rgba = image.to_rgba8();
    let pixels: Vec<u8> = rgba.as_raw().chunks_exact(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect();
    let mut frame = Frame::blank(image.width(), image.height(), pixel_format("bgra")?)?;
    frame.fill_rows(&pixels, 4);
    let options = [("quality", quality.to_string()), ("lossless", "0".to_owned())];
    encode("libwebp", "bgra", &mut frame, &options, None, image)
}

/// What AV1 makes of a picture: the data, and what a container must know of them.
pub struct Av1 {
    pub data: Vec<u8>,
    /// Colours at half the resolution.
    pub halved: bool,
}

/// A picture of 8 bits without transparency, or its brightness alone.
pub fn av1(image: &DynamicImage, quality: u32) -> Result<Av1, MediaError> {
    let grey = !image.color().has_color();
    let halved = quality < 90;
    let (packed, bytes) = if grey { ("gray", 1) } else { ("rgb24", 3) };
    let rows = if grey { image.to_luma8().into_raw() } else { image.to_rgb8().into_raw() };
    let mut frame = Frame::blank(image.width(), image.height(), pixel_format(packed)?)?;
    frame.fill_rows(&rows, bytes);
    frame.set_timestamp(Some(0));
    let planar = if halved { "yuv420p" } else { "yuv444p" };
    let shape = frame.picture().ok_or(MediaError::OutOfMemory { doing: "encoding" })?;
    let chain = format!(
        "scale=out_color_matrix=smpte170m:in_range=pc:out_range=pc:flags=bicubic+accurate_rnd+full_chroma_inp,format={planar}"
    );
    let mut graph = Graph::new(Feed::Pictures { shape, time_base: (1, 1) }, &chain, 1)?;
    graph.push(Some(&mut frame))?;
    graph.push(None)?;
    let mut made = Frame::new()?;
    if !graph.pull(&mut made)? {
        return Err(MediaError::Shape { reason: NO_PICTURE.to_owned() });
    }
    let crf = (100 - quality.min(100)) * 63 / 100;
    let options = [("crf", crf.to_string()), ("cpu-used", "6".to_owned()), ("still-picture", "1".to_owned())];
    let colour = Colour {
        range: ffi::AVColorRange::AVCOL_RANGE_JPEG,
        primaries: ffi::AVColorPrimaries::AVCOL_PRI_BT709,
        transfer: ffi::AVColorTransferCharacteristic::AVCOL_TRC_IEC61966_2_1,
        space: ffi::AVColorSpace::AVCOL_SPC_SMPTE170M,
    };
    let data = encode("libaom-av1", planar, &mut made, &options, Some(colour), image)?;
    Ok(Av1 { data, halved })
}

fn encode(
    encoder: &str,
    pixel_format: &str,
    frame: &mut Frame,
    options: &[(&str, String)],
    colour: Option<Colour>,
    image: &DynamicImage,
) -> Result<Vec<u8>, MediaError> {
    let settings = VideoSettings {
        encoder: encoder.to_owned(),
        width: image.width(),
        height: image.height(),
        rate: (1, 1),
        pixel_format: pixel_format.to_owned(),
        sample_aspect: (1, 1),
        bit_rate: None,
        bit_rate_max: None,
        buffer_bits: None,
        group: None,
        options: options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        colour,
        threads: 1,
    };
    let mut data = Vec::new();
    let mut keep = |packet: &mut Packet| {
        data.extend_from_slice(packet.bytes());
        Ok(())
    };
    let mut coder = VideoEncoder::open(&settings)?;
    frame.set_timestamp(Some(0));
    coder.push(frame, &mut keep)?;
    coder.finish(&mut keep)?;
    match data.is_empty() {
        true => Err(MediaError::Encode { encoder: encoder.to_owned(), reason: "it gave nothing".to_owned() }),
        false => Ok(data),
    }
}
