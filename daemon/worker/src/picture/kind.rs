//! What kind of picture a file is, told by its first bytes alone: names lie. Decodes nothing.

use super::PictureError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Bmp,
    Tiff,
    Ico,
    Pnm,
    Hdr,
    Exr,
    Avif,
    Heic,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Jpeg => "JPEG",
            Kind::Png => "PNG",
            Kind::Gif => "GIF",
            Kind::Webp => "WebP",
            Kind::Bmp => "BMP",
            Kind::Tiff => "TIFF",
            Kind::Ico => "icon",
            Kind::Pnm => "PNM",
            Kind::Hdr => "Radiance HDR",
            Kind::Exr => "OpenEXR",
            Kind::Avif => "AVIF",
            Kind::Heic => "HEIC",
        }
    }
}

pub fn of(head: &[u8]) -> Result<Kind, PictureError> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let kind = match head {
        [0xff, 0xd8, 0xff, ..] => Kind::Jpeg,
        _ if begins(b"\x89PNG\r\n\x1a\n") => Kind::Png,
        _ if begins(b"GIF87a") || begins(b"GIF89a") => Kind::Gif,
        _ if begins(b"RIFF") && head.get(8..12) == Some(b"WEBP") => Kind::Webp,
        _ if begins(b"BM") => Kind::Bmp,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Kind::Tiff,
        [0, 0, 1, 0, ..] => Kind::Ico,
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] => Kind::Pnm,
        _ if begins(b"#?RADIANCE") || begins(b"#?RGBE") => Kind::Hdr,
        [0x76, 0x2f, 0x31, 0x01, ..] => Kind::Exr,
        _ => return brand(head),
    };
    Ok(kind)
}

/// Kinds that share a container tell themselves apart by brands.
fn brand(head: &[u8]) -> Result<Kind, PictureError> {
    let not = |what: &str| Err(PictureError::NotRead(what.to_owned()));
    if head.get(4..8) != Some(b"ftyp") {
        return not(other(head));
    }
    let length = head.get(..4).map_or(0, |size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize);
    let end = length.min(head.len());
    let brands: Vec<&[u8]> = head.get(8..end).unwrap_or_default().chunks_exact(4).collect();
    let has = |wanted: &[&[u8; 4]]| brands.iter().any(|brand| wanted.iter().any(|known| known.as_slice() == *brand));
    if has(&[b"avif", b"avis"]) {
        Ok(Kind::Avif)
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        Ok(Kind::Heic)
    } else {
        not("it is a video or another file of the MP4 family, not a picture")
    }
}

fn other(head: &[u8]) -> &'static str {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let text = head.trim_ascii_start();
    match () {
        () if begins(b"%PDF") => "it is a PDF document, not a picture",
        () if begins(b"\0\0\0\x0cjP  \r\n") || begins(b"\xff\x4f\xff\x51") => "it is JPEG 2000, which isn't read here",
        () if begins(b"\0\0\0\x0cJXL ") || begins(b"\xff\x0a") => "it is JPEG XL, which isn't read here",
        () if begins(b"8BPS") => "it is a Photoshop document, which isn't read here",
        () if text.starts_with(b"<svg") || text.starts_with(b"<?xml") => "it is SVG or XML: drawings aren't read here",
        () if text.starts_with(b"<") => "it is a web page or the like, not a picture",
        () => "it is no picture of a kind that is known here",
    }
}

/// Whether there is more than one picture in it: an animation, or pages. Only the first is worked on.
pub fn has_more(kind: Kind, bytes: &[u8]) -> bool {
    match kind {
        Kind::Gif => gif_pictures(bytes) > 1,
        Kind::Png => bytes.windows(4).take(4_096).any(|four| four == b"acTL"),
        Kind::Webp => bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0),
        Kind::Tiff => second_page(bytes).unwrap_or(false),
        Kind::Avif => bytes.get(8..12) == Some(b"avis"),
        _ => false,
    }
}

/// Counted up to two.
fn gif_pictures(bytes: &[u8]) -> u32 {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let Some(flags) = bytes.get(10) else { return 0 };
    let mut at = 13 + table(*flags);
    let mut pictures = 0;
    loop {
        match bytes.get(at) {
            Some(0x2c) => {
                pictures += 1;
                let Some(flags) = bytes.get(at + 9).filter(|_| pictures < 2) else { return pictures };
                at += 11 + table(*flags);
            }
            Some(0x21) => at += 2,
            _ => return pictures,
        }
        // Data in blocks, each with its length before it; an empty one ends them.
        while let Some(length) = bytes.get(at).filter(|length| **length > 0) {
            at += 1 + usize::from(*length);
        }
        at += 1;
    }
}

fn second_page(bytes: &[u8]) -> Option<bool> {
    let little = bytes.first()? == &b'I';
    let u16_at = |at: usize| {
        let two = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let u32_at = |at: usize| {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) } as usize)
    };
    if u16_at(2)? != 42 {
        return None;
    }
    let first = u32_at(4)?;
    let entries = usize::from(u16_at(first)?);
    Some(u32_at(first + 2 + entries * 12)? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_content() {
        assert_eq!(of(b"\xff\xd8\xff\xe0").ok(), Some(Kind::Jpeg));
        assert_eq!(of(b"RIFF\0\0\0\0WEBPVP8 ").ok(), Some(Kind::Webp));
        assert_eq!(of(b"\0\0\0\x14ftypmif1\0\0\0\0avif").ok(), Some(Kind::Avif));
        assert_eq!(of(b"\0\0\0\x14ftypheic\0\0\0\0mif1").ok(), Some(Kind::Heic));
        for (head, told) in [
            (&b"%PDF-1.4"[..], "PDF"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "video"),
            (b"hello", "no picture"),
            (b"", "no picture"),
            (b"<html>", "web page"),
            (b"P9 1 1", "no picture"),
        ] {
            assert!(of(head).unwrap_err().to_string().contains(told), "{head:?}");
        }
    }

    #[test]
    fn a_cut_off_animation_is_counted_without_an_end() {
        assert!(!has_more(Kind::Gif, b"GIF89a"));
        assert!(!has_more(Kind::Gif, b"GIF89a\x01\0\x01\0\x80\0\0aaabbb!\xf9\x04\0\0\0\0\0,"));
        assert!(!has_more(Kind::Tiff, b"II*\0\xff\xff\xff\xff"));
    }
}
