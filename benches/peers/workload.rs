//! The workload: train and predict for each configuration, then a join, an embedding and five figures; for each tool.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of the input that all trainings read; the second half does not change what they make.
const SHARED: usize = 1 << 20;

/// Jobs besides the two of each configuration.
pub const REST: usize = 7;

/// What writes and runs a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// With `restat`, and commands that leave equal outputs alone: ninja at its best.
    Ninja,
    /// As it is.
    Make,
    /// A process a job.
    Ribbon,
    /// A process for many jobs of train and predict, on the job protocol.
    Worker,
}

impl Tool {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Ninja => "ninja",
            Tool::Make => "make",
            Tool::Ribbon => "ribbon",
            Tool::Worker => "ribbon, worker stage",
        }
    }
}

/// A workload on disk.
#[derive(Debug)]
pub struct Workload {
    /// For whom.
    pub tool: Tool,
    /// Where.
    pub folder: PathBuf,
    configurations: usize,
}

impl Workload {
    /// Writes a workload of so many configurations, with the program `worker` as what its jobs run.
    pub fn new(tool: Tool, folder: PathBuf, configurations: usize, worker: &Path) -> Workload {
        for name in ["inputs", "configs", "code", "train", "predict", "figures"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let workload = Workload { tool, folder, configurations };
        let shared: Vec<u8> = (0..SHARED).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
        fs::write(workload.shared(), shared).unwrap();
        fs::copy(worker, workload.folder.join("code/worker")).unwrap();
        let keep = if tool == Tool::Ninja { "-c " } else { "" };
        for (script, words) in [("train", "train"), ("step", "step"), ("embed", "step"), ("join", "join")] {
            // A list of thousands of paths is too long for a command line: ribbon's job file has it.
            let list = if script == "join" { r#" ${RIBBON_JOB:+"@$RIBBON_JOB"}"# } else { "" };
            let text = format!("exec \"${{0%/*}}/worker\" {keep}{words} \"$@\"{list}\n");
            workload.write(&format!("code/{script}.sh"), &text);
        }
        if tool == Tool::Worker {
            workload.write("Cargo.toml", "[workspace]\nmembers = [\"stage\"]\nresolver = \"3\"\n");
            workload
                .write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"stage\"\nversion = \"0.0.0\"\n");
            workload.write("stage/Cargo.toml", "[package]\nname = \"stage\"\nedition = \"2024\"\n");
            workload.write("stage/src/main.rs", include_str!("stage.rs"));
        }
        workload.describe();
        workload
    }

    /// How many jobs it has.
    pub fn jobs(&self) -> usize {
        2 * self.configurations + REST
    }

    /// Gives the shared input a new time and nothing else.
    pub fn touch(&self) {
        fs::File::options()
            .append(true)
            .open(self.shared())
            .unwrap()
            .set_modified(SystemTime::now())
            .unwrap();
    }

    /// Adds a configuration.
    pub fn add_configuration(&mut self) {
        self.configurations += 1;
        self.describe();
    }

    /// Changes the shared input where trainings come out the same.
    pub fn change_unused_half(&self) {
        let mut bytes = fs::read(self.shared()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(self.shared(), bytes).unwrap();
    }

    /// Adds a comment to the script of the one job `embed`.
    pub fn comment(&self) {
        let path = self.folder.join("code/embed.sh");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("# what embed does\n{text}")).unwrap();
    }

    /// Takes away what has been made, and leaves built programs.
    pub fn clean(&self) {
        for name in [".ribbon/store", ".ribbon/memo", "outputs", "pipeline.lock"] {
            let path = self.folder.join(name);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }

    /// The smallest pipeline of the same stages, so that they can be built before anything is timed.
    pub fn with_one_configuration(&self, act: impl FnOnce()) {
        Workload { tool: self.tool, folder: self.folder.clone(), configurations: 1 }.describe();
        act();
        self.clean();
        self.describe();
    }

    fn shared(&self) -> PathBuf {
        self.folder.join("inputs/shared.bin")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn describe(&self) {
        let ids: Vec<String> = (0..self.configurations).map(|i| format!("c{i:05}")).collect();
        for id in &ids {
            let path = format!("configs/{id}.json");
            if !self.folder.join(&path).exists() {
                self.write(&path, &format!("{{\"id\": \"{id}\"}}\n"));
            }
        }
        match self.tool {
            Tool::Ninja => self.write("build.ninja", &ninja(&ids)),
            Tool::Make => self.write("Makefile", &makefile(&ids)),
            Tool::Ribbon => self.write("pipeline.yaml", &pipeline(&ids, false)),
            Tool::Worker => self.write("pipeline.yaml", &pipeline(&ids, true)),
        }
    }
}

fn ninja(ids: &[String]) -> String {
    let mut text = String::new();
    for (rule, command) in [
        ("train", "sh code/train.sh inputs/shared.bin $config $out"),
        ("predict", "sh code/step.sh predict $from $out"),
        ("join", "sh code/join.sh $out predict/*"),
        ("embed", "sh code/embed.sh embed $from $out"),
        ("figure", "sh code/step.sh $kind $from $out"),
    ] {
        let _ = writeln!(text, "rule {rule}\n  command = {command}\n  restat = 1");
    }
    for id in ids {
        let config = format!("configs/{id}.json");
        let _ = writeln!(text, "build train/{id}: train inputs/shared.bin {config} code/train.sh");
        let _ = writeln!(text, "  config = {config}");
        let _ = writeln!(text, "build predict/{id}: predict train/{id} code/step.sh\n  from = train/{id}");
    }
    let all: Vec<String> = ids.iter().map(|id| format!("predict/{id}")).collect();
    let _ = writeln!(text, "build joined: join {} code/join.sh", all.join(" "));
    let _ = writeln!(text, "build embedded: embed joined code/embed.sh\n  from = joined");
    for kind in 0..5 {
        let _ = writeln!(text, "build figures/f{kind}: figure embedded code/step.sh");
        let _ = writeln!(text, "  from = embedded\n  kind = f{kind}");
    }
    text
}

fn makefile(ids: &[String]) -> String {
    format!(
        "IDS := {}\n\
         all: $(patsubst %,figures/f%,0 1 2 3 4)\n\
         $(IDS:%=train/%): train/%: inputs/shared.bin configs/%.json code/train.sh\n\
         \tsh code/train.sh inputs/shared.bin configs/$*.json $@\n\
         $(IDS:%=predict/%): predict/%: train/% code/step.sh\n\
         \tsh code/step.sh predict $< $@\n\
         joined: $(IDS:%=predict/%) code/join.sh\n\
         \tsh code/join.sh $@ predict/*\n\
         embedded: joined code/embed.sh\n\
         \tsh code/embed.sh embed $< $@\n\
         figures/%: embedded code/step.sh\n\
         \tsh code/step.sh $* $< $@\n",
        ids.join(" ")
    )
}

fn pipeline(ids: &[String], is_worker: bool) -> String {
    let program = |command: &str, script: &str| match is_worker {
        true => "crate: stage".to_owned(),
        false => {
            format!("run: [sh, code/{script}.sh, {command}]\n    code: [code/{script}.sh, code/worker]")
        }
    };
    format!(
        r#"version: 1
profile: bench
profiles: {{bench: {{about: a benchmark}}}}
sweeps:
  networks: {{matrix: {{id: [{ids}]}}}}
  figures: {{matrix: {{kind: [f0, f1, f2, f3, f4]}}}}
stages:
  train:
    {train}
    each: network in networks
    inputs: {{shared: ./inputs/shared.bin, config: "./configs/{{network.id}}.json"}}
    outputs: {{weights: weights.bin}}
  predict:
    {predict}
    each: network in networks
    inputs: {{weights: train.weights}}
    outputs: {{predictions: predictions.bin}}
  join:
    run: [sh, code/join.sh, "{{outputs.joined}}"]
    code: [code/join.sh, code/worker]
    inputs: {{all: "predict[*].predictions"}}
    outputs: {{joined: joined.bin}}
  embed:
    run: [sh, code/embed.sh, embed, "{{inputs.joined}}", "{{outputs.points}}"]
    code: [code/embed.sh, code/worker]
    inputs: {{joined: join.joined}}
    outputs: {{points: points.bin}}
  figure:
    run: [sh, code/step.sh, "{{params.kind}}", "{{inputs.points}}", "{{outputs.figure}}"]
    code: [code/step.sh, code/worker]
    each: figure in figures
    params: {{kind: $figure.kind}}
    inputs: {{points: embed.points}}
    outputs: {{figure: figure.bin}}
    publish: {{figure: "{{kind}}.bin"}}
"#,
        ids = ids.join(", "),
        train = program(r#""{inputs.shared}", "{inputs.config}", "{outputs.weights}""#, "train"),
        predict = program(r#"predict, "{inputs.weights}", "{outputs.predictions}""#, "step"),
    )
}
