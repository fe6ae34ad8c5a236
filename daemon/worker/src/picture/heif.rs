//! HEIF: the container of AVIF and HEIC. Finds the picture, its tiles, mask, turns and texts; what is in the codecs is `media`'s. Believes no
//! length and no number.

use std::collections::HashMap;

use image::{DynamicImage, GenericImage, GrayImage, ImageBuffer};
use moxcms::ColorProfile;

use super::kind::Kind;
use super::metadata::Metadata;
use super::read::{Read, within_limits};
use super::{PictureError, Size};
use crate::media::MediaError;
use crate::media::still::{self, Said, StillCodec};

/// Items and properties; a phone's picture has some sixty.
const ENTRIES_MAX: usize = 4_096;
const TILES_MAX: usize = 1_024;
/// A derived picture of derived pictures is no camera's.
const DEPTH_MAX: u32 = 3;

type Name = [u8; 4];

#[derive(Debug, Default)]
struct Item {
    kind: Name,
    /// Of a `mime` item.
    content_type: Vec<u8>,
    /// Where its bytes are: in the file, or (`in_idat`) in the box of small data.
    extents: Vec<(u64, u64)>,
    in_idat: bool,
    /// Places in the list of properties, from 1.
    properties: Vec<usize>,
}

#[derive(Debug, Default)]
struct Container<'b> {
    bytes: &'b [u8],
    primary: Option<u32>,
    items: HashMap<u32, Item>,
    properties: Vec<(Name, &'b [u8])>,
    references: Vec<(Name, u32, Vec<u32>)>,
    idat: &'b [u8],
}

pub fn read(kind: Kind, bytes: &[u8]) -> Result<Read, PictureError> {
    let mut reader = Reader { kind, container: Container { bytes, ..Container::default() } };
    reader.find().ok_or_else(|| reader.damaged("its boxes make no sense"))?;
    let primary = reader.container.primary.ok_or_else(|| reader.damaged("it names no picture"))?;
    let colours = reader.colours(primary);
    let mut notes = Vec::new();
    if matches!(colours.transfer, Some(16 | 18)) {
        notes.push("it is made for HDR screens: its brightest parts are cut off".to_owned());
    }
    let mut pixels = reader.picture(primary, false, 0)?;
    let mask = reader.mask_of(primary);
    if let Some(mask) = mask {
        match reader.picture(mask, true, 0) {
            Ok(mask) => pixels = with_mask(pixels, mask),
            Err(error) => notes.push(format!("its transparency could not be read, and is left out: {error}")),
        }
    }
    let pixels = reader.turned(primary, pixels)?;
    let stored = (pixels.width(), pixels.height());
    let metadata = reader.metadata(primary);
    Ok(Read { pixels, stored, orientation: 1, metadata, profile: colours.profile, notes })
}

/// What the `colr` properties say.
#[derive(Default)]
struct Colours {
    profile: Option<Vec<u8>>,
    said: Said,
    transfer: Option<u16>,
}

struct Reader<'b> {
    kind: Kind,
    container: Container<'b>,
}

impl<'b> Reader<'b> {
    fn damaged(&self, reason: impl Into<String>) -> PictureError {
        PictureError::Damaged { kind: self.kind.name(), reason: reason.into() }
    }

    /// Takes the container apart; `None` where it breaks off or contradicts itself.
    fn find(&mut self) -> Option<()> {
        let meta = boxes(self.container.bytes).find(|(name, _)| name == b"meta")?.1.get(4..)?;
        for (name, body) in boxes(meta) {
            match &name {
                b"pitm" => self.container.primary = Some(primary(body)?),
                b"iinf" => self.infos(body)?,
                b"iloc" => self.places(body)?,
                b"idat" => self.container.idat = body,
                b"iref" => self.references(body)?,
                b"iprp" => self.properties(body)?,
                _ => {}
            }
        }
        Some(())
    }

    fn infos(&mut self, body: &'b [u8]) -> Option<()> {
        let entries = body.get(if body.first()? == &0 { 6 } else { 8 }..)?;
        for (name, info) in boxes(entries).take(ENTRIES_MAX) {
            let version = *info.first()?;
            if &name != b"infe" || version < 2 {
                continue;
            }
            let mut numbers = Numbers(info.get(4..)?);
            let id = if version == 2 { numbers.u16()?.into() } else { numbers.u32()? };
            numbers.u16()?;
            let item = self.container.items.entry(id).or_default();
            item.kind = numbers.0.get(..4)?.try_into().ok()?;
            if &item.kind == b"mime" {
                // Its name, then what it is; both end with zero.
                let mut texts = numbers.0.get(4..)?.split(|byte| *byte == 0);
                item.content_type = texts.nth(1).unwrap_or_default().to_vec();
            }
        }
        Some(())
    }

