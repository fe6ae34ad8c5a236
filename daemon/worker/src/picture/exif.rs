//! EXIF: the few fields that an operation touches, read and changed in place. Knows no container and believes no length.

use super::Size;

const ORIENTATION: u16 = 0x0112;
const ARTIST: u16 = 0x013b;
const COPYRIGHT: u16 = 0x8298;
const EXIF_FOLDER: u16 = 0x8769;
const WIDTH: u16 = 0xa002;
const HEIGHT: u16 = 0xa003;
const THUMBNAIL_AT: u16 = 0x0201;
const THUMBNAIL_BYTES: u16 = 0x0202;

const SHORT: u16 = 3;
const LONG: u16 = 4;
const ASCII: u16 = 2;

/// A folder has no more entries than this; more is damage.
const ENTRIES_MAX: u16 = 1_000;

/// The numbers of a TIFF structure, in its byte order.
struct Numbers<'b> {
    bytes: &'b [u8],
    little: bool,
}

/// Where an entry is, and what it says of itself.
#[derive(Clone, Copy)]
struct Entry {
    kind: u16,
    count: u32,
    /// Of its four bytes of value.
    value_at: usize,
}

impl<'b> Numbers<'b> {
    fn new(bytes: &'b [u8]) -> Option<Self> {
        let little = match bytes.get(..4)? {
            [b'I', b'I', 42, 0] => true,
            [b'M', b'M', 0, 42] => false,
            _ => return None,
        };
        Some(Numbers { bytes, little })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let two = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    }

    fn first(&self) -> Option<usize> {
        usize::try_from(self.u32(4)?).ok()
    }

    fn count(&self, folder: usize) -> Option<usize> {
        self.u16(folder).filter(|count| *count <= ENTRIES_MAX).map(usize::from)
    }

    fn find(&self, folder: usize, tag: u16) -> Option<Entry> {
        let count = self.count(folder)?;
        (0..count)
            .map(|nth| folder + 2 + nth * 12)
            .find(|at| self.u16(*at) == Some(tag))
            .and_then(|at| Some(Entry { kind: self.u16(at + 2)?, count: self.u32(at + 4)?, value_at: at + 8 }))
    }

    fn number(&self, entry: Entry) -> Option<u32> {
        match entry.kind {
            SHORT => self.u16(entry.value_at).map(u32::from),
            LONG => self.u32(entry.value_at),
            _ => None,
        }
    }

    fn text(&self, entry: Entry) -> Option<&'b [u8]> {
        let length = usize::try_from(entry.count).ok()?;
        let at = if length <= 4 { entry.value_at } else { usize::try_from(self.u32(entry.value_at)?).ok()? };
        let text = self.bytes.get(at..at.checked_add(length)?).filter(|_| entry.kind == ASCII)?;
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
        Some(text).filter(|text| !text.is_empty())
    }

    /// Where the folder says where the next one is.
    fn next_at(&self, folder: usize) -> Option<usize> {
        Some(folder + 2 + self.count(folder)? * 12)
    }
}

/// 1–8, where the picture says how it stands.
pub fn orientation(exif: &[u8]) -> Option<u8> {
    let numbers = Numbers::new(exif)?;
    let entry = numbers.find(numbers.first()?, ORIENTATION)?;
    u8::try_from(numbers.number(entry)?).ok().filter(|value| (1..=8).contains(value))
}

/// Makes it speak of the new picture: it stands upright, has this size and no thumbnail of what it was (which would show what was cut off).
pub fn adapt(exif: &mut [u8], size: Size) {
    let Some(numbers) = Numbers::new(exif) else { return };
    let little = numbers.little;
    let mut writes: Vec<(usize, Vec<u8>)> = Vec::new();
    let bytes_of = |entry: Entry, value: u32| match (entry.kind, little) {
        (SHORT, true) => (value as u16).to_le_bytes().to_vec(),
        (SHORT, false) => (value as u16).to_be_bytes().to_vec(),
        (_, true) => value.to_le_bytes().to_vec(),
        (_, false) => value.to_be_bytes().to_vec(),
    };
    let Some(first) = numbers.first() else { return };
    let number = |entry: &Entry| matches!(entry.kind, SHORT | LONG);
    if let Some(entry) = numbers.find(first, ORIENTATION).filter(number) {
        writes.push((entry.value_at, bytes_of(entry, 1)));
    }
    if let Some(folder) = numbers.find(first, EXIF_FOLDER).and_then(|entry| numbers.number(entry)) {
        for (tag, value) in [(WIDTH, size.0), (HEIGHT, size.1)] {
            if let Some(entry) = numbers.find(folder as usize, tag).filter(number) {
                writes.push((entry.value_at, bytes_of(entry, value)));
            }
        }
    }
    if let Some(at) = numbers.next_at(first)
        && let Some(second) = numbers.u32(at).filter(|second| *second != 0)
    {
        let second = second as usize;
        let of = |tag| numbers.find(second, tag).and_then(|entry| numbers.number(entry)).map(|value| value as usize);
        if let (Some(from), Some(length)) = (of(THUMBNAIL_AT), of(THUMBNAIL_BYTES))
            && exif.get(from..from.saturating_add(length)).is_some()
        {
            writes.push((from, vec![0; length]));
        }
        writes.push((at, vec![0; 4]));
    }
    for (at, bytes) in writes {
        if let Some(place) = exif.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    }
}

