//! Tiny inputs for jobs that try a recipe: made here, byte by byte, so that nothing needs to be installed for them.

use std::f32::consts::TAU;

/// Two seconds at 16 kHz, one channel: a tone that swells and ebbs. A WAV file with 16-bit samples.
pub fn sound() -> Vec<u8> {
    const RATE: u32 = 16_000;
    let samples = (0..2 * RATE).map(|at| {
        let seconds = at as f32 / RATE as f32;
        ((TAU * 220.0 * seconds).sin() * (TAU * 2.0 * seconds).sin().abs() * 12_000.0) as i16
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let length = |bytes: usize| (bytes as u32).to_le_bytes();
    let mut file = Vec::with_capacity(44 + data.len());
    file.extend(b"RIFF");
    file.extend(length(36 + data.len()));
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(length(data.len()));
    file.extend(data);
    file
}

/// Eight seconds of 96×64 pictures at 10 a second, of another grey every two seconds, with a bar that wanders: YUV4MPEG2.
pub fn video() -> Vec<u8> {
    const WIDTH: usize = 96;
    const HEIGHT: usize = 64;
    let mut file = format!("YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n").into_bytes();
    for frame in 0..80usize {
        file.extend(b"FRAME\n");
        let scene = frame / 20;
        for pixel in 0..WIDTH * HEIGHT {
            let bar = (pixel % WIDTH).abs_diff(frame % WIDTH) < 4;
            file.push(if bar { 235 } else { 40 + 45 * scene as u8 });
        }
        file.extend(std::iter::repeat_n(100 + 12 * scene as u8, WIDTH / 2 * (HEIGHT / 2)));
        file.extend(std::iter::repeat_n(156 - 12 * scene as u8, WIDTH / 2 * (HEIGHT / 2)));
    }
    file
}

/// 64×48 pixels that run from one colour to another: a bitmap (BMP) with 24 bits a pixel.
pub fn picture() -> Vec<u8> {
    const WIDTH: u32 = 64;
    const HEIGHT: u32 = 48;
    let data = WIDTH * HEIGHT * 3;
    let mut file = Vec::with_capacity(54 + data as usize);
    file.extend(b"BM");
    for word in [54 + data, 0, 54, 40, WIDTH, HEIGHT, 1 | 24 << 16, 0, data, 2_835, 2_835, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            file.extend([(x * 4) as u8, (y * 5) as u8, 128]);
        }
    }
    file
}