    fn places(&mut self, body: &'b [u8]) -> Option<()> {
        let version = *body.first()?;
        let mut numbers = Numbers(body.get(4..)?);
        let (sizes, more) = (numbers.u8()?, numbers.u8()?);
        let (offset_size, length_size, base_size) = (sizes >> 4, sizes & 15, more >> 4);
        let index_size = if version == 0 { 0 } else { more & 15 };
        let count = if version < 2 { numbers.u16()?.into() } else { numbers.u32()? };
        for _ in 0..count.min(ENTRIES_MAX as u32) {
            let id = if version < 2 { numbers.u16()?.into() } else { numbers.u32()? };
            let method = if version == 0 { 0 } else { numbers.u16()? & 15 };
            numbers.u16()?;
            let base = numbers.sized(base_size)?;
            let extents = numbers.u16()?;
            let item = self.container.items.entry(id).or_default();
            item.in_idat = method == 1;
            for _ in 0..extents {
                numbers.sized(index_size)?;
                let offset = numbers.sized(offset_size)?;
                let length = numbers.sized(length_size)?;
                if method < 2 && item.extents.len() < ENTRIES_MAX {
                    item.extents.push((base.checked_add(offset)?, length));
                }
            }
        }
        Some(())
    }

    fn references(&mut self, body: &'b [u8]) -> Option<()> {
        let wide = *body.first()? != 0;
        for (name, body) in boxes(body.get(4..)?).take(ENTRIES_MAX) {
            let mut numbers = Numbers(body);
            let mut id = || if wide { numbers.u32() } else { numbers.u16().map(u32::from) };
            let from = id()?;
            let mut rest = Numbers(body.get(if wide { 4 } else { 2 }..)?);
            let count = rest.u16()?;
            let to = (0..count)
                .map(|_| if wide { rest.u32() } else { rest.u16().map(u32::from) })
                .collect::<Option<Vec<_>>>()?;
            self.container.references.push((name, from, to));
        }
        Some(())
    }

