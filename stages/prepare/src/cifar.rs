//! CIFAR-10 in its canonical binary form: six files of 10,000 records, a byte of label and three planes of an image.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, IMAGE, Split};

/// Bytes of a record.
pub const RECORD: usize = 1 + IMAGE;

/// A canonical file.
#[derive(Debug)]
pub struct Canonical {
    /// Its name, in the archive as well.
    pub name: &'static str,
    sha256: &'static str,
}

/// The six files; the last one is the test set.
pub const FILES: [Canonical; 6] = [
    Canonical {
        name: "data_batch_1.bin",
        sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    },
    Canonical {
        name: "data_batch_2.bin",
        sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    },
    Canonical {
        name: "data_batch_3.bin",
        sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    },
    Canonical {
        name: "data_batch_4.bin",
        sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    },
    Canonical {
        name: "data_batch_5.bin",
        sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    Canonical {
        name: "test_batch.bin",
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];

impl Canonical {
    /// Whether these bytes are this file.
    ///
    /// # Errors
    /// When their SHA-256 is another.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(
            found == self.sha256,
            "{} is not the canonical file: sha256 {found}, expected {}",
            self.name,
            self.sha256
        );
        Ok(())
    }
}

/// The bytes of the six files, known to be the canonical ones.
#[derive(Debug)]
pub struct Cifar10([Vec<u8>; FILES.len()]);

impl Cifar10 {
    /// Checks the six files, in the order of [`FILES`].
    ///
    /// # Errors
    /// When one of them is not the canonical one.
    pub fn new(files: [Vec<u8>; FILES.len()]) -> Result<Cifar10> {
        for (canonical, bytes) in FILES.iter().zip(&files) {
            canonical.check(bytes)?;
        }
        Ok(Cifar10(files))
    }

    /// The files with their names.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        FILES.iter().zip(&self.0).map(|(file, bytes)| (file.name, bytes.as_slice()))
    }

    /// The images and labels.
    pub fn into_dataset(self) -> Dataset {
        let [train @ .., test] = self.0;
        Dataset { name: "cifar10", train: split(train), test: split([test]) }
    }
}

/// The records of some files as one split.
fn split<const N: usize>(files: [Vec<u8>; N]) -> Split {
    let mut images = Vec::with_capacity(files.iter().map(Vec::len).sum());
    let mut labels = Vec::new();
    for file in files {
        for record in file.chunks_exact(RECORD) {
            labels.push(record[0]);
            images.extend_from_slice(&record[1..]);
        }
    }
    Split::new(images, labels).expect("the canonical files hold whole records and labels 0 to 9")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cifar10 {
        /// Six files of one record each: file i has label i, and images of the byte 10 i.
        pub fn example() -> Cifar10 {
            Cifar10(std::array::from_fn(|file| {
                let mut record = vec![10 * file as u8; RECORD];
                record[0] = file as u8;
                record
            }))
        }
    }

    #[test]
    fn five_files_are_the_train_images_and_the_sixth_the_test_images() {
        let dataset = Cifar10::example().into_dataset();
        assert_eq!(dataset.name, "cifar10");
        assert_eq!(dataset.train.labels(), [0, 1, 2, 3, 4]);
        assert_eq!(dataset.test.labels(), [5]);
        let firsts: Vec<u8> = dataset.train.images().chunks_exact(IMAGE).map(|image| image[0]).collect();
        assert_eq!(firsts, [0, 10, 20, 30, 40]);
        assert_eq!(dataset.test.images(), [50; IMAGE]);
    }

    #[test]
    fn bytes_with_another_hash_are_not_the_canonical_file() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(Canonical { name: "a", sha256: empty }.check(b"").is_ok());
        let message = Canonical { name: "a", sha256: empty }.check(b"x").unwrap_err().to_string();
        assert!(message.starts_with("a is not the canonical file: sha256 2d711642b726b044"), "{message}");
        assert!(message.ends_with(&format!("expected {empty}")), "{message}");
    }
}
