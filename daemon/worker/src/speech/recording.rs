//! A recording's samples, read where they are needed; never whole.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use spindle_shared::stage::decode::SAMPLE_RATE;

/// Signed 16-bit little-endian samples at [`SAMPLE_RATE`], behind a descriptor that others may share: no seek, no position.
pub struct Recording<'a> {
    file: &'a File,
    samples: u64,
}

impl<'a> Recording<'a> {
    pub fn open(file: &'a File) -> io::Result<Self> {
        Ok(Recording { file, samples: file.metadata()?.len() / 2 })
    }

    pub fn samples(&self) -> u64 {
        self.samples
    }

    pub fn seconds(&self) -> f64 {
        seconds(self.samples)
    }

    /// The samples of `range`, in -1..1; the range must lie inside the recording.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<f32>> {
        let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize * 2];
        self.file.read_exact_at(&mut bytes, range.start * 2)?;
        Ok(bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect())
    }
}

/// Samples as seconds.
pub fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_any_part_and_never_past_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        for sample in [0i16, 16_384, -32_768, 1] {
            file.write_all(&sample.to_le_bytes()).unwrap();
        }
        file.write_all(&[7]).unwrap();
        let recording = Recording::open(&file).unwrap();
        assert_eq!(recording.samples(), 4);
        assert_eq!(recording.read(1..3).unwrap(), [0.5, -1.0]);
        assert!(recording.read(3..6).is_err());
    }
}
