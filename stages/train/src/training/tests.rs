//! Tests of a training run: its steps, its starts, and going on after an interruption.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kit::Tensors;
use networks::Mode;
use tempfile::TempDir;

use super::*;
use crate::tests::{inputs, noise, striped};

/// A run, and the folder that it leaves its states and its file in.
struct Trial {
    folder: TempDir,
    network: Value,
    data: Dataset,
    /// Steps done, attempts that failed included.
    steps: u64,
    /// Lines of its log.
    lines: Vec<String>,
}

impl Trial {
    fn new(changes: Value) -> Trial {
        Trial::of(striped(14), changes)
    }

    fn of(data: Dataset, changes: Value) -> Trial {
        let mut network = json!({
            "arch": "small", "model": {"kind": "convmixer", "dim": 8, "depth": 1}, "optimizer": "adam", "batch": 4,
            "rate": 0.01, "decay": 1e-3, "augment": true, "epochs": 6, "seed": 42
        });
        network.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Trial { folder: tempfile::tempdir().unwrap(), network, data, steps: 0, lines: Vec::new() }
    }

    fn run(&self) -> Configuration {
        Configuration::deserialize(&self.network).unwrap()
    }

    fn train(&mut self, states: Option<States>, mut after: impl FnMut(u64, &str)) -> Result<Vec<u8>> {
        let output = self.folder.path().join("output");
        let task = Task {
            data: &self.data,
            device: Device::Cpu,
            precision: Precision::F32,
            network: &self.network,
            output: &output,
        };
        let (run, steps, lines) = (self.run(), &mut self.steps, &mut self.lines);
        run.train(&task, states, |told| match told {
            Told::Step(done, _, note) => {
                *steps += 1;
                after(done, note);
            }
            Told::Line(line) => lines.push(line),
        })?;
        Ok(fs::read(output)?)
    }

    /// The bytes of its checkpoints.
    fn bytes(&mut self) -> Vec<u8> {
        self.train(None, |_, _| ()).unwrap()
    }

    fn file(&mut self) -> Tensors {
        self.bytes();
        Tensors::open(&self.folder.path().join("output")).unwrap()
    }

    fn failure(mut self) -> String {
        format!("{:#}", self.train(None, |_, _| ()).unwrap_err())
    }

    fn states(&self) -> States {
        let folder = self.folder.path().join("states");
        fs::create_dir_all(&folder).unwrap();
        States::new(&folder, Duration::ZERO)
    }

    /// Goes on from the last state, and is killed after so many steps.
    fn interrupt(&mut self, mut steps: u64) {
        let states = self.states();
        let killed = catch_unwind(AssertUnwindSafe(|| {
            self.train(Some(states), |_, _| {
                steps -= 1;
                assert!(steps > 0, "killed");
            })
        }));
        assert!(killed.is_err());
    }

    /// Goes on to the end.
    fn end(&mut self) -> Vec<u8> {
        self.train(Some(self.states()), |_, _| ()).unwrap()
    }
}

#[test]
fn every_checkpoint_holds_every_tensor_and_the_last_ones_differ_from_the_first() {
    let file = Trial::new(json!({})).file();
    let step = file.i64s("step").unwrap();
    assert_eq!(step.values[..3], [0, 1, 2]);
    assert_eq!(*step.values.last().unwrap(), 6 * 4);
    assert_eq!(*file.f64s("epoch").unwrap().values.last().unwrap(), 6.0);
    let mut counts = BTreeMap::<String, usize>::new();
    for name in file.names().iter().filter_map(|name| name.split_once('/')) {
        *counts.entry(name.0.to_owned()).or_default() += 1;
    }
    assert_eq!(counts.len(), step.values.len());
    assert!(counts.values().all(|&count| count == counts["0000"]), "{counts:?}");
    let last = format!("{:04}/m.9.weight", step.values.len() - 1);
    assert_ne!(file.f32s(&last).unwrap().values, file.f32s("0000/m.9.weight").unwrap().values);
    let metadata: Value = file.metadata().unwrap();
    assert_eq!((&metadata["network"]["seed"], &metadata["start"]), (&json!(42), &Value::Null));
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    for optimizer in ["adam", "sgd", "nesterov"] {
        let bytes = |seed| Trial::new(json!({"optimizer": optimizer, "seed": seed})).bytes();
        let one = bytes(42);
        assert!(one == bytes(42), "{optimizer}");
        assert!(one != bytes(43), "{optimizer}");
    }
}

#[test]
fn a_run_that_is_killed_and_goes_on_makes_the_bits_of_an_undisturbed_one() {
    for optimizer in ["adam", "sgd", "nesterov"] {
        for augment in [false, true] {
            let changes = json!({"optimizer": optimizer, "augment": augment, "early": 2});
            let undisturbed = Trial::new(changes.clone()).bytes();
            let mut trial = Trial::new(changes);
            // In the second epoch, which has a state after each step; in the third, which has one at its end; in the fifth.
            [6, 3, 9].into_iter().for_each(|steps| trial.interrupt(steps));
            assert!(trial.end() == undisturbed, "{optimizer}, augment: {augment}");
            let went_on = ["going on after step 6", "going on after step 8", "going on after step 16"];
            assert_eq!(trial.lines, went_on);
            assert_eq!(trial.steps, 24 + 1 + 1, "only steps after the last state are done again");
        }
    }
}

