//! benches/gpu-check.sh on a machine without a GPU: it says so, and with `--cpu` it does all it would do with one.

use std::path::Path;
use std::process::{Command, Output};

fn check(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("benches/gpu-check.sh"));
    command.args(arguments).env("RIBBON", env!("CARGO_BIN_EXE_ribbon"));
    // Where this test was built lies what its stages are built of.
    let target = Path::new(env!("CARGO_BIN_EXE_ribbon")).ancestors().nth(2).unwrap();
    command.env("CARGO_TARGET_DIR", target).env("CUDA_VISIBLE_DEVICES", "-1");
    command.env_remove("LD_LIBRARY_PATH").env_remove("RIBBON_STORE").env_remove("CARGO_MANIFEST_DIR");
    command.output().unwrap()
}

#[test]
fn without_a_gpu_it_says_so_with_its_own_status() {
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no NVIDIA GPU here"));
    assert_eq!(check(&["--gpu"]).status.code(), Some(2));
}

#[test]
fn on_the_processor_every_check_passes() {
    let output = check(&["--cpu", "--seconds", "0.2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines = said.lines().filter(|line| line.ends_with(" ok")).count();
    assert_eq!(
        lines, 32,
        "devices, four of each of five networks and three of ResNet, distances by three measures, twice the same bits and jobs at a time, \
         throughput: {said}"
    );
    assert!(said.contains(" 27 x cpu "), "twelve trainings, their predictions, distances: {said}");
    for share in ["1 a card", "4 a card"] {
        let line = said.lines().find(|line| line.starts_with(&format!("jobs at a time, {share}")));
        let seen = line.unwrap().split_once(" in the mean").unwrap().0.rsplit_once(' ').unwrap().1;
        assert!(seen.parse::<f64>().unwrap() > 0.0, "{said}");
    }
    assert!(said.contains("--set 'train-image={fc: "), "{said}");
}

#[test]
fn numbers_that_differ_too_much_or_are_none_fail() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, numbers: [f32; 2]| {
        let header = br#"{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let one = write("one", [1.0, 2.0]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gpu/compare.py");
    for (numbers, status) in [([1.0, 2.0625], 0), ([1.0, 2.25], 1), ([f32::NAN, 2.0], 1)] {
        let other = write("other", numbers);
        let compared = Command::new("python3").arg(&script).args([&one, &other]).args(["x", "0.1"]).output();
        assert_eq!(compared.unwrap().status.code(), Some(status), "{numbers:?}");
    }
}
