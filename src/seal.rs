//! Seals: files that end with the hash of what stands before, so that a flipped bit is seen when they are read.

use crate::hash::Hash;

/// Bytes of a seal: a line end, 64 digits, a line end.
const SEAL: usize = 66;

/// A text with its seal below.
pub fn seal(mut text: Vec<u8>) -> Vec<u8> {
    let hash = Hash::of(&text);
    text.extend(format!("\n{hash}\n").bytes());
    text
}

/// The text above a seal; none when it is not what was sealed.
pub fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (text, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL)?)?;
    (seal == format!("\n{}\n", Hash::of(text)).as_bytes()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_and_no_lost_end_goes_unseen() {
        let sealed = seal(b"{\"key\": 1}".to_vec());
        assert_eq!(unseal(&sealed), Some(&b"{\"key\": 1}"[..]));
        for bit in 0..8 * sealed.len() {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&damaged), None, "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..end]), None, "cut to {end}");
        }
    }
}
