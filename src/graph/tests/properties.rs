//! Whatever the sweep: keys follow neither the order of configurations nor the place of the project, and a configuration
//! that comes changes the keys of its groups alone.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::keys;

/// A configuration: architecture and seed.
type Configuration = (usize, u16);

const ARCHITECTURES: [&str; 4] = ["fc", "vit", "wr-10-4", "a.b"];

fn configurations() -> impl Strategy<Value = Vec<Configuration>> {
    let all = prop::collection::btree_set((0..ARCHITECTURES.len(), 0..40u16), 1..10);
    all.prop_map(Vec::from_iter).prop_shuffle()
}

/// A sweep that lists these configurations, each with its labels in another order than the one before.
fn sweep(configurations: &[Configuration]) -> String {
    let (arch, seed) = configurations[0];
    let include = configurations[1..].iter().enumerate().map(|(i, (arch, seed))| match i % 2 {
        0 => format!("{{arch: {}, seed: {seed}}}", ARCHITECTURES[*arch]),
        _ => format!("{{seed: {seed}, arch: {}}}", ARCHITECTURES[*arch]),
    });
    let include: Vec<String> = include.collect();
    format!(
        "{{matrix: {{arch: [{}], seed: [{seed}]}}, include: [{}], settings: [{{set: {{epochs: $epochs}}}}]}}",
        ARCHITECTURES[arch],
        include.join(", ")
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_configurations_and_no_folder_changes_a_key(
        (one, two) in configurations().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        // Each call has a folder of its own.
        prop_assert_eq!(keys(&sweep(&one)), keys(&sweep(&two)));
    }

    #[test]
    fn a_configuration_that_comes_changes_no_key_but_of_its_groups_and_of_lists_of_all(
        all in configurations().prop_filter("one comes to another", |all| all.len() > 1),
        place in any::<prop::sample::Index>(),
    ) {
        let mut before = all.clone();
        let (arch, seed) = before.remove(place.index(all.len()));
        let (before, after) = (keys(&sweep(&before)), keys(&sweep(&all)));
        let name = ARCHITECTURES[arch];
        let changed: BTreeSet<&String> =
            before.iter().filter(|(job, key)| after.get(*job) != Some(key)).map(|(job, _)| job).collect();
        for job in changed {
            let is_tile_of_group = job.starts_with("tile")
                && ["cols", "rows"].iter().any(|side| {
                    job.contains(&format!("{side}={name},")) || job.contains(&format!("{side}={name}]"))
                });
            prop_assert!(is_tile_of_group || job.starts_with("embed"), "{job} for {name} {seed}");
        }
    }
}