/// Who made the picture and whose it is, as far as it says.
pub fn rights(exif: &[u8]) -> Rights {
    let of = |tag| {
        let numbers = Numbers::new(exif)?;
        numbers.text(numbers.find(numbers.first()?, tag)?).map(<[u8]>::to_vec)
    };
    Rights { artist: of(ARTIST), copyright: of(COPYRIGHT) }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    pub artist: Option<Vec<u8>>,
    pub copyright: Option<Vec<u8>>,
}

impl Rights {
    pub fn or(self, other: Rights) -> Rights {
        Rights { artist: self.artist.or(other.artist), copyright: self.copyright.or(other.copyright) }
    }

    /// As EXIF that says nothing else; `None` where there is nothing to say.
    pub fn as_exif(&self) -> Option<Vec<u8>> {
        let texts: Vec<(u16, &Vec<u8>)> = [(ARTIST, &self.artist), (COPYRIGHT, &self.copyright)]
            .into_iter()
            .filter_map(|(tag, text)| text.as_ref().map(|text| (tag, text)))
            .collect();
        if texts.is_empty() {
            return None;
        }
        let mut exif = b"II*\0\x08\0\0\0".to_vec();
        exif.extend((texts.len() as u16).to_le_bytes());
        let mut at = 8 + 2 + texts.len() * 12 + 4;
        let mut behind = Vec::new();
        for (tag, text) in texts {
            let mut text = text.clone();
            text.push(0);
            exif.extend(tag.to_le_bytes());
            exif.extend(ASCII.to_le_bytes());
            exif.extend((text.len() as u32).to_le_bytes());
            if text.len() <= 4 {
                text.resize(4, 0);
                exif.extend(text);
            } else {
                exif.extend((at as u32).to_le_bytes());
                at += text.len();
                behind.extend(text);
            }
        }
        exif.extend([0; 4]);
        exif.extend(behind);
        Some(exif)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Big-endian, with an orientation, a size and a thumbnail.
    fn camera() -> Vec<u8> {
        let mut exif = b"MM\0*\0\0\0\x08".to_vec();
        exif.extend([0, 2]);
        exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]);
        exif.extend([0x87, 0x69, 0, 4, 0, 0, 0, 1, 0, 0, 0, 38]);
        exif.extend([0, 0, 0, 56]);
        assert_eq!(exif.len(), 38);
        exif.extend([0, 1]);
        exif.extend([0xa0, 0x02, 0, 4, 0, 0, 0, 1, 0, 0, 0x10, 0]);
        exif.extend([0; 4]);
        assert_eq!(exif.len(), 56);
        exif.extend([0, 2]);
        exif.extend([0x02, 0x01, 0, 4, 0, 0, 0, 1, 0, 0, 0, 86]);
        exif.extend([0x02, 0x02, 0, 4, 0, 0, 0, 1, 0, 0, 0, 3]);
        exif.extend([0; 4]);
        exif.extend(b"JPG");
        exif
    }

    #[test]
    fn what_is_kept_speaks_of_the_new_picture() {
        let mut exif = camera();
        assert_eq!(orientation(&exif), Some(6));
        adapt(&mut exif, (800, 600));
        assert_eq!(orientation(&exif), Some(1));
        assert_eq!(exif[48..52], [0, 0, 3, 32]);
        assert_eq!((&exif[34..38], &exif[86..]), (&[0; 4][..], &[0; 3][..]));
    }

    #[test]
    fn rights_are_said_alone_and_read_back() {
        let rights = Rights { artist: Some(b"Ann".to_vec()), copyright: Some("© 2026 Ann".as_bytes().to_vec()) };
        let exif = rights.as_exif().unwrap();
        assert_eq!(super::rights(&exif), rights);
        assert_eq!(orientation(&exif), None);
        assert_eq!(Rights::default().as_exif(), None);
    }

    #[test]
    fn nothing_that_is_damaged_is_believed() {
        let exif = camera();
        for cut in 0..exif.len() {
            let mut short = exif[..cut].to_vec();
            adapt(&mut short, (1, 1));
            let _ = (orientation(&short), rights(&short));
        }
        for at in 0..exif.len() {
            let mut wrong = exif.clone();
            wrong[at] = 0xff;
            adapt(&mut wrong, (1, 1));
            let _ = (orientation(&wrong), rights(&wrong));
        }
    }
}
