//! What a file tells about its picture beside the pixels, and what of it goes along. Knows the texts' forms and no container.

use spindle_shared::limits::METADATA_BYTES_MAX;
use spindle_shared::stage::image::MetadataPolicy;

use super::Size;
use super::exif::{self, Rights};

/// As it was found, none of it believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// From the byte order on.
    pub exif: Option<Vec<u8>>,
    /// The packet of XML.
    pub xmp: Option<Vec<u8>>,
    /// IPTC as JPEG has it: Photoshop's resources.
    pub iptc: Option<Vec<u8>>,
}

impl Metadata {
    /// What of it is written with a picture of this size that stands upright.
    pub fn kept(&self, policy: MetadataPolicy, size: Size) -> Metadata {
        let fits = |text: &&Vec<u8>| text.len() <= METADATA_BYTES_MAX;
        match policy {
            MetadataPolicy::Strip => Metadata::default(),
            MetadataPolicy::KeepCopyright => Metadata {
                exif: self.rights().as_exif().filter(|exif| exif.len() <= METADATA_BYTES_MAX),
                ..Metadata::default()
            },
            MetadataPolicy::Keep => {
                let mut exif = self.exif.as_ref().filter(fits).cloned();
                if let Some(exif) = &mut exif {
                    exif::adapt(exif, size);
                }
                let xmp = self.xmp.as_ref().filter(fits).map(|xmp| upright(xmp));
                Metadata { exif, xmp, iptc: self.iptc.as_ref().filter(fits).cloned() }
            }
        }
    }

    fn rights(&self) -> Rights {
        let exif = self.exif.as_deref().map(exif::rights).unwrap_or_default();
        let xmp = self.xmp.as_deref().map(of_xmp).unwrap_or_default();
        exif.or(self.iptc.as_deref().map(of_iptc).unwrap_or_default()).or(xmp)
    }

    pub fn is_empty(&self) -> bool {
        *self == Metadata::default()
    }
}

/// XMP says too how the picture stands; some programs believe it.
fn upright(xmp: &[u8]) -> Vec<u8> {
    let mut xmp = xmp.to_vec();
    for before in [&b"tiff:Orientation=\""[..], b"tiff:Orientation='", b"<tiff:Orientation>"] {
        let mut from = 0;
        while let Some(at) = find(&xmp[from..], before) {
            let digit = from + at + before.len();
            if let Some(place) = xmp.get_mut(digit).filter(|place| place.is_ascii_digit()) {
                *place = b'1';
            }
            from = digit;
        }
    }
    xmp
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The first entry of `dc:creator` and of `dc:rights`.
fn of_xmp(xmp: &[u8]) -> Rights {
    let of = |name: &str| {
        let inside = &xmp[find(xmp, format!("<{name}>").as_bytes())?..];
        let inside = &inside[..find(inside, format!("</{name}>").as_bytes())?];
        let entry = &inside[find(inside, b"<rdf:li")?..];
        let entry = &entry[find(entry, b">")? + 1..];
        let text = entry[..find(entry, b"<")?].trim_ascii();
        Some(text.to_vec()).filter(|text| !text.is_empty())
    };
    Rights { artist: of("dc:creator"), copyright: of("dc:rights") }
}

/// By-line (2:80) and copyright notice (2:116).
fn of_iptc(iptc: &[u8]) -> Rights {
    let of = |number: u8| {
        let at = find(iptc, &[0x1c, 2, number])? + 3;
        let length = usize::from(u16::from_be_bytes(iptc.get(at..at + 2)?.try_into().ok()?));
        let text = iptc.get(at + 2..at + 2 + length)?.trim_ascii();
        Some(text.to_vec()).filter(|text| !text.is_empty())
    };
    Rights { artist: of(80), copyright: of(116) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_what_goes_along() {
        let rights = Rights { artist: Some(b"Ann".to_vec()), copyright: None };
        let xmp = b"<x tiff:Orientation=\"6\"/><dc:rights><rdf:Alt><rdf:li xml:lang=\"x-default\">CC BY</rdf:li></rdf:Alt></dc:rights>";
        let metadata = Metadata { exif: rights.as_exif(), xmp: Some(xmp.to_vec()), iptc: None };
        assert!(metadata.kept(MetadataPolicy::Strip, (1, 1)).is_empty());
        let all = metadata.kept(MetadataPolicy::Keep, (1, 1));
        assert_eq!(all.exif, metadata.exif);
        assert!(all.xmp.unwrap().starts_with(b"<x tiff:Orientation=\"1\"/>"));
        let rights = metadata.kept(MetadataPolicy::KeepCopyright, (1, 1));
        assert_eq!((&rights.xmp, &rights.iptc), (&None, &None));
        let told = exif::rights(&rights.exif.unwrap());
        assert_eq!((told.artist.unwrap(), told.copyright.unwrap()), (b"Ann".to_vec(), b"CC BY".to_vec()));
    }

    #[test]
    fn iptc_says_whose_it_is() {
        let iptc = b"8BIM\x04\x04\0\0\0\0\0\x20\x1c\x02\x50\0\x03Bob\x1c\x02\x74\0\x04(c) \x1c\x02";
        assert_eq!(of_iptc(iptc), Rights { artist: Some(b"Bob".to_vec()), copyright: Some(b"(c)".to_vec()) });
        assert_eq!(of_iptc(b"\x1c\x02\x50\xff\xff"), Rights::default());
    }
}
