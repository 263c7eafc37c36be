//! Whatever happens to its files, a store never gives bytes that are not those of the artifact.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::pipeline::Kind;

/// What happens to an object.
#[derive(Debug, Clone)]
enum Harm {
    Flip(prop::sample::Index),
    Cut(prop::sample::Index),
    Grow(u8),
    Remove,
    /// The content of another one.
    Swap(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Harm::Flip),
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        any::<u8>().prop_map(Harm::Grow),
        Just(Harm::Remove),
        any::<prop::sample::Index>().prop_map(Harm::Swap),
    ]
}

impl Harm {
    /// Does it, with the times put back.
    fn befall(&self, object: &Path, all: &[PathBuf]) {
        let Ok(mut bytes) = fs::read(object) else { return };
        let modified = fs::metadata(object).unwrap().modified().unwrap();
        match self {
            Harm::Remove => return fs::remove_file(object).unwrap(),
            Harm::Flip(_) | Harm::Cut(_) if bytes.is_empty() => {}
            Harm::Flip(place) => {
                let bit = place.index(8 * bytes.len());
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Harm::Cut(place) => bytes.truncate(place.index(bytes.len())),
            Harm::Grow(byte) => bytes.push(*byte),
            Harm::Swap(other) => bytes = fs::read(other.get(all)).unwrap_or_default(),
        }
        fs::set_permissions(object, Permissions::from_mode(0o644)).unwrap();
        fs::write(object, bytes).unwrap();
        File::options().append(true).open(object).unwrap().set_modified(modified).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_store_says_it_holds_comes_out_as_it_went_in(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 0..8),
        is_verified in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let memo = Memo::open(&folder.path().join("memo"), false);
        let made = folder.path().join("made");
        let insert = |content: &[u8]| {
            fs::write(&made, content).unwrap();
            store.insert(make_ready(&made, Kind::File, &memo).unwrap(), &memo).unwrap()
        };
        let files: Vec<Artifact> = contents.iter().map(|content| insert(content)).collect();
        let together = folder.path().join("together");
        fs::create_dir(&together).unwrap();
        for (i, content) in contents.iter().enumerate() {
            fs::write(together.join(i.to_string()), content).unwrap();
        }
        let all = store.insert(make_ready(&together, Kind::Folder, &memo).unwrap(), &memo).unwrap();

        let objects: Vec<PathBuf> =
            files.iter().chain([&all]).map(|artifact| store.objects.path(artifact.hash)).collect();
        harms.iter().for_each(|(object, harm)| harm.befall(object.get::<PathBuf>(&objects), &objects));
        if is_verified {
            store.verify().unwrap();
        }

        let out = folder.path().join("out");
        for (artifact, content) in files.iter().zip(&contents) {
            if store.holds(artifact, &memo) {
                store.copy(artifact, &out).unwrap();
                prop_assert_eq!(&fs::read(&out).unwrap(), content);
            }
        }
        if store.holds(&all, &memo) {
            store.copy(&all, &out).unwrap();
            for (i, content) in contents.iter().enumerate() {
                prop_assert_eq!(&fs::read(out.join(i.to_string())).unwrap(), content);
            }
        }
        // And it takes again what was lost.
        for content in &contents {
            let artifact = insert(content);
            prop_assert!(store.holds(&artifact, &memo));
        }
    }
}
