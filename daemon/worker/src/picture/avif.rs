//! AVIF: the container around what AV1 made of a picture, with its transparency and its texts. Knows no pixels.

use super::metadata::Metadata;
use super::{PictureError, Size};
use crate::media::still::Av1;

struct Part {
    name: &'static [u8; 4],
    content_type: &'static [u8],
    data: Vec<u8>,
    /// Places of its properties in the list, from 1, and whether who doesn't know one must give up.
    properties: Vec<(u8, bool)>,
    /// What it says of the picture.
    reference: Option<&'static [u8; 4]>,
}

const NOTHING: &[u8] = b"";

/// The file (ISO/IEC 23000-22, AVIF 1.1).
pub fn file(size: Size, picture: Av1, mask: Option<Av1>, metadata: &Metadata) -> Result<Vec<u8>, PictureError> {
    let odd = || PictureError::Write { format: "avif", reason: "the encoder gave something unknown".to_owned() };
    let mut spatial = vec![0; 4];
    spatial.extend(size.0.to_be_bytes());
    spatial.extend(size.1.to_be_bytes());
    let mut properties = vec![
        part(b"ispe", &spatial),
        part(b"pixi", b"\0\0\0\0\x03\x08\x08\x08"),
        part(b"av1C", &setup(&picture).ok_or_else(odd)?),
        // sRGB's primaries and curve, the matrix of BT.601, all of the range.
        part(b"colr", b"nclx\0\x01\0\x0d\0\x06\x80"),
    ];
    let of_picture = vec![(1, false), (2, false), (3, true), (4, false)];
    let mut parts = vec![Part {
        name: b"av01",
        content_type: NOTHING,
        data: without_delimiter(picture.data),
        properties: of_picture,
        reference: None,
    }];
    if let Some(mask) = mask {
        properties.push(part(b"av1C", &setup(&mask).ok_or_else(odd)?));
        properties.push(part(b"auxC", b"\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"));
        parts.push(Part {
            name: b"av01",
            content_type: NOTHING,
            data: without_delimiter(mask.data),
            properties: vec![(1, false), (2, false), (5, true), (6, true)],
            reference: Some(b"auxl"),
        });
    }
    if let Some(exif) = &metadata.exif {
        let data = [&[0; 4][..], exif].concat();
        parts.push(Part { name: b"Exif", content_type: NOTHING, data, properties: vec![], reference: Some(b"cdsc") });
    }
    if let Some(xmp) = &metadata.xmp {
        let (data, content_type) = (xmp.clone(), &b"application/rdf+xml"[..]);
        parts.push(Part { name: b"mime", content_type, data, properties: vec![], reference: Some(b"cdsc") });
    }
    let head = part(b"ftyp", b"avif\0\0\0\0avifmif1miaf");
    // The places are known when everything before the data has its length, which doesn't depend on them.
    let before = head.len() + meta(&properties, &parts, 0).len() + 8;
    let data_at = u32::try_from(before).map_err(|_| odd())?;
    let data: Vec<u8> = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
    Ok([head, meta(&properties, &parts, data_at), part(b"mdat", &data)].concat())
}

fn meta(properties: &[Vec<u8>], parts: &[Part], data_at: u32) -> Vec<u8> {
    let count = (parts.len() as u16).to_be_bytes();
    let ids = || (1_u16..).zip(parts);
    let mut places = b"\0\0\0\0\x44\0".to_vec();
    places.extend(count);
    let mut at = data_at;
    for (id, part) in ids() {
        places.extend([id.to_be_bytes(), [0, 0], [0, 1]].concat());
        places.extend(at.to_be_bytes());
        places.extend((part.data.len() as u32).to_be_bytes());
        at = at.wrapping_add(part.data.len() as u32);
    }
    let mut infos = [&[0; 4][..], &count].concat();
    for (id, about) in ids() {
        let mut info = b"\x02\0\0\0".to_vec();
        info.extend([id.to_be_bytes(), [0, 0]].concat());
        info.extend(about.name);
        info.push(0);
        if !about.content_type.is_empty() {
            info.extend(about.content_type);
            info.push(0);
        }
        infos.extend(part(b"infe", &info));
    }
    let mut references = vec![0; 4];
    for (id, about) in ids() {
        if let Some(name) = about.reference {
            references.extend(part(name, &[id.to_be_bytes(), [0, 1], [0, 1]].concat()));
        }
    }
    let with_properties: Vec<_> = ids().filter(|(_, about)| !about.properties.is_empty()).collect();
    let mut links = [&[0; 4][..], &(with_properties.len() as u32).to_be_bytes()].concat();
    for (id, about) in with_properties {
        links.extend(id.to_be_bytes());
        links.push(about.properties.len() as u8);
        links.extend(about.properties.iter().map(|(place, must)| place | if *must { 0x80 } else { 0 }));
    }
    let about = [part(b"ipco", &properties.concat()), part(b"ipma", &links)].concat();
    let mut body = vec![0; 4];
    body.extend(part(b"hdlr", b"\0\0\0\0\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    body.extend(part(b"pitm", b"\0\0\0\0\0\x01"));
    body.extend(part(b"iloc", &places));
    body.extend(part(b"iinf", &infos));
    if references.len() > 4 {
        body.extend(part(b"iref", &references));
    }
    body.extend(part(b"iprp", &about));
    part(b"meta", &body)
}

fn part(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 8).to_be_bytes();
    [&length[..], name, body].concat()
}

/// In a file of one picture nothing has to be told apart.
fn without_delimiter(data: Vec<u8>) -> Vec<u8> {
    data.strip_prefix(b"\x12\0").map(<[u8]>::to_vec).unwrap_or(data)
}

/// The codec's setup (AV1 in ISO media, 2.3), out of the first bits of its sequence header.
fn setup(coded: &Av1) -> Option<Vec<u8>> {
    const SEQUENCE_HEADER: u8 = 1;
    let data = coded.data.strip_prefix(b"\x12\0").unwrap_or(&coded.data);
    let [head, rest @ ..] = data else { return None };
    if head >> 3 & 15 != SEQUENCE_HEADER || head & 2 == 0 {
        return None;
    }
    let length_bytes = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let body = rest.get(length_bytes..length_bytes + 5)?;
    let bits = body.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let bit = |at: u32, count: u32| (bits >> (40 - at - count)) as u8 & ((1_u16 << count) - 1) as u8;
    let (profile, reduced) = (bit(0, 3), bit(4, 1) == 1);
    let (level, tier) = if reduced {
        (bit(5, 5), 0)
    } else {
        // No timing, one operating point: what a picture alone has.
        (bit(5, 1) == 0 && bit(7, 5) == 0).then_some(())?;
        let level = bit(24, 5);
        (level, if level > 7 { bit(29, 1) } else { 0 })
    };
    let halved = u8::from(coded.halved);
    Some(vec![0x81, profile << 5 | level, tier << 7 | halved << 3 | halved << 2, 0])
}