    fn properties(&mut self, body: &'b [u8]) -> Option<()> {
        for (name, body) in boxes(body) {
            match &name {
                b"ipco" => self.container.properties.extend(boxes(body).take(ENTRIES_MAX)),
                b"ipma" => {
                    let (version, wide) = (*body.first()?, body.get(3)? & 1 == 1);
                    let mut numbers = Numbers(body.get(4..)?);
                    for _ in 0..numbers.u32()?.min(ENTRIES_MAX as u32) {
                        let id = if version == 0 { numbers.u16()?.into() } else { numbers.u32()? };
                        let item = self.container.items.entry(id).or_default();
                        for _ in 0..numbers.u8()? {
                            let place = if wide { numbers.u16()? & 0x7fff } else { (numbers.u8()? & 0x7f).into() };
                            item.properties.push(place.into());
                        }
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// An item's properties of this name, in the order that counts.
    fn of(&self, id: u32, wanted: &Name) -> impl Iterator<Item = &'b [u8]> {
        self.in_order(id).filter(move |(name, _)| name == wanted).map(|(_, body)| body).collect::<Vec<_>>().into_iter()
    }

    fn in_order(&self, id: u32) -> impl Iterator<Item = (Name, &'b [u8])> {
        let places = self.container.items.get(&id).map_or(&[][..], |item| &item.properties);
        let found: Vec<_> =
            places.iter().filter_map(|place| self.container.properties.get(place.checked_sub(1)?).copied()).collect();
        found.into_iter()
    }

    fn data(&self, id: u32) -> Result<Vec<u8>, PictureError> {
        let item = self.container.items.get(&id);
        let item = item.ok_or_else(|| self.damaged(format!("its part {id} is missing")))?;
        let from = if item.in_idat { self.container.idat } else { self.container.bytes };
        let mut data = Vec::new();
        for (offset, length) in &item.extents {
            let part = usize::try_from(*offset).ok().and_then(|start| match length {
                0 => from.get(start..),
                _ => from.get(start..start.checked_add(usize::try_from(*length).ok()?)?),
            });
            let part = part.ok_or_else(|| self.damaged("it ends before its picture does"))?;
            // Extents may name the same bytes again and again.
            if data.len() + part.len() > from.len() {
                return Err(self.damaged("its parts are larger than the file"));
            }
            data.extend_from_slice(part);
        }
        Ok(data)
    }

    fn size(&self, id: u32) -> Option<Size> {
        let mut numbers = Numbers(self.of(id, b"ispe").next()?.get(4..)?);
        Some((numbers.u32()?, numbers.u32()?))
    }

    fn colours(&self, id: u32) -> Colours {
        let mut colours = Colours::default();
        for body in self.of(id, b"colr") {
            let (kind, rest) = body.split_at(body.len().min(4));
            match kind {
                b"nclx" => {
                    let mut numbers = Numbers(rest);
                    let all = (numbers.u16(), numbers.u16(), numbers.u16(), numbers.u8());
                    if let (Some(primaries), Some(transfer), Some(matrix), Some(full)) = all {
                        colours.said = Said { matrix: Some(matrix), full_range: Some(full & 0x80 != 0) };
                        colours.transfer = Some(transfer);
                        let profile = match primaries {
                            12 => ColorProfile::new_display_p3().encode().ok(),
                            9 => ColorProfile::new_bt2020().encode().ok(),
                            _ => None,
                        };
                        colours.profile = colours.profile.or(profile);
                    }
                }
                b"prof" | b"rICC" => colours.profile = Some(rest.to_vec()),
                _ => {}
            }
        }
        colours
    }

    fn mask_of(&self, id: u32) -> Option<u32> {
        const MASKS: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];
        let masks = |mask: &u32| {
            self.of(*mask, b"auxC")
                .any(|body| MASKS.iter().any(|urn| body.get(4..).is_some_and(|text| text.starts_with(urn))))
        };
        let auxiliary = self.container.references.iter().filter(|(name, _, to)| name == b"auxl" && to.contains(&id));
        auxiliary.map(|(_, from, _)| *from).find(masks)
    }

    /// The item's pixels, before it is cut and turned.
    fn picture(&self, id: u32, grey: bool, depth: u32) -> Result<DynamicImage, PictureError> {
        if let Some(size) = self.size(id) {
            // Six bytes for a pixel at the most, and as many while they are converted.
            within_limits(size, u64::from(size.0) * u64::from(size.1) * if grey { 2 } else { 4 })?;
        }
        let kind = self.container.items.get(&id).map_or(*b"none", |item| item.kind);
        let codec = match &kind {
            b"av01" => StillCodec::Av1,
            b"hvc1" => StillCodec::Hevc,
            b"grid" if depth < DEPTH_MAX => return self.grid(id, grey, depth),
            b"iden" if depth < DEPTH_MAX => {
                let of = self.sources(id).first().copied();
                let of = of.ok_or_else(|| self.damaged("a part of it is derived from nothing"))?;
                let image = self.picture(of, grey, depth + 1)?;
                return self.turned(of, image);
            }
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                return Err(PictureError::NotRead(format!(
                    "its picture is stored as `{}`, which isn't read here",
                    spindle_shared::text::escaped(&name)
                )));
            }
        };
        let setup = self.of(id, b"hvcC").next().unwrap_or_default();
        let data = self.data(id)?;
        if data.is_empty() {
            return Err(self.damaged("its picture has no data"));
        }
        let image = still::decode(codec, setup, &data, self.colours(id).said, grey).map_err(|error| match error {
            MediaError::OutOfMemory { .. } => PictureError::OutOfMemory("its pixels".to_owned()),
            MediaError::NoDecoder { codec, .. } => {
                PictureError::NotRead(format!("the installed libav can't decode {codec}"))
            }
            other => self.damaged(other.to_string()),
        })?;
        // The codec rounds up to its blocks, or knows better.
        match self.size(id) {
            Some((width, height)) if width <= image.width() && height <= image.height() => {
                Ok(if (width, height) == (image.width(), image.height()) {
                    image
                } else {
                    image.crop_imm(0, 0, width, height)
                })
            }
            _ => Ok(image),
        }
    }

    fn sources(&self, id: u32) -> &[u32] {
        let of = self.container.references.iter().find(|(name, from, _)| name == b"dimg" && *from == id);
        of.map_or(&[], |(_, _, to)| to)
    }

    /// Tiles beside and below each other.
    fn grid(&self, id: u32, grey: bool, depth: u32) -> Result<DynamicImage, PictureError> {
        let nonsense = || self.damaged("its tiles make no sense");
        let data = self.data(id)?;
        let [_, flags, rows, columns, ..] = data[..] else { return Err(nonsense()) };
        let (rows, columns) = (usize::from(rows) + 1, usize::from(columns) + 1);
        let mut numbers = Numbers(&data[4..]);
        let mut side = || if flags & 1 == 0 { numbers.u16().map(u32::from) } else { numbers.u32() };
        let (Some(width), Some(height)) = (side(), side()) else { return Err(nonsense()) };
        within_limits((width, height), u64::from(width) * u64::from(height) * if grey { 2 } else { 4 })?;
        let tiles = self.sources(id);
        if tiles.len() != rows * columns || tiles.len() > TILES_MAX {
            return Err(nonsense());
        }
        let mut whole: Option<DynamicImage> = None;
        let mut tile_size = (0, 0);
        for (at, tile) in tiles.iter().enumerate() {
            let tile = self.picture(*tile, grey, depth + 1)?;
            let place = match &mut whole {
                Some(place) => place,
                None => {
                    tile_size = (tile.width(), tile.height());
                    whole.insert(DynamicImage::new(width, height, tile.color()))
                }
            };
            if (tile.width(), tile.height()) != tile_size || tile.color() != place.color() {
                return Err(nonsense());
            }
            let corner = ((at % columns) as u32 * tile_size.0, (at / columns) as u32 * tile_size.1);
            let room = (width.saturating_sub(corner.0), height.saturating_sub(corner.1));
            let kept = (tile_size.0.min(room.0), tile_size.1.min(room.1));
            if kept.0 == 0 || kept.1 == 0 {
                return Err(nonsense());
            }
            let tile = if kept == tile_size { tile } else { tile.crop_imm(0, 0, kept.0, kept.1) };
            paste(place, &tile, corner).ok_or_else(nonsense)?;
        }
        whole.ok_or_else(nonsense)
    }

    /// Cut, turned and mirrored, in the order in which the file asks for it.
    fn turned(&self, id: u32, mut image: DynamicImage) -> Result<DynamicImage, PictureError> {
        for (name, body) in self.in_order(id) {
            match (&name, body.first()) {
                (b"clap", _) => image = self.cut(body, image)?,
                // Quarters of a turn to the left.
                (b"irot", Some(angle)) => {
                    image = match angle & 3 {
                        1 => image.rotate270(),
                        2 => image.rotate180(),
                        3 => image.rotate90(),
                        _ => image,
                    }
                }
                (b"imir", Some(axis)) => image = if axis & 1 == 1 { image.fliph() } else { image.flipv() },
                _ => {}
            }
        }
        Ok(image)
    }

    fn cut(&self, body: &[u8], image: DynamicImage) -> Result<DynamicImage, PictureError> {
        let nonsense = || self.damaged("the part of it that is to be shown makes no sense");
        let mut numbers = Numbers(body);
        let mut fraction = |signed: bool| -> Option<f64> {
            let (over, under) = (numbers.u32()?, numbers.u32()?);
            let over = if signed { f64::from(over as i32) } else { f64::from(over) };
            (under != 0).then(|| over / f64::from(under))
        };
        let all = (fraction(false), fraction(false), fraction(true), fraction(true));
        let (Some(width), Some(height), Some(right), Some(down)) = all else { return Err(nonsense()) };
        let (wide, high) = (f64::from(image.width()), f64::from(image.height()));
        let (left, top) = (right + (wide - width) / 2.0, down + (high - height) / 2.0);
        let inside = width >= 1.0 && height >= 1.0 && left >= 0.0 && top >= 0.0;
        if !inside || left + width > wide || top + height > high {
            return Err(nonsense());
        }
        Ok(image.crop_imm(left as u32, top as u32, width as u32, height as u32))
    }

    /// What describes the picture.
    fn metadata(&self, id: u32) -> Metadata {
        let about = |found: &dyn Fn(&Item) -> bool| {
            let mut describing =
                self.container.references.iter().filter(|(name, _, to)| name == b"cdsc" && to.contains(&id));
            let from = describing.find(|(_, from, _)| self.container.items.get(from).is_some_and(found))?.1;
            self.data(from).ok()
        };
        let exif = about(&|item| &item.kind == b"Exif").and_then(|data| {
            let offset = Numbers(&data).u32()?;
            data.get(4_usize.checked_add(offset as usize)?..).map(<[u8]>::to_vec)
        });
        let xmp = about(&|item| &item.kind == b"mime" && item.content_type == b"application/rdf+xml");
        Metadata { exif, xmp, iptc: None }
    }
}

fn primary(body: &[u8]) -> Option<u32> {
    let version = *body.first()?;
    let mut numbers = Numbers(body.get(4..)?);
    if version == 0 { numbers.u16().map(u32::from) } else { numbers.u32() }
}

fn paste(place: &mut DynamicImage, tile: &DynamicImage, (x, y): (u32, u32)) -> Option<()> {
    match (place, tile) {
        (DynamicImage::ImageRgb8(to), DynamicImage::ImageRgb8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgb16(to), DynamicImage::ImageRgb16(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLuma8(to), DynamicImage::ImageLuma8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLuma16(to), DynamicImage::ImageLuma16(from)) => to.copy_from(from, x, y),
        _ => return None,
    }
    .ok()
}

/// The picture with its transparency, which may be stored smaller than it is.
fn with_mask(pixels: DynamicImage, mask: DynamicImage) -> DynamicImage {
    let size = (pixels.width(), pixels.height());
    let mask = if (mask.width(), mask.height()) == size {
        mask
    } else {
        mask.resize_exact(size.0, size.1, image::imageops::FilterType::Triangle)
    };
    match pixels {
        DynamicImage::ImageRgb16(rgb) => {
            let mask = mask.into_luma16();
            let pixels = rgb.pixels().zip(mask.pixels()).flat_map(|(p, m)| [p[0], p[1], p[2], m[0]]).collect();
            ImageBuffer::from_raw(size.0, size.1, pixels)
                .map_or(DynamicImage::ImageRgb16(rgb), DynamicImage::ImageRgba16)
        }
        other => {
            let (rgb, mask): (_, GrayImage) = (other.into_rgb8(), mask.into_luma8());
            let pixels = rgb.pixels().zip(mask.pixels()).flat_map(|(p, m)| [p[0], p[1], p[2], m[0]]).collect();
            ImageBuffer::from_raw(size.0, size.1, pixels).map_or(DynamicImage::ImageRgb8(rgb), DynamicImage::ImageRgba8)
        }
    }
}

/// Big-endian numbers, one after the other.
struct Numbers<'b>(&'b [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// Of 0, 4 or 8 bytes, as the box says.
    fn sized(&mut self, bytes: u8) -> Option<u64> {
        match bytes {
            0 => Some(0),
            4 => self.u32().map(u64::from),
            8 => self.take().map(u64::from_be_bytes),
            _ => None,
        }
    }
}

/// Boxes one after the other, names and bodies; ends where they make no sense.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (Name, &[u8])> {
    std::iter::from_fn(move || {
        let mut numbers = Numbers(bytes);
        let short = numbers.u32()?;
        let name = numbers.take::<4>()?;
        let (head, length) = match short {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(numbers.sized(8)?).ok()?),
            other => (8, other as usize),
        };
        let body = bytes.get(head..length)?;
        bytes = &bytes[length..];
        Some((name, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_end_where_they_make_no_sense() {
        assert_eq!(
            boxes(b"\0\0\0\x09abcdX\0\0\0\0rest!").map(|(n, b)| (n, b.len())).collect::<Vec<_>>(),
            [(*b"abcd", 1), (*b"rest", 1)]
        );
        for wrong in [&b"\0\0\0\x07abcd"[..], b"\0\0\0\x09abcd", b"\0\0\0\x01abcd", b"\xff"] {
            assert_eq!(boxes(wrong).count(), 0, "{wrong:?}");
        }
        assert_eq!(boxes(b"\0\0\0\x01abcd\0\0\0\0\0\0\0\x10").count(), 1);
    }

    #[test]
    fn what_is_cut_off_is_told() {
        for bytes in [&b"\0\0\0\x14ftypavif\0\0\0\0avif"[..], b"\0\0\0\x14ftypavif\0\0\0\0avif\0\0\0\x0cmeta\0\0\0\0"] {
            let error = read(Kind::Avif, bytes).map(|_| ()).unwrap_err();
            assert!(error.to_string().starts_with("the AVIF is damaged or cut off"), "{error}");
        }
    }
}