#[test]
fn a_run_is_killed_before_its_first_state_or_after_its_last_step_and_goes_on() {
    let changes = json!({"early": 0});
    let undisturbed = Trial::new(changes.clone()).bytes();
    let mut trial = Trial::new(changes);
    trial.interrupt(2);
    trial.interrupt(24);
    assert_eq!(trial.lines.len(), 0);
    assert!(trial.end() == undisturbed);
    assert_eq!((trial.lines, trial.steps), (vec!["going on after step 24".to_owned()], 26));
}

#[test]
fn states_are_kept_only_as_often_as_asked() {
    let mut trial = Trial::new(json!({}));
    let folder = trial.folder.path().join("states");
    trial.states();
    let states = States::new(&folder, Duration::from_secs(3600));
    trial.train(Some(states), |_, _| ()).unwrap();
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["checkpoints"]);
}

#[test]
fn what_is_damaged_is_not_gone_on_from() {
    let undisturbed = Trial::new(json!({})).bytes();
    let half = |path: &Path| fs::write(path, &fs::read(path).unwrap()[..900]).unwrap();
    let changed = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        // In the values: a header that is changed is soon found.
        let place = bytes.len() - 9;
        bytes[place] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let gone = |path: &Path| fs::remove_file(path).unwrap();
    type Harm<'a> = &'a dyn Fn(&Path);
    let harms: [(&str, Harm); 3] = [("half", &half), ("changed", &changed), ("gone", &gone)];
    for kind in ["state-", "checkpoints"] {
        for (name, harm) in harms {
            let mut trial = Trial::new(json!({}));
            // The last of the values that change are of the last checkpoint: it is there.
            trial.interrupt(24);
            let files = fs::read_dir(trial.folder.path().join("states")).unwrap();
            let mut files = files.map(|entry| entry.unwrap().path());
            let is_kind =
                |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(kind);
            harm(&files.find(is_kind).unwrap());
            assert!(trial.end() == undisturbed, "{kind} {name}");
            assert_eq!((trial.lines.len(), trial.steps), (0, 48), "{kind} {name}: all is done again");
        }
    }
}

/// A small network that fits noise.
fn fitter(start: Value) -> Value {
    let model = json!({"kind": "fc", "widths": [64]});
    json!({"model": model, "batch": 10, "augment": false, "decay": 0, "epochs": 4, "start": start})
}

#[test]
fn a_start_is_fitted_and_the_run_begins_from_there() {
    let starts = [
        json!({"labels": "random", "epochs": 100}),
        json!({"samples": 6, "epochs": 100, "rate": 0.02}),
        json!({"samples": 20, "labels": "random", "epochs": 100}),
    ];
    for start in starts {
        let mut trial = Trial::of(noise(40, 2), fitter(start.clone()));
        let file = trial.file();
        let reached: Reached =
            serde_json::from_value(file.metadata::<Value>().unwrap()["start"].clone()).unwrap();
        assert!(reached.wrong == 0 && reached.epochs < 100, "{start}: {reached:?}");
        assert_eq!(trial.lines, [format!("the start was fitted in {} epochs", reached.epochs)]);
        // The first checkpoint is that corner: an error of 0 on what was fitted, drawn once more.
        let run = trial.run();
        let mut random = generator(run.seed, Stream::Start);
        let fitted = run.start.as_ref().unwrap().data(&trial.data, &mut random).unwrap();
        let mut random = generator(0, Stream::Weights);
        let network = Network::new(&run.model, [1, 8, 8], 2, &mut random, Device::Cpu).unwrap();
        let tensor = |name: &str| {
            let tensor = file.f32s(&format!("0000/{name}"))?;
            Ok::<_, anyhow::Error>((tensor.shape, tensor.values))
        };
        network.weights.import(tensor).unwrap();
        let images = fitted.normalise(&fitted.train.pixels);
        let classes = network.forward(&images, Mode::Evaluate, Precision::F32).argmax(1, false);
        assert_eq!(classes, fitted.train.labels, "{start}");
        let mut plain = fitter(start.clone());
        plain.as_object_mut().unwrap().remove("start");
        let plain = Trial::of(noise(40, 2), plain).file();
        assert_eq!(file.i64s("step").unwrap().values, plain.i64s("step").unwrap().values);
        assert_ne!(
            file.f32s("0001/layers.1.weight").unwrap().values,
            plain.f32s("0001/layers.1.weight").unwrap().values
        );
    }
}

