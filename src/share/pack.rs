//! Packing: zstd where it helps, and unpacking that never makes more than was announced.
//!
//! Packed bytes begin with zstd's magic number; bytes that do so by themselves are always packed. All others are the
//! content itself, so that any tool can fetch a figure from a share.

use std::io::{self, BufRead, Chain, Cursor, Read};

/// The first bytes of what zstd made.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Fast, and most of what higher levels gain on tensors and text.
const LEVEL: i32 = 3;

/// How much of a content is tried; one that has no more is packed by the trial.
const SAMPLE: usize = 1 << 20;

/// The most memory that unpacking uses for its window: what `LEVEL` needs, and more than any honest packer.
const WINDOW_LOG: u32 = 23;

/// A content on its way out, packed or as it is.
pub enum Packing<R: BufRead> {
    /// As it is.
    Raw(R),
    /// Packed at once.
    Whole(Cursor<Vec<u8>>),
    /// Packed as it is read.
    Packed(zstd::stream::read::Encoder<'static, R>),
}

impl<R: Read> Packing<io::BufReader<Chain<Cursor<Vec<u8>>, R>>> {
    /// Packs a content if its beginning becomes a tenth smaller by it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(mut content: R) -> io::Result<Self> {
        let mut sample = Vec::new();
        (&mut content).take(SAMPLE as u64).read_to_end(&mut sample)?;
        let packed = zstd::bulk::compress(&sample, LEVEL)?;
        let helps = sample.starts_with(&MAGIC) || packed.len() + 16 < sample.len() / 10 * 9;
        if helps && sample.len() < SAMPLE {
            return Ok(Packing::Whole(Cursor::new(packed)));
        }
        let all = io::BufReader::new(Cursor::new(sample).chain(content));
        Ok(match helps {
            true => Packing::Packed(zstd::stream::read::Encoder::with_buffer(all, LEVEL)?),
            false => Packing::Raw(all),
        })
    }
}

impl<R: BufRead> Packing<R> {
    /// Whether it is packed.
    pub fn is_packed(&self) -> bool {
        !matches!(self, Packing::Raw(_))
    }
}

/// Bytes that content of `size` bytes has at most, packed.
pub fn most(size: u64) -> u64 {
    size.saturating_add(size / 128).saturating_add(1 << 10)
}

impl<R: BufRead> Read for Packing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Packing::Raw(content) => content.read(buffer),
            Packing::Whole(content) => content.read(buffer),
            Packing::Packed(content) => content.read(buffer),
        }
    }
}

/// Unpacks what [`Packing`] made.
///
/// # Errors
/// When it would be more than `limit` bytes, is cut short, or is damaged. So a few bytes cannot become a full disk.
pub fn unpack(mut packed: impl BufRead, limit: u64, to: &mut impl io::Write) -> io::Result<u64> {
    let mut start = Vec::new();
    (&mut packed).take(MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_packed = start == MAGIC;
    let all = Cursor::new(start).chain(packed);
    // One byte more than there may be, to see that there is one.
    let enough = limit.saturating_add(1);
    let written = if is_packed {
        let mut content = zstd::stream::read::Decoder::with_buffer(all)?;
        content.window_log_max(WINDOW_LOG)?;
        io::copy(&mut content.take(enough), to)?
    } else {
        io::copy(&mut all.take(enough), to)?
    };
    if written > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than announced"));
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        Packing::of(content).unwrap().read_to_end(&mut packed).unwrap();
        packed
    }

    fn unpacked(packed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        unpack(packed, limit, &mut content)?;
        Ok(content)
    }

    /// Bytes that no packing makes smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn text_is_packed_and_noise_is_left_as_it_is() {
        let text = b"a row of a table\n".repeat(100_000);
        assert!(packed(&text).len() < text.len() / 10);
        assert_eq!(unpacked(&packed(&text), text.len() as u64).unwrap(), text);
        let noise = noise(3 << 20);
        assert_eq!(packed(&noise), noise);
        assert_eq!(unpacked(&noise, noise.len() as u64).unwrap(), noise);
    }

    #[test]
    fn short_content_and_content_that_is_itself_packed_come_back() {
        for content in [&b""[..], b"a", b"abc", &packed(&b"text ".repeat(1000)), &MAGIC] {
            assert_eq!(unpacked(&packed(content), content.len() as u64).unwrap(), content);
        }
    }

    #[test]
    fn what_grows_beyond_its_limit_is_an_error_and_is_not_written_on() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        assert!(bomb.len() < 10_000);
        let mut written = Vec::new();
        assert!(unpack(&bomb[..], 1000, &mut written).is_err());
        assert_eq!(written.len(), 1001);
        assert!(unpacked(b"four", 3).is_err());
        let cut = &packed(&b"text ".repeat(10_000));
        assert!(unpacked(&cut[..cut.len() - 3], 50_000).is_err());
    }
}
