//! An amount of memory, as pipeline.yaml writes it.

use serde::Deserialize;

/// Bytes: a number, or a text as `needs: {memory: ..}` has it: 500M, 1.5G (powers of 1000), 2GiB (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Memory(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Written> for Memory {
    type Error = String;

    fn try_from(written: Written) -> Result<Memory, String> {
        const UNITS: [(&str, u64); 8] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("K", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
        ];
        let text = match written {
            Written::Bytes(bytes) => return Ok(Memory(bytes)),
            Written::Text(text) => text,
        };
        UNITS
            .iter()
            .find_map(|&(unit, bytes)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, bytes)))
            .filter(|(number, _)| number.is_finite() && *number >= 0.0)
            .map(|(number, bytes)| Memory((number * bytes as f64) as u64))
            .ok_or_else(|| format!("`{text}` is not an amount of memory; write 500M, 1.5G or 2GiB"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn amounts_are_read_as_the_pipeline_writes_them() {
        for (written, bytes) in [
            (json!(12), 12),
            (json!("500M"), 500_000_000),
            (json!("1.5G"), 1_500_000_000),
            (json!("2GiB"), 2 << 30),
        ] {
            assert_eq!(from_value::<Memory>(written).unwrap(), Memory(bytes));
        }
        for wrong in ["1", "G", "-1G", "1 GB", "infG"] {
            let message = from_value::<Memory>(json!(wrong)).unwrap_err().to_string();
            assert_eq!(message, format!("`{wrong}` is not an amount of memory; write 500M, 1.5G or 2GiB"));
        }
    }
}