#[test]
fn a_start_that_is_killed_goes_on_and_makes_the_same_bits() {
    for optimizer in ["adam", "sgd", "nesterov"] {
        let mut network = fitter(json!({"labels": "random", "epochs": 30, "rate": 0.02}));
        network["optimizer"] = json!(optimizer);
        let mut undisturbed = Trial::of(noise(40, 2), network.clone());
        let bytes = undisturbed.bytes();
        let mut trial = Trial::of(noise(40, 2), network);
        // In the second epoch; in the third; in the task, whose epochs are as long.
        [6, 6, undisturbed.steps - 16].into_iter().for_each(|steps| trial.interrupt(steps));
        assert!(trial.end() == bytes, "{optimizer}");
        let went_on = ["going on after step 4 of the start", "going on after step 8 of the start"];
        assert_eq!(trial.lines[..2], went_on);
        assert_eq!(trial.lines[trial.lines.len() - 1], "going on after step 8");
        assert_eq!(trial.steps, undisturbed.steps + 2 + 2, "{optimizer}");
    }
}

#[test]
fn a_start_that_is_not_fitted_is_told() {
    let mut trial = Trial::of(noise(40, 2), fitter(json!({"labels": "random", "epochs": 2, "rate": 1e-9})));
    let reached = trial.file().metadata::<Value>().unwrap()["start"].clone();
    assert_eq!(reached["epochs"], 2);
    let wrong = reached["wrong"].as_u64().unwrap();
    assert!(wrong > 0);
    assert_eq!(trial.lines, [format!("the start was not fitted: {wrong} samples are wrong after 2 epochs")]);
}

#[test]
fn a_start_that_makes_no_sense_is_refused() {
    let failure = |start| Trial::of(noise(40, 2), fitter(start)).failure();
    assert!(failure(json!({"epochs": 2})).starts_with("start: what is fitted is the task"));
    let message = failure(json!({"samples": 41, "epochs": 2}));
    assert_eq!(message, "start: samples is 41, must be 1 to 40, of which there are");
    assert_eq!(failure(json!({"samples": 4, "epochs": 0})), "start: epochs is 0, must be at least 1");
    assert_eq!(failure(json!({"samples": 4, "epochs": 2, "rate": 0})), "rate is 0, must be positive");
    let message = failure(json!({"samples": 11, "epochs": 2}));
    assert!(
        message.starts_with("start: batch 10 of 11 samples leaves a last batch of one sample"),
        "{message}"
    );
}

/// Of the note that a step tells.
fn loss(note: &str) -> f64 {
    note.strip_prefix("loss ").unwrap().parse().unwrap()
}

#[test]
fn the_loss_falls() {
    let mut notes = Vec::new();
    let mut trial = Trial::new(json!({"augment": false, "epochs": 30}));
    trial.train(None, |_, note| notes.push(note.to_owned())).unwrap();
    let (first, last) = (loss(&notes[4]), loss(notes.last().unwrap()));
    assert!(last < 0.5 * first, "{first} to {last}");
}

#[test]
fn a_thousand_classes_are_told_apart() {
    let mut notes = Vec::new();
    let model = json!({"kind": "resnet", "depth": 18, "planes": 8});
    let changes = json!({"model": model, "augment": false, "batch": 100, "epochs": 20});
    let mut trial = Trial::of(noise(1_000, 1_000), changes);
    trial.train(None, |_, note| notes.push(note.to_owned())).unwrap();
    let (first, last) = (loss(&notes[10]), loss(notes.last().unwrap()));
    assert!((first - 1_000f64.ln()).abs() < 1.0 && last < 0.5 * first, "{first} to {last}");
    let file = Tensors::open(&trial.folder.path().join("output")).unwrap();
    assert_eq!(file.f32s("0000/fc.weight").unwrap().shape, [1_000, 64]);
}

#[test]
fn a_loss_and_weights_that_are_no_numbers_are_told_with_their_step() {
    let mut changes = json!({"optimizer": "sgd", "rate": 1e60, "model": {"kind": "fc", "widths": []}});
    let message = Trial::new(changes.clone()).failure();
    assert!(message.starts_with("after step "), "{message}");
    assert!(message.contains(", `layers.1.weight` has a value of "), "{message}");
    assert!(message.ends_with("; with a lower rate it may stay finite"), "{message}");
    // The first epoch keeps no checkpoint.
    (changes["early"], changes["epochs"]) = (json!(0), json!(40));
    let message = Trial::new(changes).failure();
    assert!(message.starts_with("step ") && message.contains(": the loss is "), "{message}");
}

#[test]
fn a_batch_that_leaves_one_sample_is_refused_where_statistics_are_needed() {
    let message = Trial::new(json!({"batch": 13})).failure();
    assert!(message.starts_with("batch 13 of 14 samples leaves a last batch of one sample"), "{message}");
    assert!(Trial::new(json!({"batch": 0})).failure().starts_with("batch is 0"));
}

#[test]
fn inputs_that_are_no_images_are_trained_on_and_not_augmented() {
    let changes = json!({"model": {"kind": "fc", "widths": [8]}});
    let message = Trial::of(inputs(14), changes.clone()).failure();
    assert!(message.starts_with("augment is true, and these data are no images"), "{message}");
    let mut trial = Trial::of(inputs(14), changes);
    trial.network["augment"] = false.into();
    let mut notes = Vec::new();
    trial.train(None, |_, note| notes.push(note.to_owned())).unwrap();
    let (first, last) = (loss(&notes[4]), loss(notes.last().unwrap()));
    assert!(last < first, "{first} to {last}");
}
